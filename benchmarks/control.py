"""Measure what --key, --chords and --instruments do, and what they cost, with trained models.

    taskset -c 1 python benchmarks/control.py --out control.jsonl --model rags=MODEL,DATA

Each wish draws the same seeds at several strengths (0: without it) and counts, for each piece, the
share of notes in the key, of notes on a beat in the chord, of those off it in its scale, and the
instruments heard; MGEval's mean overlap with people's pieces says what that loses. A line of JSON
each; lines already in the file are not run again. `--table` prints a file's table.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np

from benchmarks import quality
from benchmarks.defaults import open_with_dataset, reference_pieces
from midilstm.config import SamplingConfig
from midilstm.evaluation import piece_sets as pieces
from midilstm.evaluation import similarity
from midilstm.evaluation.features import scale_consistency
from midilstm.generation.constraints import Constraints
from midilstm.generation.generate import generate
from midilstm.generation.harmony import classes_of_key, estimate_key
from midilstm.generation.loaded_model import LoadedModel
from midilstm.repetition.match_model import MatchModel, bars_per_token

WISHES: dict[str, dict[str, str]] = {
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
    add("--out", type=Path, required=True, help="results, a JSON line each")
    add("--model", action="append", default=[], metavar="NAME=MODEL,DATA", help="its two folders")
    add(
        "--wishes",
        nargs="+",
        choices=WISHES,
        default=["D minor", "Eb major", "auto", "chords", "key, chords"],
    )
    add("--pieces", type=int, default=20, help="pieces each (20)")
    add("--length", type=int, default=0, help="tokens of each (0 = as is typical)")
    add("--table", action="store_true", help="print the table of --out")
    return parser.parse_args(argv)


def drawn(trained: LoadedModel, control: Constraints, count: int, length: int) -> list[list[int]]:
    """Draw pieces with the wishes, with the memory, as sample.py does."""
    clock, vocabulary = bars_per_token(trained.vocabulary), trained.vocabulary
    rules: dict[str, Any] = {"grammar": vocabulary.grammar()}
    rules["memory"] = (
        MatchModel.begin(clock, trained.match_weights) if trained.match_weights else None
    )
    rules["control"] = control.begin if control.strength else None
    return generate(trained.network, range(count), length, SamplingConfig(), **rules)


def facts_of(ids: Sequence[int], control: Constraints) -> dict[str, float]:
    """Return shares of a piece's pitch classes, and how many instruments play as was asked."""
    listener, counts = control.begin(), np.zeros(12)
    on: list[bool] = []
    off: list[bool] = []
    programs: set[int] = set()
    for number in ids:
        bars, beat = listener.clock.position()  # a pitch never moves on by itself
        listener.update(number)
        sounds = control.encoding.content(control.tokens[number])
        programs |= (
            {listener.program} if sounds.has_notes and listener.program is not None else set()
        )
        programs |= {*sounds.programs}
        for x in sounds.pitch_classes:
            counts[x] += 1
            if control.chords:
                chord = control.chords[int(bars + 1e-6) % len(control.chords)]
                where = on if abs(beat - round(beat)) < 1e-6 else off
                where.append(x in (chord.tones if where is on else chord.scale))
    key = control.key if control.key not in (None, "auto") else estimate_key(counts)
    found = {
        "in_key": float(counts[sorted(classes_of_key(key))].sum() / counts.sum()),
        "estimate_key": float(estimate_key(counts) == key),
        "on": float(np.mean(on)) if on else np.nan,
        "off": float(np.mean(off)) if off else np.nan,
    }
    if control.groups:
        groups = control.groups.values()
        found["all_play"] = float(all(not group.isdisjoint(programs) for group in groups))
        found["others"] = float(len(programs - control.allowed))
    return found


def one_row(
    trained: LoadedModel, people: pieces.Pieces, wish: str, strength: float, count: int
) -> Any:
    """Return what pieces drawn with a wish are like, means over pieces."""
    settings: dict[str, Any] = {**WISHES[wish], "control_strength": strength}
    config = SamplingConfig(**settings)
    control = Constraints(trained.vocabulary, config)
    length = max(map(len, people.values()))
    made = drawn(trained, control, count, length)
    facts = [facts_of(ids, control) for ids in made]
    means = {name: float(np.nanmean([fact[name] for fact in facts])) for name in facts[0]}
    ids = {f"piece {seed}": np.array(piece, np.int32) for seed, piece in enumerate(made)}
    rng = np.random.default_rng(0)
    sets = {"generated": ids, "training": people}
    _, alike = similarity.compare_music(sets, trained.vocabulary, rng)
    assert alike
    heard = pieces.to_note_arrays(ids, trained.vocabulary, rng)
    return {
        **means,
        "one_scale": float(np.nanmean([scale_consistency(piece) for piece in heard])),
        "mgeval": asdict(alike.mean_overlap),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a Markdown table, a row a wish and strength."""
    heads = ["in key", "key heard", "one scale", "in chord on beats", "in its scale off them"]
    heads += ["all play", "others", "MGEval"]
    lines = [f"| | strength | {' | '.join(heads)} |", f"|---|---:|{'---:|' * len(heads)}"]
    for row in rows:
        names = ("in_key", "estimate_key", "one_scale", "on", "off", "all_play", "others")
        found = [row.get(name, np.nan) for name in names]
        cells = ["–" if np.isnan(value) else f"{value:.2f}" for value in found]
        low, high = row["mgeval"]["interval"]
        cells.append(f"{row['mgeval']['value']:.3f} ({low:.3f} to {high:.3f})")
        lines.append(
            f"| {row['model']}: {row['wish']} | {row['strength']:g} | {' | '.join(cells)} |"
        )
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing; print the table if asked for."""
    args = parse_args(argv)
    done = [(row["model"], row["wish"], row["strength"]) for row in quality.rows(args.out)]
    for name, folders in (text.split("=", 1) for text in args.model):
        trained, corpus = open_with_dataset(*folders.split(","))
        people = reference_pieces(corpus, args.length or pieces.typical_length(corpus))
        for wish, strength in ((wish, strength) for wish in args.wishes for strength in STRENGTHS):
            if (name, wish, strength) in done:
                continue
            began = time.perf_counter()
            row = {"model": name, "wish": wish, "strength": strength}
            row |= one_row(trained, people, wish, strength, args.pieces)
            quality.add_row(args.out, row)
            print(f"{name}, {wish}, {strength:g}: {time.perf_counter() - began:.0f} s", flush=True)
    if args.table:
        print(*table(quality.rows(args.out)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
