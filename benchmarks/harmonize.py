"""Measure how well chords that are drawn to a tune fit it.

    python benchmarks/harmonize.py --model-dir=MODEL FOLDER

takes lead sheets, whose first track is the tune and whose second is the chords, that the model was
not trained on, and compares drawn chords with the true ones and with those of the next tune.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np

from midilstm import midi
from midilstm.config import SamplingConfig
from midilstm.generation.harmonize import Harmonizer
from midilstm.generation.loaded_model import LoadedModel, open_model
from midilstm.generation.sampler import Sampler
from midilstm.midi import Note, Score
from midilstm.midi.bars import EARLY
from midilstm.model_dir import load_settings

Chords = list[set[int]]  # pitch classes that sound on each beat


def draw(tune: Score, model: LoadedModel, config: SamplingConfig) -> list[Note]:
    """Return the notes of the chords drawn to a tune, without the tune's."""
    weights = model.match_weights
    sampler = Sampler(model.network, model.vocabulary, replace(config, chars=1), weights)
    harmonizer = Harmonizer(sampler, tune)
    drawn = harmonizer.chords(harmonizer.draw(0))
    return [Note(start, end - start, x) for start, end, pitches in drawn for x in pitches]


def on_beats(notes: Sequence[Note], tune: Score) -> Chords:
    """Return the pitch classes that sound on each quarter note of the tune."""
    quarter = tune.ticks_per_quarter
    chords: Chords = [set() for _ in range(0, tune.end, quarter)]
    for start, length, pitch, *_ in notes:
        early = quarter // EARLY
        for beat in range(-(-(start - early) // quarter), -(-(start + length - early) // quarter)):
            if beat < len(chords):
                chords[beat].add(pitch % 12)
    return chords


def agreement(chords: Chords, others: Chords) -> float:
    """Return the mean share of pitch classes that two chords have in common, on beats with both."""
    pairs = [(x, y) for x, y in zip(chords, others, strict=False) if x and y]
    return float(np.mean([len(x & y) / len(x | y) for x, y in pairs]))


def clashes(tune: Score, notes: Sequence[Note]) -> float:
    """Return the share of the tune's notes that begin a minor second from a sounding chord note."""
    early = tune.ticks_per_quarter // EARLY
    counts = [
        any(
            x.start - early <= note.start < x.start + x.length - early
            and (x.pitch - note.pitch) % 12 in (1, 11)
            for x in notes
        )
        for note in tune.notes
    ]
    return float(np.mean(counts))


def changes(notes: Sequence[Note], tune: Score) -> float:
    """Return the number of chords that begin per bar of the tune."""
    return len({note.start for note in notes}) / len(midi.bar_ticks(tune))


def interval(values: Sequence[float]) -> str:
    """Return a mean and its 95 % bootstrap interval over tunes."""
    rng, array = np.random.default_rng(0), np.array(values)
    means = rng.choice(array, (2000, len(array))).mean(axis=1)
    return "{:.2f} ({:.2f} to {:.2f})".format(array.mean(), *np.percentile(means, (2.5, 97.5)))


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model-dir", type=Path, default=Path("model"))
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--key")
    arguments = parser.parse_args(argv)
    model, trained = open_model(arguments.model_dir, None), load_settings(arguments.model_dir)
    names = {name.partition(" ")[2] for name in trained.dataset.files}
    paths = sorted(path for path in arguments.folder.rglob("*.mid") if path.name not in names)
    config = SamplingConfig(keep="all", key=arguments.key)
    rows = []
    for path in paths[:: max(1, len(paths) // arguments.count)][: arguments.count]:
        score, first = midi.read(path), min(note.track for note in midi.read(path).notes)
        tune = replace(score, notes=tuple(x for x in score.notes if x.track == first))
        true = [note for note in score.notes if note.track != first]
        notes = draw(tune, model, config)
        rows.append((tune, true, on_beats(true, tune), notes, on_beats(notes, tune)))
    pairs = [*zip(rows, rows[1:] + rows[:1], strict=True)]
    print(f"{len(rows)} tunes: agreement with the true chords, clashes per onset, chords per bar")
    for name, values in {
        "true": [(1.0, clashes(x[0], x[1]), changes(x[1], x[0])) for x in rows],
        "drawn": [(agreement(x[2], x[4]), clashes(x[0], x[3]), changes(x[3], x[0])) for x in rows],
        "next tune's": [(agreement(x[2], y[4]), clashes(x[0], y[3]), 0.0) for x, y in pairs],
        "next tune's true": [(agreement(x[2], y[2]), clashes(x[0], y[1]), 0.0) for x, y in pairs],
    }.items():
        print(name, *(interval(column) for column in zip(*values, strict=True)), sep=" | ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
