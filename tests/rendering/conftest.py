"""A piece for three instruments, and pieces read from bytes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from midi_bytes import notes, smf

from midilstm.rendering.timeline import TimedPiece, read_timed


@pytest.fixture
def band() -> bytes:
    """Return two bars for piano, bass and drums: four seconds."""
    piano = notes(*((step, step + 1, 60 + step) for step in range(8)))
    bass = notes(*((beat, beat + 1, 36) for beat in (0, 2, 4, 6)), channel=1, start=b"\0\xc1\x20")
    drums = ((beat, beat + 0.1, pitch) for beat in range(8) for pitch in (42, 36))
    return smf(piano, bass, notes(*drums, channel=9))


@pytest.fixture
def repeating() -> bytes:
    """Return nine quarter notes, twice: nine seconds."""
    return smf(notes(*((beat, beat + 1, 60 + beat % 9) for beat in range(18))))


@pytest.fixture
def timed(tmp_path: Path) -> Callable[..., TimedPiece]:
    """Return a function that writes a MIDI file's bytes and reads the file."""

    def write_and_read(data: bytes, name: str = "x.mid") -> TimedPiece:
        (tmp_path / name).write_bytes(data)
        return read_timed(tmp_path / name)

    return write_and_read
