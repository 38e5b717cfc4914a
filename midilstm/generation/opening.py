"""Let the network read the first bars of a training piece before it draws a new one.

The opening is not part of the new piece, which takes from it the meter, the tempo, and the
instruments with what each can play. Without one, a network wanders through all instruments.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from midilstm.fileio import InputError, read_json, write_atomically
from midilstm.midi import DRUMS
from midilstm.midi.instruments import WINDS
from midilstm.tokenizers.base import Encoding, TimedNote, split
from midilstm.tokenizers.vocabulary import END_ID, KEYS, Vocabulary

MAX_OPENINGS, MAX_IDS, MAX_BYTES = 256, 4096, 2**24
MIN_NOTES = 16  # an instrument with fewer in its piece is left out


class Part(NamedTuple):
    """What an instrument plays in a piece."""

    lowest: int  # MIDI pitch
    highest: int
    is_polyphonic: bool  # whether two of its notes ever begin together
    has_seconds: bool = True  # whether one ever begins together with any a semitone from it
    share_of_bars: float = 0.5  # of the bars of the piece, those in which it plays
    kit: tuple[int, ...] = ()  # pitches of drums

    def transposed(self, semitones: int) -> Part:
        """Return the part in another key."""
        return self._replace(lowest=self.lowest + semitones, highest=self.highest + semitones)


@dataclass(frozen=True)
class Opening:
    """The first bars of a piece as ids, and the parts of the whole piece by program."""

    piece: str
    ids: tuple[int, ...]
    parts: Mapping[int, Part]
    semitones: int = 0  # by which it was transposed

    def transposed(self, vocabulary: Vocabulary, semitones: int) -> Opening | None:
        """Return the opening in another key; None where the vocabulary lacks one of its tokens."""
        ids = _transposition(vocabulary, semitones)[list(self.ids)]
        if not ids.all():
            return None
        parts = {
            program: part.transposed(0 if program == DRUMS else semitones)
            for program, part in self.parts.items()
        }
        return replace(self, ids=tuple(ids.tolist()), parts=parts, semitones=semitones)


@cache
def _transposition(vocabulary: Vocabulary, semitones: int) -> np.ndarray:
    """Return int [V]: for each id that of its transposed token, 0 if that has none."""
    ids = vocabulary.transposed(semitones)
    return np.where(ids == len(vocabulary), END_ID, ids)


def collect_openings(pieces: Mapping[str, np.ndarray], vocabulary: Vocabulary) -> list[Opening]:
    """Return the openings of pieces by name, ids int [n] with END; of some of very many pieces."""
    tokens, encoding = vocabulary.tokens, vocabulary.encoding
    if not encoding.opening_bars:
        return []
    bars = np.array([0, *map(encoding.bars, tokens[1:])])
    openings = []
    step = -(-len(pieces) // MAX_OPENINGS)
    chosen = [*pieces.items()][::step]
    for name, ids in tqdm(chosen, "Collecting openings", delay=1, leave=False, disable=None):
        size = int(np.searchsorted(bars[ids].cumsum(), encoding.opening_bars, "right"))
        piece = [tokens[i] for i in ids[:-1]]
        shares = shares_of_bars(piece, encoding)
        parts = {
            program: part._replace(share_of_bars=shares.get(program, part.share_of_bars))
            for program, part in collect_parts(encoding.timed_notes(piece)).items()
        }
        openings.append(Opening(name, tuple(ids[:-1][: min(size, MAX_IDS)].tolist()), parts))
    return [opening for opening in openings if opening.ids and opening.parts]


def collect_parts(notes: Iterable[TimedNote]) -> dict[int, Part]:
    """Return the parts of the instruments that play more than a few notes."""
    onsets: dict[int, list[tuple[float, int]]] = {}
    pitched: set[tuple[float, int]] = set()  # of all instruments but drums
    for note in notes:
        onsets.setdefault(note.program, []).append((note.start, note.pitch))
        if note.program != DRUMS:
            pitched.add((note.start, note.pitch))
    parts = {}
    for program, played in onsets.items():
        pitches = [pitch for _, pitch in played]
        is_polyphonic = len({start for start, _ in played}) < len(played)
        if len(played) >= MIN_NOTES:
            has_seconds = program != DRUMS and any(
                not pitched.isdisjoint([(start, pitch - 1), (start, pitch + 1)])
                for start, pitch in played
            )
            part = Part(min(pitches), max(pitches), is_polyphonic, has_seconds)
            kit = tuple(sorted({*pitches})) if program == DRUMS else ()
            parts[program] = part._replace(kit=kit)
    return parts


def shares_of_bars(tokens: Sequence[str], encoding: Encoding) -> dict[int, float]:
    """Return by program the share of a piece's bars in which it plays."""
    bar, played, playing = 0.0, dict[int, set[float]](), tuple[int, ...]()
    for token in split(tokens):
        bar, content = bar + encoding.bars(token), encoding.content(token)
        playing = content.programs or playing
        for program in playing if content.has_notes else ():
            played.setdefault(program, set()).add(bar)
    return {program: round(len(bars) / bar, 3) for program, bars in played.items()}


