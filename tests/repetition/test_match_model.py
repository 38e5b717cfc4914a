"""The match model: its candidates, their bias, its cost, and its weights in JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from midilstm.repetition.match_model import (
    Candidate,
    History,
    MatchModel,
    MatchWeights,
    add_match_bias,
    bars_per_token,
    features,
    read_weights,
)
from midilstm.schema import to_json
from midilstm.tokenizers.vocabulary import END, Vocabulary

SIZE = 12
BARS = [0.0] + [0.25] * (SIZE - 1)  # four ids per bar; END takes no time
MOTIF = [3, 5, 7, 4, 8, 6, 9, 2]
WEIGHTS = MatchWeights(1.0, 0.5, -0.5, 1.0, 0.5, 0.0, 0.0, -0.5)


def history_of(ids: list[int], min_lag_bars: float = 1.0) -> History:
    history = History(BARS, min_lag_bars)
    for token_id in ids:
        history.update(token_id)
    return history


def uniform(rows: int = 1) -> np.ndarray:
    return np.full((rows, SIZE), -math.log(SIZE), np.float32)


def biased(*histories: History, weights: MatchWeights = WEIGHTS, strength: float = 1) -> np.ndarray:
    """Return uniform log probabilities with the bias of each history added."""
    log_probs = uniform(len(histories))
    add_match_bias(log_probs, MatchModel(histories, weights, strength))
    return log_probs


def test_a_repeated_motif_is_expected_to_continue() -> None:
    history = history_of([*MOTIF, 1, *MOTIF[:4]])
    assert history.candidates() == [Candidate(MOTIF[4], False, 4, 2.25)]
    assert biased(history).argmax() == MOTIF[4]
    shorter = biased(history_of([*MOTIF, 1, *MOTIF[:2]]))
    assert shorter.max() < biased(history).max()
    # Two continuations of one context are two candidates, the later one first.
    candidates = history_of([3, 5, 7, 4, 1, 1, 3, 5, 7, 9, 2, 2, 3, 5, 7]).candidates()
    assert [candidate[:2] for candidate in candidates] == [(9, False), (4, True)]


def test_contexts_within_the_smallest_lag_do_not_count() -> None:
    ids = [3, 5, 7, 4, 3, 5, 7]
    assert history_of(ids, 0.5).candidates()[0].token_id == 4
    assert not history_of(ids, 1.25).candidates()


def test_a_third_repetition_in_a_row_is_not_suggested() -> None:
    loop = [3, 5, 7, 4]
    assert history_of(loop + loop[:3]).candidates()
    assert not history_of(loop * 3).candidates()


def test_a_beginning_has_no_candidates_and_end_is_never_one() -> None:
    history = History(BARS, 0.0)
    assert not history.candidates()
    for token_id in MOTIF * 4:
        assert all(candidate.token_id for candidate in history.candidates())
        history.update(token_id)


def test_rows_stay_normalised_and_one_without_candidates_unchanged() -> None:
    before = np.log(np.random.default_rng(0).dirichlet(np.ones(SIZE), 3)).astype(np.float32)
    pieces = ([*MOTIF, 1, *MOTIF[:5]], [1], [3, 5, 7, 1, 3, 5, 4, 1, 3, 5])
    candidate = history_of(pieces[2]).candidates()[0].token_id
    before[2, candidate] = -np.inf  # it keeps a probability of 0
    before[2] -= np.log(np.exp(before[2]).sum())
    rows = [before[:1].copy(), before[1:2].copy(), before[2:].copy()]
    for row, ids in zip(rows, pieces, strict=True):
        add_match_bias(row, MatchModel([history_of(ids)], WEIGHTS, 2.0))
    log_probs = before.copy()
    add_match_bias(log_probs, MatchModel([history_of(ids) for ids in pieces], WEIGHTS, 2.0))
    np.testing.assert_array_equal(log_probs, np.concatenate(rows))  # no row depends on others
    np.testing.assert_allclose(np.exp(log_probs.astype(float)).sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(log_probs[1], before[1])
    assert (log_probs[0] != before[0]).any()
    assert log_probs[2, candidate] == -np.inf
    np.testing.assert_array_equal(biased(history_of(MOTIF * 2), strength=0), uniform())


def test_selected_rows_are_independent_copies() -> None:
    model = MatchModel([history_of([*MOTIF, 1, *MOTIF[:4]])], WEIGHTS).select_rows([0, 0])
    model.update(np.array([2, MOTIF[4]]))
    expected = history_of([*MOTIF, 1, *MOTIF[:5]]).candidates()
    assert model.histories[1].candidates() == expected != model.histories[0].candidates()


class CountingList(list[int]):
    """Count how often an item is read."""

    reads = 0

    def __getitem__(self, index: Any) -> Any:
        self.reads += 1
        return super().__getitem__(index)


@pytest.mark.parametrize("ids", [[1] * 4000, MOTIF * 500], ids=["one id", "a loop"])
def test_the_work_grows_linearly_with_the_piece(ids: list[int]) -> None:
    reads = []
    for length in (2000, 4000):
        history = History(BARS, 1.0)
        history._ids = CountingList(history._ids)
        for token_id in ids[:length]:
            history.candidates()
            history.update(token_id)
        reads.append(history._ids.reads)
    assert reads[1] < 2.2 * reads[0]


def test_features_are_in_the_order_of_the_weights() -> None:
    (candidate,) = history_of([*MOTIF, *MOTIF]).candidates()
    values = (1.0, 0.0, 3.0, 2.0, math.log2(3), math.log2(3) ** 2)
    assert features(candidate, -2.0) == (*values, -2.0, 0.0, 0.0, 0.0)
    assert features(candidate, -math.inf)[:7] == (*values, -12.0)
    in_bars = candidate._replace(n_bars=2, bar_log_odds=0.5)
    assert features(in_bars, -2.0) == (*values, -2.0, 2.0, 0.5, -2.0)
    assert features(Candidate(3, n_bars=1), -2.0) == (*[0.0] * 7, 1.0, 0.0, -2.0)


def test_saved_weights_may_lack_those_of_earlier_bars_alone() -> None:
    saved = to_json(WEIGHTS)
    older = {name: saved[name] for name in [*saved][:8]}
    assert read_weights(older) == read_weights(saved) == WEIGHTS
    for wrong in ({**older, "other": 1.0}, {"n_bars": 1.0}, {**older, "n_bars": 1e9}):
        with pytest.raises(ValueError, match=r"n_bars|differ"):
            read_weights(wrong)


def test_each_id_advances_by_its_bars() -> None:
    assert bars_per_token(Vocabulary((END, "C4", "0.4.7"))) == [0, 0.125, 0.125]
    tsd = (END, "Pitch_60", "TimeShift_1.6.12", "Velocity_63 Duration_1.0.12 TimeShift_0.6.12")
    assert bars_per_token(Vocabulary(tsd, "tsd")) == [0, 0, 0.375, 0.125]
    remi = (END, "Bar_None", "Position_0", "Duration_1.0.12 Bar_None TimeSig_3/4 Bar_None")
    assert bars_per_token(Vocabulary(remi, "remi")) == [0, 1, 0, 2]
