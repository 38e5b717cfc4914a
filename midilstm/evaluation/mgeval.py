"""The twelve features by which MGEval describes a piece. Knows no files, tokens, networks.

After Yang and Lerch 2018, "On the evaluation of generative models in music", and their program,
github.com/RichardYang40148/mgeval, which reads one melody. Here a piece may have many instruments:
what goes from one note to the next stays within one of them, and percussion has no pitch or length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from midilstm.evaluation.statistics import BAR, STEPS, Played, mean, note_lengths, pitch_range

BARS = 8  # compared bar by bar, an absent one being empty; MGEval asks for the number
# Whole to sixteenth, dotted half to dotted sixteenth, triplet half to triplet eighth.
LENGTHS = np.array([96, 48, 24, 12, 6, 72, 36, 18, 9, 32, 16, 8]) * BAR // 96
NEAR = 2  # steps from a note's end to the next one's beginning: pretty_midi's 0.05 s at 120 bpm

Feature = Callable[[Played], np.ndarray | float]


def _bars(played: Played) -> list[Played]:
    """Return the notes that begin in each of the first bars."""
    return [played.take(played.start // BAR == bar) for bar in range(BARS)]


def _voices(played: Played) -> tuple[Played, np.ndarray]:
    """Return pitched notes, one instrument after another, and which [n - 1] go on in the same."""
    notes = played.pitched()
    notes = notes.take(np.argsort(notes.program, kind="stable"))
    return notes, notes.program[1:] == notes.program[:-1]


def used_pitches(played: Played) -> float:
    """Return how many different pitches there are."""
    return float(len(np.unique(played.pitched().pitch)))


def used_pitches_a_bar(played: Played) -> np.ndarray:
    """Return how many different pitches begin in each bar, float [BARS]."""
    return np.array([used_pitches(bar) for bar in _bars(played)])


def notes(played: Played) -> float:
    """Return how many notes there are, percussion included."""
    return float(len(played.start))


def notes_a_bar(played: Played) -> np.ndarray:
    """Return how many notes begin in each bar, float [BARS]."""
    return np.array([notes(bar) for bar in _bars(played)])


def _classes(played: Played, begin: int, end: int) -> np.ndarray:
    """Return float [12], for how many steps each pitch class sounds from one step to another."""
    heard = np.minimum(played.stop, end) - np.maximum(played.start, begin)
    return np.bincount(played.pitch % 12, np.maximum(heard, 0), 12)


def pitch_classes(played: Played) -> np.ndarray:
    """Return the pitch classes' shares of the sounding time, float [12]; NaN without any."""
    found = _classes(played.pitched(), 0, played.end)
    return found / found.sum() if found.any() else np.full(12, np.nan)


def pitch_classes_a_bar(played: Played) -> np.ndarray:
    """Return the same for what sounds in each bar, float [BARS * 12]; zeros where nothing does."""
    pitched = played.pitched()
    found = np.array([_classes(pitched, bar * BAR, (bar + 1) * BAR) for bar in range(BARS)])
    return (found / np.maximum(found.sum(1, keepdims=True), 1)).ravel()


def pitch_class_transitions(played: Played) -> np.ndarray:
    """Return how often a note of a class begins where another's ends, float [12 * 12].

    As pretty_midi counts them, which MGEval asks; rows are the classes that end.
    """
    voices, _ = _voices(played)
    # An instrument has its own stretch of one line, so that ends meet beginnings only there.
    shift = voices.program * (voices.end + 2 * NEAR + 1)
    kinds = np.eye(12)[voices.pitch % 12]
    counts = np.zeros((12, 12))
    sides = []
    for times in (voices.stop + shift, voices.start + shift):
        places, which = np.unique(times, return_inverse=True)
        sums = np.zeros((len(places), 12))
        np.add.at(sums, which, kinds)
        sides.append((places, sums))
    (ends, ending), (starts, beginning) = sides
    for late in range(-NEAR, NEAR + 1):
        _, first, second = np.intersect1d(ends + late, starts, return_indices=True)
        counts += ending[first].T @ beginning[second]
    itself = voices.pitch[voices.length <= NEAR] % 12  # no transition, though its own end is near
    return (counts - np.diag(np.bincount(itself, minlength=12))).ravel()


def semitones(played: Played) -> float:
    """Return the mean distance of a note from the one before it, in semitones."""
    voices, same = _voices(played)
    return mean(np.abs(np.diff(voices.pitch))[same])


def span(played: Played) -> float:
    """Return the semitones from the lowest to the highest note."""
    return pitch_range(played, np.empty(0))


def inter_onset(played: Played) -> float:
    """Return the mean time in quarters from a note to the next, 0 within a chord."""
    return mean(np.diff(played.start)) / STEPS


def _length_kinds(lengths: np.ndarray) -> np.ndarray:
    """Return int [n], which of LENGTHS is nearest, the first of two."""
    return np.abs(lengths[:, None] - LENGTHS).argmin(1)


def length_shares(played: Played) -> np.ndarray:
    """Return the shares of notes with each length, float [12]; NaN without notes."""
    lengths = note_lengths(played)
    counts = np.bincount(_length_kinds(lengths), minlength=len(LENGTHS))
    return counts / len(lengths) if len(lengths) else np.full(len(LENGTHS), np.nan)


def length_transitions(played: Played) -> np.ndarray:
    """Return how often a note of one length follows one of another, float [12 * 12]."""
    voices, same = _voices(played)
    kinds = _length_kinds(voices.length)
    pairs = (len(LENGTHS) * kinds[:-1] + kinds[1:])[same]
    return np.bincount(pairs, minlength=len(LENGTHS) ** 2).astype(float)


FEATURES: dict[str, Feature] = {
    "pitch count": used_pitches,
    "pitch count a bar": used_pitches_a_bar,
    "note count": notes,
    "note count a bar": notes_a_bar,
    "pitch-class histogram": pitch_classes,
    "pitch-class histogram a bar": pitch_classes_a_bar,
    "pitch-class transitions": pitch_class_transitions,
    "pitch range": span,
    "average pitch interval": semitones,
}
RHYTHMIC: dict[str, Feature] = {  # say something where note lengths are kept
    "average inter-onset interval": inter_onset,
    "note length histogram": length_shares,
    "note length transitions": length_transitions,
}


def measured(pieces: Sequence[Played], *, rhythm: bool = True) -> dict[str, np.ndarray]:
    """Return each feature of each piece, float [pieces, size of the feature]."""
    chosen = FEATURES | (RHYTHMIC if rhythm else {})
    return {
        name: np.array([np.atleast_1d(feature(played)) for played in pieces], float)
        for name, feature in chosen.items()
    }
