"""A score as JSON, exact to the tick, from which a piece that was written into is drawn again."""

from __future__ import annotations

from typing import Any

from midilstm.midi.score import DRUMS, MAX_QUARTERS, Note, Score

MAX_NOTES = 2**18
MAX_TICKS = 2**15 * MAX_QUARTERS
# The lowest and the highest value of each field of a note.
LIMITS = (
    *((0, MAX_TICKS), (0, MAX_TICKS), (0, 127), (0, 127), (DRUMS, 127), (0, 2**16), (0, 2**16)),
)


def score_to_json(score: Score) -> dict[str, Any]:
    """Return the notes, tempos and time signatures of a score; a note is one text of numbers."""
    return {
        "ticks_per_quarter": score.ticks_per_quarter,
        "tempos": [[tick, bpm] for tick, bpm in score.tempos.items()],
        "time_signatures": [[tick, *pair] for tick, pair in score.time_signatures.items()],
        "track_names": {str(track): name for track, name in score.track_names.items()},
        "notes": [" ".join(map(str, note)) for note in score.notes],
    }


def score_from_json(body: Any) -> Score:
    """Return what `score_to_json` was given; raise ValueError for anything else."""
    match body:
        case {
            "ticks_per_quarter": int(quarter),
            "tempos": [*tempos],
            "time_signatures": [*signatures],
            "track_names": dict(names),
            "notes": [*notes],
        } if 0 < quarter < 2**15 and 0 < len(notes) <= MAX_NOTES:
            score = Score(
                quarter,
                tuple(sorted(map(_note, notes))),
                dict(sorted(map(_tempo, tempos))),
                dict(sorted(map(_signature, signatures))),
                track_names={int(track): str(name) for track, name in names.items()},
            )
            if score.end <= MAX_QUARTERS * quarter:
                return score
    raise ValueError("source_score is not a score")


def _note(text: Any) -> Note:
    if isinstance(text, str) and len(text) < 100:
        values = [*map(int, text.split())]
        if len(values) == len(LIMITS) and all(
            low <= value <= high for value, (low, high) in zip(values, LIMITS, strict=True)
        ):
            return Note(*values)
    raise ValueError(f"{text!a:.60} is not a note")


def _tempo(entry: Any) -> tuple[int, float]:
    match entry:
        case [int(tick), int(bpm) | float(bpm)] if 0 <= tick <= MAX_TICKS and 0 < bpm <= 60_000_000:
            return tick, bpm
    raise ValueError(f"{entry!a:.60} is not a tempo")


def _signature(entry: Any) -> tuple[int, tuple[int, int]]:
    match entry:
        case [int(tick), int(beats), int(unit)] if 0 <= tick <= MAX_TICKS and 1 <= beats <= 255:
            if unit in (1, 2, 4, 8, 16, 32, 64, 128):
                return tick, (beats, unit)
    raise ValueError(f"{entry!a:.60} is not a time signature")
