"""Report what was read of a folder and what training sees of it, as text and as JSON."""

from __future__ import annotations

from collections import Counter

import numpy as np

from midilstm.data.batches import batch_count
from midilstm.data.dataset import Dataset
from midilstm.data.files import count_noun, describe_unsupported
from midilstm.fileio import InputError, printable
from midilstm.tokenizers.vocabulary import END_ID

N_FREQUENT = 10


def report_to_json(dataset: Dataset, batch_size: int, sequence_length: int) -> dict[str, object]:
    """Return what was found, parsed and skipped, and what training on batches [B, T] sees."""
    report, pieces = dataset.report, dataset.pieces.values()
    skipped: dict[str, list[dict[str, str]]] = {}
    for path, error in report.skipped:
        row = {"path": str(path), "detail": error.detail}
        skipped.setdefault(error.reason, []).append(row)
    return {
        "found": report.n_found,
        "parsed": len(pieces),
        "from_cache": report.from_cache,
        "seconds": round(report.seconds, 3),
        "files_per_second": round(report.n_found / report.seconds, 1),
        "duplicates": [{"path": str(a), "original": str(b)} for a, b in report.duplicates],
        "skipped": skipped,
        "unsupported": {kind: list(map(str, x)) for kind, x in report.unsupported.items()},
        "duplicate_groups": dataset.duplicate_groups,
        "truncated": {name: x.warnings for name, x in dataset.pieces.items() if x.warnings},
        "hanging_notes": sum(piece.hanging_notes for piece in pieces),
        "leading_bars": sum(piece.leading_bars for piece in pieces),
        "inexact_meta": sum(piece.inexact_meta for piece in pieces),
        "pieces": {"training": len(dataset.training), "held_out": len(dataset.held_out)},
        "notes": sum(piece.notes for piece in pieces),
        "quarters": round(sum(piece.quarters for piece in pieces), 3),
        "tokens": {"all": dataset.n_tokens, "training": dataset.n_training_tokens},
        "vocabulary": len(dataset.vocabulary),
        "most_frequent": _most_frequent(dataset),
        "instruments": _instruments(dataset),
        "batches_per_epoch": batch_count(dataset.n_training_tokens, batch_size, sequence_length),
    }


def print_report(dataset: Dataset, batch_size: int, sequence_length: int) -> None:
    """Print the report as a table, without the rows that count nothing."""

    def show(name: str, text: str, *rows: str) -> None:
        print(f"{name:16}{printable(text)}", *map(printable, rows), sep="\n  ")

    report, pieces = dataset.report, dataset.pieces.values()
    speed = f"{report.seconds:.1f} s, {report.n_found / report.seconds:,.0f} files per second"
    show("found", f"{count_noun(report.n_found, 'MIDI file')} ({speed})")
    show("parsed", f"{len(pieces):,} ({report.from_cache:,} from the cache)")
    if same := [f"{path}: same music as {original}" for path, original in report.duplicates]:
        show("duplicates", f"{len(same):,}, each piece of music is used once", *same)
    for reason in dict.fromkeys(error.reason for _, error in report.skipped):
        rows = [f"{path}: {x.detail}" for path, x in report.skipped if x.reason == reason]
        show("skipped", f"{count_noun(len(rows), 'file')} ({reason})", *rows)
    for kind, paths in report.unsupported.items():
        show("unsupported", describe_unsupported(kind, len(paths)), *map(str, paths))
    if groups := dataset.duplicate_groups:
        show("duplicate groups", _describe_groups(groups), *map(", ".join, groups))
    if cut := [f"{x}: {', '.join(p.warnings)}" for x, p in dataset.pieces.items() if p.warnings]:
        show("truncated", f"{count_noun(len(cut), 'file')}, read as far as possible", *cut)
    if hanging_notes := sum(piece.hanging_notes for piece in pieces):
        show("hanging notes", f"{hanging_notes:,}, which never end and are left out")
    if leading_bars := [piece.leading_bars for piece in pieces if piece.leading_bars]:
        files = count_noun(len(leading_bars), "file")
        show("leading bars", f"{sum(leading_bars):,} empty at the start of {files}, left out")
    if inexact_meta := sum(piece.inexact_meta for piece in pieces):
        show("inexact meta", f"{inexact_meta:,} tempos and time signatures")
    n_training = dataset.n_training_tokens
    show("pieces", f"{len(dataset.training):,} for training, {len(dataset.held_out):,} held out")
    show("tokens", f"{dataset.n_tokens:,} ({n_training:,} for training), ends included")
    show("vocabulary", _describe_vocabulary(dataset))
    show("most frequent", "  ".join(f"{token} {n:,}" for token, n in _most_frequent(dataset)))
    show("instruments", ", ".join(f"{name} {n:,}" for name, n in _instruments(dataset).items()))
    show("batches", f"{batch_count(n_training, batch_size, sequence_length):,} per epoch")


def _describe_vocabulary(dataset: Dataset) -> str:
    """Return the number of tokens, and of those that no transposition or merge adds."""
    occurs = np.zeros(len(dataset.vocabulary), bool)
    for ids in (*dataset.training.values(), *dataset.held_out.values()):
        occurs[ids] = True
    return f"{len(occurs):,}" + ("" if occurs.all() else f" ({occurs.sum():,} occur in the files)")


def _most_frequent(dataset: Dataset) -> list[tuple[str, int]]:
    ids = np.concatenate([*dataset.training.values(), *dataset.held_out.values()])
    counts = np.bincount(ids[ids != END_ID])
    frequent = np.argsort(-counts, kind="stable")[:N_FREQUENT]
    return [(dataset.vocabulary.tokens[i], int(counts[i])) for i in frequent if counts[i]]


def _instruments(dataset: Dataset) -> dict[str, int]:
    names = (name for piece in dataset.pieces.values() for name in piece.instruments)
    return dict(Counter(names).most_common())


def _describe_groups(groups: list[list[str]]) -> str:
    versions = count_noun(sum(map(len, groups)), "version")
    return f"{count_noun(len(groups), 'tune')} in {versions}, each tune on one side of the split"


def summarize(dataset: Dataset) -> str:
    """Return in one line what was read and what was left out."""
    report = dataset.report
    parts = [
        f"{count_noun(len(dataset.training), 'piece')} to train on "
        f"({dataset.n_training_tokens:,} tokens), {len(dataset.held_out):,} held out, "
        f"vocabulary {_describe_vocabulary(dataset)}"
    ]
    if report.skipped:
        path, error = report.skipped[0]
        skipped = f"skipped {len(report.skipped):,} of {count_noun(report.n_found, 'file')}"
        parts.append(f"{skipped}, among them {path.name} ({error.detail})")
    if report.duplicates:
        parts.append(f"left out {count_noun(len(report.duplicates), 'duplicate')}")
    parts += [describe_unsupported(kind, len(x)) for kind, x in report.unsupported.items()]
    if dataset.duplicate_groups:
        parts.append(_describe_groups(dataset.duplicate_groups))
    return printable("; ".join(parts))


def require_batch(n_tokens: int, batch_size: int, sequence_length: int) -> None:
    """Raise InputError where the training stream is too short for one batch."""
    needed = batch_size * (sequence_length + 1)
    if n_tokens < needed:
        raise InputError(
            f"the training pieces have {n_tokens:,} tokens and one batch needs {needed:,}: "
            "add more MIDI files, or lower --batch-size or --seq-length"
        )
