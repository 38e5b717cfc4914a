"""Sound by the synthesiser of requirements-audio.txt, against physics."""

import io
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from midi_bytes import notes, smf

from midilstm.files import InputError
from midilstm.rendering.audio import render_audio
from midilstm.rendering.piece import TimedPiece

Read = Callable[..., TimedPiece]


def test_an_a4_sounds_at_440_hz_as_long_as_it_is_held_and_then_rings_out(timed: Read) -> None:
    pytest.importorskip("midirenderer", reason="requirements-audio.txt is not installed")
    rate = 48_000
    with wave.open(io.BytesIO(render_audio(timed(smf(notes((0, 1, 69))))))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, rate)
        sound = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")[::2] / 32768
    assert 1.9 <= len(sound) / rate <= 2.1
    held, ringing, silence = np.split(sound, [rate // 2, len(sound) - rate // 10])
    spectrum = np.abs(np.fft.rfft(held * np.hanning(len(held)), 4 * rate))
    assert spectrum.argmax() / 4 == pytest.approx(440, abs=2)
    assert np.abs(held).max() > 0.01
    assert np.abs(ringing).max() > 0.001
    assert np.abs(silence).max() < np.abs(ringing).max() / 10


def test_the_missing_renderer_is_named_with_its_cure(
    timed: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "midirenderer", None)
    with pytest.raises(InputError, match="requirements-audio"):
        render_audio(timed(smf(notes((0, 1, 69)))))


def test_a_bad_soundfont_is_named(timed: Read, tmp_path: Path) -> None:
    pytest.importorskip("midirenderer", reason="requirements-audio.txt is not installed")
    font = tmp_path / "my.sf2"
    font.write_bytes(b"no soundfont")
    with pytest.raises(InputError, match=r"my\.sf2"):
        render_audio(timed(smf(notes((0, 1, 69)))), font)
