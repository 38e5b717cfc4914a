"""Find passages of pieces that stand in training pieces, verbatim or in another key.

After Yin, Reuben, Stepney and Collins 2022, "Measuring when a music generation algorithm copies
too much": what a model copies is compared with what human-written pieces share with each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from midilstm import midi
from midilstm.copies import MAX_NOTES, MAX_SECONDS, Copy, CopyReport, NoteSpan
from midilstm.data.dataset import Dataset
from midilstm.evaluation.estimates import Estimate, estimate_mean
from midilstm.evaluation.piece_sets import Pieces, load_music
from midilstm.fileio import InputError, printable
from midilstm.generation.loaded_model import LoadedModel
from midilstm.model_dir import load_settings
from midilstm.tokenizers.vocabulary import Vocabulary

LENGTHS = (4, 8, 12, 16)  # tokens of the runs that are counted
MIN_COPY = LENGTHS[-1]  # tokens of a passage that is reported as a copy
SHIFTS = sorted(range(-12, 13), key=abs)  # semitones; the smallest of equally good ones is taken

FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2^64
INVERSE = np.uint64(pow(int(FACTOR), -1, 2**64))


def _hash_runs(ids: np.ndarray, length: int) -> np.ndarray:
    """Return a hash of each run of `length` ids, uint64 [n - length + 1], by a polynomial."""
    if len(ids) < length:
        return np.empty(0, np.uint64)
    mixed = (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(0xD1342543DE82EF95)
    mixed ^= mixed >> np.uint64(29)
    powers = np.cumprod(np.full(len(ids), FACTOR))
    sums = np.append(np.uint64(0), np.cumsum(mixed * powers))
    inverses = np.cumprod(np.full(len(ids), INVERSE))
    return (sums[length:] - sums[:-length]) * inverses[: len(ids) - length + 1]


@dataclass(frozen=True)
class Match:
    """A run of a piece that stands in a training piece, `semitones` higher; positions from 0."""

    length: int
    start: int = 0
    piece: str | None = None  # the training piece
    piece_start: int = 0
    semitones: int = 0
    name: str | None = None  # the piece that has the run


class TrainingIndex:
    """Find runs of ids in training pieces."""

    def __init__(self, training: Mapping[str, np.ndarray], vocabulary: Vocabulary) -> None:
        """Join the pieces, int [n] with their ends, to one stream without the ends."""
        unknown = len(vocabulary)  # an id that no training piece has
        self._tables = [np.append(vocabulary.transposed(shift), unknown) for shift in SHIFTS[1:]]
        pieces = [ids[:-1] for ids in training.values()]
        lengths = [len(ids) for ids in pieces]
        self._names = list(training)
        self._starts = np.append(0, np.cumsum(lengths))
        self._stream = np.concatenate([np.empty(0, np.int64), *pieces])
        self._n_left = np.repeat(self._starts[1:], lengths) - np.arange(self._starts[-1])
        self._length = 0  # of the runs that are indexed; only one, as it is as large as the music
        self._hashes, self._positions = np.empty(0, np.uint64), np.empty(0, np.int64)

    def in_all_keys(self, ids: np.ndarray) -> list[np.ndarray]:
        """Return a piece int [n] in all keys, in the order of SHIFTS."""
        return [ids, *(table[ids] for table in self._tables)]

    def find(self, ids: np.ndarray, length: int) -> np.ndarray:
        """Return where each run of `length` ids first begins, or -1; int [n - length + 1]."""
        if length != self._length:
            hashes = _hash_runs(self._stream, length)
            positions = np.flatnonzero(self._n_left[: len(hashes)] >= length)
            order = np.argsort(hashes[positions], kind="stable")
            self._hashes, self._positions = hashes[positions][order], positions[order]
            self._length = length
        wanted = _hash_runs(ids, length)
        if not len(self._hashes):
            return np.full(len(wanted), -1)
        indices = np.minimum(np.searchsorted(self._hashes, wanted), len(self._hashes) - 1)
        return np.where(self._hashes[indices] == wanted, self._positions[indices], -1)

    def longest_matches(self, pieces: Sequence[Sequence[np.ndarray]]) -> list[Match]:
        """Return each piece's longest run in a training piece; it is given in keys of SHIFTS."""
        streams = [ids for keys in pieces for ids in keys]
        lengths = np.zeros(len(streams), int)
        bits = max([len(ids) for ids in streams], default=0).bit_length()
        steps = [1 << bit for bit in reversed(range(bits))]
        for step in tqdm(steps, "Searching copies", delay=1, leave=False, disable=None):
            trials = lengths + step
            # The streams are grouped by length, so that each length is indexed once.
            for length in np.unique(trials).tolist():
                for index in np.flatnonzero(trials == length).tolist():
                    if (self.find(streams[index], length) >= 0).any():
                        lengths[index] = length
        rows = lengths.reshape(len(pieces), len(streams) // max(1, len(pieces)))
        return [self._match(keys, row) for keys, row in zip(pieces, rows, strict=True)]

    def _match(self, keys: Sequence[np.ndarray], lengths: np.ndarray) -> Match:
        """Return the first longest run of a piece, in the first key that has one."""
        key = int(lengths.argmax())
        if not (length := int(lengths[key])):
            return Match(0)
        positions = self.find(keys[key], length)
        start = int(np.flatnonzero(positions >= 0)[0])
        index = int(np.searchsorted(self._starts, positions[start], side="right")) - 1
        piece_start = int(positions[start] - self._starts[index])
        return Match(length, start, self._names[index], piece_start, SHIFTS[key])


@dataclass(frozen=True)
class SetCopies:
    """What a set of pieces shares with the training pieces.

    `grams` has, by the number of tokens of a run, the share of runs that stand in a training piece:
    `exact`, and `transposed` by up to an octave.
    """

    pieces: int
    grams: Mapping[str, Mapping[str, Estimate]]
    longest: Match
    longest_transposed: Match


@dataclass(frozen=True)
class CopyStats:
    """What generated and held-out pieces share with the training pieces."""

    n_training: int
    generated: SetCopies
    held_out: SetCopies | None = None


def measure_copies(index: TrainingIndex, pieces: Pieces) -> SetCopies:
    """Return what a set of pieces, ids without ends, shares with the indexed pieces."""
    in_keys, grams = [index.in_all_keys(ids) for ids in pieces.values()], {}
    for length in LENGTHS:
        # bool [keys, runs] of each piece
        hits = [np.array([index.find(ids, length) >= 0 for ids in keys]) for keys in in_keys]
        n_runs = [hit.shape[1] for hit in hits]
        grams[str(length)] = {
            "exact": estimate_mean([hit[0].sum() for hit in hits], n_runs),
            "transposed": estimate_mean([hit.any(0).sum() for hit in hits], n_runs),
        }
    longest = []
    for n_keys in (1, len(SHIFTS)):
        matches = index.longest_matches([keys[:n_keys] for keys in in_keys])
        named = [replace(x, name=name) for name, x in zip(pieces, matches, strict=True)]
        longest.append(max(named, key=lambda match: match.length))
    return SetCopies(len(pieces), grams, *longest)


def compare_copying(
    dataset: Dataset, sets: Mapping[str, Pieces], vocabulary: Vocabulary
) -> CopyStats:
    """Return what the generated and held-out sets share with the dataset's training pieces."""
    index = TrainingIndex(dataset.training, vocabulary)
    generated = measure_copies(index, sets["generated"])
    held_out = measure_copies(index, sets["held_out"]) if "held_out" in sets else None
    return CopyStats(len(dataset.training), generated, held_out)


def find_long_copies(
    pieces: Sequence[np.ndarray], dataset: Dataset, vocabulary: Vocabulary
) -> list[Match]:
    """Return the copy in each piece without its end, Match(0) for one that is not unusually long.

    It is longer than those in 95 % of the held-out pieces, cut to the length of the pieces.
    """
    index = TrainingIndex(dataset.training, vocabulary)
    length = max(map(len, pieces), default=0)
    reference = [index.in_all_keys(ids[:-1][:length]) for ids in dataset.held_out.values()]
    lengths = [match.length for match in index.longest_matches(reference)]
    usual = int(np.quantile(lengths, 0.95, method="higher")) if lengths else 0
    matches = index.longest_matches([index.in_all_keys(ids) for ids in pieces])
    return [match if match.length >= max(MIN_COPY, usual + 1) else Match(0) for match in matches]


def load_training_music(data_dir: Path, model: LoadedModel) -> Dataset | None:
    """Return the dataset that a model was trained on; None where the folder does not hold it."""
    settings = load_settings(model.checkpoint_path.parent)
    try:
        return load_music(replace(settings.data, data_dir=data_dir), settings, model.vocabulary)[0]
    except InputError:
        return None


def copied_lengths(
    dataset: Dataset | None, vocabulary: Vocabulary, pieces: Sequence[np.ndarray]
) -> list[int | None]:
    """Return the length of each piece's long copy, 0 for none, None without a dataset."""
    if dataset is None:
        return [None] * len(pieces)
    return [match.length for match in find_long_copies(pieces, dataset, vocabulary)]


def write_copies(folder: Path, pieces: Pieces, dataset: Dataset, vocabulary: Vocabulary) -> None:
    """Write the report of the long copies in a folder's pieces, ids without ends by file name."""
    copies = {}
    matches = find_long_copies(list(pieces.values()), dataset, vocabulary)
    for (name, ids), match in zip(pieces.items(), matches, strict=True):
        if not match.piece:
            continue
        origin = dataset.training[match.piece]
        if notes := passage_notes(vocabulary, origin, match.piece_start, match.length):
            data = (folder / name).read_bytes()
            bars = passage_bars(vocabulary, ids, match.start, match.length)
            dropped = midi.drop_leading_bars(midi.read(data)).leading_bars
            copies[name] = Copy(
                sha256=hashlib.sha256(data).hexdigest(),
                piece=match.piece,
                semitones=match.semitones,
                tokens=match.length,
                bars=(bars[0] + dropped, bars[1] + dropped),
                notes=tuple(notes),
            )
    path = CopyReport(copies).save(folder)
    print(printable(f"Wrote {path}: the page of render.py plays copies beside their originals"))


def passage_bars(
    vocabulary: Vocabulary, ids: np.ndarray, start: int, length: int
) -> tuple[float, float]:
    """Return the bars at which a passage begins to sound, and what follows its last onset."""
    clock, begin, last, end = vocabulary.encoding.clock(), np.inf, -np.inf, np.inf
    for position, token_id in enumerate(ids.tolist()):
        for token in vocabulary.tokens[token_id].split(" "):
            if position >= start and vocabulary.encoding.content(token).has_notes:
                onset = clock.position()[0]
                if position < start + length:
                    begin, last = min(begin, onset), max(last, onset)
                elif onset > last:  # in `remi` other instruments of the bar may begin earlier
                    end = min(end, onset)
            clock.advance(token)
    begin, end = (bars if bars < np.inf else clock.position()[0] + 1 for bars in (begin, end))
    return min(begin, end), end


def passage_notes(
    vocabulary: Vocabulary, ids: np.ndarray, start: int, length: int
) -> list[NoteSpan]:
    """Return a passage's notes, as far as a report of copies may hold them."""
    tokens = [vocabulary.tokens[token_id] for token_id in ids[: start + length]]
    encoding = vocabulary.encoding
    passage = encoding.with_header(tokens[start:], tokens[:start])
    score = encoding.decode(encoding.drop_invalid(passage))
    bpm = next(iter(score.tempos.values()), midi.DEFAULT_BPM)
    ticks = score.ticks_per_quarter * bpm / 60  # per second
    first, spans = min((note.start for note in score.notes), default=0), list[NoteSpan]()
    for note in score.notes:
        start, end = note.start - first, note.start + note.length - first
        times = round(start / ticks, 3), round(end / ticks, 3)
        spans.append(NoteSpan(*times, note.pitch, note.velocity, note.program))
    return [span for span in spans if span.end <= MAX_SECONDS][:MAX_NOTES]
