"""Prefer pitches that suit a kept melody, as the training pieces do.

A network that was trained on a hundred pieces hardly relates its chords to a melody that it did not
write. In the openings of these pieces the highest notes of the highest instrument stand for such a
melody, or for a kept bass the lowest of the lowest. A multinomial logistic regression predicts the
pitch classes of the other instruments, or of one that plays alone, from the intervals between them
and the melody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, cached_property

import numpy as np

from midilstm.generation.fixed_mask import BAR, POSITION, PROGRAM
from midilstm.generation.fixed_notes import FixedNotes
from midilstm.generation.opening import Opening
from midilstm.generation.turns import NEVER
from midilstm.midi import DRUMS
from midilstm.tokenizers.base import split
from midilstm.tokenizers.meter import POSITIONS, parts
from midilstm.tokenizers.vocabulary import Vocabulary

# A step is a twelfth of a quarter note. Features: the melody's pitch classes that sound now; those
# that begin later, with weights that fall by the factor e per quarter note; and the shares in the
# whole melody, times SCALE.
NOW, LATER, WHOLE = range(3)
DECAY, SCALE = float(np.exp(-1 / POSITIONS)), 5.0
PRIOR_PRECISION = 1.0
MAX_EXAMPLES, ROUNDS = 5000, 50
STRENGTH = 2.0  # the weight of the regression's nats beside the network's (benchmarks/control.md)
PITCH_CLASSES = np.arange(12)


def to_array(notes: Iterable[tuple[float, float, int, int]]) -> np.ndarray:
    """Return pitched notes as int [N, 4]: start and end in steps, pitch, program.

    Those given have a start and a length in quarter notes, a pitch and a program.
    """
    pitched = [note for note in notes if note[3] != DRUMS]
    rows = np.array(pitched, float).reshape(-1, 4) * [POSITIONS, POSITIONS, 1, 1]
    rows[:, 1] = rows[:, 0] + np.maximum(1, rows[:, 1])
    return np.round(rows).astype(int)


def split_melody(notes: np.ndarray, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the melody of notes int [N, 4], the highest or at sign -1 the lowest, and the rest.

    The rest are the notes of other programs than the melody's, or all others where there is one.
    """
    programs = set(notes[:, 3].tolist())
    means = {x: sign * notes[notes[:, 3] == x, 2].mean() for x in programs}
    part = notes[notes[:, 3] == max(programs, key=means.__getitem__, default=0)]
    outermost = np.full(part[:, 1].max(initial=0), -128)
    for start, end, pitch, _ in part.tolist():
        np.maximum(outermost[start:end], sign * pitch, out=outermost[start:end])
    is_melody = sign * part[:, 2] == outermost[part[:, 0]]
    rest = notes[notes[:, 3] != part[0, 3]] if len(programs) > 1 else part[~is_melody]
    return part[is_melody], rest


def melody_features(melody: np.ndarray, n_steps: int) -> np.ndarray:
    """Return the features of each step, float [n_steps, 3, 12], of a melody int [N, 4]."""
    features, onsets = np.zeros((n_steps, 3, 12)), np.zeros((n_steps, 12))
    for start, end, pitch, _ in melody.tolist():
        features[start:end, NOW, pitch % 12] = 1
        onsets[start, pitch % 12] += 1
    for step in range(n_steps - 1, 0, -1):
        features[step - 1, LATER] = DECAY * (features[step, LATER] + onsets[step])
    features[:, WHOLE] = SCALE * onsets.sum(axis=0) / max(1, len(melody))
    return features


