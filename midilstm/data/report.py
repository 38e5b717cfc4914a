"""What was read of a folder, for people and as JSON. Reads nothing itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from midilstm.data import batches
from midilstm.data.dataset import Dataset
from midilstm.fileio import InputError, printable
from midilstm.tokenizers.vocabulary import END_ID


def summary(corpus: Dataset) -> str:
    """Return one line for people: what was read, and what was left out."""
    report = corpus.report
    stream = sum(map(len, corpus.training.values()))
    line = f"{len(corpus.training):,} pieces to train on ({stream:,} tokens), "
    line += f"{len(corpus.held_out):,} held out, vocabulary {len(corpus.vocabulary):,}"
    if report.skipped:
        path, refusal = report.skipped[0]
        first = f"{path.name} ({refusal.detail})"
        line += f"; skipped {len(report.skipped):,} of {report.found:,} files, among them {first}"
    if report.duplicates:
        line += f"; {len(report.duplicates):,} duplicates used once"
    for kind, files in report.unread.items():
        line += f"; not read: {len(files):,} {kind}"
    if corpus.duplicate_groups:
        line += f"; {_tunes(corpus.duplicate_groups)}"
    return printable(line)


def _tunes(versions: list[list[str]]) -> str:
    tunes = f"{len(versions):,} tune{'s' if len(versions) > 1 else ''}"
    return f"{tunes} in {sum(map(len, versions)):,} versions, each tune on one side"


def require_batch(tokens: int, batch_size: int, sequence_length: int) -> None:
    """Raise InputError where the training stream is too short for one batch."""
    needed = batch_size * (sequence_length + 1)
    if tokens < needed:
        raise InputError(
            f"the training pieces have {tokens:,} tokens and one batch needs {needed:,}: "
            "add more MIDI files, or lower --batch-size or --seq-length"
        )


def build_report(corpus: Dataset, batch_size: int, sequence_length: int) -> dict[str, Any]:
    """Return the report as JSON has it: what was found, parsed and skipped, what training sees."""
    report, pieces = corpus.report, corpus.pieces.values()
    stream = sum(map(len, corpus.training.values()))
    skipped: dict[str, list[dict[str, str]]] = {}
    for path, refusal in report.skipped:
        row = {"path": str(path), "detail": refusal.detail}
        skipped.setdefault(refusal.reason, []).append(row)
    instruments = Counter(name for piece in pieces for name in piece.instruments)
    counts = np.bincount(np.concatenate([*corpus.training.values(), *corpus.held_out.values()]))
    counts[END_ID] = 0
    frequent = np.argsort(-counts, kind="stable")[: min(10, np.count_nonzero(counts))]
    return {
        "found": report.found,
        "parsed": len(pieces),
        "from_cache": report.from_cache,
        "seconds": round(report.seconds, 3),
        "files_per_second": round(report.found / max(report.seconds, 1e-9), 1),
        "duplicates": [{"path": str(a), "original": str(b)} for a, b in report.duplicates],
        "skipped": skipped,
        "unsupported": {kind: list(map(str, paths)) for kind, paths in report.unread.items()},
        "duplicate_groups": corpus.duplicate_groups,
        "truncated": {name: x.warnings for name, x in corpus.pieces.items() if x.warnings},
        "hanging_notes": sum(piece.hanging_notes for piece in pieces),
        "inexact_meta": sum(piece.inexact_meta for piece in pieces),
        "pieces": {"training": len(corpus.training), "held_out": len(corpus.held_out)},
        "notes": sum(piece.notes for piece in pieces),
        "quarters": round(sum(piece.quarters for piece in pieces), 3),
        "tokens": {"all": corpus.n_tokens, "training": stream},
        "vocabulary": len(corpus.vocabulary),
        "most_frequent": [(corpus.vocabulary.tokens[i], int(counts[i])) for i in frequent],
        "instruments": dict(instruments.most_common()),
        "batches_per_epoch": batches.batch_count(stream, batch_size, sequence_length),
    }


def print_report(report: dict[str, Any]) -> None:
    """Print the facts as a table for people; what is seldom there only where it is."""

    def line(name: str, text: str, *rows: str) -> None:
        print(f"{name:14}{printable(text)}", *map(printable, rows), sep="\n  ")

    def kinds(name: str, found: dict[str, list[str]], text: str = "") -> None:
        line(name, f"{sum(map(len, found.values())):,}{text}")
        for kind, rows in sorted(found.items()):
            print(printable(f"  {kind}: {len(rows):,}"), *map(printable, rows), sep="\n    ")

    speed = f"{report['seconds']:.1f} s, {report['files_per_second']:,.0f} files a second"
    line("found", f"{report['found']:,} files ({speed})")
    line("parsed", f"{report['parsed']:,} ({report['from_cache']:,} from the cache)")
    same = (f"{row['path']}: same music as {row['original']}" for row in report["duplicates"])
    line("duplicates", f"{len(report['duplicates']):,}, used once", *same)
    skipped = report["skipped"].items()
    detailed = {why: [f"{row['path']}: {row['detail']}" for row in rows] for why, rows in skipped}
    kinds("skipped", detailed)
    if report["unsupported"]:
        kinds("not read", report["unsupported"], " beside them")
    if report["duplicate_groups"]:
        line(
            "versions",
            _tunes(report["duplicate_groups"]),
            *map(", ".join, report["duplicate_groups"]),
        )
    if cut := report["truncated"]:
        rows = (f"{name}: {', '.join(texts)}" for name, texts in cut.items())
        line("truncated", f"{len(cut):,}, read as far as they go", *rows)
    if report["hanging_notes"]:
        line("hanging notes", f"{report['hanging_notes']:,} notes begin and never end, left out")
    if report["inexact_meta"]:
        line("inexact meta", f"{report['inexact_meta']:,} tempos and time signatures")
    pieces, tokens = report["pieces"], report["tokens"]
    line("pieces", f"{pieces['training']:,} for training, {pieces['held_out']:,} held out")
    line("tokens", f"{tokens['all']:,} ({tokens['training']:,} for training), ends included")
    line("vocabulary", f"{report['vocabulary']:,}")
    line("most frequent", "  ".join(f"{token} {n:,}" for token, n in report["most_frequent"]))
    line("instruments", ", ".join(f"{name} {n:,}" for name, n in report["instruments"].items()))
    line("batches", f"{report['batches_per_epoch']:,} an epoch")
