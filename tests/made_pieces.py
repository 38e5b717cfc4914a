"""Pieces of ids, a uniform network and a small dataset, for tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

BAR = [0.0] + [0.25] * 8  # four ids per bar; END takes no time


class Uniform:
    """A network, and its state, that gives every id of its vocabulary the same probability."""

    def __init__(self, size: int) -> None:
        self.size = size

    def initial_state(self, _rows: int = 1) -> Uniform:
        return self

    def select_rows(self, _rows: Any) -> Uniform:
        return self

    def step(self, ids: np.ndarray) -> np.ndarray:
        return np.full((len(ids), self.size), -np.log(self.size), np.float32)


def some_pieces(*lengths: int, seed: int = 3) -> list[np.ndarray]:
    """Return random pieces of these lengths, ends included."""
    rng = np.random.default_rng(seed)
    return [np.append(rng.integers(1, 9, n - 1), 0).astype(np.int32) for n in lengths]


def corpus(training: list[np.ndarray], held_out: list[np.ndarray]) -> Any:
    """Return a dataset of named pieces, with two notes and half a quarter per id."""
    sets = {"training": training, "held_out": held_out}
    named = {part: {f"{part} {i}": ids for i, ids in enumerate(sets[part])} for part in sets}
    sizes = {
        name: SimpleNamespace(notes=2 * len(ids), quarters=len(ids) / 2)
        for pieces in named.values()
        for name, ids in pieces.items()
    }
    return SimpleNamespace(**named, pieces=sizes)


def strains(count: int, seed: int = 0) -> list[np.ndarray]:
    """Return pieces of a strain of 16 ids, 4 others, and the strain again."""
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(count):
        strain, bridge = rng.integers(1, 9, 16), rng.integers(1, 9, 4)
        pieces.append(np.concatenate([strain, bridge, strain, [0]]).astype(np.int32))
    return pieces


def repeating_pieces(count: int, repeats: int, size: int) -> list[np.ndarray]:
    """Return pieces that play a strain of 24 ids several times, with 12 other ids after each."""
    rng = np.random.default_rng(2)
    pieces = []
    for _ in range(count):
        strain = rng.integers(1, size, 24)
        parts = [np.append(strain, rng.integers(1, size, 12)) for _ in range(repeats)]
        pieces.append(np.array([*np.concatenate(parts), 0]))
    return pieces
