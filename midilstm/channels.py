"""What a MIDI channel plays: programs, drums, the pedal, and where notes end. Knows no files."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from music21.midi import ChannelModeMessages, ChannelVoiceMessages, SysExEvents

NOTE_ON, NOTE_OFF = ChannelVoiceMessages.NOTE_ON, ChannelVoiceMessages.NOTE_OFF
PROGRAM, CONTROLLER = ChannelVoiceMessages.PROGRAM_CHANGE, ChannelVoiceMessages.CONTROLLER_CHANGE
SILENCE = (ChannelModeMessages.ALL_SOUND_OFF, ChannelModeMessages.ALL_NOTES_OFF)
SYSTEM = SysExEvents.F0_SYSEX_EVENT
BANK, PEDAL = 0, 64  # controllers
DRUM_BANKS = (120, 127)  # those of General MIDI 2 and of XG
PERCUSSION = 9  # MIDI channel 10, counted from 0
DRUMS = -1  # the program of percussion, as in MidiTok
LEGATO = 4  # a note may overlap the next of its key by one part in so many of its length

# Messages that make a part one of drums, or no longer: its number, and whether it is.
GS_PART = re.compile(rb"\x41.\x42\x12\x40([\x10-\x1f])\x15(.)", re.DOTALL)
GS_CHANNELS = (PERCUSSION, *range(PERCUSSION), *range(PERCUSSION + 1, 16))
XG_PART = re.compile(rb"\x43[\x10-\x1f]\x4c\x08([\x00-\x0f])\x07(.)", re.DOTALL)

Stroke = tuple[int, int, int]  # tick, velocity (0 where the key is let go), program


class Note(NamedTuple):
    """A note: times in ticks, General MIDI program 0..127 or DRUMS, track counted from 0."""

    start: int
    length: int
    pitch: int
    velocity: int = 90
    program: int = 0
    track: int = 0


def drum_part(message: bytes) -> tuple[int, bool] | None:
    """Return the channel that a GS or XG message makes a drum part, or no longer one; or None."""
    if found := GS_PART.match(message):
        return GS_CHANNELS[found[1][0] & 15], found[2] != b"\0"
    if found := XG_PART.match(message):
        return found[1][0], found[2] != b"\0"
    return None


@dataclass
class Channel:
    """One channel of one port: it hears events in the order of time, and makes notes of them."""

    rhythm: bool  # whether it is a drum part, whatever its program
    bank: int = 0
    patch: tuple[int, int] = (-1, 0)  # the tick of the last program change, and the program
    patches: dict[int, tuple[int, int]] = field(default_factory=dict)  # each track's own last
    pedal: list[int] = field(default_factory=list)  # the ticks of down, up, down ...
    keys: dict[tuple[int, int], list[Stroke]] = field(default_factory=lambda: defaultdict(list))
    struck: dict[int, int] = field(default_factory=dict)  # pitch → the track that struck it last
    notes: list[Note] = field(default_factory=list)
    unended: int = 0

    def hear(self, tick: int, kind: Any, number: int, value: int, track: int) -> None:
        """Take in the next event."""
        if kind is NOTE_ON:
            self.struck[number] = track
            # Where two tracks set a program at one moment, each means its own notes.
            program = max(self.patches.get(track, self.patch), self.patch, key=itemgetter(0))[1]
            self.keys[number, track].append((tick, value, DRUMS if self.rhythm else program))
        elif kind is NOTE_OFF:
            if (number, track) not in self.keys:
                track = self.struck.get(number, track)  # it ends another track's note
            self.keys[number, track].append((tick, 0, 0))
        elif kind is PROGRAM:
            self.patch = tick, DRUMS if self.bank in DRUM_BANKS else number
            self.patches[track] = self.patch
        elif kind is SYSTEM:
            self.rhythm = bool(value)
        elif kind in SILENCE:
            self.release(tick)
        elif kind is CONTROLLER and number == BANK:
            self.bank = value
        elif kind is CONTROLLER and number == PEDAL and (value >= 64) != len(self.pedal) % 2:
            self.pedal.append(tick)

    def release(self, tick: int | None = None) -> None:
        """Make notes of all that was struck; what still sounds ends at `tick`, or never."""
        for (pitch, track), strokes in self.keys.items():
            for (start, velocity, program), end in paired(strokes, tick):
                if end is None:
                    self.unended += 1
                else:
                    self.notes.append(Note(start, end - start, pitch, velocity, program, track))
        self.keys.clear()
        self.struck.clear()

    def sustained(self, last: int) -> Iterator[Note]:
        """Yield the notes, held until the pedal is up (or `last`), or the key is struck again."""
        again: dict[int, int] = {}
        for note in sorted(self.notes, reverse=True):
            end = note.start + note.length
            turn = bisect_left(self.pedal, end)
            if turn % 2 and note.program != DRUMS:
                up = self.pedal[turn] if turn < len(self.pedal) else last
                end = max(end, min(up, again.get(note.pitch, up)))
            again[note.pitch] = note.start
            yield note._replace(length=end - note.start)


def paired(strokes: list[Stroke], last: int | None) -> Iterator[tuple[Stroke, int | None]]:
    """Yield each stroke that begins a note of one key, and the tick at which the note ends.

    What begins first ends first. But a note whose own end was lost ends where the next begins: one
    for which no end is left, and one that would reach too far into the next for legato, unless all
    that sounds ends before another begins (a key that two parts share). `last` ends the rest.
    """
    left: list[int] = []  # for a beginning, how many ends it may have; for an end, how many follow
    ends = row = 0
    for _, velocity, _ in reversed(strokes):
        left.append(ends if velocity else row)
        row = 0 if velocity else row + 1
        ends = max(0, ends - 1) if velocity else ends + 1
    sounding: deque[Stroke] = deque()
    lost: Stroke | None = None
    for stroke, follow in zip(strokes, reversed(left), strict=True):
        tick, velocity, _ = stroke
        if velocity:
            if lost:
                yield lost, tick if tick > lost[0] else None
            lost = None if follow else stroke
            if follow:
                sounding.append(stroke)
        elif sounding:
            first = sounding.popleft()
            if follow < len(sounding):
                second = sounding[0][0]
                if first[0] < second and LEGATO * (tick - second) > tick - first[0]:
                    yield first, second
                    first = sounding.popleft()
            yield first, tick
    if lost:
        yield lost, last
