"""Decode MIDI events into notes: pairs of key events, programs, drum parts, ports and pedals."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, NamedTuple

from music21.midi import ChannelModeMessages as Mode
from music21.midi import ChannelVoiceMessages as Voice
from music21.midi import MetaEvents, MidiEvent, SysExEvents

from midilstm.midi.score import DRUMS, MAX_QUARTERS, MidiError, Note, Score

NOTE_ON, NOTE_OFF = Voice.NOTE_ON, Voice.NOTE_OFF
PROGRAM, CONTROLLER = Voice.PROGRAM_CHANGE, Voice.CONTROLLER_CHANGE
SOUND_OFF, NOTES_OFF = Mode.ALL_SOUND_OFF, Mode.ALL_NOTES_OFF
RESET_CONTROLLERS = Mode.RESET_ALL_CONTROLLERS
MODES = (SOUND_OFF, NOTES_OFF, RESET_CONTROLLERS)
SYSTEM = SysExEvents.F0_SYSEX_EVENT
BANK, PEDAL = 0, 64  # controllers
DRUM_BANKS = (120, 127)  # those of General MIDI 2 and of XG
DRUM_CHANNEL = 9  # MIDI channel 10, counted from 0
# A note may overlap the next one of its key by up to 1/4 of its length (legato). A longer overlap
# is kept only if the next note ends within 8 lengths (two parts share the key).
LEGATO_DIVISOR = 4
SHARED_KEY_LENGTHS = 8

# GS and XG messages that make a part one of drums, or of pitches again: part number, drum map.
GS_PART = re.compile(rb"\x41.\x42\x12\x40([\x10-\x1f])\x15(.)", re.DOTALL)
GS_CHANNELS = (DRUM_CHANNEL, *range(DRUM_CHANNEL), *range(DRUM_CHANNEL + 1, 16))
XG_PART = re.compile(rb"\x43[\x10-\x1f]\x4c\x08([\x00-\x0f])\x07(.)", re.DOTALL)
# GM and GM2 System On, GS Reset and System Mode Set, XG System On and All Parameter Reset.
RESETS = re.compile(
    rb"\x7e.\x09[\x01\x03]"
    rb"|\x41.\x42\x12(\x40\0\x7f\0|\0\0\x7f[\0\x01])"
    rb"|\x43[\x10-\x1f]\x4c\0\0[\x7e\x7f]\0",
    re.DOTALL,
)
DRUM_PART, RESET = "drum part", "reset"  # kinds of events that such messages are


class KeyEvent(NamedTuple):
    """A key pressed, or released where the velocity is 0."""

    tick: int
    velocity: int
    program: int


class ChannelEvent(NamedTuple):
    """An event of a channel; RESET is one of all channels of its port."""

    order: int  # 3 * tick, plus 0 for RESET, 1 for a setting, 2 for what comes after settings
    channel: int  # 16 * port + MIDI channel, counted from 0
    kind: Any  # music21's enum member, DRUM_PART or RESET
    key: int  # pitch, program or controller
    value: int
    track: int


def decode_events(
    tracks: Iterable[Iterable[tuple[int, MidiEvent]]], ticks_per_quarter: int
) -> Score:
    """Return the score of the tracks' (tick, event) pairs, sustain pedals not applied.

    Raise MidiError if it is longer than MAX_QUARTERS.
    """
    tempos: dict[int, float] = {}
    time_signatures: dict[int, tuple[int, int]] = {}
    names: dict[int, str] = {}
    events = _order_events(tracks, tempos, time_signatures, names)
    channels = {n: _Channel(n, n % 16 == DRUM_CHANNEL) for n in {event.channel for event in events}}
    for event in events:
        if event.kind is RESET:
            for channel in range(event.channel, event.channel + 16):
                if channel in channels:
                    channels[channel].reset(event.order // 3)
        else:
            channels[event.channel].update(event)
    for state in channels.values():
        state.end_notes()
    score = Score(
        ticks_per_quarter,
        sorted_notes(note for state in channels.values() for note in state.notes),
        dict(sorted(tempos.items())),
        dict(sorted(time_signatures.items())),
        sum(state.hanging_notes for state in channels.values()),
        track_names=names,
        pedal_ticks={n: tuple(state.pedal) for n, state in channels.items() if state.pedal},
    )
    return _check_length(score)


def sorted_notes(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Return the notes by start, pitch, length, velocity, program and track."""
    return tuple(sorted(notes, key=itemgetter(0, 2, 1, 3, 4, 5)))


