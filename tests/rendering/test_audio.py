"""Sound by the synthesiser of requirements-audio.txt, against physics."""

import io
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from midi_bytes import END, notes, smf, variable_length

from midilstm.fileio import InputError
from midilstm.rendering.audio import render_audio, with_release
from midilstm.rendering.timeline import TimedPiece

RATE = 48_000
Read = Callable[..., TimedPiece]


def play(piece: TimedPiece) -> tuple[Any, Any]:
    """Return the samples [frames] of the left and the right loudspeaker, from -1 to 1."""
    pytest.importorskip("midirenderer", reason="requirements-audio.txt is not installed")
    with wave.open(io.BytesIO(render_audio(piece))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)
        sound = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32768
    return sound[::2], sound[1::2]


def hertz(sound: Any) -> float:
    """Return the frequency of half a second's loudest partial."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 4 * RATE))
    return float(spectrum.argmax()) / 4


def test_an_a4_sounds_at_440_hz_as_long_as_it_is_held_and_then_rings_out(timed: Read) -> None:
    sound, _ = play(timed(smf(notes((0, 1, 69)))))
    assert 1.9 <= len(sound) / RATE <= 2.1
    held, ringing, silence = np.split(sound, [RATE // 2, len(sound) - RATE // 10])
    assert hertz(held) == pytest.approx(440, abs=2)
    assert np.abs(held).max() > 0.01
    assert np.abs(ringing).max() > 0.001
    assert np.abs(silence).max() < np.abs(ringing).max() / 10


def test_volume_pan_and_bends_of_the_file_are_heard(timed: Read) -> None:
    plain, _ = play(timed(smf(notes((0, 1, 69)))))
    soft, _ = play(timed(smf(notes((0, 1, 69), start=b"\0\xb0\x07\x20"))))
    assert np.abs(soft).max() < np.abs(plain).max() / 4
    left, right = play(timed(smf(notes((0, 1, 69), start=b"\0\xb0\x0a\0"))))
    assert np.abs(right).max() < np.abs(left).max() / 10
    rescale, _ = play(timed(smf(notes((0, 1, 69), start=b"\0\xe0\x7f\x7f"))))
    assert hertz(rescale[: RATE // 2]) == pytest.approx(440 * 2 ** (2 / 12), abs=2)


def test_a_damaged_file_that_can_be_read_can_be_heard(timed: Read) -> None:
    key_of_no_mode = b"\0\xff\x59\2\0\x09"
    sound, _ = play(timed(smf(notes((0, 1, 69), start=key_of_no_mode))))
    assert hertz(sound[: RATE // 2]) == pytest.approx(440, abs=2)


def test_hours_of_silence_after_the_music_are_refused(timed: Read) -> None:
    silent = variable_length(480 * 2 * 3700) + b"\xb0\x07\x20" + END
    with pytest.raises(InputError, match="3,700 seconds"):
        with_release(timed(smf(notes((0, 1, 69)), silent)))


def test_the_missing_renderer_is_named_with_its_cure(
    timed: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "midirenderer", None)
    with pytest.raises(InputError, match="requirements-audio"):
        render_audio(timed(smf(notes((0, 1, 69)))))


def test_a_bad_soundfont_is_named(timed: Read, tmp_path: Path) -> None:
    pytest.importorskip("midirenderer", reason="requirements-audio.txt is not installed")
    with pytest.raises(InputError, match=r"zero is not a file"):
        render_audio(timed(smf(notes((0, 1, 69)))), Path("/dev/zero"))
    font = tmp_path / "my.sf2"
    font.write_bytes(b"no soundfont")
    with pytest.raises(InputError, match=r"my\.sf2"):
        render_audio(timed(smf(notes((0, 1, 69)))), font)
