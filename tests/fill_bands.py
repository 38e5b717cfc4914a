"""Random bands, a vocabulary with their tokens, and a random network, for tests of fill.py."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import chain

import numpy as np

from midilstm import midi, tokenizers
from midilstm.generation.network import Network
from midilstm.midi import Note, Score
from midilstm.tokenizers import bpe
from midilstm.tokenizers.vocabulary import END, Vocabulary

METERS = ((3, 4), (4, 4), (5, 8))
PROGRAMS = (midi.DRUMS, 33, 0, 73)
REMI = tokenizers.get("remi")


def random_band(
    rng: np.random.Generator, n_bars: int = 6, programs: tuple[int, ...] = PROGRAMS
) -> Score:
    """Return a piece that changes its meter and tempo, with notes on and off the grid."""
    quarter, signatures, tick = 480, dict[int, tuple[int, int]](), 0
    for bar in range(n_bars):
        if bar in (0, n_bars // 2):
            beats, unit = METERS[rng.integers(len(METERS))]
            signatures[tick] = beats, unit
        tick += quarter * 4 * beats // unit
    notes, ends = (
        [Note(tick - 240, 240, 60, 70, programs[len(programs) // 2])],
        dict[tuple[int, int], int](),
    )
    for start in sorted(rng.integers(0, tick - 240, 16 * n_bars).tolist()):
        start = start // 120 * 120 + int(rng.choice([0, 0, 0, -3, 7])) * (start >= 120)
        key = int(rng.choice(programs)), int(rng.integers(48, 56))
        if start >= ends.get(key, 0):
            length = min(int(rng.choice([1, 60, 120, 240, 960])), tick - start)
            ends[key] = start + length + 1
            notes.append(Note(start, length, key[1], int(rng.integers(1, 128)), key[0]))
    tempos = {0: 100.0, int(rng.integers(1, tick)): 83.5}
    score = Score(quarter, tuple(sorted(notes)), tempos, signatures)
    return midi.read(midi.to_bytes(score))


@cache
def bands(programs: tuple[int, ...]) -> list[Score]:
    """Return the random bands of a vocabulary."""
    return [random_band(np.random.default_rng(seed), programs=programs) for seed in range(30)]


@cache
def vocabulary(
    n_merges: int, programs: tuple[int, ...] = PROGRAMS, encoding_name: str = "remi"
) -> Vocabulary:
    """Return a vocabulary that knows most tokens of random bands; a solo one of one program."""
    plain = Vocabulary((END,), encoding_name, is_solo=len(programs) == 1)
    pieces = [plain.apply_merges(plain.encoding.encode(score)) for score in bands(programs)]
    merges = bpe.learn(pieces, n_merges, plain.encoding.is_mergeable)
    merged = (name for pair in merges for name in (*pair, " ".join(pair)))
    tokens = sorted({*chain(*pieces), *merged})
    return replace(plain, tokens=(END, *tokens), merges=merges)


def random_network(seed: int, size: int, units: int = 8) -> Network:
    """Return a small network of two layers with random weights."""
    rng = np.random.default_rng(seed)

    def array(*shape: int) -> np.ndarray:
        return rng.normal(0, 1, shape).astype(np.float32)

    return Network(
        table=array(size, 4 * units),
        kernels=(array(units, 4 * units), array(2 * units, 4 * units)),
        biases=(array(4 * units), array(4 * units)),
        head=array(units, size),
        head_bias=array(size),
        digest="random",
        metrics={},
    )
