"""A band for the tests of `tsd` and `remi`, its tokens, and the notes that pretty_midi reads."""

import io
from pathlib import Path

import music21
import pretty_midi
import pytest
from midi_bytes import conductor, notes, smf

from midilstm import midi, tokenizers

NAMES = ("tsd", "remi")
BOTH = pytest.mark.parametrize("name", NAMES)
TSD, REMI = map(tokenizers.get, NAMES)
NOTE = ["Pitch_60", "Velocity_79", "Duration_1.0.12"]

# Swing and a tie over the bar line, a held chord, sixteenths, drums: program → (start, end, pitch).
PARTS: dict[int, list[tuple[float, float, int]]] = {
    65: [(i + s, i + s + 1 / 3, 60 + i) for i in range(8) for s in (0, 2 / 3)] + [(9, 9.25, 77)],
    32: [(i, i + 1, 36 + i) for i in range(7)] + [(7, 9.5, 40), (10, 20, 28), (10, 20, 40)],
    0: [(i + 0.25, i + 0.75, pitch) for i in range(0, 12, 2) for pitch in (60, 64, 67)],
    midi.DRUMS: [(i / 2, i / 2 + 0.25, 42 - 6 * (i % 2)) for i in range(20)],
}


def band_file(*events: tuple[float, bytes]) -> bytes:
    """Return a file of four parts, each on its own track and channel."""
    tracks = []
    for channel, (program, part) in zip((0, 1, 2, 9), PARTS.items(), strict=True):
        start = b"" if program == midi.DRUMS else bytes([0, 0xC0 | channel, program])
        tracks.append(notes(*part, channel=channel, start=start))
    return smf(conductor(*events), *tracks)


def encode(data: bytes, name: str) -> list[str]:
    return tokenizers.get(name).encode(midi.read(data))


def pretty_notes(data: bytes) -> set[tuple[int, int, float, float]]:
    """Return (program, pitch, start, end) of each note that pretty_midi reads, in quarters."""
    file = pretty_midi.PrettyMIDI(io.BytesIO(data))
    return {
        (
            midi.DRUMS if part.is_drum else part.program,
            note.pitch,
            *(round(file.time_to_tick(x) / file.resolution, 6) for x in (note.start, note.end)),
        )
        for part in file.instruments
        for note in part.notes
    }


def written_notes(tokens: list[str], name: str, path: Path) -> set[tuple[int, int, float, float]]:
    """Write valid tokens; return the notes that pretty_midi reads in the file."""
    assert tokenizers.write(tokens, path, name) == 0
    return pretty_notes(path.read_bytes())


def bundled() -> list[Path]:
    """Return the MIDI files that come inside the music21 package."""
    return sorted(Path(music21.__file__).parent.rglob("*.mid"))
