"""MIDI files ⇄ songs: events in the order of time, and what a note is. Knows no tokens, no ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import symusic

# Raise it whenever the same bytes would give other notes or reasons: caches go by it.
VERSION = 2

MAX_BYTES = 4 * 2**20  # so that the worst such file takes less than 5 seconds and 300 MB
MAX_QUARTERS = 20_000  # nearly three hours at 120 beats a minute: beyond it, a broken clock
MAX_JUNK = 4096  # bytes allowed before the header; further in, it is another file's content
END_OF_TRACK, TEMPO, SIGNATURE = 0x2F, 0x51, 0x58  # kinds of meta event
METAS = {TEMPO: 6, SIGNATURE: 7}  # those that are heard, and the least bytes they take
PERCUSSION = 9  # MIDI channel 10, counted from 0
DRUMS = -1  # the program of percussion, as in MidiTok
BPM = 120.0  # what MIDI takes a file to be in that says nothing

INSTRUMENTS = tuple(
    """Acoustic Grand Piano,Bright Acoustic Piano,Electric Grand Piano,Honky-tonk Piano,
Electric Piano 1,Electric Piano 2,Harpsichord,Clavinet,
Celesta,Glockenspiel,Music Box,Vibraphone,Marimba,Xylophone,Tubular Bells,Dulcimer,
Drawbar Organ,Percussive Organ,Rock Organ,Church Organ,Reed Organ,Accordion,Harmonica,
Tango Accordion,Acoustic Guitar (nylon),Acoustic Guitar (steel),Electric Guitar (jazz),
Electric Guitar (clean),Electric Guitar (muted),Overdriven Guitar,Distortion Guitar,
Guitar Harmonics,Acoustic Bass,Electric Bass (finger),Electric Bass (pick),Fretless Bass,
Slap Bass 1,Slap Bass 2,Synth Bass 1,Synth Bass 2,
Violin,Viola,Cello,Contrabass,Tremolo Strings,Pizzicato Strings,Orchestral Harp,Timpani,
String Ensemble 1,String Ensemble 2,Synth Strings 1,Synth Strings 2,
Choir Aahs,Voice Oohs,Synth Voice,Orchestra Hit,
Trumpet,Trombone,Tuba,Muted Trumpet,French Horn,Brass Section,Synth Brass 1,Synth Brass 2,
Soprano Sax,Alto Sax,Tenor Sax,Baritone Sax,Oboe,English Horn,Bassoon,Clarinet,
Piccolo,Flute,Recorder,Pan Flute,Blown Bottle,Shakuhachi,Whistle,Ocarina,
Lead 1 (square),Lead 2 (sawtooth),Lead 3 (calliope),Lead 4 (chiff),
Lead 5 (charang),Lead 6 (voice),Lead 7 (fifths),Lead 8 (bass + lead),
Pad 1 (new age),Pad 2 (warm),Pad 3 (polysynth),Pad 4 (choir),
Pad 5 (bowed),Pad 6 (metallic),Pad 7 (halo),Pad 8 (sweep),
FX 1 (rain),FX 2 (soundtrack),FX 3 (crystal),FX 4 (atmosphere),
FX 5 (brightness),FX 6 (goblins),FX 7 (echoes),FX 8 (sci-fi),
Sitar,Banjo,Shamisen,Koto,Kalimba,Bagpipe,Fiddle,Shanai,
Tinkle Bell,Agogo,Steel Drums,Woodblock,Taiko Drum,Melodic Tom,Synth Drum,Reverse Cymbal,
Guitar Fret Noise,Breath Noise,Seashore,Bird Tweet,Telephone Ring,Helicopter,Applause,
Gunshot""".replace("\n", "").split(",")
)


class MidiError(ValueError):
    """Say in one plain sentence why some bytes give no song; `reason` is the short category."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason


class Note(NamedTuple):
    """A note: times in ticks, General MIDI program 0..127 or DRUMS, track counted from 0."""

    start: int
    length: int
    pitch: int
    velocity: int = 90
    program: int = 0
    track: int = 0


@dataclass(frozen=True)
class Song:
    """The notes of a file, by start, then pitch; tempos and time signatures by tick."""

    ticks_per_quarter: int
    notes: tuple[Note, ...]
    tempos: Mapping[int, float] = field(default_factory=dict)  # quarter notes a minute
    signatures: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # 3, 4 for 3/4
    unended: int = 0  # notes that begin and never end; they are not among the notes
    warnings: tuple[str, ...] = ()

    @property
    def end(self) -> int:
        """Return the tick at which the last note ends."""
        return max((note.start + note.length for note in self.notes), default=0)

    @property
    def quarters(self) -> float:
        """Return the length in quarter notes."""
        return self.end / self.ticks_per_quarter

    @property
    def instruments(self) -> tuple[str, ...]:
        """Return the sorted General MIDI names of what is heard; drums are Percussion."""
        return tuple(sorted({instrument_name(note.program) for note in self.notes}))


