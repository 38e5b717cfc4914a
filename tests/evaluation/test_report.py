"""The summary of an evaluation, and the safety of what is printed."""

from dataclasses import replace
from typing import Any

import pytest

from midilstm.evaluation import report
from midilstm.evaluation.baseline import BaselineStats, Comparison, NGramSummary
from midilstm.evaluation.copying import CopyStats, GramStats, Match, SetCopies
from midilstm.evaluation.estimates import Estimate
from midilstm.evaluation.likelihood import Likelihood
from midilstm.evaluation.repetition_stats import Extent, RepetitionStats, SpanStats
from midilstm.evaluation.result import EvaluationResult

SURE = Estimate(-1, (-1.2, -0.8))
NGRAM = NGramSummary("3-gram", 3, 12, 5.0)


def likelihood(nll: float, pieces: int = 20, with_memory: Likelihood | None = None) -> Likelihood:
    one = Estimate(nll)
    return Likelihood(pieces, pieces, 100, one, one, one, one, one, one, with_memory)


def result(baseline: tuple[Any, ...] = (), **changes: Any) -> EvaluationResult:
    """Return a result; `baseline` is the model's difference, and the comparison with memory."""
    fields: dict[str, Any] = {
        **{"checkpoint": "a.keras", "encoding": "notes", "corpus": {"folder": "data"}},
        **{"other_corpus": False, "seed": 0, "temperature": 1, "top_p": 1, "memory": None},
        **{"scores": {}, "warnings": ()},
    }
    if baseline:
        difference, with_memory = baseline
        fields["ngram_baseline"] = BaselineStats(
            best=likelihood(5.0),
            model_minus_baseline=difference,
            all=(NGRAM,),
            best_ngram=NGRAM,
            with_memory=with_memory,
        )
    return EvaluationResult(**{**fields, **changes})


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
    scores = {"held_out": likelihood(nll, pieces)}
    text = report.summarize(result((difference, None), scores=scores))
    assert words in text
    assert "3-gram in 12 keys, 5.000" in text
    assert ("uncertain" not in text) is is_certain


def test_with_match_models_for_both_they_are_compared_with_them() -> None:
    scores = {"held_out": likelihood(4.5, with_memory=likelihood(2.0))}
    text = report.summarize(result((SURE, None), scores=scores))
    assert "the model (4.500 nats per token) is 10.0% better" in text
    both = SURE, Comparison(likelihood(2.5), SURE)
    text = report.summarize(result(both, scores=scores))
    assert "the model with memory (2.000 nats per token) is 20.0% better" in text
    assert "baseline with memory (3-gram in 12 keys, 2.500)" in text
    text = report.summarize(result(scores=scores))
    assert text == "The model with memory needs 2.000 nats per token on 20 held-out pieces."


def copies(share: Estimate, name: str = "b.mid", piece: str = "a.mid") -> SetCopies:
    runs = Match(8, 0, "verbatim.mid", 0, 0, name), Match(30, 0, piece, 0, 2, name)
    return SetCopies(1, {report.COPY_LENGTH: GramStats(share, share)}, *runs)


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
    assert text.endswith(", and its longest copy is 30 tokens of a.mid in another key")


def repetition(share: Estimate, n_loops: int = 0) -> RepetitionStats:
    span = SpanStats(share, Estimate(), Estimate())
    return RepetitionStats(20, {report.SPAN: span}, Extent(), Extent(), n_loops)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.4, "as much as reference pieces: 40%"),
        (0.2, "less than reference pieces"),
        (0.6, "more than reference pieces"),
    ],
)
def test_repetition_is_compared_with_the_interval_of_the_reference(
    share: float, words: str
) -> None:
    reference = repetition(Estimate(0.45, (0.39, 0.51)))
    generated = repetition(Estimate(share, (0.1, 0.9)))
    text = report.summarize_repetition({"generated": generated, "held_out": reference})
    assert words in text
    assert text.endswith("(reference: 45% (39% to 51%))")
    generated = replace(generated, n_ending_in_loop=3)
    text = report.summarize_repetition({"generated": generated, "training": reference})
    assert text.endswith("3 of 20 end in a loop")


def test_repetition_is_left_out_without_a_reference_or_runs() -> None:
    share, nothing = repetition(Estimate(0.4)), repetition(Estimate())
    assert report.summarize_repetition({"generated": share}) == ""
    assert report.summarize_repetition({"generated": nothing, "held_out": share}) == ""


def test_names_of_files_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    stats = CopyStats(1, copies(Estimate(0.6), "b\n.mid", "a\x1b[31m.mid"))
    evaluated = result(warnings=("c\x1b",), copying=stats)
    report.show(replace(evaluated, summary=report.summarize(evaluated)))
    printed = capsys.readouterr().out
    assert "b\\n.mid" in printed
    assert "\x1b" not in printed
    assert printed.splitlines()[-1].endswith("30 tokens of a\\x1b[31m.mid in another key.")
