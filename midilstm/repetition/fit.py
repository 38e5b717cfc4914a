"""How strongly a piece's past pulls: two fits on training pieces. Knows no files.

`fitted` asks what predicts best: a logistic regression on the network's log probabilities.
`tuned` asks what sounds like people: the fitted weights are scaled, and the weight of the distance
moved, until as much comes back in new pieces as in people's, and from as far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from tqdm import tqdm

from midilstm.generation.generate import MatchModel, generate
from midilstm.generation.network import Network
from midilstm.generation.sampler import SamplingConfig
from midilstm.repetition.match_model import FLOOR, History, MatchWeights, facts
from midilstm.repetition.metrics import returns
from midilstm.tokenizers.vocabulary import END_ID, Vocabulary

DELAY = 1.0  # bars
HEARD = 30_000  # ids of training pieces for the regression, about
# What the regression expects, and how firmly: few pieces without returns must not make weights
# endless; and what pieces cost hardly tells how far is too far, without which the longer a new
# piece is, the more returns, and from the further.
EXPECTED = np.array([0.0, 0.0, 0.0, 0.0, 0.0, -0.4, 0.0])
RIDGE = np.array([0.05, 0.05, 0.05, 0.05, 0.05, 4000.0, 0.05])
SPANS = (8, 16)  # ids; by their returns `tuned` compares pieces
ROUNDS, MOST = 8, 400_000  # of sampling, and ids in all of them
FEWEST, LONGEST = 10, 8000  # pieces in a round, and ids in one: five rounds at least
PEOPLE = 200  # pieces at most
# How log odds of returning grow with the scale, and the log of the distance with the bend, as far
# as not measured; and what that guess counts for beside what is.
SLOPES, TRUST = np.array([12.0, 0.8]), np.array([2e-3, 1e-2])
NEAR, STEP = 0.08, np.array([0.08, 0.25])  # of scale; of scale and bend in a round at most


def fit(
    network: Network,
    vocabulary: Vocabulary,
    pieces: Sequence[np.ndarray],
    *,
    seed: int,
    length: int | None = None,
) -> MatchWeights:
    """Return the weights for a network, from training pieces int [n], each with its end.

    New pieces of `length` ids (None: the median piece's) are compared with people's.
    """
    rng = np.random.default_rng(seed % 2**63)
    order = [pieces[number][:LONGEST] for number in rng.permutation(len(pieces))]
    enough = 1 + int(np.searchsorted(np.cumsum([len(ids) for ids in order]), HEARD))
    clock, grammar = bars_per_token(vocabulary), vocabulary.grammar()
    length = min(length or max(1, int(np.median([len(ids) - 1 for ids in pieces]))), LONGEST)
    count = max(FEWEST, min(128, 16_000 // length))
    rounds = min(ROUNDS, MOST // (count * length))
    total = sum(map(len, order[:enough])) + rounds * count * length
    with tqdm(None, "memory", total, unit="token", delay=1, leave=False, disable=None) as bar:

        def scores_of(ids: np.ndarray) -> np.ndarray:
            bar.update(len(ids))
            lanes = network.lanes()
            return np.concatenate([lanes.step(fed) for fed in np.r_[END_ID, ids[:-1]][:, None]])

        def sample(weights: MatchWeights, number: int) -> list[np.ndarray]:
            first = int(start) + 1000 * number
            memory = MatchModel.begin(clock, weights)
            rules = {"memory": memory, "grammar": grammar, "progress": bar.update}
            seeds = range(first, first + count)
            return [*map(np.array, generate(network, seeds, length, SamplingConfig(), **rules))]

        start, people = rng.integers(2**32), [ids[:-1][:length] for ids in order[:PEOPLE]]
        weights = fit_weights(hear(order[:enough], scores_of, clock, DELAY), DELAY)
        return calibrate(weights, sample, people, clock, rounds=rounds)


def bars_per_token(vocabulary: Vocabulary) -> list[float]:
    """Return the bars that each id moves on, [V]."""
    return [0.0, *map(vocabulary.encoding.bars, vocabulary.tokens[1:])]


@dataclass(frozen=True)
class Examples:
    """Followers at N places of pieces, two or fewer at each.

    facts float64 [N, 2, 7]; nats float64 [N, 2], their log probabilities, -inf for none;
    right int [N], which of them came: 1, 2, or 0 for neither.
    """

    facts: np.ndarray
    nats: np.ndarray
    right: np.ndarray


def hear(
    pieces: Sequence[np.ndarray],
    scores_of: Callable[[np.ndarray], np.ndarray],
    clock: Sequence[float],
    delay: float,
) -> Examples:
    """Collect what the past says in pieces int [n]; `scores_of` gives log probabilities [n, V]."""
    rows, nats, right = [], [], []
    for piece in pieces:
        past, scores = History(clock, delay), scores_of(piece)
        for number, row in zip(piece.tolist(), scores, strict=True):
            if found := past.candidates():
                known = [float(row[one[0]]) for one in found]
                pairs = zip(found, known, strict=True)
                said = [(*facts(one), max(nat, FLOOR)) for one, nat in pairs]
                missing = 2 - len(found)
                rows.append(said + [(0.0,) * 7] * missing)
                nats.append(known + [-math.inf] * missing)
                right.append(next((i for i, one in enumerate(found, 1) if one[0] == number), 0))
            past.hear(number)
    said_of = np.array(rows, float).reshape(-1, 2, 7)
    return Examples(said_of, np.array(nats, float).reshape(-1, 2), np.array(right, int))


def mixture(heard: Examples, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log probabilities of neither, first, second, float64 [N, 3], without and with it."""
    rest = np.log(np.maximum(1 - np.exp(heard.nats).sum(axis=1, keepdims=True), 1e-9))
    before = np.concatenate([rest, heard.nats], axis=1)
    after = before + np.pad(heard.facts @ vector, ((0, 0), (1, 0)))
    highest = after.max(axis=1, keepdims=True)
    after -= highest + np.log(np.exp(after - highest).sum(axis=1, keepdims=True))
    return before, after


def vector_of(weights: MatchWeights) -> np.ndarray:
    """Return the weights but the delay, float64 [7], in the order of `facts`."""
    return np.array(list(asdict(weights).values())[1:], float)


def fit_weights(heard: Examples, delay: float) -> MatchWeights:
    """Return the weights that predict best, near EXPECTED: Newton's steps, halved if too far."""
    vector = EXPECTED
    places = np.arange(len(heard.right)), heard.right
    wanted, facts = heard.right[:, None] == [1, 2], heard.facts

    def loss(vector: np.ndarray) -> float:
        strange = RIDGE @ (vector - EXPECTED) ** 2 / 2
        return float(strange - mixture(heard, vector)[1][places].sum())

    now = loss(vector)
    for _ in range(60):
        chances = np.exp(mixture(heard, vector)[1][:, 1:])
        slope = np.einsum("nk,nkd->d", chances - wanted, facts) + RIDGE * (vector - EXPECTED)
        means = np.einsum("nk,nkd->nd", chances, facts)
        squares = np.einsum("nk,nkd,nke->de", chances, facts, facts)
        step = np.linalg.solve(squares - means.T @ means + np.diag(RIDGE), slope)
        while loss(vector - step) > now and np.abs(step).max() > 1e-6:
            step /= 2
        vector = vector - step
        now, last = loss(vector), now
        if last - now < 1e-6 * max(1.0, abs(now)):
            break
    return MatchWeights(delay, *vector.tolist())


def calibrate(
    weights: MatchWeights,
    sample: Callable[[MatchWeights, int], Sequence[np.ndarray]],
    people: Sequence[np.ndarray],
    clock: Sequence[float],
    *,
    rounds: int = ROUNDS,
) -> MatchWeights:
    """Return the weights with which sampled pieces return as much, and from as far, as people's.

    `sample(weights, round)` draws pieces as long as people's. A line through the rounds, the near
    ones first of all, says how form follows scale and bend, and so where it is people's. Two
    rounds in a row within the 95 % interval of people's are enough.
    """
    spans = [span for span in SPANS if any(returns(ids, span).any() for ids in people)]
    if not spans:
        return weights
    own = [[returns(ids, span) for span in spans] for ids in people]
    rng = np.random.default_rng(0)
    repeated_mask = [
        form_of([own[i] for i in rng.integers(0, len(own), len(own))]) for _ in range(100)
    ]
    low, high = np.nanpercentile(repeated_mask, [2.5, 97.5], axis=0)
    wanted = (low + high) / 2
    counts = 1 / np.maximum(high - low, 0.05) ** 2  # where people differ less counts more
    bars = float(np.mean(np.asarray(clock)[np.concatenate(people)]))  # that an id moves on
    far = math.log2(1 + bars * math.exp(wanted[1].mean()))
    tried, missed, inside, at = [], [], 0, np.array([1.05, 0.0])
    for number in range(rounds):
        made = sample(rescale(weights, at, far), number)
        found = form_of([[returns(ids, span) for span in spans] for ids in made])
        tried.append(at)
        missed.append(np.average(np.nan_to_num(found - wanted), 1, counts))
        at = np.clip(_root(np.array(tried), np.array(missed)), [0.5, -1.0], [2, 1.0])
        inside = inside + 1 if ((low <= found) & (found <= high)).all() else 0
        if inside == 2:
            break
    return rescale(weights, at, far)


def form_of(pieces: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Return float [2, spans] of pieces' returns, a list of spans for each.

    The log odds of the mean share of spans that came earlier, and the log of the median number of
    ids since, nan for none.
    """
    columns = []
    for found in zip(*pieces, strict=True):
        share = float(np.mean([np.mean(back > 0) for back in found if len(back)] or [0.0]))
        share, since = min(max(share, 0.001), 0.999), np.concatenate(found)
        middle = math.log(np.median(since[since > 0])) if since.any() else math.nan
        columns.append((math.log(share / (1 - share)), middle))
    return np.array(columns).T


def _root(tried: np.ndarray, missed: np.ndarray) -> np.ndarray:
    """Return scale and bend at which nothing is missed, a step at most from the last tried.

    `tried` float [N, 2]; `missed` float [N, 2]: log odds of the share, log of the distance.
    """
    near = np.exp(-(((tried[:, :1] - tried[-1, 0]) / NEAR) ** 2))
    near /= near.sum()
    x, y = (near * tried).sum(axis=0), (near * missed).sum(axis=0)
    around = len(tried) * near * (tried - x)
    slopes = (around * (missed - y)).sum(axis=0) + TRUST * SLOPES
    slopes = np.maximum(slopes / ((around * (tried - x)).sum(axis=0) + TRUST), SLOPES / 4)
    goal: np.ndarray = tried[-1] + np.clip(x - y / slopes - tried[-1], -STEP, STEP)
    return goal


def rescale(weights: MatchWeights, by: np.ndarray, far: float) -> MatchWeights:
    """Return weights scaled, and bent about the distance `far`, in log2 of bars, by two numbers."""
    scale, bend = by.tolist()
    found = MatchWeights(weights.delay, *(scale * vector_of(weights)).tolist())
    return replace(found, bias=found.bias - bend * far, distance=found.distance + bend)
