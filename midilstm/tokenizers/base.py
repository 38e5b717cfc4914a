"""The interface of all encodings, and the types that it uses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from midilstm import midi
from midilstm.fileio import write_atomically


class NoNoteError(ValueError):
    """Report that tokens hold no note."""


class TimedNote(NamedTuple):
    """A note: times in quarter notes, MIDI pitch, General MIDI program or midi.DRUMS."""

    start: float
    length: float
    pitch: int
    program: int = 0


class TokenContent(NamedTuple):
    """A token's pitch classes and programs in order, and whether notes precede any program.

    An earlier program `plays_on` where its notes follow in this token or the next one.
    """

    pitch_classes: frozenset[int] = frozenset()
    programs: tuple[int, ...] = ()
    has_notes: bool = False
    plays_on: bool = False
    pitches: tuple[int, ...] = ()  # of pitched instruments
    meters: tuple[str, ...] = ()


class Clock(Protocol):
    """Measure the position of each token of a piece; tokens are given in order.

    Time may go back inside a bar, where the notes of the next instrument begin.
    """

    quarter: float  # position of the next note in quarter notes, from the first token

    def advance(self, token: str, /) -> tuple[float, float]:
        """Return the bars and seconds up to which the tokens before this one are the whole music.

        No note of this token or a later one begins before them.
        """

    def position(self) -> tuple[float, float]:
        """Return the bars from the beginning, and the beats into the bar, of the next note."""

    def quarters_to(self, *, bars: float = 0, seconds: float = 0) -> float:
        """Return the quarter notes from the next note to so many bars, or seconds, of the piece."""


class Encoding(ABC):
    """Convert scores to token strings, maybe merged (bpe.py), and back.

    Methods raise ValueError for unknown tokens.
    """

    name: str
    version: str  # changes whenever the same score may give other tokens
    order = 1  # of the tokens of a piece: changes whenever models trained before it are useless
    keeps_rhythm = True
    keeps_meter = False  # whether tokens state time signatures
    has_places = False  # whether each bar has the order of order.py and names its programs
    opening_bars = 0  # of a training piece that the network reads before it begins a new one
    default_top_p = 1.0  # of sampling
    start_state: Any = None  # the grammar's first state; None if any token may follow any
    body_state: Any = None  # the state before a primer; None if it is `start_state`
    solo: Encoding | None = None  # the variant for pieces of a single instrument each

    @abstractmethod
    def encode(self, score: midi.Score) -> list[str]:
        """Return the tokens of a score; raise MidiError if it gives none."""

    @abstractmethod
    def decode(self, tokens: Sequence[str]) -> midi.Score:
        """Return the score that tokens describe: the inverse of `encode`."""

    @abstractmethod
    def transpose(self, token: str, semitones: int) -> str:
        """Return the token transposed, in the nearest octave that MIDI has; drums stay the same."""

    @abstractmethod
    def token_distance(self, token: str, other: str) -> tuple[float, ...] | None:
        """Return how different two tokens sound, most important first; None if incomparable."""

    def nearest(self, token: str, known: Iterable[str]) -> str | None:
        """Return the known token that sounds most like `token`; None if none is comparable."""
        near = ((self.token_distance(token, name), name) for name in known)
        return min((pair for pair in near if pair[0] is not None), default=(None, None))[1]

    @abstractmethod
    def clock(self, bpm: float | None = None, primer: Sequence[str] | None = None) -> Clock:
        """Return a clock at `bpm` quarter notes per minute; None uses the tokens' tempo, or 120.

        For new music it counts from the bar of the first note, seconds after a primer from that
        note; `primer` is then given, if only as an empty list.
        """

    @abstractmethod
    def bars(self, token: str) -> float:
        """Return how many bars a token advances the music; a merged token by all its parts."""

    def content(self, token: str) -> TokenContent:
        """Return the content of a token; of a merged token that of all parts."""
        return TokenContent()

    def skips(self, token: str, programs: Collection[int]) -> bool:
        """Tell whether programs that may play next may not do so right after a token."""
        return True

    def count_inexact(self, score: midi.Score) -> int:
        """Return how many tempos and time signatures of a score its tokens only approximate."""
        return 0

    def in_order(self, tokens: Sequence[str]) -> list[str]:
        """Return unmerged tokens in the order that `encode` gives them, if it has one."""
        return list(tokens)

    def abbreviate(self, tokens: Sequence[str]) -> list[str]:
        """Return unmerged tokens as a model reads them, without what it can do without."""
        return list(tokens)

    def name_program(self, tokens: Sequence[str], primer: Sequence[str]) -> list[str]:
        """Return tokens that continue a primer and state the program of their first note.

        The primer is given as the model reads it: the file may have other programs.
        """
        return list(tokens)

    def drop_invalid(self, tokens: Sequence[str]) -> list[str]:
        """Return the tokens without invalid ones, such as a length without a pitch."""
        return list(tokens)

    def is_token(self, token: str) -> bool:
        """Tell whether a token, or each part of a merged one, belongs to the encoding."""
        return True

    def is_mergeable(self, token: str) -> bool:
        """Tell whether byte-pair encoding may merge a token with its neighbours."""
        return False

    def with_header(self, tokens: Sequence[str], primer: Sequence[str]) -> list[str]:
        """Return the tokens of a piece that continues a primer but does not contain it."""
        return list(tokens)

    def header(self, tokens: Sequence[str]) -> list[str]:
        """Return the tokens that begin a piece in the meter and tempo that hold after `tokens`."""
        return []

    def change_meter(self, tokens: Sequence[str], known: Collection[str]) -> list[str]:
        """Return the tokens of the same notes in a meter that has a known token."""
        return list(tokens)

    def next_state(self, state: Any, token: str) -> Any:
        """Return the grammar's state after a token ("" for the end); None if it is forbidden."""
        return state

    def state_factors(self, state: Any) -> tuple[Any, ...]:
        """Return simpler states that together forbid exactly the tokens that `state` forbids."""
        return (state,)

    def read(self, path: Path | str, *, pedal: bool = True) -> list[str]:
        """Return the tokens of the MIDI file at `path`, without empty bars at its beginning.

        Raise MidiError if that is impossible.
        """
        return self.encode(midi.drop_leading_bars(midi.read(path, pedal=pedal)))

    def to_midi(
        self,
        tokens: Iterable[str],
        *,
        bpm: float | None = None,
        instrument: int | None = None,
        rest: float | None = None,
        holds_end: bool = False,
    ) -> tuple[bytes, int]:
        """Return tokens as a MIDI file, and how many invalid tokens were dropped.

        `bpm` and `instrument`, a General MIDI program, replace those in the tokens. Where neither
        gives one, the tempo is 120 and the instrument piano. The file ends, and its last notes are
        cut, `rest` quarter notes after the position of the last token, or before it where `rest` is
        negative. If it `holds_end`, the last notes of each instrument in the last bar last until
        then. Raise NoNoteError without a note.
        """
        parts = split(tokens)
        kept = self.drop_invalid(parts)
        score, end = self.decode(kept), 0
        if rest is not None:
            clock = self.clock()
            for token in kept:
                clock.advance(token)
            end = max(1, round((clock.quarter + rest) * score.ticks_per_quarter))
            score = midi.cut_off(score, end)
            if holds_end and self.keeps_meter:
                score = midi.hold_last_notes(score, end)
        if not score.notes:
            raise NoNoteError(f"there is no note in these {len(parts)} tokens")
        score = midi.with_tempo_and_program(score, bpm=bpm, instrument=instrument)
        return midi.to_bytes(score, end), len(parts) - len(kept)

    def write(
        self,
        tokens: Iterable[str],
        path: Path | str,
        *,
        bpm: float | None = None,
        instrument: int | None = None,
    ) -> int:
        """Write tokens as a MIDI file; return how many invalid ones were dropped; see `to_midi`."""
        content, n_invalid = self.to_midi(tokens, bpm=bpm, instrument=instrument)
        write_atomically(Path(path), content)
        return n_invalid

    def timed_notes(self, tokens: Sequence[str]) -> list[TimedNote]:
        """Return the notes of tokens, times in quarter notes, by start."""
        score = self.decode(self.drop_invalid(tokens))
        quarter = score.ticks_per_quarter
        return sorted(
            TimedNote(n.start / quarter, n.length / quarter, n.pitch, n.program)
            for n in score.notes
        )


def split(tokens: Iterable[str]) -> list[str]:
    """Return the tokens with those that byte-pair encoding merged split into their parts."""
    return [part for token in tokens for part in token.split(" ")]
