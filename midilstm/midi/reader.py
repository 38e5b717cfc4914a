"""MIDI files ⇄ songs: music21 reads the events, channels.py hears the notes. Knows no tokens."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

import symusic
from music21 import midi
from music21.midi import MetaEvents as Meta

from midilstm.fileio import InputError, open_regular
from midilstm.midi.notes import DRUMS, Score, hear, instrument_name
from midilstm.midi.notes import Note as Note

# Raise it whenever the same bytes would give other notes or reasons: caches go by it.
VERSION = 3

MAX_BYTES = 2 * 2**20  # the worst such file takes 5 seconds and 313 MB (benchmarks/parse.md)
MAX_QUARTERS = 20_000  # nearly three hours at 120 beats a minute: beyond it, a broken clock
MAX_JUNK = 4096  # bytes allowed before the header; further in, it is another file's content
WINDOW = 16  # bytes, enough for most events
DEFAULT_BPM = 120.0  # what MIDI takes a file to be in that says nothing


class MidiError(ValueError):
    """Say in one plain sentence why some bytes give no song; `reason` is the short category."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason


def program_of(text: str) -> int:
    """Return the General MIDI program of a number, or of the beginning of one name.

    Raise InputError for what is none, or the beginning of several.
    """
    if text.isdecimal():
        if int(text) > 127:
            raise InputError(f"{text} is not a General MIDI program from 0 to 127")
        return int(text)
    names, wanted = [instrument_name(program) for program in range(128)], text.strip().lower()
    found = [i for i, name in enumerate(names) if wanted and name.lower().startswith(wanted)]
    if len(found) == 1:
        return found[0]
    named = ", ".join(names[number] for number in found[:8])
    hint = f"it could be {named}" if found else "try violin, church organ or flute"
    raise InputError(f"{text!r} is not one General MIDI instrument: {hint}")


def read(source: Path | str | bytes, *, pedal: bool = True) -> Score:
    """Read a MIDI file's path, or its bytes; without `pedal`, the sustain pedal is not heard.

    Raise MidiError, and nothing else, for any contents; OSError for a path that cannot be read.
    Time and memory grow linearly with the number of bytes.
    """
    if isinstance(source, bytes):
        data = source
    else:
        with open_regular(Path(source)) as file:
            data = file.read(MAX_BYTES + 1)  # enough to know that a file is too large
    start, promised, ticks_per_quarter = _read_header(data)
    tracks = list(_tracks(data, start))
    held = f"its header promises {promised} tracks, it holds {len(tracks)}"
    if promised and not tracks:
        raise MidiError("truncated", held)
    song = hear((_events(*track) for track in tracks), ticks_per_quarter, pedal=pedal)
    if not song.notes:
        raise MidiError(
            *("hanging notes", "they never end") if song.hanging_notes else ("no notes",)
        )
    if song.quarters > MAX_QUARTERS:
        raise MidiError("absurdly long", f"it lasts more than {MAX_QUARTERS} quarter notes")
    return replace(song, warnings=(held,)) if len(tracks) < promised else song


def with_tempo_and_program(
    song: Score, *, bpm: float | None = None, instrument: int | None = None
) -> Score:
    """Return a song at a tempo and on an instrument, where given, and with a tempo in any case."""
    if bpm is not None or not song.tempos:
        song = replace(song, tempos={0: DEFAULT_BPM if bpm is None else bpm})
    if instrument is None:
        return song
    played = (n if n.program == DRUMS else n._replace(program=instrument) for n in song.notes)
    return replace(song, notes=tuple(played))


def to_bytes(song: Score) -> bytes:
    """Return a MIDI file of a song, the mirror of `read`: a conductor, then a track a program."""
    score = symusic.Score(song.ticks_per_quarter)
    by_program = attrgetter("program")
    for program, notes in groupby(sorted(song.notes, key=by_program), by_program):
        track = symusic.Track(program=max(0, program), is_drum=program == DRUMS)
        track.notes.extend(symusic.Note(*note[:4]) for note in notes)
        score.tracks.append(track)
    # symusic is twelve times as fast as music21 here (benchmarks/parse.md), but would write what
    # holds for all among an instrument's notes: the track of that is put in, and counted.
    data, tracks = bytes(score.dumps_midi()), len(score.tracks) + 1
    return data[:10] + tracks.to_bytes(2) + data[12:14] + _conductor(song) + data[14:]


def _conductor(song: Score) -> bytes:
    """Return the track of a song's time signatures and tempos."""
    said = [
        (tick, [0x58, 4, n, of.bit_length() - 1, 24, 8])
        for tick, (n, of) in song.time_signatures.items()
    ]
    for tick, bpm in song.tempos.items():
        said.append((tick, [0x51, 3, *round(60_000_000 / bpm).to_bytes(3)]))
    said.sort(key=itemgetter(0))
    ticks, events = [0, *(tick for tick, _ in said)], b""
    for before, (tick, event) in zip(ticks, said, strict=False):
        events += bytes([*midi.putVariableLengthNumber(tick - before), 0xFF, *event])
    events += b"\0\xff\x2f\0"
    return b"MTrk" + len(events).to_bytes(4) + events


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
    tick = position = status = 0
    while position < len(track):
        event.lastStatusByte = status or None
        window: Any = padded[position : position + WINDOW]
        content, left = _next_event(window, delta, event)
        if not left:  # music21 copies what it is given, so it gets all the rest only now
            window = memoryview(padded)[position:]
            content, left = _next_event(window, delta, event)
        if event.type is Meta.END_OF_TRACK:
            return
        if not left:
            raise MidiError("truncated", "a track stops before its end")
        first = content[0]
        if first < 0x80 and not status:
            raise MidiError("damaged", "a track begins in the middle of an event")
        if first < 0xF0:
            status = first if first >= 0x80 else status
            if status < 0xA0 and event.parameter1 > 127:
                raise MidiError("damaged", f"a pitch of {event.parameter1}; 127 is the highest")
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
