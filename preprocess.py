"""A folder of MIDI files → vocabulary, training and held-out pieces, [B, T] batches; no Keras.

Run alone, it prints a report of what a training run would see.
"""

from __future__ import annotations

import sys

# Every script imports this file first, so this is said once, and in words that old Pythons parse.
if sys.version_info < (3, 11):  # noqa: UP036 - people do run it with what they have
    sys.stderr.write(
        "This needs Python 3.11 or newer; you are running {}.{}. "
        "Make the virtual environment again with a newer Python.\n".format(*sys.version_info)
    )
    raise SystemExit(2)

import argparse
import hashlib
import json
import os
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import collection
import encoding
import merging
from collection import Duplicate, InputError, Parsed, Skipped, write_atomically
from merging import Merges

if TYPE_CHECKING:  # NumPy is imported where it is used, so that --help answers at once
    import numpy as np

    from encoding import State
    from grammar import Grammar

KEYS = range(-6, 6)  # semitones: each of the twelve keys once, as near as it can be
END = "<end>"  # the vocabulary's entry 0: the end of a piece, never written as a note
VOCABULARY = "vocabulary.json"


@dataclass(frozen=True)
class Vocabulary:
    """Tokens ⇄ ids: the id of a token is its place in `tokens`; entry 0 is END."""

    tokens: tuple[str, ...]
    encoding: str = "notes"
    merges: Merges = ()  # of byte-pair encoding

    @property
    def ids(self) -> dict[str, int]:
        """Return the dictionary token → id."""
        return {token: number for number, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def closed(self) -> Vocabulary:
        """Return the vocabulary that also has every token of this one in every key."""
        notes = self.tokens[1:]
        every = {encoding.transpose(token, k, self.encoding) for token in notes for k in KEYS}
        return Vocabulary((END, *sorted(every.union(notes))), self.encoding, self.merges)

    def transposed(self, semitones: int) -> np.ndarray:
        """Return int32 [V]: for each id the id of its token transposed, V where that has none."""
        import numpy as np

        ids = self.ids
        notes = (encoding.transpose(token, semitones, self.encoding) for token in self.tokens[1:])
        return np.array([0, *(ids.get(token, len(ids)) for token in notes)], np.int32)

    def grammar(self) -> Grammar[State] | None:
        """Return what the encoding's rules say of the ids, None where they forbid nothing."""
        from grammar import Grammar  # here, not above: it imports NumPy

        tokens = ("", *self.tokens[1:])  # the grammar's word for the end is the empty one
        allowed = encoding.allowed(tokens, self.encoding)
        if allowed is None:
            return None

        def follow(state: State, number: int) -> State | None:
            return encoding.follow(state, tokens[number], self.encoding)

        return Grammar(follow, len(tokens), encoding.START, allowed)

    def save(self, path: Path) -> None:
        """Write the vocabulary as indented JSON, in one atomic step."""
        body = {"encoding": self.encoding, "merges": self.merges, "tokens": self.tokens}
        write_atomically(path, json.dumps(body, indent=1, ensure_ascii=False) + "\n")

    @staticmethod
    def load(path: Path) -> Vocabulary:
        """Read a vocabulary back; raise InputError where the file is not one."""
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            tokens, name = tuple(body["tokens"]), body["encoding"]
            pairs = tuple((first, second) for first, second in body.get("merges", ()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a readable vocabulary ({error})") from error
        if (
            not all(isinstance(token, str) for token in (*tokens, *chain.from_iterable(pairs)))
            or len(set(tokens)) != len(tokens)
            or tokens[:1] != (END,)
            or name not in encoding.ENCODINGS
            or not all(encoding.is_token(token, name) for token in tokens[1:])
        ):
            raise InputError(
                f"{path} is not a vocabulary: expected different tokens of one encoding after {END}"
            )
        return Vocabulary(tokens, name, pairs)

    def spelled(self, tokens: Sequence[str]) -> list[str]:
        """Return an encoding's tokens with the vocabulary's merges made."""
        if not self.merges:
            return list(tokens)
        return merging.apply(tokens, self.merges, partial(encoding.joins, encoding=self.encoding))


def vocabulary_of(model_dir: Path, network: dict[str, Any]) -> Vocabulary:
    """Read a model folder's vocabulary; raise InputError where its network is of another size."""
    vocabulary, size = Vocabulary.load(model_dir / VOCABULARY), network.get("vocabulary_size")
    if len(vocabulary) != size:
        raise InputError(
            f"{model_dir} mixes two runs: {VOCABULARY} has {len(vocabulary)} tokens "
            f"and its settings say {size}"
        )
    return vocabulary


@dataclass
class Report:
    """What happened to the files of a folder."""

    found: int = 0
    parsed: int = 0
    from_cache: int = 0
    seconds: float = 0.0
    notes: int = 0
    quarters: float = 0.0
    skipped: list[Skipped] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    instruments: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: collection.Outcome) -> None:
        """Count one file's outcome."""
        if isinstance(outcome, Skipped):
            self.skipped.append(outcome)
        elif isinstance(outcome, Duplicate):
            self.duplicates.append(outcome)
        else:
            self.parsed += 1
            self.from_cache += outcome.cached
            self.notes += outcome.piece.notes
            self.quarters += outcome.piece.quarters
            self.instruments.update(outcome.piece.instruments)


@dataclass(frozen=True)
class Size:
    """How much music a piece is, whatever its encoding."""

    notes: int
    quarters: float


@dataclass(frozen=True)
class Corpus:
    """A collection ready for training: each piece int32 [n], its last id 0 (END)."""

    vocabulary: Vocabulary
    training: dict[str, np.ndarray]  # file name → ids
    held_out: dict[str, np.ndarray]
    report: Report
    sizes: dict[str, Size] = field(default_factory=dict)  # file name → notes and quarters

    @property
    def tokens(self) -> int:
        """Return the number of ids in all pieces, ends included."""
        return sum(map(len, self.training.values())) + sum(map(len, self.held_out.values()))

    def digest(self) -> str:
        """Return a hash of what is trained on and what is held out, in order."""
        whole = hashlib.sha256("\n".join(self.vocabulary.tokens).encode())
        for part in (self.training, self.held_out):
            whole.update(b"|")
            for ids in part.values():
                whole.update(ids.astype("<i4").tobytes())
        return whole.hexdigest()


@dataclass
class _Read:
    """What was read of a folder, before there is a vocabulary."""

    report: Report
    numbers: dict[str, int] = field(default_factory=dict)  # token → provisional number
    pieces: dict[str, array[int]] = field(default_factory=dict)  # file name → provisional numbers
    sizes: dict[str, Size] = field(default_factory=dict)
    music: dict[str, str] = field(default_factory=dict)  # each piece's fingerprint

    def add(self, path: str, piece: encoding.Piece) -> None:
        self.sizes[path] = Size(piece.notes, piece.quarters)
        self.music[path] = piece.fingerprint
        self.pieces[path] = self._numbered(piece.tokens)

    def _numbered(self, tokens: Sequence[str]) -> array[int]:
        return array("i", (self.numbers.setdefault(token, len(self.numbers)) for token in tokens))

    def merge(self, vocabulary: Vocabulary) -> None:
        """Make the vocabulary's merges in every piece."""
        names, self.numbers = list(self.numbers), {}
        for path, piece in self.pieces.items():
            tokens = vocabulary.spelled([names[number] for number in piece])
            self.pieces[path] = self._numbered(tokens)


def load_corpus(
    data_dir: Path,
    *,
    name: str = "notes",
    validation: float = 0.1,
    seed: int = 0,
    jobs: int | None = None,
    max_file_seconds: float = 20.0,
    min_notes: int = 0,
    scheduler: str | None = None,
    transpose: bool = False,
    bpe: int | Merges = 0,
) -> Corpus:
    """Parse all MIDI files below `data_dir` and split them; raise InputError if none is usable.

    With `transpose` the vocabulary has every token in every key. `bpe` is the number of merges to
    learn from the training pieces, or the merges to make.
    """
    paths = _files(data_dir)
    began = time.perf_counter()
    read = _Read(Report(found=len(paths)))
    for outcome in _outcomes(paths, data_dir, name, jobs, max_file_seconds, scheduler):
        outcome = gated(outcome, min_notes)
        read.report.add(outcome)
        if isinstance(outcome, Parsed):
            read.add(outcome.path.relative_to(data_dir).as_posix(), outcome.piece)
    read.report.seconds = time.perf_counter() - began
    if not read.pieces:
        first = read.report.skipped[0]
        raise InputError(
            f"none of the {len(paths)} MIDI files in {data_dir} could be used; "
            f"the first, {first.path.name}: {first.detail}"
        )
    held_out = held_out_names(read.music, validation, seed)
    pairs = _learned(read, held_out, name, bpe) if isinstance(bpe, int) else bpe
    tokens = set(read.numbers)
    if pairs:
        read.merge(Vocabulary((END,), name, pairs))
        # Also what is only ever a part of a larger token here: it may stand alone in other music.
        tokens.update(read.numbers, map(" ".join, pairs))
    vocabulary = Vocabulary((END, *sorted(tokens)), name, pairs)
    if transpose:
        vocabulary = vocabulary.closed()
    arrays = _renumbered(read.pieces, list(read.numbers), vocabulary)
    return Corpus(
        vocabulary,
        {path: ids for path, ids in arrays.items() if path not in held_out},
        {path: ids for path, ids in arrays.items() if path in held_out},
        read.report,
        read.sizes,
    )


def _learned(read: _Read, held_out: set[str], name: str, count: int) -> Merges:
    """Learn merges from the training pieces alone."""
    if not count:
        return ()
    names = list(read.numbers)
    training = (
        [names[number] for number in piece]
        for path, piece in read.pieces.items()
        if path not in held_out
    )
    return merging.learn(training, count, partial(encoding.joins, encoding=name))


def _renumbered(
    pieces: dict[str, array[int]], tokens: list[str], vocabulary: Vocabulary
) -> dict[str, np.ndarray]:
    """Turn each piece's places in `tokens` into ids of the vocabulary, an END after them."""
    import numpy as np

    ids_of = vocabulary.ids
    table = np.array([ids_of[token] for token in tokens], np.int32)
    return {
        path: np.append(table[np.frombuffer(places, np.int32)], np.int32(0))
        for path, places in pieces.items()
    }


def _files(data_dir: Path) -> list[Path]:
    if not data_dir.is_dir():
        raise InputError(f"{data_dir} is not a folder; give a folder of .mid files with --data-dir")
    paths = collection.find_files(data_dir)
    if not paths:
        raise InputError(
            f"no .mid or .midi files in {data_dir}: put some there, name another folder with "
            "--data-dir, or run 'python train.py --demo' to train on Bach chorales"
        )
    return paths


def _outcomes(
    paths: list[Path],
    data_dir: Path,
    name: str,
    jobs: int | None,
    max_file_seconds: float,
    scheduler: str | None,
) -> Iterator[collection.Outcome]:
    """Yield each file's outcome under a progress bar that shows after a second."""
    from tqdm import tqdm

    workers = min(jobs or os.cpu_count() or 1, len(paths))
    if scheduler:
        pool = partial(collection.dask_cluster, name, scheduler)
    else:
        pool = partial(collection.local_pool, name, workers, max_file_seconds)
    cache = collection.cache_for(data_dir, name)
    outcomes = collection.parse_files(paths, cache=cache, pool=pool)
    yield from tqdm(
        outcomes, "Reading MIDI", len(paths), unit="file", delay=1, leave=False, disable=None
    )


def gated(outcome: collection.Outcome, min_notes: int) -> collection.Outcome:
    """Turn a piece with too few notes into a skipped file."""
    if isinstance(outcome, Parsed) and outcome.piece.notes < min_notes:
        detail = f"too few notes ({outcome.piece.notes}, and --min-notes asks for {min_notes})"
        return Skipped(outcome.path, "too few notes", detail)
    return outcome


def held_out_names(music: dict[str, str], share: float, seed: int) -> set[str]:
    """Choose the held-out pieces by their fingerprints, so that a new file moves no old one.

    `music` maps a name to its fingerprint. It is the same in every encoding, and so is the split
    where every encoding can read every piece. At least one of three or more pieces; none when
    `share` is 0 or there are fewer.
    """
    if share == 0 or len(music) < 3:
        return set()
    count = max(1, round(share * len(music)))

    def rank(name: str) -> str:
        return hashlib.sha256(f"{seed} {music[name]}".encode()).hexdigest()

    return set(sorted(music, key=rank)[:count])


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


def positive_int(text: str) -> int:
    """Read a whole number above zero from the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above zero")
    return number


def count(text: str) -> int:
    """Read a whole number, zero or above, from the command line."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is below zero")
    return number


def seconds(text: str) -> float:
    """Read a length of time above zero from the command line."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above zero")
    return number


def share(text: str) -> float:
    """Read a share from 0 up to, not including, 1 from the command line."""
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 up to (not including) 1")
    return number


def number_from(low: float, high: float, what: str) -> Callable[[str], float]:
    """Return a reader of numbers from low to high, both allowed, for the command line."""

    def read(text: str) -> float:
        number = float(text)
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text} is not {what}")
        return number

    read.__name__ = "number"  # argparse names it where the text is none
    return read


def mass(text: str) -> float:
    """Read a share of all probability, above 0, from the command line."""
    return number_from(sys.float_info.min, 1, "a share above 0, up to 1")(text)


def temperature(text: str) -> float:
    """Read a temperature from the command line: 0, or one that float32 can divide by."""
    number = float(text)
    if number and not 0.01 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not 0, nor from 0.01 to 100")
    return number


def add_corpus_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which files are read and how they are split and batched."""
    add_reading_arguments(parser)
    parser.add_argument(
        "--encoding",
        choices=encoding.ENCODINGS,
        default="notes",
        help="notes: pitches alone; tsd: rhythm, too; remi: bars, tempo and the whole band, too",
    )
    parser.add_argument(
        "--bpe", type=count, default=0, help="byte-pair merges to learn, not in notes (0 = off)"
    )
    group = parser.add_argument_group("pieces")
    group.add_argument(
        "--validation", type=share, default=0.1, help="share of the pieces held out (0 = none)"
    )
    group.add_argument("--seed", type=int, default=0, help="fixes every random choice")
    group.add_argument("--batch-size", type=positive_int, default=16, help="lanes side by side")
    group.add_argument("--seq-length", type=positive_int, default=64, help="tokens a step")


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which files are read, and how."""
    group = parser.add_argument_group("music")
    group.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of MIDI files")
    group.add_argument(
        "--jobs", type=positive_int, default=os.cpu_count() or 1, help="processes that read MIDI"
    )
    group.add_argument(
        "--max-file-seconds", type=seconds, default=20.0, help="give up on a file after this long"
    )
    group.add_argument(
        "--min-notes", type=count, default=0, help="skip pieces with fewer notes (0 = keep all)"
    )
    group.add_argument(
        "--scheduler",
        metavar="tcp://HOST:PORT",
        help="read the files on the workers of this Dask scheduler (none = on this machine)",
    )


def corpus_from(arguments: argparse.Namespace, *, transpose: bool = False) -> Corpus:
    """Load the corpus that the flags of add_corpus_arguments describe."""
    if arguments.bpe and arguments.encoding == "notes":
        raise InputError("--bpe is for --encoding=tsd and remi: in notes a token is a whole chord")
    return load_corpus(
        arguments.data_dir,
        name=arguments.encoding,
        validation=arguments.validation,
        seed=arguments.seed,
        jobs=arguments.jobs,
        max_file_seconds=arguments.max_file_seconds,
        min_notes=arguments.min_notes,
        scheduler=arguments.scheduler,
        transpose=transpose,
        bpe=arguments.bpe,
    )


def run(work: Callable[[], None]) -> int:
    """Do a script's work: a person's mistake becomes one sentence and status 2, Ctrl-C 130."""
    try:
        work()
    except (InputError, OSError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return 0


def facts(corpus: Corpus, batch_size: int, sequence_length: int) -> dict[str, Any]:
    """Return the report as JSON has it: what was found, parsed and skipped, what training sees."""
    import batches

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
    import numpy as np

    counts = np.zeros(len(corpus.vocabulary), np.int64)
    for ids in (*corpus.training.values(), *corpus.held_out.values()):
        counts += np.bincount(ids, minlength=len(counts))
    counts[0] = 0
    order = np.argsort(-counts, kind="stable")[:number]
    return [(corpus.vocabulary.tokens[i], int(counts[i])) for i in order if counts[i]]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Read a folder of MIDI files and report what a training run would see.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_corpus_arguments(parser)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as JSON, too")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; return the exit status."""
    arguments = parse_args(argv)

    def work() -> None:
        report = facts(corpus_from(arguments), arguments.batch_size, arguments.seq_length)
        print_report(report)
        if arguments.report:
            text = json.dumps(report, indent=2, ensure_ascii=False)
            write_atomically(arguments.report, text + "\n")

    return run(work)


if __name__ == "__main__":
    sys.exit(main())
