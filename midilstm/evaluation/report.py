"""Print the result of an evaluation as tables, and summarise it in one sentence.

The rows have the names of the keys of the JSON, which docs/evaluation.md explains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass, replace
from typing import TYPE_CHECKING

from midilstm.evaluation.baseline import Comparison
from midilstm.evaluation.copying import CopyStats
from midilstm.evaluation.estimates import Estimate
from midilstm.evaluation.repetition_stats import RepetitionStats
from midilstm.fileio import printable

if TYPE_CHECKING:
    from midilstm.evaluation.result import EvaluationResult

SPAN = "8"  # tokens of the repeated runs that the summary is about
COPY_LENGTH = "12"  # tokens of the copied runs that the summary is about
MIN_PIECES = 5  # for an interval over pieces that is worth reading
MIN_COPIED = 0.1  # share of copied runs below which a model counts as not overfitted


def summarize(result: EvaluationResult) -> str:
    """Say whether the model beats the n-gram, repeats itself as reference pieces do, and copies."""
    parts = [summarize_prediction(result)]
    parts += [summarize_repetition(result.repetition)] if result.repetition else []
    parts += [summarize_copying(result.copying)] if result.copying else []
    sentence = "; ".join(filter(None, parts)) + "."
    return sentence[0].upper() + sentence[1:]


def summarize_prediction(result: EvaluationResult) -> str:
    """Compare the model with the best n-gram on held-out pieces, with match models if possible."""
    scores, baseline = result.scores.get("held_out"), result.ngram_baseline
    if not scores:
        return (
            "no pieces were held out, so nothing is known about music that the model has not seen"
        )
    compared: Comparison | None = baseline
    n_pieces, suffix = scores.pieces, ""
    if scores.with_memory and (not baseline or baseline.with_memory):
        scores, suffix = scores.with_memory, " with memory"
        compared = baseline and baseline.with_memory
    nll = scores.nll_per_token.value or 0
    if not baseline or not compared:
        return f"the model{suffix} needs {nll:.3f} nats per token on {n_pieces} held-out pieces"
    other = compared.best.nll_per_token.value or 0
    text = f"on held-out music the model{suffix} ({nll:.3f} nats per token) is "
    text += f"{abs(1 - nll / other):.1%} {'better' if nll < other else 'worse'} than the best "
    text += f"n-gram baseline{suffix} ({baseline.best_ngram.title}, {other:.3f})"
    interval = compared.model_minus_baseline.interval
    if not interval or interval[0] <= 0 <= interval[1] or n_pieces < MIN_PIECES:
        text += f", which is uncertain with {n_pieces} held-out piece{'s' * (n_pieces > 1)}"
    return text


def summarize_repetition(sets: Mapping[str, RepetitionStats]) -> str:
    """Compare how much generated and reference pieces repeat themselves; "" without either."""
    generated = sets["generated"]
    groups = [sets[group] for group in ("held_out", "training") if group in sets]
    stats = next((group for group in groups if group.pieces >= MIN_PIECES), (*groups, generated)[0])
    share, reference = generated.spans[SPAN]["share"], stats.spans[SPAN]["share"]
    if not groups or share.value is None or reference.value is None:
        return ""
    low, high = reference.interval or (reference.value, reference.value)
    words = (
        "less than" if share.value < low else "more than" if share.value > high else "as much as"
    )
    text = f"its pieces repeat themselves {words} reference pieces: {share.value:.0%} of their "
    text += f"runs of {SPAN} tokens came earlier in the piece "
    text += f"(reference: {reference.format('.0%')})"
    n_loops = generated.n_ending_in_loop
    return text + (f", and {n_loops} of {generated.pieces} end in a loop" if n_loops else "")


def summarize_copying(stats: CopyStats) -> str:
    """Say whether generated pieces share clearly more with training pieces than held-out ones do.

    Then the model has memorised training pieces. Name its longest copy.
    """
    share = stats.generated.grams[COPY_LENGTH]["transposed"]
    held_out = stats.held_out.grams[COPY_LENGTH]["transposed"] if stats.held_out else Estimate()
    text, longest = "it has not memorised training pieces", stats.generated.longest_transposed
    if share.value is not None:
        low = (share.interval or [share.value])[0]
        usual = held_out.interval[1] if held_out.interval else held_out.value or 0
        if share.value >= MIN_COPIED and low > usual:
            text = "it has memorised training pieces"
        text += f": {share.value:.1%} of its runs of {COPY_LENGTH} tokens stand in one"
    if held_out.value is not None:
        text += f" (held-out pieces: {held_out.value:.1%})"
    if longest.length:
        text += f", and its longest copy is {longest.length} tokens of {longest.piece}"
        text += " in another key" if longest.semitones else ""
    return text


def show(result: EvaluationResult) -> None:
    """Print the whole result."""
    print(printable(f"Evaluation of {result.checkpoint}"))
    for title, columns in _tables(result):
        _show_table(title, columns)
    print("", *map(printable, (*result.warnings, result.summary)), sep="\n")


def _tables(result: EvaluationResult) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield a title and columns of nested statistics for each table; a column may be None."""
    columns = dict(result.scores)
    if baseline := result.ngram_baseline:
        both = baseline.with_memory.best if baseline.with_memory else None
        columns[f"best n-gram: {baseline.best_ngram.title}"] = replace(
            baseline.best, with_memory=both
        )
    yield "Prediction", {k: replace(x, with_memory=None) for k, x in columns.items()}
    yield "Prediction with memory", {k: x.with_memory for k, x in columns.items()}
    if result.memory and result.by_section:
        yield "Held-out nats per token by section", _transpose(result.by_section)
    if result.generated and result.repetition:
        size, memory = "{pieces} pieces of {length} tokens".format(**result.generated), "files"
        if result.generated["memory"] is not None:
            memory = f"drawn with --memory={result.generated['memory']:g}"
        yield f"Repetition; generated: {size}, {memory}", result.repetition
    if copying := result.copying:
        title = f"Found in the {copying.n_training:,} training pieces"
        yield title, {"generated": copying.generated, "held_out": copying.held_out}
    if statistics := result.statistics:
        rows = {"pieces": statistics.pieces, **statistics.values}
        yield "Music: means over pieces", _transpose(rows)
    if groove := result.groove:
        yield "Groove: means over the first bars of pieces", _transpose(groove.values)
    if similarity := result.similarity:
        title = f"Similarity to {similarity.reference_set.replace('_', ' ')} pieces: 1 = the same"
        title += ", without rhythm and instruments" if similarity.skipped_features else ""
        mean, overlaps = similarity.mean_overlap, similarity.features | similarity.distributions
        name = f"mean of {mean.features} features"
        generated: dict[str, object] = {x: row.value for x, row in overlaps.items()}
        training: dict[str, object] = {x: row.reference for x, row in overlaps.items()}
        generated[name], training[name] = Estimate(mean.value, mean.interval), mean.reference
        divergences = {x: row.kl_divergence for x, row in similarity.features.items()}
        yield (
            title,
            {"generated": generated, "training": training, "KL divergence": divergences},
        )


