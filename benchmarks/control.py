"""Measure what --key, --chords and --instruments do, and what they cost, with trained models.

    taskset -c 1 python benchmarks/control.py --out control.jsonl --model rags=MODEL,DATA

For each constraint the same seeds are drawn at several strengths (0: without it). A row has means
over pieces of the share of notes in the key, of notes on a beat in the chord, of those off it in
its scale, and of the instruments that play; MGEval's mean overlap with the reference pieces shows
the cost. Rows are JSON lines; those already in the file are not run again. `--table` prints them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np

from benchmarks.defaults import open_with_dataset, reference_pieces
from benchmarks.results import append_row, markdown_head, markdown_row, read_rows, split_pair
from midilstm.config import SamplingConfig
from midilstm.evaluation import piece_sets, similarity
from midilstm.evaluation.features import scale_consistency
from midilstm.generation.constraints import Constraints
from midilstm.generation.harmony import estimate_key, key_profile
from midilstm.generation.loaded_model import LoadedModel
from midilstm.generation.sampler import Sampler

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
        if content.has_notes and state.program is not None:
            programs.add(state.program)
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
