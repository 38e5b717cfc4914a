"""Describe how a band plays together, bar by bar: its groove, its line-up and its repeats.

What is played in a bar is a set, such as that of the (position, pitch) of its drums. Two bars agree
by the Jaccard index of their sets: the size of the intersection divided by that of the union. A
statistic that a piece lacks, such as one of drums without drums, is NaN.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise
from math import nan
from statistics import fmean
from typing import NamedTuple

import numpy as np

from midilstm.evaluation.features import STEPS
from midilstm.evaluation.piece_sets import Pieces, decode
from midilstm.evaluation.similarity import Statistics, compare_statistics
from midilstm.midi import DRUMS, Score, bar_ticks, drop_leading_bars
from midilstm.tokenizers.vocabulary import Vocabulary

N_BARS = 24  # bars of a piece that are described
GRID = 12  # positions per quarter note, those of `remi`
BASS = range(32, 40)  # General MIDI programs
FEW_NOTES = 15  # of an instrument that hardly plays
DRUM_LENGTH = STEPS // 2  # a drum sounds for at least an eighth note, whatever the file says
SIMILAR = 0.8  # the Jaccard index from which on a bar is a return of another
LONGEST_BAR = 32  # quarter notes

Content = set[tuple[int, ...]]  # what is played in a bar
InstrumentBar = tuple[int, frozenset[tuple[int, int]]]  # a program, and what it plays in a bar


class BarNote(NamedTuple):
    """A note: its bar, the steps from there to its onset, its onset and end in steps."""

    bar: int
    position: int
    start: int
    stop: int
    pitch: int
    program: int


@dataclass(frozen=True)
class Bars:
    """The notes of some bars, and the steps at which bars begin and the last one ends."""

    notes: tuple[BarNote, ...]
    lines: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of bars."""
        return len(self.lines) - 1

    def contents(
        self,
        key: Callable[[BarNote], tuple[int, ...]],
        is_chosen: Callable[[BarNote], bool] | None = None,
    ) -> list[Content]:
        """Return, for each bar, the set of the keys of its chosen notes."""
        sets: list[Content] = [set() for _ in range(len(self))]
        for note in filter(is_chosen, self.notes):
            sets[note.bar].add(key(note))
        return sets


def to_bars(score: Score, n_bars: int = N_BARS, *, pad: bool = False) -> Bars:
    """Return the first bars of a score, from that of the first note on, rounded to the grid.

    A piece that ends earlier has fewer bars, but one at least, or with `pad` empty ones at its end.
    """
    score = drop_leading_bars(score) if score.notes else score
    quarter = score.ticks_per_quarter

    def to_step(tick: float) -> int:
        return round(tick * GRID / quarter) * STEPS // GRID

    ticks = bar_ticks(score, score.end + (n_bars + 1) * LONGEST_BAR * quarter)
    lines = [to_step(tick) for tick in ticks[: n_bars + 1]]
    if not pad:
        lines = lines[: max(bisect_left(lines, round(score.end * STEPS / quarter)), 1) + 1]
    notes = []
    for note in score.notes:
        start, length = to_step(note.start), round(note.length * STEPS / quarter)
        if start < lines[-1]:
            bar = bisect_right(lines, start) - 1
            position, stop = start - lines[bar], start + max(1, length)
            notes.append(BarNote(bar, position, start, stop, note.pitch, note.program))
    return Bars(tuple(notes), tuple(lines))


def _mean(values: Iterable[float]) -> float:
    """Return the mean, NaN without values."""
    return fmean(numbers) if (numbers := list(values)) else nan


def _is_pitched(note: BarNote) -> bool:
    return note.program != DRUMS


def _is_bass(note: BarNote) -> bool:
    return note.program in BASS


def jaccard(first: Content, second: Content) -> float:
    """Return the Jaccard index of two sets that are not both empty."""
    return len(first & second) / len(first | second)


def agreement(contents: Sequence[Content]) -> float:
    """Return the mean Jaccard index of neighbouring bars; two empty ones are left out."""
    return _mean(jaccard(*pair) for pair in pairwise(contents) if any(pair))


def duplicates(bars: Bars) -> float:
    """Return the share of notes that repeat the program, onset and pitch of another."""
    n_different = len({(note.start, note.pitch, note.program) for note in bars.notes})
    return 1 - n_different / len(bars.notes) if bars.notes else nan


def drum_agreement(bars: Bars) -> float:
    """Return how far the drums' (position, pitch) agree with those of the next bar."""
    drums = bars.contents(lambda n: (n.position, n.pitch), lambda n: not _is_pitched(n))
    return agreement(drums)


def bass_density(bars: Bars) -> float:
    """Return the bass's notes per bar of the piece."""
    count = sum(map(_is_bass, bars.notes))
    return count / len(bars) if count else nan


def bass_agreement(bars: Bars) -> float:
    """Return how far the positions of the bass's notes agree with those in the next bar."""
    return agreement(bars.contents(lambda n: (n.position,), _is_bass))