def _transpose(rows: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """Return the columns of a table of rows."""
    heads = next(iter(rows.values()))
    return {head: {label: row[head] for label, row in rows.items()} for head in heads}


def _to_cells(stats: object, prefix: str = "") -> dict[str, str]:
    """Return the values of nested statistics as text, by the names that lead to them."""
    cells: dict[str, str] = {}
    for key, value in (stats if isinstance(stats, Mapping) else vars(stats)).items():
        label = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Estimate):
            counts = [(name, x) for name, x in vars(value).items() if isinstance(x, int) and x]
            notes = [f"{name.removeprefix('n_')} {count}" for name, count in counts]
            cells[label] = ", ".join([value.format(".4g"), *notes])
        elif isinstance(value, Mapping) or is_dataclass(value):
            cells |= _to_cells(value, f"{label} ")
        elif value is not None:
            cells[label] = format(value, ".4g" if isinstance(value, float) else "")
    return cells


def _show_table(title: str, columns: Mapping[str, object]) -> None:
    """Print nested statistics; a dash is a missing value."""
    texts = {head.replace("_", " "): _to_cells(stats) for head, stats in columns.items() if stats}
    if not texts:
        return
    lines = [["", *texts]]
    for label in dict.fromkeys(label for cells in texts.values() for label in cells):
        lines.append([label, *(cells.get(label, "–") for cells in texts.values())])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"\n{title}")
    for label, *cells in lines:
        row = "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        print(printable(f"  {label:{widths[0]}}{row}"))
