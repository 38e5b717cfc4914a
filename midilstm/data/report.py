"""Report what was read of a folder and what training sees of it, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

import numpy as np

from midilstm.data import batches
from midilstm.data.dataset import Dataset
from midilstm.data.files import count_noun, describe_unsupported
from midilstm.fileio import InputError, printable
from midilstm.tokenizers.vocabulary import END_ID

N_FREQUENT = 10


@dataclass(frozen=True)
class DataReport:
    """What was found, parsed and skipped, and what training sees; files are given by path."""

    found: int
    parsed: int
    from_cache: int
    seconds: float
    files_per_second: float
    duplicates: list[dict[str, str]]  # path and the original that is used
    skipped: dict[str, list[dict[str, str]]]  # by reason: path and detail
    unsupported: dict[str, list[str]]  # by kind
    duplicate_groups: list[list[str]]
    truncated: dict[str, tuple[str, ...]]  # by file, its warnings
    hanging_notes: int
    inexact_meta: int
    pieces: dict[str, int]  # training, held_out
    notes: int
    quarters: float
    tokens: dict[str, int]  # all, training
    vocabulary: int
    most_frequent: list[tuple[str, int]]
    instruments: dict[str, int]  # in how many pieces each plays
    batches_per_epoch: int

    def to_json(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return asdict(self)


def build_report(dataset: Dataset, batch_size: int, sequence_length: int) -> DataReport:
    """Return the report of a dataset that is cut into batches [B, T]."""
    report, pieces = dataset.report, dataset.pieces.values()
    n_training = sum(map(len, dataset.training.values()))
    skipped: dict[str, list[dict[str, str]]] = {}
    for path, error in report.skipped:
        row = {"path": str(path), "detail": error.detail}
        skipped.setdefault(error.reason, []).append(row)
    instruments = Counter(name for piece in pieces for name in piece.instruments)
    ids = np.concatenate([*dataset.training.values(), *dataset.held_out.values()])
    counts = np.bincount(ids[ids != END_ID])
    frequent = np.argsort(-counts, kind="stable")[: min(N_FREQUENT, np.count_nonzero(counts))]
    return DataReport(
        found=report.found,
        parsed=len(pieces),
        from_cache=report.from_cache,
        seconds=round(report.seconds, 3),
        files_per_second=round(report.found / max(report.seconds, 1e-9), 1),
        duplicates=[{"path": str(a), "original": str(b)} for a, b in report.duplicates],
        skipped=skipped,
        unsupported={kind: list(map(str, paths)) for kind, paths in report.unsupported.items()},
        duplicate_groups=dataset.duplicate_groups,
        truncated={name: x.warnings for name, x in dataset.pieces.items() if x.warnings},
        hanging_notes=sum(piece.hanging_notes for piece in pieces),
        inexact_meta=sum(piece.inexact_meta for piece in pieces),
        pieces={"training": len(dataset.training), "held_out": len(dataset.held_out)},
        notes=sum(piece.notes for piece in pieces),
        quarters=round(sum(piece.quarters for piece in pieces), 3),
        tokens={"all": dataset.n_tokens, "training": n_training},
        vocabulary=len(dataset.vocabulary),
        most_frequent=[(dataset.vocabulary.tokens[i], int(counts[i])) for i in frequent],
        instruments=dict(instruments.most_common()),
        batches_per_epoch=batches.batch_count(n_training, batch_size, sequence_length),
    )


def print_report(report: DataReport) -> None:
    """Print a report as a table, without the rows that count nothing."""

    def show(name: str, text: str, *rows: str) -> None:
        print(f"{name:16}{printable(text)}", *map(printable, rows), sep="\n  ")

    speed = f"{report.seconds:.1f} s, {report.files_per_second:,.0f} files per second"
    show("found", f"{count_noun(report.found, 'MIDI file')} ({speed})")
    show("parsed", f"{report.parsed:,} ({report.from_cache:,} from the cache)")
    if same := [f"{row['path']}: same music as {row['original']}" for row in report.duplicates]:
        show("duplicates", f"{len(same):,}, each piece of music is used once", *same)
    for reason, files in report.skipped.items():
        rows = [f"{row['path']}: {row['detail']}" for row in files]
        show("skipped", f"{count_noun(len(rows), 'file')} ({reason})", *rows)
    for kind, paths in report.unsupported.items():
        show("unsupported", describe_unsupported(kind, len(paths)), *paths)
    if groups := report.duplicate_groups:
        show("duplicate groups", describe_groups(groups), *map(", ".join, groups))
    if cut := [f"{name}: {', '.join(texts)}" for name, texts in report.truncated.items()]:
        show("truncated", f"{count_noun(len(cut), 'file')}, read as far as possible", *cut)
    if report.hanging_notes:
        show("hanging notes", f"{report.hanging_notes:,}, which never end and are left out")
    if report.inexact_meta:
        show("inexact meta", f"{report.inexact_meta:,} tempos and time signatures")
    pieces, tokens = report.pieces, report.tokens
    show("pieces", f"{pieces['training']:,} for training, {pieces['held_out']:,} held out")
    show("tokens", f"{tokens['all']:,} ({tokens['training']:,} for training), ends included")
    show("vocabulary", f"{report.vocabulary:,}")
    show("most frequent", "  ".join(f"{token} {n:,}" for token, n in report.most_frequent))
    show("instruments", ", ".join(f"{name} {n:,}" for name, n in report.instruments.items()))
    show("batches", f"{report.batches_per_epoch:,} per epoch")


def describe_groups(groups: list[list[str]]) -> str:
    """Return in a few words how many groups of versions there are."""
    versions = count_noun(sum(map(len, groups)), "version")
    return f"{count_noun(len(groups), 'tune')} in {versions}, each tune on one side of the split"


def summarize(dataset: Dataset) -> str:
    """Return in one line what was read and what was left out."""
    report, n_training = dataset.report, sum(map(len, dataset.training.values()))
    parts = [
        f"{count_noun(len(dataset.training), 'piece')} to train on ({n_training:,} tokens), "
        f"{len(dataset.held_out):,} held out, vocabulary {len(dataset.vocabulary):,}"
    ]
    if report.skipped:
        path, error = report.skipped[0]
        skipped = f"skipped {len(report.skipped):,} of {count_noun(report.found, 'file')}"
        parts.append(f"{skipped}, among them {path.name} ({error.detail})")
    if report.duplicates:
        parts.append(f"left out {count_noun(len(report.duplicates), 'duplicate')}")
    parts += [describe_unsupported(kind, len(x)) for kind, x in report.unsupported.items()]
    if dataset.duplicate_groups:
        parts.append(describe_groups(dataset.duplicate_groups))
    return printable("; ".join(parts))


def require_batch(n_tokens: int, batch_size: int, sequence_length: int) -> None:
    """Raise InputError where the training stream is too short for one batch."""
    needed = batch_size * (sequence_length + 1)
    if n_tokens < needed:
        raise InputError(
            f"the training pieces have {n_tokens:,} tokens and one batch needs {needed:,}: "
            "add more MIDI files, or lower --batch-size or --seq-length"
        )