def minor_seconds(bars: Bars) -> float:
    """Return the share of onsets at which two pitched notes, a semitone apart, begin together."""
    onsets = defaultdict(set)
    for note in filter(_is_pitched, bars.notes):
        onsets[note.start].add(note.pitch)
    return _mean(any(p + 1 in pitches for p in pitches) for pitches in onsets.values())


def silence(bars: Bars) -> float:
    """Return the share of time in which nothing sounds."""
    sounds = np.zeros(bars.lines[-1], bool)
    for note in bars.notes:
        shortest = 1 if _is_pitched(note) else DRUM_LENGTH
        sounds[note.start : max(note.stop, note.start + shortest)] = True
    return 1 - float(sounds.mean())


def note_counts(bars: Bars) -> Counter[int]:
    """Return the number of notes of each program."""
    return Counter(note.program for note in bars.notes)


def instrument_bars(bars: Bars) -> list[InstrumentBar]:
    """Return the bars in which each instrument plays, with its (position, pitch) there."""
    played = defaultdict(set)
    for note in bars.notes:
        played[note.program, note.bar].add((note.position, note.pitch))
    return [(program, frozenset(content)) for (program, _), content in played.items()]


def repeated_bars(bars: Bars) -> float:
    """Return the share of the instruments' bars that equal an earlier one of that instrument."""
    played = instrument_bars(bars)
    return 1 - len({*played}) / len(played) if played else nan


def groove_consistency(bars: Bars) -> float:
    """Return 1 - the mean Hamming distance, per step, of neighbouring bars' onsets.

    After Wu and Yang 2020, "The Jazz Transformer on the Front Line", for bars of one length.
    """
    onsets, lengths = bars.contents(lambda n: (n.position,)), np.diff(bars.lines)
    pairs = zip(pairwise(onsets), pairwise(lengths), strict=True)
    return _mean(1 - len(a ^ b) / length for (a, b), (length, other) in pairs if length == other)


def pitch_class_change(bars: Bars) -> float:
    """Return how much the shares of the pitch classes change from a bar with pitches to the next.

    0 is no change; 1 is a change to other pitch classes alone.
    """
    counts = np.zeros((len(bars), 12))
    for note in filter(_is_pitched, bars.notes):
        counts[note.bar, note.pitch % 12] += 1
    shares = counts[counts.any(1)] / counts.sum(1, keepdims=True)[counts.any(1)]
    return _mean((np.abs(np.diff(shares, axis=0)).sum(1) / 2).tolist())


def _everything(bars: Bars) -> list[Content]:
    """Return the (program, position, pitch) of each bar."""
    return bars.contents(lambda n: (n.program, n.position, n.pitch))


def longest_loop(bars: Bars) -> float:
    """Return the most bars in a row that are the same for all instruments, 1 without repeats."""
    runs = (sum(1 for _ in run) for content, run in groupby(_everything(bars)) if content)
    return max(runs, default=nan)


def returns(bars: Bars, lag: int) -> float:
    """Return the share of bars that are nearly the same as the bar so many bars before."""
    contents = _everything(bars)
    pairs = zip(contents, contents[lag:], strict=False)
    return _mean(jaccard(*pair) >= SIMILAR for pair in pairs if any(pair))


GROOVE: dict[str, Callable[[Bars], float]] = {
    "duplicate notes": duplicates,
    "drum agreement": drum_agreement,
    "bass notes per bar": bass_density,
    "bass agreement": bass_agreement,
    "minor seconds": minor_seconds,
    "silence": silence,
    "instruments": lambda bars: len(note_counts(bars)),
    "instruments of few notes": lambda bars: sum(
        count <= FEW_NOTES for count in note_counts(bars).values()
    ),
    "repeated bars per instrument": repeated_bars,
    "notes per bar": lambda bars: len(bars.notes) / len(bars),
    "groove consistency": groove_consistency,
    "pitch-class change": pitch_class_change,
    "longest loop (bars)": longest_loop,
    "returns after 4 bars": lambda bars: returns(bars, 4),
    "returns after 8 bars": lambda bars: returns(bars, 8),
    "returns after 16 bars": lambda bars: returns(bars, 16),
}


def compare_groove(sets: Mapping[str, Pieces], vocabulary: Vocabulary) -> Statistics | None:
    """Return the statistics of groove of sets of pieces.

    They are None where the encoding states no meters, or no piece has a second instrument.
    """
    if not vocabulary.encoding.keeps_meter:
        return None
    scores = {
        group: [decode(ids, vocabulary) for ids in pieces.values()]
        for group, pieces in sets.items()
    }
    if not any(len(x.instruments) > 1 for x in chain(*scores.values())):
        return None
    bars = {group: [to_bars(score) for score in part] for group, part in scores.items()}
    return compare_statistics(bars, GROOVE)
