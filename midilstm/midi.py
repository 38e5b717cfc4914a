"""MIDI files ⇄ songs: music21 reads the events, channels.py hears the notes. Knows no tokens."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

import symusic
from music21 import midi
from music21.midi import MetaEvents as Meta
from pretty_midi import program_to_instrument_name

from midilstm.channels import (
    CONTROLLER,
    DRUMS,
    NOTE_OFF,
    NOTE_ON,
    PERCUSSION,
    PROGRAM,
    SILENCE,
    SYSTEM,
    Channel,
    Note,
    drum_part,
)
from midilstm.files import InputError

# Raise it whenever the same bytes would give other notes or reasons: caches go by it.
VERSION = 3

MAX_BYTES = 4 * 2**20
MAX_QUARTERS = 20_000  # nearly three hours at 120 beats a minute: beyond it, a broken clock
MAX_JUNK = 4096  # bytes allowed before the header; further in, it is another file's content
WINDOW = 16  # bytes, enough for most events
BPM = 120.0  # what MIDI takes a file to be in that says nothing


class MidiError(ValueError):
    """Say in one plain sentence why some bytes give no song; `reason` is the short category."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason


@dataclass(frozen=True)
class Song:
    """The notes of a file, by start, then pitch; tempos and time signatures by tick."""

    ticks_per_quarter: int
    notes: tuple[Note, ...]
    tempos: Mapping[int, float] = field(default_factory=dict)  # quarter notes a minute
    signatures: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # 3, 4 for 3/4
    unended: int = 0  # notes that begin and never end; they are not among the notes
    warnings: tuple[str, ...] = ()  # a sentence each

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
    return "Percussion" if program == DRUMS else str(program_to_instrument_name(program))


def program_of(text: str) -> int:
    """Return the General MIDI program that a number, or the beginning of one name, stands for."""
    wanted = text.strip().lower()
    names = [instrument_name(program) for program in range(128)]
    if wanted.isdecimal() and int(wanted) < 128:
        return int(wanted)
    if wanted.isdecimal():
        raise InputError(f"{text} is not a General MIDI program from 0 to 127")
    found = [name for name in names if wanted and name.lower().startswith(wanted)]
    found = [name for name in found if name.lower() == wanted] or found
    if len(found) == 1:
        return names.index(found[0])
    hint = f"it could be {', '.join(found[:8])}" if found else "try violin, church organ or flute"
    raise InputError(f"{text!r} is not one General MIDI instrument: {hint}")