def _order_events(
    tracks: Iterable[Iterable[tuple[int, MidiEvent]]],
    tempos: dict[int, float],
    time_signatures: dict[int, tuple[int, int]],
    names: dict[int, str],
) -> list[ChannelEvent]:
    """Return the channel events of all tracks in the order in which they take effect.

    At one tick, resets come first, then settings, then the notes of all tracks. But settings that
    follow a note of that tick in their own track come after it. Tempos, time signatures
    and the names of tracks are added to the arguments.
    """
    ordered = []
    for track, events in enumerate(tracks):
        port, note_tick = 0, -1
        for tick, event in events:
            kind, data, value = event.type, event.parameter1, event.parameter2
            channel = 16 * port + event.channel - 1
            if kind is NOTE_ON or kind is NOTE_OFF:
                kind, note_tick = NOTE_ON if kind is NOTE_ON and value else NOTE_OFF, tick
                value = min(value, 127)
                ordered.append(ChannelEvent(3 * tick + 2, channel, kind, data, value, track))
            elif kind is PROGRAM or kind is CONTROLLER or kind in MODES:
                order = 3 * tick + (2 if note_tick == tick else 1)
                ordered.append(ChannelEvent(order, channel, kind, data, value, track))
            elif kind is MetaEvents.MIDI_PORT and data:
                port = data[0]
            elif kind is MetaEvents.SET_TEMPO and any(data[:3]):
                tempos[tick] = 60_000_000 / int.from_bytes(data[:3])
            elif kind is MetaEvents.TIME_SIGNATURE and len(data) > 1 and data[0]:
                time_signatures[tick] = data[0], 1 << min(data[1], 7)
            elif kind is MetaEvents.SEQUENCE_TRACK_NAME and data:
                names.setdefault(track, bytes(data[:100]).decode(errors="replace").strip())
            elif kind is SYSTEM and RESETS.match(data):
                ordered.append(ChannelEvent(3 * tick, 16 * port, RESET, 0, 0, track))
            elif kind is SYSTEM and (part := _drum_part(data)):
                channel, is_drum = 16 * port + part[0], part[1]
                ordered.append(ChannelEvent(3 * tick + 1, channel, DRUM_PART, 0, is_drum, track))
    ordered.sort(key=itemgetter(0))
    return ordered


def _drum_part(message: bytes) -> tuple[int, bool] | None:
    """Return the channel of a GS or XG message, and whether it becomes a drum part; else None."""
    for pattern, channels in ((GS_PART, GS_CHANNELS), (XG_PART, range(16))):
        if match := pattern.match(message):
            return channels[match[1][0] & 15], match[2] != b"\0"
    return None


@dataclass
class _Channel:
    """The state of one channel of one port while its events are decoded in order."""

    channel: int
    is_drum: bool  # whatever its program
    bank: int = 0
    program: tuple[int, int] = (-1, 0)  # the tick of the last program change, and the program
    track_programs: dict[int, tuple[int, int]] = field(default_factory=dict)  # the same by track
    pedal: list[int] = field(default_factory=list)  # the ticks of down, up, down ...
    # (pitch, track) → its key events; pitch → the track that pressed it last
    keys: dict[tuple[int, int], list[KeyEvent]] = field(default_factory=lambda: defaultdict(list))
    last_track: dict[int, int] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    hanging_notes: int = 0

    def update(self, event: ChannelEvent) -> None:
        """Apply the next event."""
        order, _, kind, key, value, track = event
        tick = order // 3
        if kind is NOTE_ON:
            self.last_track[key] = track
            # If two tracks set a program at one tick, each one's notes have its own.
            program = max(
                self.track_programs.get(track, self.program), self.program, key=itemgetter(0)
            )[1]
            program = DRUMS if self.is_drum else program
            self.keys[key, track].append(KeyEvent(tick, value, program))
        elif kind is NOTE_OFF:
            # If its own track has not pressed the key, it ends another track's note.
            pressing = track if (key, track) in self.keys else self.last_track.get(key)
            if pressing is not None:
                self.keys[key, pressing].append(KeyEvent(tick, 0, 0))
        elif kind is PROGRAM:
            self.program = tick, DRUMS if self.bank in DRUM_BANKS else key
            self.track_programs[track] = self.program
        elif kind is DRUM_PART:
            self.is_drum = bool(value)
        elif kind is SOUND_OFF or kind is NOTES_OFF:
            self.end_notes(tick)
            if kind is SOUND_OFF and len(self.pedal) % 2:
                self.pedal += tick, tick  # up and down again: sustained notes end, too
        elif kind is RESET_CONTROLLERS:
            self.lift_pedal(tick)
        elif kind is CONTROLLER and key == BANK:
            self.bank = value
        elif kind is CONTROLLER and key == PEDAL and (value >= 64) != len(self.pedal) % 2:
            self.pedal.append(tick)

    def reset(self, tick: int) -> None:
        """Lift the pedal, and return to the piano, or on channel 10 to drums."""
        self.lift_pedal(tick)
        self.is_drum = self.channel % 16 == DRUM_CHANNEL
        self.bank, self.program = 0, (tick, 0)
        self.track_programs.clear()

    def lift_pedal(self, tick: int) -> None:
        """Release the pedal where it is down."""
        if len(self.pedal) % 2:
            self.pedal.append(tick)

    def end_notes(self, tick: int | None = None) -> None:
        """Turn all key events into notes; open notes end at `tick`, or are left hanging."""
        for (pitch, track), events in self.keys.items():
            for (start, velocity, program), end in _pair_events(events, tick):
                if end is None:
                    self.hanging_notes += 1
                else:
                    note = Note(start, end - start, pitch, velocity, program, track, self.channel)
                    self.notes.append(note)
        self.keys.clear()
        self.last_track.clear()


