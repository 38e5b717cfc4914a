"""Measure what --key, --chords and --instruments do, and what they cost, with trained models.

    taskset -c 1 python benchmarks/control.py --out control.jsonl --model rags=MODEL,DATA

For each constraint the same seeds are drawn at several strengths (0: without it). A row has means
over pieces of the share of notes in the key, of notes on a beat in the chord, of those off it in
its scale, and of the instruments that play; MGEval's mean overlap with the reference pieces shows
the cost. Rows are JSON lines; those already in the file are not run again. `--table` prints them.

`--bars=16` draws bands of so many bars instead, with line-ups, charts and endings.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np

from benchmarks.defaults import open_with_dataset, reference_pieces
from benchmarks.results import append_row, markdown_head, markdown_row, read_rows, split_pair
from midilstm import midi
from midilstm.config import SamplingConfig
from midilstm.evaluation import piece_sets, similarity
from midilstm.evaluation.features import scale_consistency
from midilstm.generation.constraints import USUAL_SHARE, Constraints
from midilstm.generation.harmony import estimate_key, key_profile
from midilstm.generation.loaded_model import LoadedModel
from midilstm.generation.opening import Opening, collect_openings
from midilstm.generation.sampler import Sampler
from midilstm.tokenizers.base import split
from midilstm.tokenizers.order import BASS

CONSTRAINTS: dict[str, dict[str, str]] = {
    "D minor": {"key": "D minor"},
    "Eb major": {"key": "Eb major"},
    "auto": {"key": "auto"},
    "chords": {"chords": "Dm7 G7 Cmaj7 Cmaj7"},
    "key, chords": {"key": "C major", "chords": "Dm7 G7 Cmaj7 Cmaj7"},
    "trio": {"instruments": "piano, bass, drums"},
    "guitar": {"instruments": "guitar, bass"},
}
STRENGTHS = (0.0, 0.5, 1.0, 2.0)
LINEUPS = ("piano, bass, drums", "guitar, bass, drums", "sax, bass, drums")
CHARTS = {
    "ii V I": "Dm7 | G7 | Cmaj7 | %",
    "blues": "C7 | F7 | C7 | % | F7 | % | C7 | A7 | Dm7 | G7 | C7 A7 | Dm7 G7",
    "with a slash": "Am | Am/G | F | E7",
}
BANDS: dict[str, dict[str, Any]] = {
    **{names: {"instruments": names} for names in LINEUPS},
    **{x: {"chords": text, "instruments": LINEUPS[0]} for x, text in CHARTS.items()},
    "--ending": {"ending": True},
    "--ending --key='A minor'": {"ending": True, "key": "A minor"},
    "--key='A minor'": {"key": "A minor"},
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="results, one JSON line per row")
    add("--model", action="append", default=[], metavar="NAME=MODEL,DATA", help="its folders")
    add(
        "--constraints",
        nargs="+",
        choices=CONSTRAINTS,
        default=["D minor", "Eb major", "auto", "chords", "key, chords"],
    )
    add("--pieces", type=int, default=20, help="pieces per row (20)")
    add(
        "--length",
        type=int,
        default=0,
        help="tokens per piece (0 = the median of the held-out pieces)",
    )
    add("--bars", type=int, help="measure bands of so many bars instead of the constraints")
    add("--table", action="store_true", help="print the table of --out")
    return parser.parse_args(argv)


def measure(tokens: Sequence[str], constraints: Constraints) -> dict[str, float]:
    """Return which shares of a piece's pitch classes and instruments follow the constraints."""
    state, counts = constraints.begin(), np.zeros(12)
    on_beat: list[bool] = []
    off_beat: list[bool] = []
    programs: set[int] = set()
    for token in tokens:
        bars, beat = state.clock.position()  # a pitch token does not advance the clock
        state.add_token(token)
        content = constraints.encoding.content(token)
        programs |= {*content.programs}
        if content.has_notes and state.turns.program is not None:
            programs.add(state.turns.program)
        for pitch_class in content.pitch_classes:
            counts[pitch_class] += 1
            if chord := constraints.chord_at(bars):
                if abs(beat - round(beat)) < 1e-6:
                    on_beat.append(pitch_class in chord.tones)
                else:
                    off_beat.append(pitch_class in chord.scale)
    key = constraints.key if constraints.key not in (None, "auto") else estimate_key(counts)
    row = {
        "in_key": float(counts[np.isfinite(key_profile(key))].sum() / counts.sum()),
        "estimate_key": float(estimate_key(counts) == key),
        "on": float(np.mean(on_beat)) if on_beat else np.nan,
        "off": float(np.mean(off_beat)) if off_beat else np.nan,
    }
    if constraints.choices:
        groups = [choice.programs for choice in constraints.choices.values()]
        row["all_play"] = float(all(not programs.isdisjoint(group) for group in groups))
        row["others"] = float(len(programs.difference(*groups)))
    return row