def read(source: Path | str | bytes, *, pedal: bool = True) -> Song:
    """Read a MIDI file's path, or its bytes; without `pedal`, the sustain pedal is not heard.

    Raise MidiError, and nothing else, for any contents; OSError for a path that cannot be read.
    Time and memory grow linearly with the number of bytes.
    """
    if isinstance(source, bytes):
        data = source
    else:
        with Path(source).open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # enough to know that a file is too large
    start, promised, ticks_per_quarter = _read_header(data)
    tracks = list(_tracks(data, start))
    held = f"its header promises {promised} tracks, it holds {len(tracks)}"
    if promised and not tracks:
        raise MidiError("truncated", held)
    tempos: Setting = {}
    signatures: Setting = {}
    events = _in_time(tracks, tempos, signatures)
    numbers = {event[1] for event in events}
    channels = {number: Channel(rhythm=number % 16 == PERCUSSION) for number in numbers}
    for time, number, kind, first, second, track in events:
        channels[number].hear(time // 2, kind, first, second, track)
    for channel in channels.values():
        channel.release()
    notes = [note for channel in channels.values() for note in channel.notes]
    unended = sum(channel.unended for channel in channels.values())
    if pedal and any(channel.pedal for channel in channels.values()):
        last = max((note.start + note.length for note in notes), default=0)
        notes = [note for channel in channels.values() for note in channel.sustained(last)]
    if not notes:
        raise MidiError(*("hanging notes", "they never end") if unended else ("no notes",))
    song = Song(
        ticks_per_quarter,
        tuple(sorted(notes, key=itemgetter(0, 2, 1, 3, 4, 5))),
        dict(sorted(tempos.items())),
        dict(sorted(signatures.items())),
        unended,
        (held,) if len(tracks) < promised else (),
    )
    if song.quarters > MAX_QUARTERS:
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
    played = (n if n.program == DRUMS else n._replace(program=instrument) for n in song.notes)
    return replace(song, notes=tuple(played))


def to_bytes(song: Song) -> bytes:
    """Return a MIDI file of a song, the mirror of `read`: tempos first, then a track a program."""
    score = symusic.Score(song.ticks_per_quarter)
    score.tempos.extend(symusic.Tempo(tick, bpm) for tick, bpm in song.tempos.items())
    for tick, signature in song.signatures.items():
        score.time_signatures.append(symusic.TimeSignature(tick, *signature))
    # symusic writes what holds for all instruments into the first track: keep it free of notes, and
    # of a channel that an instrument needs.
    score.tracks.append(symusic.Track(is_drum=True))
    for program, notes in groupby(sorted(song.notes, key=_program), _program):
        track = symusic.Track(program=max(0, program), is_drum=program == DRUMS)
        track.notes.extend(symusic.Note(*note[:4]) for note in notes)
        score.tracks.append(track)
    return bytes(score.dumps_midi())


_program = attrgetter("program")


def _read_header(data: bytes) -> tuple[int, int, int]:
    """Return the header's end, tracks and ticks per quarter note; look past RIFF and junk."""
    start = data.find(b"MThd", 0, MAX_JUNK)
    if len(data) > MAX_BYTES:
        raise MidiError("too large", f"more than {MAX_BYTES // 2**20} MiB")
    if not data:
        raise MidiError("empty file")
    if start < 0:
        raise MidiError("not a MIDI file", f"it starts with {data[:13].decode('latin-1')!r}")
    if len(data) < start + 14:
        raise MidiError("truncated", "the file ends inside its header")
    kind, tracks, division = struct.unpack_from(">HHH", data, start + 8)
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


def _events(track: bytes, believed: bool) -> Iterator[tuple[int, midi.MidiEvent]]:
    """Yield (tick, event) as music21 reads them; raise MidiError where it would skip or guess.

    It is one event that changes: making a new one each time takes as long as reading it.
    """
    padded = track + b"\0"  # an event that leaves nothing of this wanted more than there is
    delta, event = midi.DeltaTime(), midi.MidiEvent()
    status: int | None = None
    tick = position = 0
    while position < len(track):
        event.lastStatusByte = status
        window: Any = padded[position : position + WINDOW]
        content, left = _next_event(window, delta, event)
        if not left:  # music21 copies what it is given, so it gets all the rest only now
            window = memoryview(padded)[position:]
            content, left = _next_event(window, delta, event)
        if event.type is Meta.END_OF_TRACK:
            return
        if not left:
            raise MidiError("truncated", "a track stops before its end")
        if content[0] < 0x80 and status is None:
            raise MidiError("damaged", "a track begins in the middle of an event")
        if 0x80 <= content[0] < 0xF0:
            status = content[0]
        tick += delta.time
        position += len(window) - len(left)
        yield tick, event
    if not believed:
        raise MidiError("truncated", "a track stops before its end")


def _next_event(window: Any, delta: midi.DeltaTime, event: midi.MidiEvent) -> tuple[Any, Any]:
    """Let music21 read a time and an event; return what follows each, nothing if it wants more."""
    try:
        _, content = delta.readUntilLowByte(window)
        left = event.read(content)
        taken = len(window) - len(content)
        if content[0] >= 0xF0:
            length = content[2 if content[0] == 0xFF else 1 :]
            taken = max(taken, len(length) - len(midi.getVariableLengthNumber(length)[1]))
    except IndexError:
        return b"", b""
    except midi.MidiException as error:
        raise MidiError("damaged", str(error)) from error
    if taken > 4:
        raise MidiError("damaged", "a time or length takes more than four bytes")
    return content, left


Setting = dict[int, Any]  # by tick


def _in_time(
    tracks: Iterable[tuple[bytes, bool]], tempos: Setting, signatures: Setting
) -> list[tuple[int, int, Any, int, int, int]]:
    """Return (tick, 16 * port + channel, kind, number, value, track) in the order of time.

    At one tick, what sets a channel comes before the notes of other tracks. Fill in the tempos and
    time signatures on the way.
    """
    found = []
    for track, (data, believed) in enumerate(tracks):
        port, struck = 0, -1
        for tick, event in _events(data, believed):
            kind, number, value = event.type, event.parameter1, event.parameter2
            channel = 16 * port + event.channel - 1
            if kind is NOTE_ON or kind is NOTE_OFF:
                if number > 127:
                    raise MidiError("damaged", f"a pitch of {number}; 127 is the highest")
                kind = NOTE_ON if kind is NOTE_ON and value else NOTE_OFF
                struck = tick
                found.append((2 * tick + 1, channel, kind, number, min(value, 127), track))
            elif kind is Meta.MIDI_PORT and number:
                port = number[0]
            elif kind is Meta.SET_TEMPO and any(number[:3]):
                tempos[tick] = 60_000_000 / int.from_bytes(number[:3])
            elif kind is Meta.TIME_SIGNATURE and len(number) > 1 and number[0]:
                signatures[tick] = number[0], 1 << min(number[1], 7)
            elif kind is SYSTEM and (part := drum_part(number)):
                found.append((2 * tick, 16 * port + part[0], kind, 0, part[1], track))
            elif kind is PROGRAM or kind is CONTROLLER or kind in SILENCE:
                found.append((2 * tick + (struck == tick), channel, kind, number, value, track))
    found.sort(key=itemgetter(0))
    return found