def _pair_events(
    events: list[KeyEvent], last_end: int | None
) -> Iterator[tuple[KeyEvent, int | None]]:
    """Yield each press of one key, and the tick of its end; notes still open end at `last_end`.

    The note that begins first ends first. But a note whose release is missing ends where the next
    begins: one for which no release is left, and one that would overlap the next by more than
    legato, unless the next ends soon after it (see LEGATO_DIVISOR).
    """
    # For a press, how many later releases it may use; for a release, how many follow at once.
    remaining: list[int] = []
    free = in_a_row = 0
    for event in reversed(events):
        remaining.append(free if event.velocity else in_a_row)
        in_a_row = 0 if event.velocity else in_a_row + 1
        free = max(0, free - 1) if event.velocity else free + 1
    sounding: deque[KeyEvent] = deque()
    unreleased: KeyEvent | None = None
    for index, following in enumerate(reversed(remaining)):
        event = events[index]
        tick = event.tick
        if event.velocity:
            if unreleased:
                yield unreleased, tick if tick > unreleased.tick else None
            unreleased = None if following else event
            if following:
                sounding.append(event)
        elif sounding:
            first = sounding.popleft()
            length, next_start = tick - first.tick, sounding[0].tick if sounding else first.tick
            if first.tick < next_start and LEGATO_DIVISOR * (tick - next_start) > length:
                wait = events[index + 1].tick - tick
                if following < len(sounding) or wait > SHARED_KEY_LENGTHS * length:
                    yield first, next_start
                    first = sounding.popleft()
            yield first, tick
    if unreleased:
        yield unreleased, last_end


def apply_sustain(score: Score) -> Score:
    """Return the score that `read` gives with its pedals applied, from one read without.

    A note lasts until its pedal is released (or the last note ends), or its key is pressed again.
    A pedal that goes down on the tick of a note's end does not hold it. Drums are not held. Raise
    MidiError if the result is longer than MAX_QUARTERS.
    """
    if not score.pedal_ticks:
        return score
    sustained: list[Note] = []
    next_press: dict[tuple[int, int], int] = {}  # (channel, pitch) → tick
    last = score.end
    for note in sorted(score.notes, reverse=True):
        key, end = (note.channel, note.pitch), note.start + note.length
        pedal = score.pedal_ticks.get(note.channel, ())
        change = bisect_left(pedal, end)
        if change % 2 and note.program != DRUMS:
            up = pedal[change] if change < len(pedal) else last
            end = max(end, min(up, next_press.get(key, up)))
        next_press[key] = note.start
        sustained.append(note._replace(length=end - note.start))
    return _check_length(replace(score, notes=sorted_notes(sustained)))


def _check_length(score: Score) -> Score:
    """Return the score; raise MidiError if it is longer than MAX_QUARTERS."""
    if score.quarters > MAX_QUARTERS:
        raise MidiError("absurdly long", f"it lasts more than {MAX_QUARTERS} quarter notes")
    return score