def instrument_name(program: int) -> str:
    """Return the General MIDI name of a program, Percussion for DRUMS."""
    return "Percussion" if program == DRUMS else INSTRUMENTS[program]


def read(source: Path | str | bytes, *, pedal: bool = True) -> Song:
    """Read a MIDI file's path, or its bytes.

    Raise MidiError, and nothing else, for any contents; OSError for a path that cannot be read.
    Time and memory grow linearly with the number of bytes.
    """
    data = source if isinstance(source, bytes) else _load(Path(source))
    if len(data) > MAX_BYTES:
        raise MidiError("too large", f"more than {MAX_BYTES // 2**20} MiB")
    start, promised, ticks_per_quarter = _read_header(data)
    tracks = list(_tracks(data, start))
    heard = _Heard()
    for number, track in enumerate(tracks):
        heard.listen(number, _events(*track))
    if len(tracks) < promised:
        found = len(tracks)
        raise MidiError("truncated", f"its header promises {promised} tracks, it holds {found}")
    if not heard.notes:
        raise _nothing_heard(heard.unended)
    song = Song(
        ticks_per_quarter,
        tuple(sorted(heard.notes)),
        dict(sorted(heard.tempos.items())),
        dict(sorted(heard.signatures.items())),
        heard.unended,
    )
    if song.end > MAX_QUARTERS * ticks_per_quarter:
        raise MidiError("absurdly long", f"it lasts more than {MAX_QUARTERS} quarter notes")
    return song


def performed(song: Song, *, bpm: float | None = None, instrument: int | None = None) -> Song:
    """Return a song at a tempo and on an instrument, where given, and with a tempo in any case.

    Raise ValueError for a tempo or program that MIDI cannot hold.
    """
    if instrument is not None and not 0 <= instrument <= 127:
        raise ValueError(f"instrument {instrument} is not a General MIDI program from 0 to 127")
    if bpm is not None and not 4 <= bpm <= 60_000:
        raise ValueError(
            f"a tempo of {bpm} beats a minute does not fit in a MIDI file: use 4 to 60000"
        )
    if bpm is not None or not song.tempos:
        song = replace(song, tempos={0: BPM if bpm is None else bpm})
    if instrument is None:
        return song
    notes = (
        note if note.program == DRUMS else note._replace(program=instrument) for note in song.notes
    )
    return replace(song, notes=tuple(notes))


def to_bytes(song: Song) -> bytes:
    """Return a MIDI file of a song, the mirror of `read`: one track an instrument, tempos first."""
    score = symusic.Score(song.ticks_per_quarter)
    for tick, bpm in song.tempos.items():
        score.tempos.append(symusic.Tempo(tick, bpm))
    for tick, signature in song.signatures.items():
        score.time_signatures.append(symusic.TimeSignature(tick, *signature))
    rows = np.array([note[:5] for note in song.notes], np.int32)
    for program in dict.fromkeys(note.program for note in song.notes):
        start, length, pitch, velocity, _ = (x.copy() for x in rows[rows[:, 4] == program].T)
        small = pitch.astype(np.int8), velocity.astype(np.int8)
        notes = symusic.Note.from_numpy(start, length, *small)
        track = symusic.Track(program=max(0, program), is_drum=program == DRUMS, notes=notes)
        score.tracks.append(track)
    return bytes(score.dumps_midi())


@dataclass
class _Heard:
    """Collect what the tracks of one file sound like, times in ticks."""

    notes: list[Note] = field(default_factory=list)
    tempos: dict[int, float] = field(default_factory=dict)
    signatures: dict[int, tuple[int, int]] = field(default_factory=dict)
    programs: list[int] = field(default_factory=lambda: [0] * 16)  # by channel
    unended: int = 0

    def listen(self, track: int, events: Iterator[tuple[int, int, int, int]]) -> None:
        """Add the notes, tempos and time signatures of a track's (tick, status, data, data)."""
        sounding: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        for tick, status, data, value in events:
            if status == 0xFF00 | TEMPO:
                if data:
                    self.tempos[tick] = 60_000_000 / data
                continue
            if status == 0xFF00 | SIGNATURE:
                if data:
                    self.signatures[tick] = (data, value)
                continue
            if data > 127:
                raise MidiError("damaged", f"a data byte of {data}; 127 is the highest")
            channel = status & 15
            if status >= 0xC0:
                self.programs[channel] = data
            elif status >= 0x90 and value:
                program = DRUMS if channel == PERCUSSION else self.programs[channel]
                sounding.setdefault((channel, data), []).append((tick, program, min(value, 127)))
            else:
                for start, program, velocity in sounding.pop((channel, data), ()):
                    self.notes.append(Note(start, tick - start, data, velocity, program, track))
        self.unended += sum(map(len, sounding.values()))


