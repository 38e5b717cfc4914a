"""Read MIDI files: music21 decodes the events of a track, notes.py makes a score of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from music21 import midi
from music21.midi import MetaEvents

from midilstm.fileio import open_regular
from midilstm.midi.notes import apply_sustain, decode_events
from midilstm.midi.score import MidiError, Score

# Raise it whenever the same bytes would give other notes or reasons: cache keys contain it.
VERSION = 6

MAX_BYTES = 2 * 2**20  # the worst such file takes 5 seconds and 313 MB (benchmarks/parse.md)
MAX_JUNK = 4096  # bytes allowed before the header; a later header is another file's content
WINDOW = 16  # bytes, enough for most events


def read(source: Path | str | bytes, *, pedal: bool = True) -> Score:
    """Read a MIDI file's path, or its bytes; without `pedal`, sustain pedals are not applied.

    Raise MidiError, and nothing else, for any contents; OSError for a path that cannot be read.
    Time and memory grow linearly with the number of bytes.
    """
    if isinstance(source, bytes):
        data = source
    else:
        with open_regular(Path(source)) as file:
            data = file.read(MAX_BYTES + 1)  # one byte more shows that a file is too large
    start, n_promised, ticks_per_quarter = _read_header(data)
    tracks = list(_split_tracks(data, start))
    missing = f"its header promises {n_promised} tracks, but it holds {len(tracks)}"
    if n_promised and not tracks:
        raise MidiError("truncated", missing)
    score = decode_events((_read_events(*track) for track in tracks), ticks_per_quarter)
    if not score.notes and score.hanging_notes:
        raise MidiError("hanging notes", "they never end")
    if not score.notes:
        raise MidiError("no notes")
    if len(tracks) < n_promised:
        score = replace(score, warnings=(missing,))
    return apply_sustain(score) if pedal else score


def _read_header(data: bytes) -> tuple[int, int, int]:
    """Return the header's end, number of tracks and ticks per quarter; skip RIFF and junk."""
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
        detail = f"it is in MIDI format {kind}; formats 0 and 1 can be read"
        raise MidiError("unknown format", detail)
    if division & 0x8000:
        raise MidiError("SMPTE timing", "its times are film frames, not parts of a beat")
    if division == 0:
        raise MidiError("zero division", "its quarter note has no ticks")
    return start + 14, tracks, division


def _split_tracks(data: bytes, position: int) -> Iterator[tuple[bytes, bool]]:
    """Yield the bytes of each track, and whether its length is plausible.

    A plausible length leads to another track or to the end of the file. Otherwise the track ends
    at its End of Track event. Tracks beyond the number in the header are read, too.
    """
    while (position := data.find(b"MTrk", position)) >= 0:
        start = position + 8
        end = start + int.from_bytes(data[position + 4 : start])
        is_plausible = end <= len(data) and data[end : end + 4] in (b"", b"MTrk")
        if not is_plausible:
            end = following if (following := data.find(b"MTrk", start)) >= 0 else len(data)
        position = end
        yield data[start:end], is_plausible


def _read_events(track: bytes, is_plausible: bool) -> Iterator[tuple[int, midi.MidiEvent]]:
    """Yield (tick, event) as music21 reads them; raise MidiError where it would skip or guess.

    The event is one object that changes: creating a new one takes as long as reading it.
    """
    padded = track + b"\0"  # an event that consumes this byte is longer than the track
    delta, event = midi.DeltaTime(), midi.MidiEvent()
    tick = position = status = 0
    while position < len(track):
        event.lastStatusByte = status or None
        window: Any = padded[position : position + WINDOW]
        content, left = _next_event(window, delta, event)
        if not left:  # music21 copies its input, so it gets the whole rest only if it needs it
            window = memoryview(padded)[position:]
            content, left = _next_event(window, delta, event)
        if event.type is MetaEvents.END_OF_TRACK:
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
    if not is_plausible:
        raise MidiError("truncated", "a track stops before its end")


def _next_event(window: Any, delta: midi.DeltaTime, event: midi.MidiEvent) -> tuple[Any, Any]:
    """Let music21 read a time and an event; return the bytes after each, none if too few."""
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
