"""What was read of a folder, for people and as JSON. Reads nothing itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from midilstm.corpus import batches
from midilstm.corpus.corpus import Corpus
from midilstm.files import InputError


def summary(corpus: Corpus) -> str:
    """Return one line for people: what was read, and what was left out."""
    report = corpus.report
    stream = sum(map(len, corpus.training.values()))
    line = f"{len(corpus.training):,} pieces to train on ({stream:,} tokens), "
    line += f"{len(corpus.held_out):,} held out, vocabulary {len(corpus.vocabulary):,}"
    if report.skipped:
        line += f"; skipped {len(report.skipped):,} of {report.found:,} files, among them "
        line += f"{report.skipped[0].path.name} ({report.skipped[0].detail})"
    if report.duplicates:
        line += f"; {len(report.duplicates):,} duplicates used once"
    return line


def require_batch(tokens: int, batch_size: int, sequence_length: int) -> None:
    """Raise InputError where the training stream is too short for one batch."""
    needed = batch_size * (sequence_length + 1)
    if tokens < needed:
        raise InputError(
            f"the training pieces have {tokens:,} tokens and one batch needs {needed:,}: "
            "add more MIDI files, or lower --batch-size or --seq-length"
        )


def facts(corpus: Corpus, batch_size: int, sequence_length: int) -> dict[str, Any]:
    """Return the report as JSON has it: what was found, parsed and skipped, what training sees."""
    report = corpus.report
    by_reason: dict[str, list[dict[str, str]]] = {}
    for skipped in report.skipped:
        row = {"path": str(skipped.path), "detail": skipped.detail}
        by_reason.setdefault(skipped.reason, []).append(row)
    stream = sum(map(len, corpus.training.values()))
    return {
        "found": report.found,
        "parsed": report.parsed,
        "from_cache": report.from_cache,
        "seconds": round(report.seconds, 3),
        "files_a_second": round(report.found / max(report.seconds, 1e-9), 1),
        "duplicates": [
            {"path": str(same.path), "original": str(same.original)} for same in report.duplicates
        ],
        "skipped": by_reason,
        "pieces": {"training": len(corpus.training), "held_out": len(corpus.held_out)},
        "notes": report.notes,
        "quarters": round(report.quarters, 3),
        "tokens": {"all": corpus.tokens, "training": stream},
        "vocabulary": len(corpus.vocabulary),
        "most_frequent": most_frequent(corpus),
        "instruments": dict(report.instruments.most_common()),
        "batches_an_epoch": batches.batch_count(stream, batch_size, sequence_length),
    }


def print_report(report: dict[str, Any]) -> None:
    """Print the facts as a table for people."""

    def line(name: str, text: str) -> None:
        print(f"{name:14}{text}")

    speed = f"{report['seconds']:.1f} s, {report['files_a_second']:,.0f} files a second"
    line("found", f"{report['found']:,} files ({speed})")
    line("parsed", f"{report['parsed']:,} ({report['from_cache']:,} from the cache)")
    line("duplicates", f"{len(report['duplicates']):,}, used once")
    for same in report["duplicates"]:
        print(f"  {same['path']}: same music as {same['original']}")
    line("skipped", f"{sum(map(len, report['skipped'].values())):,}")
    for reason, rows in sorted(report["skipped"].items()):
        print(f"  {reason}: {len(rows):,}")
        for row in rows:
            print(f"    {row['path']}: {row['detail']}")
    pieces, tokens = report["pieces"], report["tokens"]
    line("pieces", f"{pieces['training']:,} for training, {pieces['held_out']:,} held out")
    line("tokens", f"{tokens['all']:,} ({tokens['training']:,} for training), ends included")
    line("vocabulary", f"{report['vocabulary']:,}")
    line("most frequent", "  ".join(f"{token} {n:,}" for token, n in report["most_frequent"]))
    line("instruments", ", ".join(f"{name} {n:,}" for name, n in report["instruments"].items()))
    line("batches", f"{report['batches_an_epoch']:,} an epoch")


def most_frequent(corpus: Corpus, number: int = 10) -> list[tuple[str, int]]:
    """Return the most frequent tokens with their counts, ends left out."""
    counts = np.zeros(len(corpus.vocabulary), np.int64)
    for ids in (*corpus.training.values(), *corpus.held_out.values()):
        counts += np.bincount(ids, minlength=len(counts))
    counts[0] = 0
    order = np.argsort(-counts, kind="stable")[:number]
    return [(corpus.vocabulary.tokens[i], int(counts[i])) for i in order if counts[i]]
