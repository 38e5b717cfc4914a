"""Sound from the synthesiser of requirements-audio.txt, checked against physics."""

import io
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from midi_bytes import END, notes, smf, variable_length

from midilstm.fileio import InputError
from midilstm.rendering.audio import render_audio, with_release
from midilstm.rendering.timeline import TimedPiece

RATE = 48_000
Read = Callable[..., TimedPiece]
A4 = smf(notes((0, 1, 69)))


def play(piece: TimedPiece) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples of the left and the right channel, from -1 to 1."""
    pytest.importorskip("midirenderer", reason="requirements-audio.txt is not installed")
    with wave.open(io.BytesIO(render_audio(piece))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32768
    return samples[::2], samples[1::2]


def peak_frequency(samples: np.ndarray) -> float:
    """Return the frequency of the loudest partial in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 4 * RATE))
    return float(spectrum.argmax()) / 4


def test_a4_sounds_at_440_hz_while_held_and_then_fades(timed: Read) -> None:
    samples, _ = play(timed(A4))
    assert 1.9 <= len(samples) / RATE <= 2.1
    held, release, silence = np.split(samples, [RATE // 2, len(samples) - RATE // 10])
    assert peak_frequency(held) == pytest.approx(440, abs=2)
    assert np.abs(held).max() > 0.01
    assert np.abs(release).max() > 0.001
    assert np.abs(silence).max() < np.abs(release).max() / 10


def test_a_damaged_file_that_can_be_read_is_played(timed: Read) -> None:
    invalid_mode_of_key = b"\0\xff\x59\2\0\x09"
    samples, _ = play(timed(smf(notes((0, 1, 69), start=invalid_mode_of_key))))
    assert peak_frequency(samples[: RATE // 2]) == pytest.approx(440, abs=2)


def test_hours_of_silence_after_the_music_are_refused(timed: Read) -> None:
    silent = variable_length(480 * 2 * 3700) + b"\xb0\x07\x20" + END
    with pytest.raises(InputError, match="3,700 seconds"):
        with_release(timed(smf(notes((0, 1, 69)), silent)))


def test_a_missing_renderer_or_soundfont_is_reported(
    timed: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "midirenderer", None)
        with pytest.raises(InputError, match="requirements-audio"):
            render_audio(timed(A4))
    pytest.importorskip("midirenderer", reason="requirements-audio.txt is not installed")
    for name in ("/dev/zero", "x.mid"):
        with pytest.raises(
            InputError, match=f"{name} is not a file|cannot be played with .*{name}"
        ):
            render_audio(timed(A4), tmp_path / name)
