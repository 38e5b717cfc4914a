"""The summary of an evaluation, and the safety of what is printed."""

from dataclasses import replace
from typing import Any

import pytest

from midilstm.evaluation import report
from midilstm.evaluation.baseline import BaselineStats, Comparison, NGramSummary
from midilstm.evaluation.copying import CopyStats, Match, SetCopies
from midilstm.evaluation.estimates import Estimate
from midilstm.evaluation.likelihood import Likelihood
from midilstm.evaluation.repetition_stats import Extent, RepetitionStats
from midilstm.evaluation.result import EvaluationResult

SURE = Estimate(-1, (-1.2, -0.8))
NGRAM = NGramSummary("3-gram", 3, 12, 5.0)
FIELDS: dict[str, Any] = {
    **{"checkpoint": "a.keras", "encoding": "notes", "corpus": {}, "other_corpus": False},
    **{"seed": 0, "temperature": 1, "top_p": 1, "memory": None, "scores": {}, "warnings": ()},
}
RESULT = EvaluationResult(**FIELDS)


def likelihood(nll: float, pieces: int = 20, with_memory: Likelihood | None = None) -> Likelihood:
    one = Estimate(nll)
    return Likelihood(pieces, pieces, 100, one, one, one, one, one, one, with_memory)


def summary(
    held_out: Likelihood, difference: Estimate, with_memory: Comparison | None = None
) -> str:
    """Return the summary of a model and an n-gram of 5 nats per token."""
    best = {"best": likelihood(5.0), "best_ngram": NGRAM, "all": (NGRAM,)}
    baseline: Any = {"model_minus_baseline": difference, "with_memory": with_memory, **best}
    result = replace(
        RESULT, scores={"held_out": held_out}, ngram_baseline=BaselineStats(**baseline)
    )
    return report.summarize(result)


@pytest.mark.parametrize(
    ("nll", "difference", "pieces", "words", "is_certain"),
    [
        (4.0, SURE, 20, "20.0% better than", True),
        (6.0, Estimate(1, (0.8, 1.2)), 20, "20.0% worse than", True),
        (4.0, Estimate(-1, (-1.2, 0.1)), 20, "better than", False),
        (4.0, SURE, 2, "better than", False),
        (4.0, Estimate(-1), 1, "better than", False),
    ],
)
def test_the_model_is_better_or_worse_than_the_ngram_and_how_certain_that_is(
    nll: float, difference: Estimate, pieces: int, words: str, is_certain: bool
) -> None:
    text = summary(likelihood(nll, pieces), difference)
    assert words in text
    assert ("uncertain" not in text) is is_certain


def test_with_match_models_for_both_they_are_compared_with_them() -> None:
    scores = likelihood(4.5, with_memory=likelihood(2.0))
    assert "the model (4.500 nats per token) is 10.0% better" in summary(scores, SURE)
    text = summary(scores, SURE, Comparison(likelihood(2.5), SURE))
    assert "the model with memory (2.000 nats per token) is 20.0% better" in text
    text = report.summarize(replace(RESULT, scores={"held_out": scores}))
    assert text == "The model with memory needs 2.000 nats per token on 20 held-out pieces."


def copies(share: Estimate, name: str = "b.mid", piece: str = "a.mid") -> SetCopies:
    runs = Match(8, 0, "verbatim.mid", 0, 0, name), Match(30, 0, piece, 0, 2, name)
    return SetCopies(1, {report.COPY_LENGTH: {"exact": share, "transposed": share}}, *runs)


@pytest.mark.parametrize(
    ("generated", "held_out", "expected"),
    [
        (Estimate(0.6, (0.5, 0.7)), Estimate(0, (0, 0)), True),
        (Estimate(0.6, (0.5, 0.7)), Estimate(0.6, (0.5, 0.7)), False),
        (Estimate(0.05, (0.04, 0.06)), Estimate(0, (0, 0)), False),
        (Estimate(0.6, (0.1, 0.9)), Estimate(0.2, (0.1, 0.3)), False),
        (Estimate(0.6), None, True),
        (Estimate(), None, False),
    ],
    ids=["clear", "as held-out pieces", "rare", "perhaps chance", "no reference", "too short"],
)
def test_memorising_is_copying_more_than_held_out_pieces_share(
    generated: Estimate, held_out: Estimate | None, expected: bool
) -> None:
    stats = CopyStats(3, copies(generated), copies(held_out) if held_out else None)
    text = report.summarize_copying(stats)
    assert text.startswith("it has memorised" if expected else "it has not memorised")


def repetition(share: Estimate) -> RepetitionStats:
    spans = {report.SPAN: {"share": share}}
    return RepetitionStats(20, spans, Extent(), Extent(), n_ending_in_loop=3)


@pytest.mark.parametrize(
    ("share", "words"), [(0.4, "as much as"), (0.2, "less than"), (0.6, "more than"), (None, "")]
)
def test_repetition_is_compared_with_the_interval_of_the_reference(
    share: float | None, words: str
) -> None:
    generated = repetition(Estimate(share, (0.1, 0.9)))
    reference = repetition(Estimate(0.45, (0.39, 0.51)))
    text = report.summarize_repetition({"generated": generated, "held_out": reference})
    assert text.startswith(f"its pieces repeat themselves {words} reference" if words else "")
    assert text.endswith("3 of 20 end in a loop") is bool(words)
    assert report.summarize_repetition({"generated": generated}) == ""


def test_names_of_files_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    stats = CopyStats(1, copies(Estimate(0.6), "b\n.mid", "a\x1b[31m.mid"))
    evaluated = replace(RESULT, warnings=("c\x1b",), copying=stats)
    report.show(replace(evaluated, summary=report.summarize(evaluated)))
    printed = capsys.readouterr().out
    assert "b\\n.mid" in printed
    assert "\x1b" not in printed
    assert printed.splitlines()[-1].endswith("30 tokens of a\\x1b[31m.mid in another key.")