def one_row(
    model: LoadedModel, reference: piece_sets.Pieces, name: str, strength: float, count: int
) -> dict[str, Any]:
    """Return the means over pieces that are drawn with a constraint."""
    settings: dict[str, Any] = {**CONSTRAINTS[name], "control_strength": strength}
    config = SamplingConfig(chars=max(map(len, reference.values())), **settings)
    constraints = Constraints(model.vocabulary, config)
    sampler = Sampler(model.network, model.vocabulary, config, model.match_weights)
    pieces = sampler.draw(range(count))
    tokens = model.vocabulary.tokens
    rows = [measure([tokens[i] for i in piece.ids], constraints) for piece in pieces]
    means = {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}
    ids = {f"piece {seed}": np.array(piece.ids, np.int32) for seed, piece in enumerate(pieces)}
    sets = {"generated": ids, "training": reference}
    _, overlap = similarity.compare_music(sets, model.vocabulary, np.random.default_rng(0))
    assert overlap
    notes = piece_sets.to_note_arrays(ids, model.vocabulary)
    return {
        **means,
        "one_scale": float(np.nanmean([scale_consistency(piece) for piece in notes])),
        "mgeval": asdict(overlap.mean_overlap),
    }


def measure_band(score: midi.Score, constraints: Constraints | None, key: str) -> dict[str, Any]:
    """Return which bars the instruments play in, what follows the chart, and how a piece ends."""
    bars = np.array([*midi.bar_ticks(score), score.end])
    places = np.interp([n.start for n in score.notes], bars, np.arange(len(bars))) + 1e-6
    played: dict[int, set[int]] = {}
    on_beat, roots = [], []
    for note, place in zip(score.notes, places.tolist(), strict=True):
        played.setdefault(note.program, set()).add(int(place))
        beat = (note.start - bars[int(place)]) / score.ticks_per_quarter
        chord = constraints and constraints.chord_at(place)
        if chord and note.program != midi.DRUMS and abs(beat - round(beat)) < 1e-3:
            on_beat.append(note.pitch % 12 in chord.tones)
        if note.program in BASS and constraints and (new := constraints.chord_beginning_at(place)):
            roots.append(note.pitch % 12 == new.bass)
    n_bars = int(places[-1]) + 1
    return {
        "bars": n_bars,
        "shares": {program: len(x) / n_bars for program, x in played.items()},
        "on": fmean(on_beat) if on_beat else None,
        "roots": fmean(roots) if roots else None,
        **measure_end(score, bars[n_bars - 1], key),
    }


def measure_end(score: midi.Score, bar: float, key: str) -> dict[str, Any]:
    """Return whether the lowest of the last notes since a tick is the tonic, and their length."""
    pitched = [n for n in score.notes if n.start >= bar and n.program != midi.DRUMS]
    last = {n.program: n.start for n in pitched}
    held = [n for n in pitched if last[n.program] == n.start]
    if not held:
        return {"tonic": None, "held": None}
    return {
        "tonic": min(n.pitch for n in held) % 12 == int(key_profile(key).argmax()),
        "held": float(np.median([n.length for n in held])) / score.ticks_per_quarter,
    }


def estimated_key(score: midi.Score) -> str:
    """Return the key of a score's pitched notes."""
    pitches = [n.pitch % 12 for n in score.notes if n.program != midi.DRUMS]
    return estimate_key(np.bincount(pitches, minlength=12))


