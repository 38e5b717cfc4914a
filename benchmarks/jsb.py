"""Measure nats on J. S. Bach's chorales, on a split and in units that papers use.

    python benchmarks/jsb.py FOLDER --out jsb.jsonl

The folder holds jsb-chorales-quarter.json and jsb-16th-separated.json (github.com/czhuang/
JSB-Chorales-dataset), each {"train": pieces, "valid": ..., "test": ...}; a piece is a list of time
steps. In the first a step is the list of its pitches, and nats are divided by steps. In the second
it is four cells, one per voice, -1 for silence, and nats are divided by cells. Here a piece is the
tokens of its steps: the pitches from high to low, or the cells by voice, and then the token END.

The network is that of train.py for `notes`, of the epoch that predicts the valid split best; the
match model is fitted on training pieces. Results are JSON lines.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np

from benchmarks import recipes
from benchmarks.results import append_row
from midilstm.config import ModelConfig
from midilstm.data.dataset import Dataset
from midilstm.data.files import ReadReport
from midilstm.evaluation.likelihood import nll_per_piece, score_network
from midilstm.generation import network as networks
from midilstm.generation.network import Network
from midilstm.repetition.fit import MIN_LAG_BARS, collect_examples, fit_weights
from midilstm.repetition.match_model import History, MatchModel
from midilstm.tokenizers.notes import NAMES
from midilstm.tokenizers.vocabulary import END, END_ID, Vocabulary

FIT_PIECES = 60
Ids = dict[str, list[np.ndarray]]  # of the pieces of each split


@dataclass(frozen=True)
class Grid:
    """A file, its steps per bar of four quarter notes, and by how many units nats are divided."""

    file: str
    steps_per_bar: int
    units_per_step: int


GRIDS = {
    "quarter": Grid("jsb-chorales-quarter.json", 4, 1),
    "16th": Grid("jsb-16th-separated.json", 16, 4),
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("folder", type=Path, help="folder of the two files")
    add("--out", type=Path, required=True, help="results, one JSON line per run")
    add("--grids", nargs="+", choices=GRIDS, default=list(GRIDS))
    add("--steps", type=int, default=1500, help="training steps (1500)")
    add("--seed", type=int, default=0)
    return parser.parse_args(argv)


def load_pieces(folder: Path, grid: Grid) -> tuple[Vocabulary, Ids, dict[str, int]]:
    """Return the vocabulary of all keys, and by split the pieces, ids int32 [n], and the units."""
    splits = json.loads((folder / grid.file).read_text(encoding="utf-8"))
    pitches = {x for pieces in splits.values() for piece in pieces for step in piece for x in step}
    names = sorted({NAMES[pitch] for pitch in pitches if pitch >= 0})
    vocabulary = Vocabulary((END, *names)).transposition_closure()

    def encode(piece: list[list[int]]) -> np.ndarray:
        tokens = []
        for step in piece:
            ordered = sorted(step, reverse=True) if grid.units_per_step == 1 else step
            tokens += [END if pitch < 0 else NAMES[pitch] for pitch in ordered]
            tokens.append(END)
        return vocabulary.ids_of(tokens)

    ids = {name: [encode(piece) for piece in pieces] for name, pieces in splits.items()}
    units = {x: grid.units_per_step * sum(map(len, pieces)) for x, pieces in splits.items()}
    return vocabulary, ids, units


def train(vocabulary: Vocabulary, pieces: Ids, args: argparse.Namespace) -> tuple[Network, int]:
    """Return the network of the best epoch, and that epoch."""
    training, held_out = (
        {str(index): ids for index, ids in enumerate(pieces[split])} for split in ("train", "valid")
    )
    dataset = Dataset(vocabulary, training, held_out, ReadReport(), {})
    recipe = recipes.RECIPE
    network = recipes.build_network(recipe, len(vocabulary), args.seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "best.keras")

        def save_best(curve: list[recipes.EpochMetrics]) -> None:
            print(f"epoch {len(curve)}: {curve[-1].val_loss:.4f} nats per token", flush=True)
            if recipes.best_epoch(curve) == len(curve) - 1:
                network.save(path)

        curve = recipes.train_network(network, dataset, recipe, args.seed, args.steps, save_best)
        best = networks.load(path, ModelConfig(), len(vocabulary))
    return best, recipes.best_epoch(curve) + 1


def fit(network: Network, pieces: Sequence[np.ndarray], bars: Sequence[float]) -> MatchModel:
    """Return the match model of one piece, with weights fitted on some training pieces."""

    def predict(ids: np.ndarray) -> np.ndarray:
        state = network.initial_state()
        inputs = np.r_[END_ID, ids[:-1]][:, None]
        return np.concatenate([state.step(input_ids) for input_ids in inputs])

    begin = partial(History, bars, MIN_LAG_BARS)
    examples = collect_examples(pieces[:FIT_PIECES], predict, begin)
    return MatchModel([begin()], fit_weights(examples, MIN_LAG_BARS))


def measure(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Train and score on one grid; return a row of results."""
    grid = GRIDS[name]
    vocabulary, pieces, units = load_pieces(args.folder, grid)
    start = time.perf_counter()
    network, epoch = train(vocabulary, pieces, args)
    seconds = time.perf_counter() - start
    # A silent cell is END, too, and counts as a step of the lag: silence is rare.
    bars = [1 / grid.steps_per_bar, *[0.0] * (len(vocabulary) - 1)]
    memory = fit(network, pieces["train"], bars)
    row: dict[str, Any] = {"grid": name, "steps": args.steps, "seed": args.seed, "epoch": epoch}
    for split in ("valid", "test"):
        alone, with_memory = score_network(network, pieces[split], memory)
        nats = [float(nll_per_piece(x).sum()) / units[split] for x in (alone, with_memory)]
        tokens = sum(map(len, pieces[split]))
        row[split] = {"units": units[split], "tokens": tokens}
        row[split] |= dict(zip(("alone", "with_memory"), nats, strict=True))
    return {**row, "training_seconds": round(seconds)}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure each grid, and append a row of results for each."""
    args = parse_args(argv)
    for name in args.grids:
        row = measure(name, args)
        append_row(args.out, row)
        print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
