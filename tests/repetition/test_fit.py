"""The two fits of the memory: what predicts best, and what comes back as in people's pieces."""

import math
from typing import Any, cast

import numpy as np
import pytest
from fake_network import SIZE as KNOWN
from fake_network import FakeNetwork

from midilstm.repetition import fit as fitting
from midilstm.repetition.fit import (
    EXPECTED,
    Examples,
    bars_per_token,
    calibrate,
    fit,
    fit_weights,
    hear,
    mixture,
    vector_of,
)
from midilstm.repetition.match_model import History, MatchWeights, mix
from midilstm.tokenizers.vocabulary import END, Vocabulary

SIZE = 12
BAR = [0.0] + [0.25] * (SIZE - 1)  # four ids a bar; END takes no time
LETTERS = Vocabulary((END, "C4", "D4", "E4", "F4", "G4", "A4"))


def pieces_of(repeats: int, count: int = 6, size: int = SIZE) -> list[np.ndarray]:
    """Make pieces in which a strain of 24 ids comes so often, 12 other ids after each."""
    rng = np.random.default_rng(2)
    made = []
    for _ in range(count):
        strain = rng.integers(1, size, 24)
        parts = [[strain, rng.integers(1, size, 12)] for _ in range(repeats)]
        made.append(np.array([*np.concatenate([part for pair in parts for part in pair]), 0]))
    return made


def uniform(piece: np.ndarray) -> np.ndarray:
    return np.full((len(piece), SIZE), -math.log(SIZE), np.float32)


def gained(heard: Examples, weights: MatchWeights) -> float:
    """Return the nats that the past saves on these pieces, summed."""
    before, after = mixture(heard, vector_of(weights))
    places = np.arange(len(heard.right)), heard.right
    return float((after[places] - before[places]).sum())


def test_fitted_weights_save_nats_where_pieces_repeat_and_cost_none_where_not() -> None:
    repeated, new = hear(pieces_of(4), uniform, BAR, 1.0), hear(pieces_of(1, 40), uniform, BAR, 1.0)
    weights = fit_weights(repeated, 1.0)
    assert gained(repeated, weights) > 0.5 * np.log(SIZE) * 6 * 72
    assert gained(new, fit_weights(new, 1.0)) > -0.1
    assert -0.5 < weights.square < -0.3  # few pieces cannot tell it
    assert fit_weights(hear([], uniform, BAR, 1.0), 1.0) == MatchWeights(
        1.0, 0, 0, 0, 0, 0, EXPECTED[5], 0
    )


def test_what_the_fit_says_it_saves_is_what_mixing_saves() -> None:
    pieces = pieces_of(3)
    weights = fit_weights(hear(pieces, uniform, BAR, 1.0), 1.0)
    saved = 0.0
    for piece in pieces:
        past = History(BAR, 1.0)
        for number in piece.tolist():
            scores = uniform(piece[:1])
            mix(scores, [past], weights)
            saved += float(scores[0, number]) + math.log(SIZE)
            past.hear(number)
    assert gained(hear(pieces, uniform, BAR, 1.0), weights) == pytest.approx(saved, rel=1e-4)


def test_tuning_makes_as_much_come_back_as_in_peoples_pieces() -> None:
    def sample(weights: MatchWeights, number: int) -> list[np.ndarray]:
        """Return a piece of 800 ids of which more comes back the stronger the pull is."""
        new = np.random.default_rng(number).permutation(400)
        repeated_mask = int(np.clip(1000 * weights.bias - 900, 0, 400))
        return [np.concatenate([new, new[:repeated_mask], 400 + np.arange(400 - repeated_mask)])]

    given = MatchWeights(1.0, 1, 0, 0, 0, 0, 0, 0)
    people = sample(MatchWeights(1.0, 1.2, 0, 0, 0, 0, 0, 0), 7)
    weights = calibrate(given, sample, people, [0.25] * 800)
    assert weights.bias == pytest.approx(1.2, abs=0.03)
    assert calibrate(given, sample, [np.arange(400)], [0.25] * 800) == given  # nothing comes back


def test_tuning_stops_where_two_rounds_in_a_row_are_like_people() -> None:
    drawn: list[MatchWeights] = []
    people = pieces_of(3, 40)

    def sample(weights: MatchWeights, number: int) -> list[np.ndarray]:
        drawn.append(weights)
        return people if number else pieces_of(1)

    calibrate(MatchWeights(1.0, 1, 0, 1, 0, 0, 0, 0), sample, people, BAR)
    assert len(drawn) == 3


def shared(pieces: list[np.ndarray]) -> float:
    """Return the share of 8-token spans that came earlier."""
    return float(np.mean([(fitting.returns(ids, 8) > 0).mean() for ids in pieces]))


def test_a_fit_is_the_same_again_and_its_samples_return_as_people_do() -> None:
    network, people = cast(Any, FakeNetwork()), pieces_of(4, 20, KNOWN)
    weights = fit(network, LETTERS, people, seed=-3)
    assert weights == fit(network, LETTERS, people, seed=-3)
    assert weights.delay == 1.0
    memory = fitting.MatchModel.begin(bars_per_token(LETTERS), weights)
    drawn = fitting.generate(network, range(60), 143, fitting.SamplingConfig(), memory=memory)
    free = fitting.generate(network, range(60), 143, fitting.SamplingConfig())
    wanted = shared(people)
    assert shared([np.array(ids) for ids in drawn]) == pytest.approx(wanted, abs=0.08)
    long = fitting.generate(network, range(10), 5 * 143, fitting.SamplingConfig(), memory=memory)
    ends, theirs = (
        np.mean([np.array_split(fitting.returns(np.array(ids), 8) > 0, 5)[-1] for ids in made])
        for made in (long, people)
    )
    assert ends < theirs + 0.1  # also of what is five times as long
    assert shared([np.array(ids) for ids in free]) < wanted / 2


def test_a_piece_of_one_id_can_be_fitted() -> None:
    weights = fit(cast(Any, FakeNetwork()), LETTERS, [np.array([1, 0])], seed=0)
    assert weights == MatchWeights(1.0, 0, 0, 0, 0, 0, EXPECTED[5], 0)


def test_each_id_moves_on_by_its_bars() -> None:
    assert bars_per_token(Vocabulary((END, "C4", "0.4.7"))) == [0, 0.125, 0.125]
    tsd = (END, "Pitch_60", "TimeShift_1.6.12", "Velocity_63 Duration_1.0.12 TimeShift_0.6.12")
    assert bars_per_token(Vocabulary(tsd, "tsd")) == [0, 0, 0.375, 0.125]
    remi = (END, "Bar_None", "Position_0", "Duration_1.0.12 Bar_None TimeSig_3/4 Bar_None")
    assert bars_per_token(Vocabulary(remi, "remi")) == [0, 1, 0, 2]
