"""The sentence that an evaluation ends with."""

from typing import Any

import pytest

from midilstm.evaluation import report


def grams(value: float | None, interval: list[float] | None = None) -> dict[str, Any]:
    fact = {"value": value, "interval": interval}
    return {str(report.COPIED): {"exact": fact, "transposed": fact}}


def facts(made: dict[str, Any], human: dict[str, Any] | None) -> dict[str, Any]:
    longest = {"length": 30, "piece": "a.mid"}
    sets = {"generated": {"grams": made, "longest": longest}}
    return sets | ({"held_out": {"grams": human}} if human else {})


@pytest.mark.parametrize(
    ("made", "human", "expected"),
    [
        (grams(0.6, [0.5, 0.7]), grams(0.0, [0, 0]), True),
        (grams(0.6, [0.5, 0.7]), grams(0.6, [0.5, 0.7]), False),  # as people do
        (grams(0.05, [0.04, 0.06]), grams(0.0, [0, 0]), False),  # too little to matter
        (grams(0.6, [0.1, 0.9]), grams(0.2, [0.1, 0.3]), False),  # perhaps chance
        (grams(0.6), None, True),
        (grams(None), None, False),  # too short to tell
    ],
)
def test_memory_is_more_than_people_repeat(
    made: dict[str, Any], human: dict[str, Any] | None, expected: bool
) -> None:
    found = facts(made, human)
    assert report.copying(found).startswith("it has memorised" if expected else "it has not")
    assert "30 tokens of a.mid" in report.copying(found)


@pytest.mark.parametrize(
    ("mine", "interval", "pieces", "words", "certain"),
    [
        (4.0, [-1.2, -0.8], 20, "20.0% better than", True),
        (6.0, [0.8, 1.2], 20, "20.0% worse than", True),
        (4.0, [-1.2, 0.1], 20, "better than", False),
        (4.0, [-1.2, -0.8], 2, "better than", False),
        (4.0, None, 1, "better than", False),
    ],
)
def test_better_or_worse_and_how_sure(
    mine: float, interval: list[float] | None, pieces: int, words: str, certain: bool
) -> None:
    held_out = {"pieces": pieces, "nll_per_token": {"value": mine}}
    best = {"name": "3-gram", "order": 3, "keys": 12, "nll_per_token": {"value": 5.0}}
    baseline = {"best": best, "model_minus_baseline": {"interval": interval}}
    said = report.prediction({"scores": {"held_out": held_out}, "ngram_baseline": baseline})
    assert words in said
    assert "3-gram in 12 keys, 5.000" in said
    assert ("cannot make certain" not in said) is certain


def test_a_number_shows_its_interval_where_it_has_one() -> None:
    assert report.number({"value": 0.5, "interval": [0.25, 0.75]}, ".0%") == "50% (25% to 75%)"
    assert report.number({"value": 1.5, "interval": None}, ".3f") == "1.500"
    assert report.number({"value": None, "interval": None}, ".3f") == "–"


def similarity(**changes: Any) -> dict[str, Any]:
    fact = {"value": 0.75, "interval": [0.5, 0.875], "reference": {"value": 0.9, "interval": None}}
    found = {
        "reference_set": "held_out",
        "pieces": {"generated": 20, "held_out": 9},
        "features": {"pitch range": fact},
        "mean_overlap": {**fact, "features": 1},
        "distributions": {
            "duration overlap": {**fact, "n_skipped": {"generated": 2, "reference": 0}}
        },
        "skipped_features": [],
    }
    return found | changes


def test_similarity_shows_people_beside_the_generated(capsys: pytest.CaptureFixture[str]) -> None:
    report.show_similarity(similarity())
    lines = capsys.readouterr().out.splitlines()
    words = {line[2:32].strip(): " ".join(line.split()) for line in lines}
    assert "20 generated to 9 held out pieces" in lines[1]
    assert "people: training" in lines[2]
    assert words["pitch range"] == "pitch range 0.75 (0.50 to 0.88) 0.90"
    assert words["mean of 1"] == "mean of 1 0.75 (0.50 to 0.88) 0.90"
    expected = "duration overlap 0.75 (0.50 to 0.88) 0.90 left out: 2 generated"
    assert words["duration overlap"] == expected
    assert "Rhythm and instruments" not in "".join(lines)


def test_what_an_encoding_cannot_say_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    report.show_similarity(similarity(distributions={}, skipped_features=["duration overlap"]))
    printed = capsys.readouterr().out
    assert "Rhythm and instruments are left out" in printed
    assert "duration overlap" not in printed


def test_names_of_files_do_not_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run = {"length": 9, "semitones": 0, "piece": "a\x1b[31m.mid", "piece_start": 0, "start": 0}
    both = {kind: {**run, "in": "b\n.mid"} for kind in ("longest", "longest_transposed")}
    found = {"n_training": 1, "generated": {"pieces": 1, "grams": grams(0.6), **both}}
    report.show_copying(found)
    verdict = report.copying(found)
    report.show({"scores": {}, "warnings": ["c\x1b"], "summary": verdict})
    printed = capsys.readouterr().out
    assert "9 tokens of a\\x1b[31m.mid (from token 1) in b\\n.mid" in printed
    assert "\x1b" not in printed
    assert printed.splitlines()[-1].endswith("9 tokens of a\\x1b[31m.mid")


def shape(share: float | None, interval: list[float] | None, loops: int = 0) -> dict[str, Any]:
    fact = {"value": share, "interval": interval}
    return {"spans": {report.SPAN: {"share": fact}}, "pieces": 20, "n_ending_in_loop": loops}


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.4, "themselves as people's: 40%"),
        (0.2, "less than people's"),
        (0.6, "more than people's"),
    ],
)
def test_form_is_held_against_peoples_interval(share: float, words: str) -> None:
    people = shape(0.45, [0.39, 0.51])
    said = report.form({"generated": shape(share, [0.1, 0.9]), "held_out": people})
    assert words in said
    assert "(people's: 45% (39% to 51%))" in said
    assert "loop" not in said
    said = report.form({"generated": shape(share, None, 3), "training": people})
    assert said.endswith("3 of 20 end in a loop")


def test_nothing_is_said_of_form_without_people_or_spans() -> None:
    assert report.form({"generated": shape(0.4, None)}) == ""
    assert report.form({"generated": shape(None, None), "held_out": shape(0.4, None)}) == ""


def test_with_memory_the_verdict_compares_what_remembers() -> None:
    def side(nats: float) -> dict[str, Any]:
        return {"name": "6-gram", "keys": 12, "nll_per_token": {"value": nats}}

    held_out = {"pieces": 20, **side(4.5), "with_memory": side(2.0)}
    sure = {"interval": [-1, -0.5]}
    baseline = {"best": side(5.0), "model_minus_baseline": sure}
    remembers = {"with_memory": {"best": side(2.5), "model_minus_baseline": sure}}
    said = report.prediction({"scores": {"held_out": held_out}, "ngram_baseline": baseline})
    assert "the model (4.500 nats a token) is 10.0% better" in said
    baseline |= remembers
    said = report.prediction({"scores": {"held_out": held_out}, "ngram_baseline": baseline})
    assert "the model with memory (2.000 nats a token) is 20.0% better" in said
    assert "baseline with memory (6-gram in 12 keys, 2.500)" in said
    said = report.prediction({"scores": {"held_out": held_out}})
    assert said == "on 20 pieces it never saw the model with memory needs 2.000 nats a token"
