"""Find the bars of a score, and drop the empty ones before its first note."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from midilstm.midi.notes import sorted_notes
from midilstm.midi.score import DRUMS, Score

# A first note that begins up to this fraction of a quarter before a bar line, half a step of the
# grid of `tsd` and `remi`, belongs to the bar after it.
EARLY = 24


def bar_ticks(score: Score, end: int | None = None) -> list[float]:
    """Return the ticks before `end`, or else before the score's end, at which bars begin.

    Each time signature begins a bar; until the first one it is 4/4.
    """
    signatures, end = {0: (4, 4), **score.time_signatures}, max(end or score.end, 1)
    changes = [tick for tick in signatures if tick < end]
    ticks: list[float] = []
    for start, stop in pairwise([*changes, end]):
        beats, unit = signatures[start]
        ticks += np.arange(start, stop, score.ticks_per_quarter * 4 * beats / unit).tolist()
    return ticks


def drop_leading_bars(score: Score) -> Score:
    """Return the score, which must hold a note, without the whole bars before its first one.

    The tempo, time signature and pedals in force there hold from the new beginning. A bar line
    between two ticks is no beginning, so that all times stay exact.
    """
    bars = bar_ticks(score, score.notes[0].start + score.ticks_per_quarter // EARLY + 1)
    n_bars, begin = max((n, int(tick)) for n, tick in enumerate(bars) if tick.is_integer())
    if not begin:
        return score
    notes = (note._replace(start=max(0, note.start - begin)) for note in score.notes)
    return replace(
        score,
        notes=sorted_notes(notes),
        tempos={max(0, tick - begin): tempo for tick, tempo in score.tempos.items()},
        time_signatures={max(0, tick - begin): s for tick, s in score.time_signatures.items()},
        pedal_ticks={n: tuple(t - begin for t in ticks) for n, ticks in score.pedal_ticks.items()},
        leading_bars=n_bars,
    )


def hold_last_notes(score: Score, end: int) -> Score:
    """Return the score with the last notes of each pitched instrument held until the tick `end`.

    They are those of its last onset, if that is in the bar that ends there.
    """
    bar = bar_ticks(score, end)[-1]
    last = {n.program: n.start for n in score.notes if n.start >= bar}
    notes = (
        n._replace(length=end - n.start)
        if n.program != DRUMS and last.get(n.program) == n.start
        else n
        for n in score.notes
    )
    return replace(score, notes=tuple(notes))
