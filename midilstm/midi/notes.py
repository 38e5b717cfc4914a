"""What MIDI events say in the order of time: a song, its instruments and ends. Knows no files."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from music21.midi import ChannelModeMessages as Mode
from music21.midi import ChannelVoiceMessages as Voice
from music21.midi import MetaEvents, MidiEvent, SysExEvents
from pretty_midi import program_to_instrument_name

NOTE_ON, NOTE_OFF = Voice.NOTE_ON, Voice.NOTE_OFF
PROGRAM, CONTROLLER = Voice.PROGRAM_CHANGE, Voice.CONTROLLER_CHANGE
SOUND_OFF, NOTES_OFF = Mode.ALL_SOUND_OFF, Mode.ALL_NOTES_OFF
SYSTEM = SysExEvents.F0_SYSEX_EVENT
BANK, PEDAL = 0, 64  # controllers
DRUM_BANKS = (120, 127)  # those of General MIDI 2 and of XG
PERCUSSION = 9  # MIDI channel 10, counted from 0
DRUMS = -1  # the program of percussion, as in MidiTok
LEGATO = 4  # a note may overlap the next of its key by one part in so many of its length
SOON = 8  # or both may end, if the second does so within so many lengths of the first

# Messages that make a part one of drums, or no longer: its number, and whether it is.
GS_PART = re.compile(rb"\x41.\x42\x12\x40([\x10-\x1f])\x15(.)", re.DOTALL)
GS_CHANNELS = (PERCUSSION, *range(PERCUSSION), *range(PERCUSSION + 1, 16))
XG_PART = re.compile(rb"\x43[\x10-\x1f]\x4c\x08([\x00-\x0f])\x07(.)", re.DOTALL)

KeyEvent = tuple[int, int, int]  # tick, velocity (0 where the key is let go), program


class Note(NamedTuple):
    """A note: times in ticks, General MIDI program 0..127 or DRUMS, track counted from 0."""

    start: int
    length: int
    pitch: int
    velocity: int = 90
    program: int = 0
    track: int = 0


@dataclass(frozen=True)
class Score:
    """The notes of a file, by start, then pitch; tempos and time signatures by tick."""

    ticks_per_quarter: int
    notes: tuple[Note, ...]
    tempos: Mapping[int, float] = field(default_factory=dict)  # quarter notes a minute
    time_signatures: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # 3, 4 for 3/4
    hanging_notes: int = 0  # notes that begin and never end; they are not among the notes
    warnings: tuple[str, ...] = ()  # a sentence each
    has_sustain_pedal: bool = False  # whether a sustain pedal is pressed, heard or not

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


def hear(
    tracks: Iterable[Iterable[tuple[int, MidiEvent]]], ticks_per_quarter: int, *, pedal: bool
) -> Score:
    """Return what the tracks' (tick, event) pairs say together, whichever track says it."""
    tempos: dict[int, float] = {}
    signatures: dict[int, tuple[int, int]] = {}
    events = _in_time(tracks, tempos, signatures)
    channels = {n: _Channel(n % 16 == PERCUSSION) for n in {event[1] for event in events}}
    for time, number, kind, first, second, track in events:
        channels[number].hear(time // 2, kind, first, second, track)
    for channel in channels.values():
        channel.release()
    notes = [note for channel in channels.values() for note in channel.notes]
    has_sustain_pedal = any(channel.pedal for channel in channels.values())
    if pedal and has_sustain_pedal:
        last = max((note.start + note.length for note in notes), default=0)
        notes = [note for channel in channels.values() for note in channel.sustained(last)]
    return Score(
        ticks_per_quarter,
        tuple(sorted(notes, key=itemgetter(0, 2, 1, 3, 4, 5))),
        dict(sorted(tempos.items())),
        dict(sorted(signatures.items())),
        sum(channel.hanging_notes for channel in channels.values()),
        has_sustain_pedal=has_sustain_pedal,
    )


def _in_time(
    tracks: Iterable[Iterable[tuple[int, MidiEvent]]],
    tempos: dict[int, float],
    signatures: dict[int, tuple[int, int]],
) -> list[tuple[int, int, Any, int, int, int]]:
    """Return (2 * tick, 16 * port + channel, kind, number, value, track) in the order of time.

    At one tick, what sets a channel comes before the notes of all tracks (2 * tick + 1), unless it
    comes after one in its own. Fill in the tempos and time signatures on the way.
    """
    found = []
    for track, events in enumerate(tracks):
        port, struck = 0, -1
        for tick, event in events:
            kind, number, value = event.type, event.parameter1, event.parameter2
            channel = 16 * port + event.channel - 1
            if kind is NOTE_ON or kind is NOTE_OFF:
                kind, struck = NOTE_ON if kind is NOTE_ON and value else NOTE_OFF, tick
                found.append((2 * tick + 1, channel, kind, number, min(value, 127), track))
            elif kind is PROGRAM or kind is CONTROLLER or kind in (SOUND_OFF, NOTES_OFF):
                found.append((2 * tick + (struck == tick), channel, kind, number, value, track))
            elif kind is MetaEvents.MIDI_PORT and number:
                port = number[0]
            elif kind is MetaEvents.SET_TEMPO and any(number[:3]):
                tempos[tick] = 60_000_000 / int.from_bytes(number[:3])
            elif kind is MetaEvents.TIME_SIGNATURE and len(number) > 1 and number[0]:
                signatures[tick] = number[0], 1 << min(number[1], 7)
            elif kind is SYSTEM and (part := _drum_part(number)):
                found.append((2 * tick, 16 * port + part[0], kind, 0, part[1], track))
    found.sort(key=itemgetter(0))
    return found


def _drum_part(message: bytes) -> tuple[int, bool] | None:
    """Return the channel that a GS or XG message makes a drum part, or no longer one; or None."""
    for pattern, channels in ((GS_PART, GS_CHANNELS), (XG_PART, range(16))):
        if found := pattern.match(message):
            return channels[found[1][0] & 15], found[2] != b"\0"
    return None


@dataclass
class _Channel:
    """One channel of one port: it hears events in the order of time, and makes notes of them."""

    rhythm: bool  # whether it is a drum part, whatever its program
    bank: int = 0
    patch: tuple[int, int] = (-1, 0)  # the tick of the last program change, and the program
    patches: dict[int, tuple[int, int]] = field(default_factory=dict)  # each track's own last
    pedal: list[int] = field(default_factory=list)  # the ticks of down, up, down ...
    keys: dict[tuple[int, int], list[KeyEvent]] = field(default_factory=lambda: defaultdict(list))
    struck: dict[int, int] = field(default_factory=dict)  # pitch → the track that struck it last
    notes: list[Note] = field(default_factory=list)
    hanging_notes: int = 0

    def hear(self, tick: int, kind: Any, number: int, value: int, track: int) -> None:
        """Take in the next event."""
        if kind is NOTE_ON:
            self.struck[number] = track
            # Where two tracks set a program at one moment, each means its own notes.
            program = max(self.patches.get(track, self.patch), self.patch, key=itemgetter(0))[1]
            self.keys[number, track].append((tick, value, DRUMS if self.rhythm else program))
        elif kind is NOTE_OFF:
            # Where its own track has not struck the key, it ends another track's note.
            striker = track if (number, track) in self.keys else self.struck.get(number)
            if striker is not None:
                self.keys[number, striker].append((tick, 0, 0))
        elif kind is PROGRAM:
            self.patch = tick, DRUMS if self.bank in DRUM_BANKS else number
            self.patches[track] = self.patch
        elif kind is SYSTEM:
            self.rhythm = bool(value)
        elif kind is SOUND_OFF or kind is NOTES_OFF:
            self.release(tick)
            if kind is SOUND_OFF and len(self.pedal) % 2:
                self.pedal += tick, tick  # what it holds, too
        elif kind is CONTROLLER and number == BANK:
            self.bank = value
        elif kind is CONTROLLER and number == PEDAL and (value >= 64) != len(self.pedal) % 2:
            self.pedal.append(tick)

    def release(self, tick: int | None = None) -> None:
        """Make notes of all that was struck; what still sounds ends at `tick`, or never."""
        for (pitch, track), strokes in self.keys.items():
            for (start, velocity, program), end in _paired(strokes, tick):
                if end is None:
                    self.hanging_notes += 1
                else:
                    self.notes.append(Note(start, end - start, pitch, velocity, program, track))
        self.keys.clear()
        self.struck.clear()

    def sustained(self, last: int) -> Iterator[Note]:
        """Yield the notes, held until the pedal is up (or `last`), or the key is struck again."""
        repeated_mask: dict[int, int] = {}
        for note in sorted(self.notes, reverse=True):
            end = note.start + note.length
            turn = bisect_left(self.pedal, end)
            if turn % 2 and note.program != DRUMS:
                up = self.pedal[turn] if turn < len(self.pedal) else last
                end = max(end, min(up, repeated_mask.get(note.pitch, up)))
            repeated_mask[note.pitch] = note.start
            yield note._replace(length=end - note.start)


def _paired(strokes: list[KeyEvent], last: int | None) -> Iterator[tuple[KeyEvent, int | None]]:
    """Yield each stroke that begins a note of one key, and the tick at which the note ends.

    What begins first ends first. But a note whose own end was lost ends where the next begins: one
    for which no end is left, and one that would reach too far into the next for legato, unless the
    next ends soon as well (a key that two parts share). `last` ends the rest.
    """
    left: list[int] = []  # for a beginning, how many ends it may have; for an end, how many follow
    ends = row = 0
    for _, velocity, _ in reversed(strokes):
        left.append(ends if velocity else row)
        row = 0 if velocity else row + 1
        ends = max(0, ends - 1) if velocity else ends + 1
    sounding: deque[KeyEvent] = deque()
    lost: KeyEvent | None = None
    for index, follow in enumerate(reversed(left)):
        tick, velocity, _ = stroke = strokes[index]
        if velocity:
            if lost:
                yield lost, tick if tick > lost[0] else None
            lost = None if follow else stroke
            if follow:
                sounding.append(stroke)
        elif sounding:
            first = sounding.popleft()
            second = sounding[0][0] if sounding else first[0]
            if first[0] < second and LEGATO * (tick - second) > tick - first[0]:
                wait = strokes[index + 1][0] - tick
                if follow < len(sounding) or wait > SOON * (tick - first[0]):
                    yield first, second
                    first = sounding.popleft()
            yield first, tick
    if lost:
        yield lost, last
