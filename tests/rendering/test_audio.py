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


def wave_of(piece: TimedPiece) -> tuple[np.ndarray, int]:
    """Return samples float [time, channels] from -1 to 1, and their rate."""
    pytest.importorskip("midirenderer", reason="requirements-audio.txt is not installed")
    with wave.open(io.BytesIO(render_audio(piece))) as file:
        data = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return data.reshape(-1, file.getnchannels()) / 32768, file.getframerate()


def test_a_held_a4_sounds_at_440_hz_for_as_long_as_it_is_held(timed: Read) -> None:
    sound, rate = wave_of(timed(smf(notes((0, 8, 69)))))
    assert 4.0 <= len(sound) / rate <= 5.6
    assert np.abs(sound).max() > 0.01
    held = sound[rate // 2 : 3 * rate, 0]
    spectrum = np.abs(np.fft.rfft(held * np.hanning(len(held))))
    frequency = np.fft.rfftfreq(len(held), 1 / rate)[spectrum.argmax()]
    assert frequency == pytest.approx(440, abs=2)


def test_the_last_note_rings_after_it_ends(timed: Read) -> None:
    sound, rate = wave_of(timed(smf(notes((0, 0.5, 69)))))
    end = rate // 4
    ringing, silence = np.abs(sound[end : end + rate // 50]), np.abs(sound[-rate // 10 :])
    assert ringing.max() > 0.01
    assert silence.max() < ringing.max() / 10


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
