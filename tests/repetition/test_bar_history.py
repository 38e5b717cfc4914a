"""Candidates that stood at the same place some bars earlier, alone and in the match model."""

import math
from functools import partial

import numpy as np
import pytest
from fill_bands import random_band
from fill_bands import vocabulary as band_vocabulary

from midilstm.repetition.bar_history import BarHistory, bar_table
from midilstm.repetition.fit import collect_examples, fit_weights, mixture
from midilstm.repetition.match_model import (
    N_FEATURES,
    Candidate,
    History,
    MatchModel,
    MatchWeights,
    add_match_bias,
    features,
)
from midilstm.tokenizers.vocabulary import END, Vocabulary

# A bar of drums and piano.
HEAD = ["Bar_None", "TimeSig_4/4"]
KICK, SNARE = (
    ["Position_0", "PitchDrum_36", "Velocity_95", "Duration_0.3.12"],
    ["Position_24", "PitchDrum_38", "Velocity_63", "Duration_0.6.12"],
)
DRUMS = ["Program_-1", *KICK, *SNARE]
PIANO = ["Program_0", "Position_0", "Pitch_60", "Velocity_79", "Duration_4.0.12"]
PIANO += ["Pitch_64", "Velocity_31", "Duration_2.0.12"]
BAR = [*HEAD, *DRUMS, *PIANO]
OTHERS = ["Program_33", "Position_12", "PitchDrum_40", "Pitch_62", "Pitch_67"]
MERGED = ["Velocity_95 Duration_0.3.12", "Velocity_95 Duration_0.3.12 Position_24"]
MERGED += [" ".join(KICK), "Duration_2.0.12 Bar_None TimeSig_3/4"]
PLAIN = Vocabulary((END, *sorted({*BAR, *OTHERS})), "remi")
WITH_MERGES = Vocabulary((*PLAIN.tokens, *MERGED), "remi")


def history_of(tokens: list[str], vocabulary: Vocabulary = PLAIN) -> BarHistory:
    table = bar_table(vocabulary)
    assert table
    history = BarHistory(table)
    for token_id in vocabulary.ids_of(tokens).tolist():
        history.update(token_id)
    return history


@pytest.mark.parametrize(
    ("begun", "expected"),
    [
        (HEAD[:1], "TimeSig_4/4"),
        (HEAD, "Program_-1"),
        ([*HEAD, "Program_-1"], "Position_0"),
        ([*HEAD, *DRUMS[:2]], "PitchDrum_36"),
        ([*HEAD, *DRUMS[:3]], "Velocity_95"),
        ([*HEAD, *DRUMS[:5]], "Position_24"),  # the first note after the present
        ([*HEAD, "Program_-1", *SNARE], "Program_0"),
        ([*HEAD, *DRUMS[:5], "Position_12", "PitchDrum_40"], "Velocity_95"),  # as the note before
        ([*HEAD, *DRUMS, *PIANO[:5], "Pitch_62"], "Velocity_79"),
        ([*HEAD, *DRUMS, *PIANO[:5]], "Pitch_64"),
        (BAR[:-1], "Duration_2.0.12"),
        (BAR, "Bar_None"),
        ([*HEAD, *DRUMS, *PIANO[:2], "Pitch_67"], "Velocity_31"),
        ([*HEAD, "Program_33"], None),  # which did not play in that bar
    ],
)
def test_the_candidate_is_what_followed_at_the_same_place(
    begun: list[str], expected: str | None
) -> None:
    candidates = history_of([*BAR, *begun]).candidates
    assert [PLAIN.tokens[token_id] for token_id in candidates] == ([expected] if expected else [])


def test_with_merges_it_is_the_longest_token_that_begins_what_followed() -> None:
    for begun, expected in (
        ([*HEAD, *DRUMS[:3]], MERGED[1]),
        ([*HEAD, "Program_-1"], MERGED[2]),
        (BAR[:-1], "Duration_2.0.12"),  # another meter followed
    ):
        (candidate,) = history_of([*BAR, *begun], WITH_MERGES).candidates
        assert WITH_MERGES.tokens[candidate] == expected


def test_the_lags_agree_or_give_different_candidates_and_their_hits_are_counted() -> None:
    other = [*HEAD, "Program_-1", *SNARE]
    begun = history_of([*BAR, *other, *BAR, *HEAD, "Program_-1"]).candidates
    kick, snare = PLAIN.ids_of(["Position_0", "Position_24"]).tolist()
    # 1 bar earlier has been wrong twice here, and 2 bars earlier right once.
    assert begun == {kick: (1, math.log(1 / 2.9)), snare: (1, math.log(2))}
    repeated = history_of([*BAR * 3, *HEAD]).candidates
    expected = pytest.approx((2, math.log(2.9) + math.log(2)))
    assert repeated == {PLAIN.token_ids["Program_-1"]: expected}


def test_a_copy_is_independent_and_other_encodings_have_no_places() -> None:
    history = history_of(BAR)
    copied, expected = history.copy(), dict(history.candidates)
    for token_id in PLAIN.ids_of(BAR).tolist():
        copied.update(token_id)
    assert history.candidates == expected
    assert history_of([*BAR, *BAR]).candidates == copied.candidates != expected
    assert bar_table(Vocabulary((END, "C4"))) is None


def test_a_match_at_the_same_place_is_one_candidate_with_all_features() -> None:
    history = History.begin(PLAIN, 1.0)
    for token_id in PLAIN.ids_of([*BAR, *BAR]).tolist():
        history.update(token_id)
    (candidate,) = history.candidates()
    # The bar before was right once, after the first length of the piano.
    assert (PLAIN.tokens[candidate.token_id], *candidate[4:]) == ("Bar_None", 1, math.log(2))
    assert features(candidate, -1.0) == (
        *features(candidate._replace(n_bars=0), -1.0)[:7],
        *features(Candidate(9, n_bars=1, bar_log_odds=math.log(2)), -1.0)[7:],
    )


def test_the_fit_and_the_sampler_agree_on_the_gain_and_bars_that_return_are_predicted() -> None:
    vocabulary = band_vocabulary(20)
    pieces = []
    for seed in range(3):
        band = random_band(np.random.default_rng(seed), 2)
        tokens = vocabulary.apply_merges(vocabulary.encoding.encode(band))
        pieces.append(vocabulary.ids_of(tokens * 3, missing=1))
    uniform = np.full((1, len(vocabulary)), -math.log(len(vocabulary)), np.float32)
    begin = partial(History.begin, vocabulary, 1.0)
    examples = collect_examples(pieces, lambda ids: uniform.repeat(len(ids), 0), begin)
    weights, saved = fit_weights(examples, 1.0), 0.0
    for piece in pieces:
        history = begin()
        for token_id in piece.tolist():
            log_probs = uniform.copy()
            add_match_bias(log_probs, MatchModel([history], weights))
            saved += float(log_probs[0, token_id] - uniform[0, token_id])
            history.update(token_id)
    observed = np.arange(len(examples.labels)), examples.labels
    nats = [mixture(examples, x)[observed].sum() for x in (np.zeros(N_FEATURES), weights.vector)]
    assert nats[1] - nats[0] == pytest.approx(saved, rel=1e-4)
    alone = MatchWeights(1.0, *weights.vector[:7].tolist())
    assert saved > 0.5 * sum(map(len, pieces)) * math.log(len(vocabulary))
    assert mixture(examples, alone.vector)[observed].sum() < nats[1]
