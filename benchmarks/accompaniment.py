"""Measure how well what is drawn to a melody fits it.

    python benchmarks/accompaniment.py --model-dir=MODEL --data-dir=DATA

takes held-out pieces, or with --bars excerpts of them, keeps the part with the highest pitches, as
sample.py --keep does, and compares what is drawn to it with the true rest of the piece, and with
what is drawn to the melody of another piece. Chords of a model of `notes` leave out what the melody
plays, so that less of it is in their harmony.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, pairwise, zip_longest
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np
from tqdm import tqdm

from benchmarks.results import markdown_head, markdown_row
from midilstm import midi
from midilstm.config import SamplingConfig
from midilstm.evaluation.estimates import estimate_mean
from midilstm.generation.fill import Filler
from midilstm.generation.harmonize import Harmonizer
from midilstm.generation.loaded_model import LoadedModel, open_model
from midilstm.generation.sampler import Sampler
from midilstm.generation.source_piece import open_source
from midilstm.midi import DRUMS, Note, Score
from midilstm.midi.bars import EARLY
from midilstm.model_dir import load_settings

HEAD = ("melody in the harmony", "agreement with the true one", "clashes per onset", "changes")
MELODY, REST = 1, 2  # tracks


class Excerpt(NamedTuple):
    """The melody of a piece or a part of it, and what accompanies it."""

    melody: Score
    rest: list[Note]


def excerpts(path: Path, n_bars: int, count: int, *, is_lowest: bool) -> Iterator[Excerpt]:
    """Yield a whole piece, or excerpts of so many bars, where two pitched parts play."""
    score = midi.read(path)
    ticks = [*midi.bar_ticks(score), score.end]
    n_bars = n_bars or len(ticks) - 1
    for start in np.random.default_rng(0).permutation(len(ticks) - n_bars)[:count].tolist():
        cut = midi.cut_off(score, round(ticks[start + n_bars]))
        notes = tuple(note for note in cut.notes if note.start >= ticks[start])
        cut = midi.drop_leading_bars(replace(cut, notes=notes)) if notes else cut
        pitches: dict[tuple[int, int], list[int]] = {}
        for note in cut.notes:
            if note.program != DRUMS:
                pitches.setdefault((note.program, note.track), []).append(note.pitch)
        if len(pitches) > 1:
            choose = min if is_lowest else max
            melody = choose(pitches, key=lambda part: fmean(pitches[part]))
            parts: tuple[list[Note], list[Note]] = [], []
            for note in cut.notes:
                is_rest = (note.program, note.track) != melody
                parts[is_rest].append(note._replace(track=REST if is_rest else MELODY))
            names = {MELODY: "the melody"}
            yield Excerpt(replace(cut, notes=tuple(parts[0]), track_names=names), parts[1])


def draw(piece: Excerpt, model: LoadedModel, config: SamplingConfig, seed: int) -> list[Note]:
    """Return what is drawn to a melody, in `remi` by the instruments that play in the rest."""
    network, vocabulary, weights = model.network, model.vocabulary, model.match_weights
    if not vocabulary.encoding.keeps_rhythm:
        sampler = Sampler(network, vocabulary, replace(config, chars=1), weights)
        harmonizer = Harmonizer(sampler, piece.melody)
        chords = harmonizer.chords(harmonizer.draw(seed))
        return [Note(start, end - start, x) for start, end, pitches in chords for x in pitches]
    score = replace(piece.melody, notes=tuple(sorted([*piece.melody.notes, *piece.rest])))
    if not vocabulary.is_solo:
        programs = sorted({note.program for note in piece.rest})
        names = ["drums" if program == DRUMS else str(program) for program in programs]
        config = replace(config, instruments=", ".join(names))
    source = open_source(score, config, vocabulary)
    config = replace(config, bars=len(source.is_drawn))
    sampler = Sampler(network, vocabulary, config, weights, openings=model.openings)
    drawn = source.with_drawn(Filler(sampler, source, seed).draw().notes).notes
    return [note for note in drawn if note.track != MELODY]


def in_quarters(notes: Sequence[Note], score: Score) -> np.ndarray:
    """Return start, end and pitch of the pitched notes, float [N, 3]; times in quarter notes."""
    rows = [(x.start, x.start + x.length, x.pitch) for x in notes if x.program != DRUMS]
    return np.array(rows, float).reshape(-1, 3) / [*[score.ticks_per_quarter] * 2, 1]


def sounding(notes: np.ndarray, place: float) -> set[int]:
    """Return the pitch classes of the notes that sound at a place in quarter notes."""
    is_on = (notes[:, 0] <= place + 1 / EARLY) & (place + 1 / EARLY < notes[:, 1])
    return {int(pitch) % 12 for pitch in notes[is_on, 2]}


def measure(piece: Excerpt, rest: np.ndarray) -> list[float]:
    """Return how an accompaniment fits a melody: what HEAD names, NaN where nothing sounds."""
    melody, true = (in_quarters(x, piece.melody) for x in (piece.melody.notes, piece.rest))
    harmonies = [(round(pitch) % 12, start, sounding(rest, start)) for start, _, pitch in melody]
    inside = [
        pitch in harmony
        for pitch, start, harmony in harmonies
        if harmony and abs(start - round(start)) < 1 / EARLY
    ]
    clashes = [bool({(x + 1) % 12, (x - 1) % 12} & harmony) for x, _, harmony in harmonies]
    beats = range(int(melody[:, 1].max()))
    chords, true_chords = ([sounding(x, beat) for beat in beats] for x in (rest, true))
    pairs = [(x, y) for x, y in zip(chords, true_chords, strict=True) if x and y]
    common = [len(x & y) / len(x | y) for x, y in pairs]
    n_changes = sum(x != y for x, y in pairwise(filter(None, chords)))
    n_bars = len(midi.bar_ticks(piece.melody))
    means = [float(np.mean(x)) if x else np.nan for x in (inside, common, clashes)]
    return [*means, n_changes / n_bars]


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table of means over the pieces, with 95 % intervals."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--model-dir", type=Path, default=Path("model"))
    add("--data-dir", type=Path, default=Path("data"))
    add("--count", type=int, default=30, help="pieces or excerpts")
    add("--bars", type=int, default=0, help="bars of an excerpt, of which a piece has three")
    add("--lowest", action="store_true", help="keep the part with the lowest pitches instead")
    add("--key", help="as in sample.py")
    add("--candidates", type=int, default=32)
    args = parser.parse_args(argv)
    model, names = open_model(args.model_dir, "best"), load_settings(args.model_dir).dataset
    by_piece = [
        excerpts(args.data_dir / name, args.bars, 3, is_lowest=args.lowest)
        for name in names.held_out
    ]
    # Neighbours are of different pieces.
    pieces = [x for x in chain(*zip_longest(*by_piece)) if x][: args.count]
    config = SamplingConfig(keep="the melody", key=args.key, candidates=args.candidates)
    true = [in_quarters(piece.rest, piece.melody) for piece in pieces]
    drawn = [
        in_quarters(draw(piece, model, config, seed), piece.melody)
        for seed, piece in enumerate(tqdm(pieces, disable=None))
    ]
    ways = {"true": true, "drawn": drawn, "true, of another": true[1:] + true[:1]}
    ways["drawn to another"] = drawn[1:] + drawn[:1]
    rows = {
        name: np.array([measure(*pair) for pair in zip(pieces, rests, strict=True)])
        for name, rests in ways.items()
    }
    rows["drawn less drawn to another"] = rows["drawn"] - rows["drawn to another"]
    true_rows, other = rows["true"], rows["drawn to another"]
    direction = np.sign(np.nanmean(true_rows, axis=0) - np.nanmean(other, axis=0))
    rows["nearer to true by"] = direction * (2 * rows["drawn"] - true_rows - other)
    print(f"{len(pieces)} melodies", *markdown_head(["", *HEAD]), sep="\n")
    for name, row in rows.items():
        cells = [estimate_mean(x[np.isfinite(x)]).format(".2f") for x in row.T]
        print(markdown_row([name, *cells]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
