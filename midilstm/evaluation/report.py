"""Print the result of an evaluation as tables, and summarise it in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from midilstm.evaluation.copying import CopyStats, SetCopies
from midilstm.evaluation.estimates import Estimate
from midilstm.evaluation.features import Statistics
from midilstm.evaluation.likelihood import Sections
from midilstm.evaluation.repetition_stats import RepetitionStats
from midilstm.evaluation.similarity import Similarity
from midilstm.fileio import printable

if TYPE_CHECKING:
    from midilstm.evaluation.result import EvaluationResult

SPAN = "8"  # tokens of the repeated runs that the summary is about
LAG_SPANS = ("8", "16")  # tokens of the repeated runs whose distances are shown
COPY_LENGTH = "12"  # tokens of the copied runs that the summary is about
MIN_PIECES = 5  # for an interval over pieces that is worth reading
MIN_COPIED = 0.1  # share of copied runs below which a model counts as not overfitted


def summarize(result: EvaluationResult) -> str:
    """Say whether the model beats the n-gram, repeats itself as reference pieces do, and copies."""
    parts = [summarize_prediction(result)]
    if result.repetition:
        parts.append(summarize_repetition(result.repetition))
    if result.copying:
        parts.append(summarize_copying(result.copying))
    sentence = "; ".join(filter(None, parts)) + "."
    return sentence[0].upper() + sentence[1:]


def summarize_prediction(result: EvaluationResult) -> str:
    """Compare the model with the best n-gram on held-out pieces, with match models if possible."""
    scores, baseline, suffix = result.scores.get("held_out"), result.ngram_baseline, ""
    if not scores:
        return (
            "no pieces were held out, so nothing is known about music that the model has not seen"
        )
    n_pieces, compared = scores.pieces, baseline
    if scores.with_memory and (not baseline or baseline.with_memory):
        scores, suffix = scores.with_memory, " with memory"
        compared = baseline and baseline.with_memory  # type: ignore[assignment]
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
    groups = [sets[group] for group in ("held_out", "training") if group in sets]
    if not groups:
        return ""
    stats = next((group for group in groups if group.pieces >= MIN_PIECES), groups[0])
    share, reference = sets["generated"].spans[SPAN].share, stats.spans[SPAN].share
    if share.value is None or reference.value is None:
        return ""
    low, high = reference.interval or (reference.value, reference.value)
    words = (
        "less than" if share.value < low else "more than" if share.value > high else "as much as"
    )
    text = f"its pieces repeat themselves {words} reference pieces: {share.value:.0%} of their "
    text += f"runs of {SPAN} tokens came earlier in the piece "
    text += f"(reference: {reference.format('.0%')})"
    n_loops, n_pieces = sets["generated"].n_ending_in_loop, sets["generated"].pieces
    return text + (f", and {n_loops} of {n_pieces} end in a loop" if n_loops else "")


def summarize_copying(stats: CopyStats) -> str:
    """Say whether the model has memorised training pieces, with the longest copy.

    It has if generated pieces share clearly more with training pieces than held-out pieces do.
    """
    share = stats.generated.grams[COPY_LENGTH].transposed
    held_out = stats.held_out.grams[COPY_LENGTH].transposed if stats.held_out else Estimate()
    text, longest = "it has not memorised training pieces", stats.generated.longest
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
    return text


def show(result: EvaluationResult) -> None:
    """Print the whole result."""
    print(printable(f"Evaluation of {result.checkpoint}"))
    show_prediction(result)
    if result.memory and result.by_section:
        show_sections(result.by_section)
    if generated := result.generated:
        source = f"drawn with --memory={generated.memory or 0:g}"
        source = "read from files" if generated.memory is None else source
        print(f"\nGenerated: {generated.pieces} pieces of {generated.length} tokens, {source}")
    if result.repetition:
        show_repetition(result.repetition)
    if result.copying:
        show_copying(result.copying)
    if result.statistics:
        show_statistics(result.statistics)
    if result.similarity:
        show_similarity(result.similarity)
    print("", *map(printable, (*result.warnings, result.summary)), sep="\n")


def table(
    title: str, heads: Iterable[str], rows: Mapping[str, Sequence[str]], width: int = 32
) -> None:
    """Print a table; a cell beyond the heads is a note on its row."""
    heads = [f"{head.replace('_', ' '):>{width}}" for head in heads]
    print(f"\n{title}\n{'':32}{''.join(heads)}")
    for label, cells in rows.items():
        columns = "".join(f"{cell:>{width}}" for cell in cells[: len(heads)])
        print(f"  {label:30}{columns}  {' '.join(cells[len(heads) :])}".rstrip())


def show_prediction(result: EvaluationResult) -> None:
    """Print the likelihoods of training and held-out pieces, and of the best n-gram."""
    columns = {f"{k} ({v.pieces} of {v.n_available})": v for k, v in result.scores.items()}
    remembering = [likelihood.with_memory for likelihood in columns.values()]
    if baseline := result.ngram_baseline:
        columns[f"best n-gram: {baseline.best_ngram.title}"] = baseline.best
        remembering.append(baseline.with_memory.best if baseline.with_memory else None)
    rows = {"tokens": [f"{column.tokens:,}" for column in columns.values()]}
    rows["nats per token"] = [x.nll_per_token.format(".3f") for x in columns.values()]
    rows["nats per note"] = [x.nll_per_note.format(".3f") for x in columns.values()]
    rows["nats per quarter note"] = [x.nll_per_quarter.format(".3f") for x in columns.values()]
    rows["perplexity"] = [x.perplexity.format(".1f") for x in columns.values()]
    rows["accuracy"] = [x.accuracy.format(".1%") for x in columns.values()]
    rows["top 5"] = [x.top_5.format(".1%") for x in columns.values()]
    if any(remembering):
        cells = [x.nll_per_token.format(".3f") if x else "–" for x in remembering]
        rows["nats per token with memory"] = cells
    table("Prediction", columns, rows)


def show_sections(sections: Sections) -> None:
    """Print the held-out loss by section of the pieces."""
    heads = list(next(iter(sections.values())))
    rows = {
        name: [f"{row['share']:.0%}", *(_cell(row[head], ".3f") for head in heads[1:])]
        for name, row in sections.items()
    }
    table("Held-out nats per token by section of the pieces", heads, rows, width=22)


def _cell(value: float | None, pattern: str) -> str:
    return "–" if value is None else format(value, pattern)


def show_repetition(sets: Mapping[str, RepetitionStats]) -> None:
    """Print how much sets of pieces repeat themselves, and from how far."""
    columns, rows = list(sets.values()), {}
    for span in columns[0].spans:
        rows[f"repeated runs of {span}"] = [x.spans[span].share.format(".1%") for x in columns]
    for span in LAG_SPANS:
        rows[f"tokens since, runs of {span}"] = [
            x.spans[span].tokens.format(".4g") for x in columns
        ]
        rows[f"bars since, runs of {span}"] = [x.spans[span].bars.format(".4g") for x in columns]
    for label, extents in (
        ("longest repeat (tokens)", [x.longest_repeat for x in columns]),
        ("longest loop (tokens)", [x.longest_loop for x in columns]),
    ):
        rows[label] = [f"{extent.format('.0f')}, at most {extent.max}" for extent in extents]
    rows["pieces that end in a loop"] = [str(x.n_ending_in_loop) for x in columns]
    heads = [f"{group} ({stats.pieces})" for group, stats in sets.items()]
    table("Repetition: means and medians", heads, rows)


def show_copying(stats: CopyStats) -> None:
    """Print what generated and held-out pieces share with training pieces."""
    sets: dict[str, SetCopies] = {"generated": stats.generated}
    sets |= {"held_out": stats.held_out} if stats.held_out else {}
    rows, columns = {}, list(sets.values())
    grams = stats.generated.grams
    for length in grams:
        rows[f"runs of {length}, verbatim"] = [x.grams[length].exact.format(".1%") for x in columns]
    for length in grams:
        cells = [x.grams[length].transposed.format(".1%") for x in columns]
        rows[f"runs of {length}, in any key"] = cells
    heads = [f"{name} ({copies.pieces})" for name, copies in sets.items()]
    table(f"Found in the {stats.n_training:,} training pieces", heads, rows)
    for name, copies in sets.items():
        for words, run in (
            ("verbatim", copies.longest),
            ("in any key", copies.longest_transposed),
        ):
            shift = f", {run.semitones:+d} semitones" if run.semitones else ""
            line = f"  longest {words}, {name.replace('_', ' ')}: {run.length} tokens of "
            line += f"{run.piece} (from token {run.piece_start + 1}{shift}) in {run.name} "
            print(printable(line + f"(from token {run.start + 1})"))


def show_statistics(statistics: Statistics) -> None:
    """Print the means of musical features of each set."""
    rows = {}
    for label, row in statistics.values.items():
        skipped = _skipped({group: feature.n_skipped for group, feature in row.items()})
        rows[label] = [*(feature.format(".2f") for feature in row.values()), skipped]
    heads = [f"{group} ({count})" for group, count in statistics.pieces.items()]
    table("Music: means over pieces", heads, rows)


def _skipped(counts: Mapping[str, int]) -> str:
    parts = [f"{count} {group.replace('_', ' ')}" for group, count in counts.items() if count]
    return f"skipped: {', '.join(parts)}" if parts else ""


def show_similarity(similarity: Similarity) -> None:
    """Print the overlaps of generated with reference pieces, beside those of training pieces."""
    group, mean = similarity.reference_set, similarity.mean_overlap
    rows = {
        name: [_cell(overlap.value, ".2f"), _cell(overlap.reference, ".2f")]
        for name, overlap in similarity.features.items()
    }
    rows[f"mean of {mean.features}"] = [mean.format(".2f"), mean.reference.format(".2f")]
    for name, overlap in similarity.distributions.items():
        cells = [_cell(overlap.value, ".2f"), _cell(overlap.reference, ".2f")]
        rows[name] = [*cells, _skipped(overlap.n_skipped)]
    sizes = similarity.pieces
    title = f"Similarity of {sizes['generated']} generated to {sizes[group]} "
    title += f"{group.replace('_', ' ')} pieces: 1 = the same"
    table(title, ["generated", "training pieces"], rows)
    if similarity.skipped_features:
        print("  Features of rhythm and instruments are skipped: the encoding does not keep them.")