def _nothing_heard(unended: int) -> MidiError:
    if unended:
        return MidiError("hanging notes", "its notes begin and never end")
    return MidiError("no notes")


def _load(path: Path) -> bytes:
    with path.open("rb") as file:
        # One byte more than allowed is enough to know that a file is too large.
        return file.read(MAX_BYTES + 1)


def _read_header(data: bytes) -> tuple[int, int, int]:
    """Return the header's end, tracks and ticks per quarter note; look past RIFF and junk."""
    start = data.find(b"MThd", 0, MAX_JUNK)
    if not data:
        raise MidiError("empty file")
    if start < 0:
        raise MidiError("not a MIDI file", f"it starts with {data[:13].decode('latin-1')!r}")
    if len(data) < start + 14:
        raise MidiError("truncated", "the file ends inside its header")
    kind, tracks, division = (int.from_bytes(data[start + i : start + i + 2]) for i in (8, 10, 12))
    if kind == 2:
        raise MidiError("format 2", "its tracks are separate patterns without a common time")
    if kind > 2:
        raise MidiError("unknown format", f"it says MIDI format {kind}; 0 and 1 can be read")
    if division & 0x8000:
        raise MidiError("SMPTE timing", "its times are film frames, not parts of a beat")
    if division == 0:
        raise MidiError("zero division", "its quarter note has no ticks")
    return start + 14, tracks, division


def _tracks(data: bytes, position: int) -> Iterator[tuple[bytes, bool]]:
    """Yield each track's bytes, and whether its length can be believed.

    A length that leads neither to another track nor to the end of the file is not believed:
    then the track ends at its End of Track event. More tracks than the header promises are read.
    """
    position = data.find(b"MTrk", position)
    while position >= 0:
        start = position + 8
        end = start + int.from_bytes(data[position + 4 : start])
        believed = end <= len(data) and data[end : end + 4] in (b"", b"MTrk")
        position = data.find(b"MTrk", end if believed else start)
        if not believed:
            end = position if position >= 0 else len(data)
        yield data[start:end], believed


def _events(track: bytes, believed: bool) -> Iterator[tuple[int, int, int, int]]:
    """Yield (tick, status, data, data) of note and program events; raise MidiError if damaged."""
    position = tick = status = 0
    try:
        while position < len(track):
            delta = track[position]
            position += 1
            if delta > 127:
                delta, position = _variable_length(track, position - 1)
            tick += delta
            byte = track[position]
            if byte >= 0xF0:
                kind = track[position + 1] if byte == 0xFF else 0
                if kind == END_OF_TRACK:
                    return
                begin = position
                position = _skip_payload(track, position)
                if kind in METAS and position <= len(track):
                    yield tick, 0xFF00 | kind, *_meta(kind, track[begin:position])
                continue
            if byte > 127:
                status = byte
                position += 1
            elif not status:
                raise MidiError("damaged", "a track begins in the middle of an event")
            if status < 0xA0:
                yield tick, status, track[position], track[position + 1]
            elif 0xC0 <= status < 0xD0:
                yield tick, status, track[position], 0
            position += 1 if 0xC0 <= status < 0xE0 else 2
    except IndexError:
        position = len(track) + 1
    if position > len(track) or not believed:
        raise MidiError("truncated", "a track stops before its end")


def _variable_length(track: bytes, position: int) -> tuple[int, int]:
    """Return the number of at most four 7-bit bytes at `position`, and the position after it."""
    number = 0
    for index in range(position, position + 4):
        number = number << 7 | track[index] & 127
        if track[index] < 128:
            return number, index + 1
    raise MidiError("damaged", "a time or length takes more than four bytes")


def _meta(kind: int, event: bytes) -> tuple[int, int]:
    """Return what a tempo or time signature event says; zeros where it is too short."""
    if len(event) < METAS[kind]:
        return 0, 0
    if kind == TEMPO:
        return int.from_bytes(event[3:6]), 0
    return event[3], 1 << min(event[4], 7)


def _skip_payload(track: bytes, position: int) -> int:
    """Return the position after the meta or system exclusive event at `position`."""
    if track[position] not in (0xF0, 0xF7, 0xFF):
        raise MidiError("damaged", f"an event of unknown kind {track[position]:#x}")
    length, position = _variable_length(track, position + (2 if track[position] == 0xFF else 1))
    return position + length
