"""What is fixed of a piece, as the network reads it: a list of events in the encoding's order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby

import numpy as np

from midilstm.generation.source_piece import SourcePiece
from midilstm.midi import DEFAULT_BPM, DRUMS, Note
from midilstm.tokenizers import meter
from midilstm.tokenizers.meter import POSITIONS, beats_of, parse_signature, parts
from midilstm.tokenizers.order import program_rank
from midilstm.tokenizers.vocabulary import Vocabulary

LONG = 8  # beats from which on lengths are whole beats
# A place is one integer: the bar in `remi`, else the step in time; the rank of the program; the
# position in the bar; the pitch. The last three count from 1. Each has so many bits to its right.
BITS = (25, 17, 8, 0)
FixedNote = tuple[int, tuple[str, ...]]  # its place, and its tokens of pitch, velocity, duration


def key_of(*place: int) -> int:
    """Return a place as an integer, given its first values; the others are 0, before any."""
    return sum(value << bits for value, bits in zip(place, BITS, strict=False))


class FixedNotes:
    """The fixed notes, and in `remi` the bar lines, of a source as events.

    `keys` int64 [E + 2] are their places; the last but one is the end of the piece. The tokens
    that are forced before event e, and after the one before it, are those of `codes`, ids of single
    tokens, up to `ends[e]`. Bars that are not drawn are one event.
    `begins` int [N + 1] are the first values of the places of the bars and of the end, `rooms` and
    `grids` int [N + 1] the steps per bar and per quarter note. `steps` int [N + 1] are where bars
    begin, in twelfths of a quarter note.
    """

    def __init__(self, source: SourcePiece, vocabulary: Vocabulary) -> None:
        """Find the nearest known tokens of all that is fixed."""
        self.source, self.encoding = source, vocabulary.encoding
        self.has_bars = self.encoding.keeps_meter
        tokens = sorted(token for token in vocabulary.tokens[1:] if " " not in token)
        self._known = {kind: [*x] for kind, x in groupby(tokens, lambda x: parts(x)[0])}
        self._nearest = cache(self._find_nearest)
        programs = {program for x in tokens for program in self.encoding.content(x).programs}
        self.programs = sorted(programs, key=program_rank if self.has_bars else None)
        shifts = self._known.get("TimeShift", [])
        self._shifts = {round(beats_of(parts(x)[1]) * POSITIONS): x for x in shifts}
        self.shifts = np.array(sorted(self._shifts) or [1])
        meters = [parse_signature(parts(x)[1]) for x in self._known.get("TimeSig", ())]
        self.meters = [meter.nearest_known(x, meters) for x in source.signatures]
        units = [meter.to_miditok_meter(x)[1] if self.has_bars else 4 for x in self.meters]
        self.grids = np.array([*units, 4]) * POSITIONS // 4
        lengths = np.array([*(4 * beats / unit for beats, unit in source.signatures), 4])
        self.rooms = np.round(lengths * self.grids).astype(int)
        steps = np.round(np.array(source.ticks) * POSITIONS / source.score.ticks_per_quarter)
        self.steps = steps.astype(int)
        self.begins = np.arange(len(steps)) if self.has_bars else self.steps
        begin = [(0, ())] if source.is_drawn[0] and not self.has_bars else []
        events = [*begin, *self._events(), (key_of(int(self.begins[-1])), ())]
        self.keys = np.array([*(key for key, _ in events[1:]), -1])
        forced = [events[0][1], *(_after_own(tokens) for _, tokens in events[1:]), [""]]
        self.ends = np.cumsum([len(tokens) for tokens in forced])
        self.codes = vocabulary.ids_of([token for tokens in forced for token in tokens])

    def _find_nearest(self, token: str) -> str | None:
        known = self._known.get(parts(token)[0], [])
        return token if token in known else self.encoding.nearest(token, known)

    def _events(self) -> Iterator[tuple[int, Sequence[str]]]:
        """Yield the place and the tokens of each event."""
        headers, notes = self._headers(), [list[FixedNote]() for _ in self.meters]
        read = {x[0]: x for note in self.source.fixed_notes[0] if (x := self._read(note))}
        for key, bar, tokens in sorted(read.values()):
            notes[bar].append((key, tokens))
        for is_drawn, group in groupby(range(len(notes)), self.source.is_drawn.__getitem__):
            bars = [*group]
            fixed = [note for bar in bars for note in notes[bar]]
            if is_drawn:
                for bar in bars:
                    yield from [(key_of(bar), headers[bar])] if self.has_bars else []
                    yield from notes[bar]
            elif self.has_bars:
                blocks = ([*headers[bar], *self._block(notes[bar])] for bar in bars)
                block = [token for block in blocks for token in block]
                # A model of single instruments has read the name of one that plays alone.
                players = [*self.source.drawn.union(self.source.read_as.values())]
                name = [f"Program_{players[0]}"] * (bars[0] > 0 and len(players) == 1)
                yield key_of(bars[0]), self.encoding.abbreviate([*name, *block])[len(name) :]
            elif fixed:
                yield fixed[0][0], self._block(fixed, 0 if bars[0] == 0 else None)

    def _headers(self) -> list[list[str]]:
        """Return the tokens of each bar before its first program."""
        meters, tempos, last = self._known.get("TimeSig", ()), dict[tuple[int, str], str](), ""
        names = map(meter.signature_token, self.meters)
        headers = [["Bar_None", *([name] if name in meters else [])] for name in names]
        for tick, bpm in {0: DEFAULT_BPM, **self.source.score.tempos}.items():
            bar, offset = self._place(tick)
            position, tempo = self._position(bar, offset), self._nearest(f"Tempo_{bpm}")
            if position and tempo and tick < self.source.ticks[-1]:
                tempos[bar, position] = tempo
        for (bar, position), tempo in tempos.items():
            headers[bar] += [position, tempo] if tempo != last else []
            last = tempo
        return headers

    def _read(self, note: Note) -> tuple[int, int, tuple[str, ...]] | None:
        """Return a note's place, its bar and its tokens, if the network knows such notes."""
        program = self.source.read_as.get(note.program)
        bar, offset = self._place(note.start)
        steps = max(1, round(note.length * self.grids[bar] / self.source.score.ticks_per_quarter))
        beats, rest = divmod(steps, POSITIONS)
        is_long, kind = beats >= LONG, "PitchDrum" if program == DRUMS else "Pitch"
        length = f"{round(steps / POSITIONS)}.0.1" if is_long else f"{beats}.{rest}.{POSITIONS}"
        names = f"{kind}_{note.pitch}", f"Velocity_{note.velocity}", f"Duration_{length}"
        tokens = tuple(token for name in names if (token := self._nearest(name)))
        if program is None or len(tokens) < len(names):
            return None
        rank, pitch = self.programs.index(program) + 1, int(parts(tokens[0])[1]) + 1
        if not self.has_bars:
            step = int(self.begins[bar]) + offset
            step -= step % int(self.shifts[0])  # multiples of the shortest shift can be reached
            return key_of(step, rank, 0, pitch), bar, tokens
        if not (position := self._position(bar, offset)):
            return None
        return key_of(bar, rank, int(parts(position)[1]) + 1, pitch), bar, tokens

    def _place(self, tick: int) -> tuple[int, int]:
        """Return the bar of a tick, and the step in it."""
        bar, quarter = self.source.bar_of(tick), self.source.score.ticks_per_quarter
        return bar, max(0, round((tick - self.source.ticks[bar]) * self.grids[bar] / quarter))

    def _position(self, bar: int, offset: int) -> str | None:
        """Return the token of a step in a bar, None where the nearest one is not in that bar."""
        position = self._nearest(f"Position_{offset}")
        room = POSITIONS * meter.to_miditok_meter(self.meters[bar])[0]
        return position if position and int(parts(position)[1]) < room else None

    def _block(self, notes: Iterable[FixedNote], now: int | None = None) -> list[str]:
        """Return the tokens of notes, in `remi` of one bar, else with the shifts from a step."""
        block, rank, position = list[str](), 0, 0
        for key, tokens in notes:
            step, new_rank, new_position = (key >> bits for bits in BITS[:3])
            gap = 0 if self.has_bars or now is None else step - now
            while index := bisect_right(self.shifts, gap):
                block.append(self._shifts[int(self.shifts[index - 1])])
                gap -= int(self.shifts[index - 1])
            now = step
            if new_rank & 255 != rank:
                rank, position = new_rank & 255, 0
                block.append(f"Program_{self.programs[rank - 1]}")
            if new_position & 511 != position:
                position = new_position & 511
                block.append(f"Position_{position - 1}")
            block += tokens
        return block

    def offset(self, place: Sequence[int]) -> tuple[int, int]:
        """Return the bar of a place, and the step in it."""
        bar = max(0, int(np.searchsorted(self.begins, place[0], "right")) - 1)
        return bar, max(0, place[2] - 1 if self.has_bars else place[0] - int(self.begins[bar]))

    def position(self, place: Sequence[int]) -> tuple[float, float]:
        """Return the bars from the beginning, and the beats into the bar, of a place."""
        bar, offset = self.offset(place)
        unit = [*self.source.signatures, meter.COMMON_TIME][bar][1]
        return bar + offset / self.rooms[bar], offset / self.grids[bar] * unit / 4

    def note_at(self, place: Sequence[int], velocity: int, beats: float) -> Note:
        """Return the note of the score at a place of a bar or step, rank, position and pitch."""
        bar, offset = self.offset(place)
        scale = self.source.score.ticks_per_quarter / self.grids[bar]
        start = self.source.ticks[bar] + round(offset * scale)
        length = max(1, round(beats * POSITIONS * scale))
        return Note(start, length, place[3] - 1, velocity, self.programs[place[1] - 1])


def _after_own(tokens: Sequence[str]) -> Sequence[str]:
    """Return the tokens of an event that follow those that lead to it."""
    kinds = [parts(token)[0] in ("Bar", "Pitch", "PitchDrum") for token in tokens]
    return tokens[kinds.index(True) + 1 :] if tokens else ()
