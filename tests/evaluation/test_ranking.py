"""Metrics of pieces, reference ranges, and the scores and reasons that follow from them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_network import SIZE, FakeNetwork

from midilstm import midi, tokenizers
from midilstm.evaluation import ranking
from midilstm.evaluation.ranking import Range, Ranges
from midilstm.fileio import InputError
from midilstm.generation.loaded_model import LoadedModel
from midilstm.repetition.match_model import MatchWeights
from midilstm.repetition.metrics import repeat_lags
from midilstm.schema import to_json
from midilstm.tokenizers.vocabulary import END, Vocabulary

NETWORK: Any = FakeNetwork()
WEIGHTS = MatchWeights(1.0, 1, -1, 0.5, 0.5, 0.1, 0, -0.1)
VOCABULARY = Vocabulary((END, "C4", "D4", "E4", "F4", "G4", "0.4.7"))
MODEL = LoadedModel(Path("best.keras"), NETWORK, VOCABULARY, match_weights=WEIGHTS)
ROWS: dict[int, dict[str, tuple[float, float, float]]] = {
    64: {"nll": (1, 2, 4), "repetition": (0, 0, 0), "range": (5, 9, 12), "longest_loop": (0, 0, 6)},
    512: {
        "nll": (0, 1, 3),
        "repetition": (0.2, 0.5, 0.6),
        "range": (9, 20, 30),
        "longest_loop": (0, 0, 0),
    },
}
RANGES: Ranges = {
    length: {name: Range(*quantiles) for name, quantiles in row.items()}
    for length, row in ROWS.items()
}
SAVED = {"nll": {"low": 1.0, "median": 2.0, "high": 4.0}}
TYPICAL = {"nll": 2.0, "repetition": 0.0, "range": 9.0, "longest_loop": 0.0}


def piece(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, SIZE, 100 + seed)


def test_the_metrics_of_a_piece() -> None:
    ids = np.array([1, 2, 3] * 8 + [5, 6])
    metrics = ranking.compute_metrics(ids, np.full(26, 1.5), MODEL)
    repetition = np.mean(repeat_lags(ids, 8) > 0)
    assert repetition > 0.5
    assert metrics == {"nll": 1.5, "repetition": repetition, "range": 7, "longest_loop": 24}


def test_ranges_are_quantiles_at_each_length_that_enough_pieces_have() -> None:
    pieces = [piece(seed) for seed in range(30)]
    ranges = ranking.measure_ranges(pieces, MODEL)
    assert [*ranges] == [32, 64]  # only two pieces have 128 tokens
    rows = [
        ranking.compute_metrics(ids[:64], nll[:64], MODEL)
        for ids, nll in zip(pieces, ranking.measure_pieces(pieces, MODEL), strict=True)
    ]
    assert ranges[64].keys() == rows[0].keys() == TYPICAL.keys()  # no groove without bars
    for name in TYPICAL:
        usual, values = ranges[64][name], [row[name] for row in rows]
        assert min(values) <= usual.low <= np.median(values) == usual.median
        assert usual.median <= usual.high <= max(values)
    assert ranking.measure_ranges(pieces[:4], MODEL) == {}


def band(*drums: int) -> midi.Score:
    """Return two bars per drum, which is struck on each quarter, under one long chord per bar."""
    strokes = [(480 * i, 240, drums[i // 8], midi.DRUMS) for i in range(8 * len(drums))]
    chords = [(1920 * i, 1920, pitch, 0) for i in range(2 * len(drums)) for pitch in (60, 64)]
    notes = [midi.Note(a, b, c, 90, program) for a, b, c, program in sorted(strokes + chords)]
    return midi.Score(480, tuple(notes), time_signatures={0: (4, 4)})


def test_a_band_is_compared_by_its_groove(monkeypatch: pytest.MonkeyPatch) -> None:
    encoding = tokenizers.get("remi")
    usual, odd = encoding.encode(band(36, 36, 38, 38)), encoding.encode(band(35, 36, 38, 40))
    vocabulary = Vocabulary((END, *sorted({*usual, *odd})), "remi")
    model = LoadedModel(Path(), NETWORK, vocabulary)
    monkeypatch.setattr(
        ranking, "measure_pieces", lambda pieces, _: list(map(np.ones_like, pieces))
    )
    ids, odd_ids = (vocabulary.ids_of(tokens) for tokens in (usual, odd))
    ranges = ranking.measure_ranges([ids] * 5, model)
    assert "bass agreement" not in ranges[128]  # there is no bass
    rankings = [
        ranking.score(ranking.compute_metrics(x[:128], np.ones(128), model), 128, ranges)
        for x in (ids, odd_ids)
    ]
    assert rankings[0].reasons == ()
    reason = (
        "0.50 agreement of the drums with the next bar, where reference pieces have 0.75 to 0.75"
    )
    assert reason in rankings[1].reasons


@pytest.mark.parametrize(
    ("changes", "score", "reasons"),
    [
        ({}, 0, []),
        ({"nll": 4.0}, 1 / 3, []),
        ({"nll": 6.0, "range": 15}, (2 + 2) / 3 + 2, ["6.00 nats per", "15 semitones from"]),
        ({"longest_loop": 8}, 1, ["8 tokens in a loop, where reference pieces have 0 to 6"]),
        ({"copied": 20}, 1, ["20 tokens in a row of a training piece"]),
    ],
    ids=["typical", "at an end of a range", "outside of two ranges", "in a loop", "copied"],
)
def test_the_score_is_the_distance_from_the_medians_plus_one_per_reason(
    changes: dict[str, Any], score: float, reasons: list[str]
) -> None:
    copied = changes.get("copied")
    result = ranking.score({**TYPICAL, **changes}, 80, RANGES, copied)
    assert result.score == pytest.approx(score)
    for actual, expected in zip(result.reasons, reasons, strict=True):
        assert actual.startswith(expected)
    body = result.to_json()
    assert body["reasons"] == ("; ".join(result.reasons) or None)
    assert (body["nll"], body.get("copied")) == (changes.get("nll", 2), copied)


def test_pieces_are_compared_with_the_range_at_the_nearest_length() -> None:
    assert len(ranking.score(TYPICAL, 400, RANGES).reasons) == 1  # long, without any repetition


def test_pieces_without_a_note_are_never_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    tokens = ("Pitch_64", "Pitch_67", "Velocity_63", "Duration_0.6.12", "TimeShift_0.6.12")
    model = LoadedModel(Path(), NETWORK, Vocabulary((END, "Program_0", *tokens), "tsd"))
    silent = {1: np.array([], int), 2: np.array([6] * 64), 3: np.array([1, 6, 2, 3])}
    pieces = {**silent, 4: np.array([2, 4, 5, 6] * 9)}
    rankings = ranking.rank_pieces(pieces, model, RANGES, [None] * 4)
    assert [*rankings] == [4, 1, 2, 3]
    assert [*ranking.select_best(rankings, 2)] == [4]
    assert capsys.readouterr().out.count("score inf: no note") == 3
    with pytest.raises(InputError, match="none of the 3 pieces has a note"):
        ranking.rank_pieces(silent, model, RANGES, [None] * 3)


def test_ranges_are_read_back(tmp_path: Path) -> None:
    saved = {name: to_json(usual) for name, usual in RANGES[64].items()}
    path = tmp_path / "reference.json"
    path.write_text(json.dumps({"ranges": {"x": {"64": saved}, "y": {}}}))
    assert ranking.read_reference(path) == {"x": {64: RANGES[64]}, "y": {}}
    assert ranking.read_reference(tmp_path / "missing.json") == {}


@pytest.mark.parametrize(
    "ranges",
    [
        *([], {"64": {}}, {"x": SAVED}, {"-1": SAVED}, {"0": SAVED}, {"٣": SAVED}),
        *({"9" * 8: SAVED}, {"9" * 400: SAVED}),
        *(
            {"64": {**SAVED, "nll": usual}}
            for usual in ("123", ["1", "2", "3"], [1, 2, 3], {"low": 1}, {"x" * 9000: 1}, None)
        ),
        *(
            {"64": {**SAVED, "nll": {"low": 1, "median": 2, "high": high}}}
            for high in (1.5, "3", True, None, [3], 1e8, 1e999, 10**400, float("nan"))
        ),
    ],
    ids=range(23),
)
def test_damaged_ranges_are_refused_in_one_sentence(ranges: Any, tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    for body in ({"ranges": {"x": ranges}}, {"ranges": ranges} if ranges == [] else [ranges]):
        path.write_text(json.dumps(body))
        with pytest.raises(InputError, match=r"reference\.json does not hold ranges") as error:
            ranking.read_reference(path)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 500