def mean_shares(openings: Iterable[Opening]) -> dict[int, float]:
    """Return by program its mean share of bars in the pieces that have it."""
    shares: dict[int, list[float]] = {}
    for opening in openings:
        for program, part in opening.parts.items():
            shares.setdefault(program, []).append(part.share_of_bars)
    return {program: float(np.mean(values)) for program, values in shares.items()}


def usual_parts(openings: Iterable[Opening]) -> dict[int, Part]:
    """Return by program the widest part of the pieces that have it, and those of other winds."""
    parts = {program: Part(*pitches, is_polyphonic=False) for program, pitches in WINDS.items()}
    seen: dict[int, list[Part]] = {}
    for opening in openings:
        for program, part in opening.parts.items():
            seen.setdefault(program, []).append(part)
    for program, played in seen.items():
        lowest, highest = min(x.lowest for x in played), max(x.highest for x in played)
        parts[program] = Part(
            *(lowest, highest, any(x.is_polyphonic for x in played)),
            has_seconds=any(x.has_seconds for x in played),
            kit=tuple(sorted({pitch for x in played for pitch in x.kit})),
        )
    return parts


def write_openings(path: Path, openings: Iterable[Opening]) -> None:
    """Write the openings as JSON, one per line."""
    lines = [
        json.dumps([opening.piece, opening.ids, {str(k): v for k, v in opening.parts.items()}])
        for opening in openings
    ]
    write_atomically(path, "[\n" + ",\n".join(lines) + "\n]\n")


def read_openings(path: Path, vocabulary_size: int) -> tuple[Opening, ...]:
    """Read what `write_openings` wrote, () without a file; raise InputError for anything else."""
    try:
        entries = read_json(path, MAX_BYTES)
        if not isinstance(entries, list) or len(entries) > MAX_OPENINGS:
            raise ValueError(f"expected a list of up to {MAX_OPENINGS}")
        return tuple(_parse_opening(entry, vocabulary_size) for entry in entries)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} does not hold the openings of this model's pieces ({error}); remove it, and "
            "the train.py command of this model writes it again"
        ) from error


def _parse_opening(entry: object, vocabulary_size: int) -> Opening:
    """Return an entry of the JSON; raise ValueError where it is not an opening."""
    match entry:
        case [str(piece), [*ids], dict(parts)] if 1 <= len(ids) <= MAX_IDS and parts:
            valid = [x for x in ids if type(x) is int and END_ID < x < vocabulary_size]
            checked = {int(program): _parse_part(part) for program, part in parts.items()}
            if valid == ids and all(program in (DRUMS, *range(128)) for program in checked):
                return Opening(piece, tuple(valid), checked)
    raise ValueError("expected a name, ids of the vocabulary, and parts by program")


def _parse_part(part: object) -> Part:
    """Return a part of the JSON; raise ValueError where it is not one."""
    match part:
        case [int(low), int(high), bool(chords), bool(seconds), int() | float() as share, [*kit]]:
            pitches = [x for x in kit if type(x) is int]
            if 0 <= low <= high < 128 and 0 <= share <= 1 and pitches == kit:
                return Part(low, high, chords, seconds, share, tuple(pitches))
    raise ValueError("expected two pitches, true or false twice, a share of bars, and pitches")


def choose_opening(
    openings: Sequence[Opening],
    vocabulary: Vocabulary,
    rng: np.random.Generator,
    groups: Iterable[frozenset[int]] = (),
    pitch_weights: np.ndarray | None = None,
) -> Opening:
    """Choose a piece and a key for its opening, at random.

    With `groups` of programs it is among the pieces that hold the most of them; with
    `pitch_weights`, float [12], in the key that suits these best.
    """
    wanted = [*groups]
    counts = [sum(not group.isdisjoint(x.parts) for group in wanted) for x in openings]
    best = [x for x, count in zip(openings, counts, strict=True) if count == max(counts)]
    opening = best[rng.integers(len(best))]
    keys = [key for k in KEYS if (key := opening.transposed(vocabulary, k))] or [opening]
    if pitch_weights is None:
        return keys[rng.integers(len(keys))]
    content = vocabulary.encoding.content
    weights = [
        sum(pitch_weights[x] for x in content(vocabulary.tokens[token_id]).pitch_classes)
        for token_id in range(1, len(vocabulary))
    ]
    values = np.array([0, *weights])
    return max(keys, key=lambda key: values[list(key.ids)].sum())