def draw_bands(
    model: LoadedModel, openings: Sequence[Opening], settings: Mapping[str, Any], count: int
) -> list[dict[str, Any]]:
    """Draw pieces with settings; return the measures of each piece's file."""
    config = SamplingConfig(**settings)
    weights, vocabulary = model.match_weights, model.vocabulary
    sampler = Sampler(model.network, vocabulary, config, weights, openings=openings)
    constraints, rows = sampler.constraints, []
    for piece in sampler.draw(range(count)):
        tokens = sampler.length.drop_silence(piece.tokens)
        content, _ = vocabulary.encoding.to_midi(tokens, rest=piece.rest, holds_end=config.ending)
        score = midi.read(content)
        row = measure_band(score, constraints, config.key or estimated_key(score))
        shares = row.pop("shares")
        choices = constraints.choices if constraints else {}
        for index, choice in enumerate(choices.values()):
            program = max(choice.programs, key=lambda x: shares.get(x, 0.0))
            share = shares.get(program, 0.0)
            least = constraints.shares.get(program, USUAL_SHARE) if constraints else 0.0
            row |= {f"share {index}": share, f"missing {index}": max(0.0, least - share)}
        row["others"] = len(shares) - len(choices) if choices else None
        rows.append(row)
    return rows


def measure_bands(path: Path, model_name: str, folders: Sequence[str], bars: int, n: int) -> None:
    """Append a row of measures to a file for each setting of BANDS, and for training pieces."""
    model, dataset = open_with_dataset(folders)
    openings = collect_openings(dataset.training, model.vocabulary)
    tokens, encoding = model.vocabulary.tokens, model.vocabulary.encoding
    pieces = [
        encoding.decode(split(tokens[i] for i in ids[:-1])) for ids in dataset.training.values()
    ]
    scores = [score for score in pieces if len({x.program for x in score.notes}) > 1]
    human = [measure_band(score, None, estimated_key(score)) for score in scores]
    append_row(path, {"model": model_name, "band": "training pieces", "pieces": human})
    for name, settings in BANDS.items():
        rows = draw_bands(model, openings, {**settings, "bars": bars}, n)
        append_row(path, {"model": model_name, "band": name, "pieces": rows})


MEASURES = {
    **{"bars": "bars", "share 0": "1st instrument", "share 1": "2nd", "share 2": "3rd"},
    **{"missing": "below its share", "others": "others", "on": "in chord on beats"},
    **{"roots": "bass on roots", "tonic": "tonic", "held": "quarters held"},
}


def format_bands(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table: the mean over the pieces, and the least to the greatest."""
    lines = markdown_head(["", *MEASURES.values()])
    for row in rows:
        cells = []
        for name in MEASURES:
            named = [x for piece in row["pieces"] for x in piece.items() if x[0].startswith(name)]
            values = [value for _, value in named if value is not None] or [np.nan]
            cells.append(f"{fmean(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        lines.append(markdown_row([row["band"], *cells]).replace("nan (nan to nan)", "–"))
    return "\n".join(lines)


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table with a row per constraint and strength."""
    head = ["", "strength", "in key", "estimated key", "one scale", "in chord on beats"]
    lines = markdown_head([*head, "in its scale off them", "all play", "others", "MGEval"])
    for row in rows:
        names = ("in_key", "estimate_key", "one_scale", "on", "off", "all_play", "others")
        values = [row.get(name, np.nan) for name in names]
        cells = ["–" if np.isnan(value) else f"{value:.2f}" for value in values]
        low, high = row["mgeval"]["interval"]
        cells.append(f"{row['mgeval']['value']:.3f} ({low:.3f} to {high:.3f})")
        label = f"{row['model']}: {row['constraint']}"
        lines.append(markdown_row([label, f"{row['strength']:g}", *cells]))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing; print the table with --table."""
    args = parse_args(argv)
    if args.bars:
        for name, folders in map(split_pair, args.model):
            measure_bands(args.out, name, folders, args.bars, args.pieces)
        print(format_bands(read_rows(args.out)))
        return 0
    finished = [(row["model"], row["constraint"], row["strength"]) for row in read_rows(args.out)]
    for name, folders in map(split_pair, args.model):
        model, dataset = open_with_dataset(folders)
        reference = reference_pieces(dataset, args.length or piece_sets.typical_length(dataset))
        for constraint, strength in product(args.constraints, STRENGTHS):
            if (name, constraint, strength) in finished:
                continue
            start = time.perf_counter()
            row = {"model": name, "constraint": constraint, "strength": strength}
            row |= one_row(model, reference, constraint, strength, args.pieces)
            append_row(args.out, row)
            seconds = time.perf_counter() - start
            print(f"{name}, {constraint}, {strength:g}: {seconds:.0f} s", flush=True)
    if args.table:
        print(format_table(read_rows(args.out)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