def fit_intervals(pieces: Iterable[np.ndarray], sign: int) -> np.ndarray:
    """Return weights float [3, 12]: of each feature, by the semitones from a note up to the melody.

    The log probability of a pitch class is the sum of its features' weights. It is maximised with
    Böhning's bound of the Hessian (1992). `pieces` are int [N, 4], one at least.
    """
    features, classes = [], []
    for notes in pieces:
        melody, rest = split_melody(notes, sign)
        features.append(melody_features(melody, notes[:, 1].max())[rest[:, 0]])
        classes.append(rest[:, 2] % 12)
    chosen = slice(None, None, 1 + sum(map(len, classes)) // MAX_EXAMPLES)
    observed = np.concatenate(classes)[chosen]
    intervals = (PITCH_CLASSES[:, None] + PITCH_CLASSES) % 12
    inputs = np.concatenate(features)[chosen][:, :, intervals].swapaxes(1, 2)
    inputs = inputs.reshape(len(observed), 12, 3 * 12)  # per pitch class of the note
    centred = inputs - inputs.mean(axis=1, keepdims=True)
    prior = PRIOR_PRECISION * np.eye(3 * 12)
    bound = np.tensordot(centred, centred, ([0, 1], [0, 1])) / 2 + prior
    total, weights = inputs[np.arange(len(observed)), observed].sum(axis=0), np.zeros(3 * 12)
    for _ in range(ROUNDS):
        shares = np.exp(inputs @ weights)
        shares /= shares.sum(axis=1, keepdims=True)
        expected = np.tensordot(shares, inputs, 2)
        weights += np.linalg.solve(bound, total - expected - prior @ weights)
    return weights.reshape(3, 12)


class IntervalWeights:
    """The weights for a melody above and for one below, each fitted when it is needed."""

    def __init__(self, openings: Sequence[Opening], vocabulary: Vocabulary) -> None:
        """Take the openings of a model, which are not read yet."""
        self.openings, self.vocabulary = openings, vocabulary
        self.fit = cache(lambda sign: fit_intervals(self.pieces, sign))

    @cached_property
    def pieces(self) -> list[np.ndarray]:
        """Return the pitched notes of each opening that has any, int [N, 4]."""
        tokens, pieces = self.vocabulary.tokens, []
        for opening in self.openings:
            names = split(tokens[token_id] for token_id in opening.ids)
            pieces.append(to_array(self.vocabulary.encoding.timed_notes(names)))
        return [notes for notes in pieces if len(notes)]

    def side_of(self, notes: np.ndarray) -> int:
        """Return 1 for notes int [N, 4] that are high among those of the openings, else -1."""
        mean = np.concatenate(self.pieces)[:, 2].mean()
        return 1 if notes[:, 2].sum() >= mean * len(notes) else -1


class Consonance:
    """Makes pitches that suit the kept melody of a piece in `remi` more likely, others less."""

    def __init__(
        self, fixed: FixedNotes, vocabulary: Vocabulary, weights: IntervalWeights, strength: float
    ) -> None:
        """Compute what to add at each step for each pitch class; a strength of 1 is usual."""
        self.fixed, source = fixed, fixed.source
        quarter, n_steps = source.score.ticks_per_quarter, fixed.steps[-1] + 1
        kept = to_array(
            (note.start / quarter, note.length / quarter, note.pitch, note.program)
            for note in source.fixed_notes[0]
            if (note.program, note.track) in source.kept
        )
        self.sign = weights.side_of(kept)
        melody, _ = split_melody(kept, self.sign)
        player = source.read_as.get(int(melody[0, 3])) if len(melody) else None
        self.player = 0 if player is None else fixed.programs.index(player) + 1
        self.limits = np.full(n_steps, self.sign * 128)
        for start, end, pitch, _ in melody.tolist():
            self.limits[start:end] = pitch
        by_class = weights.fit(self.sign)[:, (PITCH_CLASSES[:, None] - PITCH_CLASSES) % 12]
        self.table = np.tensordot(melody_features(melody, n_steps), by_class, 2)
        self.table *= STRENGTH * strength
        notes = []
        for token_id, token in enumerate(vocabulary.tokens[1:], 1):
            shift, position, rank = 0, -1, 0
            for kind, value in map(parts, token.split(" ")):
                shift += kind == "Bar"
                if kind == "Program":
                    rank = fixed.programs.index(int(value)) + 1
                elif kind == "Position":
                    position = int(value)
                elif kind == "Pitch":
                    notes.append((token_id, shift, position, int(value), rank))
        # Of each note of an id: bars until it, its position or -1 for the same, its pitch, and
        # the rank of its program, or 0 for the same.
        token_ids, self.shifts, self.positions, self.pitches, self.ranks = np.array(notes, int).T
        self.first_notes = np.flatnonzero(np.diff(token_ids, prepend=0))
        self.ids = token_ids[self.first_notes]  # that begin notes

    def adjust_logits(self, logits: np.ndarray, places: np.ndarray) -> None:
        """Change the logits of the next ids, float32 [B, V], after places int64 [7, B].

        All ids that begin notes are together as likely as before.
        """
        nats = self.table[self._steps(places), self.pitches % 12]
        before = logits[:, self.ids]
        rows = np.flatnonzero(before.max(axis=1) > -np.inf)
        before = before[rows]
        after = before + np.add.reduceat(nats[rows], self.first_notes, axis=1)
        lost = np.subtract(*(np.logaddexp.reduce(x, axis=1) for x in (before, after)))
        logits[rows[:, None], self.ids] = after + lost[:, None]

    def exclude_crossing(self, log_probs: np.ndarray, places: np.ndarray) -> None:
        """Exclude ids with a note that would cross a melody of the same instrument, in place."""
        is_beyond = self.sign * (self.pitches - self.limits[self._steps(places)]) > 0
        is_beyond &= np.where(self.ranks, self.ranks, places[PROGRAM][:, None]) == self.player
        log_probs[:, self.ids] -= NEVER * np.logical_or.reduceat(is_beyond, self.first_notes, 1)

    def _steps(self, places: np.ndarray) -> np.ndarray:
        """Return the step at which each note of an id would begin, int [B, notes]."""
        begins = self.fixed.steps
        bars = np.clip(places[BAR][:, None] + self.shifts, 0, len(begins) - 1)
        now = np.maximum(0, places[POSITION] - 1)[:, None]
        offsets = np.where(self.positions < 0, now, self.positions) * POSITIONS
        return np.minimum(begins[bars] + offsets // self.fixed.grids[bars], begins[-1])
