"""N-grams against hand-computed values and a naive reading of Kneser-Ney's formulas."""

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np
import pytest

from midilstm.evaluation import ngram

Gram = tuple[int, ...]
# Two pieces of the ids 1 and 2; id 3 never occurs; 0 is the end.
PIECES = [np.array([1, 2, 0], np.int32), np.array([1, 1, 0], np.int32)]


def some_pieces(count: int, vocabulary_size: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        np.append(rng.integers(1, vocabulary_size, rng.integers(1, 30)), 0).astype(np.int32)
        for _ in range(count)
    ]


class Naive:
    """The same model in dictionaries, one gram and one id at a time."""

    def __init__(self, pieces: list[np.ndarray], size: int, order: int) -> None:
        self.size = size
        raw: list[Counter[Gram]] = [Counter() for _ in range(order + 1)]
        before: dict[Gram, set[int]] = defaultdict(set)
        n_first: Counter[Gram] = Counter()
        for ids in pieces:
            history = [0, *(min(token_id, size) for token_id in ids.tolist())]
            for end in range(1, len(history)):
                for length in range(1, min(order, end + 1) + 1):
                    start = end + 1 - length
                    gram = tuple(history[start : end + 1])
                    raw[length][gram] += 1
                    if start:
                        before[gram].add(history[start - 1])
                    else:
                        n_first[gram] += 1
        self.counts: list[dict[Gram, int]] = []
        for length in range(1, order + 1):
            grams = [gram for gram in raw[length] if gram[-1] < size]
            if length < order:
                self.counts.append({gram: len(before[gram]) + n_first[gram] for gram in grams})
            else:
                self.counts.append({gram: raw[length][gram] for gram in grams})

    def probability(self, context: Gram, token_id: int) -> float:
        result = 1 / self.size
        for length, counts in enumerate(self.counts, 1):
            if length - 1 > len(context):
                break
            suffix = context[len(context) - length + 1 :]
            extensions = {gram: n for gram, n in counts.items() if gram[:-1] == suffix}
            total, n_times = sum(extensions.values()), counts.get((*suffix, token_id), 0)
            if not extensions:
                continue
            once, twice = (list(counts.values()).count(n) for n in (1, 2))
            discount = once / (once + 2 * twice) if once else 0.5
            weight = discount * len(extensions) / total
            result = max(n_times - discount, 0) / total + weight * result
        return result


def count(pieces: list[np.ndarray], vocabulary_size: int, order: int) -> ngram.NGram:
    return list(ngram.count_ngrams(pieces, vocabulary_size, 6))[order - 1]


def probabilities(model: ngram.NGram, ids: Iterable[int]) -> np.ndarray:
    return np.concatenate(list(model.probabilities(np.array([*ids]))))


def test_kneser_ney_by_hand() -> None:
    # The end follows 2 and 1, the id 1 follows the beginning and 1, the id 2 follows 1: counts
    # 2, 2, 1 and a discount of 1 / (1 + 2 * 2). Among bigrams four occur once and one twice: 4 / 6.
    lower = np.array([0.39, 0.39, 0.19, 0.03])
    first, second = probabilities(count(PIECES, 4, 2), [1, 0])
    np.testing.assert_allclose(first, np.array([0, 2 / 3, 0, 0]) + 1 / 3 * lower)
    np.testing.assert_allclose(second, np.array([1, 1, 1, 0]) / 9 + 2 / 3 * lower)


@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_probabilities_equal_those_of_a_naive_model_also_for_unknown_ids(order: int) -> None:
    size = 6
    pieces = some_pieces(12, size + 1, seed=order)  # with id 6, which stands for the unknown
    model, naive = count(pieces, size, order), Naive(pieces, size, order)
    for ids in some_pieces(4, size + 1, seed=100):
        history = [0, *ids.tolist()]
        expected = [
            [naive.probability(tuple(history[:end]), token_id) for token_id in range(size)]
            for end in range(1, len(history))
        ]
        np.testing.assert_allclose(probabilities(model, ids), expected)


def test_a_long_piece_is_predicted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = count(some_pieces(10, 5, seed=1), 6, 4), some_pieces(1, 6, seed=2)[0]
    whole = probabilities(model, ids)
    monkeypatch.setattr(ngram, "CELLS", 21)
    assert [len(part) for part in model.probabilities(ids[:7])] == [3, 3, 1]
    np.testing.assert_array_equal(probabilities(model, ids), whole)
