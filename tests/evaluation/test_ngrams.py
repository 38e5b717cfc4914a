"""N-grams against hand-computed values and a naive reading of the formulas."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from midilstm.evaluation.ngrams import SMOOTHINGS, Counts, NGram, RepeatLast

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

    def __init__(self, pieces: list[np.ndarray], size: int, order: int, smoothing: str) -> None:
        self.size, self.kneser_ney = size, smoothing == "kneser-ney"
        raw: list[Counter[Gram]] = [Counter() for _ in range(order + 1)]
        before: dict[Gram, set[int]] = defaultdict(set)
        begins: Counter[Gram] = Counter()
        for ids in pieces:
            history = [0, *(min(number, size) for number in ids.tolist())]
            for end in range(1, len(history)):
                for length in range(1, min(order, end + 1) + 1):
                    start = end + 1 - length
                    gram = tuple(history[start : end + 1])
                    raw[length][gram] += 1
                    if start:
                        before[gram].add(history[start - 1])
                    else:
                        begins[gram] += 1
        self.counts: list[dict[Gram, int]] = []
        for length in range(1, order + 1):
            grams = [gram for gram in raw[length] if gram[-1] < size]
            if self.kneser_ney and length < order:
                self.counts.append({gram: len(before[gram]) + begins[gram] for gram in grams})
            else:
                self.counts.append({gram: raw[length][gram] for gram in grams})

    def probability(self, context: Gram, number: int) -> float:
        result = 1 / self.size
        for length, counts in enumerate(self.counts, 1):
            if length - 1 > len(context):
                break
            given = context[len(context) - length + 1 :]
            same = {gram: times for gram, times in counts.items() if gram[:-1] == given}
            total, times = sum(same.values()), counts.get((*given, number), 0)
            if not same:
                continue
            if self.kneser_ney:
                once, twice = (list(counts.values()).count(n) for n in (1, 2))
                discount = once / (once + 2 * twice) if once else 0.5
                kept = discount * len(same) / total
                result = max(times - discount, 0) / total + kept * result
            else:
                result = (times + len(same) * result) / (total + len(same))
        return result


def test_witten_bell_by_hand() -> None:
    counts = Counts(PIECES, 4, 2)
    # 6 ids are predicted, 3 of them different: end twice, 1 thrice, 2 once.
    unigram = np.array([2.75, 3.75, 1.75, 0.75]) / 9
    np.testing.assert_allclose(NGram(counts, 1).distribution(()), unigram)
    bigram = NGram(counts, 2)
    # After 1 come the end, 1 and 2, once each; a piece begins twice with 1.
    np.testing.assert_allclose(
        bigram.distribution((1,)), (np.array([1, 1, 1, 0]) + 3 * unigram) / 6
    )
    np.testing.assert_allclose(bigram.distribution(()), (np.array([0, 2, 0, 0]) + unigram) / 3)


def test_kneser_ney_by_hand() -> None:
    bigram = NGram(Counts(PIECES, 4, 2), 2, "kneser-ney")
    # The end follows 2 and 1, the id 1 follows the beginning and 1, the id 2 follows 1: counts
    # 2, 2, 1 and a discount of 1 / (1 + 2 * 2). Among bigrams four occur once and one twice: 4 / 6.
    lower = np.array([0.39, 0.39, 0.19, 0.03])
    np.testing.assert_allclose(
        bigram.distribution((1,)), np.array([1, 1, 1, 0]) / 9 + 2 / 3 * lower
    )
    np.testing.assert_allclose(bigram.distribution(()), np.array([0, 2 / 3, 0, 0]) + 1 / 3 * lower)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_it_is_the_naive_model_also_where_ids_are_unknown(order: int, smoothing: str) -> None:
    size = 6
    pieces = some_pieces(12, size + 1, seed=order)  # with id 6, which stands for the unknown
    ngram = NGram(Counts(pieces, size, 6), order, smoothing)
    naive = Naive(pieces, size, order, smoothing)
    scored = some_pieces(4, size + 1, seed=100)
    expected = []
    for ids in scored:
        history = [0, *ids.tolist()]
        for end in range(1, len(history)):
            known = history[end] < size
            given = tuple(history[:end])
            expected.append(naive.probability(given, history[end]) if known else np.nan)
    assert np.isnan(expected).any()
    np.testing.assert_allclose(ngram.probabilities(scored), expected)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("order", [1, 2, 4, 6])
def test_every_distribution_sums_to_one_and_excludes_nothing(order: int, smoothing: str) -> None:
    pieces = some_pieces(10, 5, seed=1)
    ngram = NGram(Counts(pieces, 8, 6), order, smoothing)  # the ids 5, 6 and 7 are never seen
    for context in ((), (1,), (7,), (1, 2, 3, 4), tuple(pieces[0][:5]), (9, 1, 2), (5, 6, 7, 5)):
        distribution = ngram.distribution(context)
        assert distribution.shape == (8,)
        assert distribution.min() > 0
        assert distribution.sum() == pytest.approx(1)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_distributions_and_probabilities_agree(smoothing: str) -> None:
    ngram = NGram(Counts(some_pieces(10, 5, seed=1), 6, 4), 4, smoothing)
    (ids,) = some_pieces(1, 6, seed=2)
    one_by_one = [ngram.distribution(tuple(ids[:i]))[ids[i]] for i in range(len(ids))]
    np.testing.assert_allclose(ngram.probabilities([ids]), one_by_one)


def test_higher_orders_learn_a_longer_rule_and_nothing_crosses_pieces() -> None:
    piece = np.array([*[1, 1, 2, 2] * 20, 0], np.int32)  # two ids back decide
    losses = [
        -np.log(NGram(Counts([piece], 3, 3), order).probabilities([piece])).mean()
        for order in (1, 2, 3)
    ]
    assert losses[1] > 0.9 * losses[0]
    assert losses[2] < 0.3 * losses[1]
    ngram = NGram(Counts([piece], 3, 3), 3)
    alone = ngram.probabilities([piece])
    np.testing.assert_array_equal(ngram.probabilities([piece, piece]), [*alone, *alone])


def test_repeat_last_is_a_distribution_that_has_learned_how_often() -> None:
    pieces = [np.array([1, 1, 1, 2, 2, 0], np.int32)]
    model = RepeatLast(pieces, NGram(Counts(pieces, 4, 1), 1))
    assert model.share == pytest.approx((3 + 1) / (6 + 2))
    after_two = [model.probabilities([np.array([2, number], np.int32)])[1] for number in range(4)]
    assert after_two[2] == pytest.approx(model.share)
    assert sum(after_two) == pytest.approx(1)
    for context in ((), (1,), (1, 2), (3,), (4,)):  # 4 has no id
        distribution = model.distribution(context)
        ids = [np.array([*context, number]) for number in range(4)]
        np.testing.assert_allclose(distribution, [model.probabilities([one])[-1] for one in ids])
    first = [model.probabilities([np.array([number], np.int32)])[0] for number in range(4)]
    assert sum(first) == pytest.approx(1)
    after_unknown = [model.probabilities([np.array([4, number])])[1] for number in range(4)]
    assert sum(after_unknown) == pytest.approx(1)


@pytest.mark.parametrize(("order", "smoothing"), [(0, "kneser-ney"), (4, "kneser-ney"), (2, "no")])
def test_what_was_not_counted_is_refused(order: int, smoothing: str) -> None:
    with pytest.raises(ValueError, match="order"):
        NGram(Counts(PIECES, 4, 3), order, smoothing)
