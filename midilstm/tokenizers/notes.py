"""The encoding `notes`, the classic one, which turns a score into the sequence of its onsets.

An onset with one pitch is its music21 name (`C#4`, `B-3`), one with several its normal order
(`1.5.6`). Neither percussion, rhythm nor a chord's register is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

from music21.chord import Chord
from music21.pitch import Pitch

from midilstm import midi
from midilstm.tokenizers.base import Clock, Encoding, TokenContent

TICKS_PER_QUARTER = 480
STEP = TICKS_PER_QUARTER // 2  # each written token lasts half a quarter note
OCTAVE_4 = 60

NAMES = tuple(Pitch(midi=pitch).nameWithOctave for pitch in range(128))
# Two names are music21's for two pitches each, E-1 for E flat in octave 1 and for E in octave -1:
# the higher, audible one counts.
PITCHES = {name: pitch for pitch, name in enumerate(NAMES)}
CLASSES = tuple(map(str, range(12)))


class Notes(Encoding):
    """The encoding `notes`; see this file's docstring."""

    name = "notes"
    version = "2"
    keeps_rhythm = False

    def encode(self, score: midi.Score) -> list[str]:
        """Return the tokens of a score; raise MidiError if it holds only percussion."""
        if tokens := onset_tokens(score):
            return tokens
        raise midi.MidiError("only percussion")

    def decode(self, tokens: Sequence[str]) -> midi.Score:
        """Return the score of tokens, each half a quarter note long."""
        chords = enumerate(map(_pitches, tokens))
        notes = (midi.Note(i * STEP, STEP, pitch) for i, chord in chords for pitch in chord)
        return midi.Score(TICKS_PER_QUARTER, tuple(notes))

    def is_token(self, token: str) -> bool:
        """Tell whether a token is a note such as C#4 or a chord such as 1.5.6."""
        with suppress(ValueError):
            return bool(_pitches(token))
        return False

    def transpose(self, token: str, semitones: int) -> str:
        pitches = _pitches(token)
        if token in PITCHES:
            return NAMES[nearest_pitch(pitches[0] + semitones)]
        return _normal_order(frozenset((pitch + semitones) % 12 for pitch in pitches))

    def token_distance(self, token: str, other: str) -> tuple[float, ...] | None:
        """Return how far another note is in class and pitch, or how much of a chord it lacks."""
        pitches, others = _pitches(token), _pitches(other)
        classes, other_classes = ({pitch % 12 for pitch in chord} for chord in (pitches, others))
        shared = len(classes & other_classes) / len(classes | other_classes)
        if len(pitches) > 1:
            return (1 - shared,) if shared else None
        return (not shared, abs(pitches[0] - others[0])) if len(others) == 1 else None

    def clock(self, bpm: float | None = None, primer: Sequence[str] | None = None) -> Clock:
        """Return a clock whose bars have four quarter notes."""
        return _Clock(midi.DEFAULT_BPM if bpm is None else bpm)

    def content(self, token: str) -> TokenContent:
        return TokenContent(frozenset(pitch % 12 for pitch in _pitches(token)), has_notes=True)

    def bars(self, _: str) -> float:
        """Return an eighth: half a quarter note in bars of four."""
        return 1 / 8


class _Clock:
    def __init__(self, bpm: float) -> None:
        self._seconds_per_quarter, self.quarter = 60 / bpm, 0.0

    def advance(self, _: str, /) -> tuple[float, float]:
        quarters = self.quarter
        self.quarter += STEP / TICKS_PER_QUARTER
        return quarters / 4, quarters * self._seconds_per_quarter

    def position(self) -> tuple[float, float]:
        return self.quarter / 4, self.quarter % 4

    def quarters_to(self, *, bars: float = 0, seconds: float = 0) -> float:
        return (4 * bars or seconds / self._seconds_per_quarter) - self.quarter


def onset_tokens(score: midi.Score) -> list[str]:
    """Return the token of each onset of pitched notes, in order."""
    chords = [pitches for _, pitches in sorted(onsets_of(score).items())]
    return [
        _normal_order(frozenset(pitch % 12 for pitch in pitches))
        if len(pitches) > 1
        else NAMES[min(pitches)]
        for pitches in chords
    ]


def onsets_of(score: midi.Score) -> dict[int, set[int]]:
    """Return pitches by onset, in twelfths of a quarter, joined as music21's parse joins chords.

    A note joins an earlier one of its track that starts less than a sixteenth before it and ends at
    most a sixteenth from it, and then counts at that note's onset. Such earlier notes end more than
    a sixteenth apart, so that one for each sixteenth of ending time is enough: time stays linear.
    """
    quarter, onsets = score.ticks_per_quarter, dict[int, set[int]]()
    heads: dict[tuple[int, int], tuple[int, int, int]] = {}  # track, ending → start, end, slot
    for start, length, pitch, _, program, track, _ in score.notes:
        if program == midi.DRUMS:
            continue
        end = start + length
        sixteenth = 4 * end // quarter
        near = [
            head
            for key in (sixteenth - 1, sixteenth, sixteenth + 1)
            if (head := heads.get((track, key)))
            and 4 * (start - head[0]) < quarter >= 4 * abs(end - head[1])
        ]
        slot = min(near)[2] if near else midi.quantised(start, quarter)
        if not near:
            heads[track, sixteenth] = start, end, slot
        onsets.setdefault(slot, set()).add(pitch)
    return onsets


@lru_cache(maxsize=4096)  # the number of sets of pitch classes
def _normal_order(classes: frozenset[int]) -> str:
    """Return music21's normal order of a set of pitch classes."""
    # From numbers instead of pitches it would first search the best spelling, for milliseconds.
    chord = Chord([Pitch(midi=OCTAVE_4 + pitch_class) for pitch_class in sorted(classes)])
    return ".".join(map(str, chord.normalOrder))


def nearest_pitch(pitch: int) -> int:
    """Return the MIDI pitch of the same class that is nearest."""
    return pitch % 12 if pitch < 0 else min(pitch, 127 - (127 - pitch) % 12)


def _pitches(token: str) -> list[int]:
    """Return a token's MIDI pitches; a chord of one pitch class becomes an octave."""
    if token in PITCHES:
        return [PITCHES[token]]
    parts = token.split(".")
    if not all(part in CLASSES for part in parts) or len(set(parts)) < len(parts):
        raise ValueError(f"{token!r} is neither a note such as C#4 nor a chord such as 1.5.6")
    pitches = [OCTAVE_4 + int(part) for part in parts]
    return pitches if len(pitches) > 1 else [pitches[0], pitches[0] + 12]


ENCODINGS = {Notes.name: Notes()}
