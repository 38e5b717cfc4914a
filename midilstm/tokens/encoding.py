"""What an encoding is: the one interface that everything after tokens/ sees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from midilstm import midi
from midilstm.tokens.rules import State


class Played(NamedTuple):
    """A note as it is heard: quarter notes, MIDI pitch, General MIDI program or midi.DRUMS."""

    start: float
    length: float
    pitch: int
    program: int = 0


class Clock(Protocol):
    """Tell where in a piece each of its tokens stands, as they come."""

    def tell(self, token: str) -> tuple[float, float]:
        """Return the bars and the seconds after the beginning at which the next token stands."""


class Encoding(ABC):
    """Songs ⇄ token strings. A token may be merged of several, with spaces between (bpe.py).

    Every method that takes tokens raises ValueError for an unknown one.
    """

    name: str
    version: str  # another whenever the same song might give other tokens
    keeps_rhythm = True

    @abstractmethod
    def tokens_of(self, song: midi.Song) -> list[str]:
        """Return the tokens of a song; raise MidiError where it gives none."""

    @abstractmethod
    def song_of(self, tokens: Sequence[str]) -> midi.Song:
        """Return the song that tokens stand for, the mirror of `tokens_of`."""

    @abstractmethod
    def transpose(self, token: str, semitones: int) -> str:
        """Return the token that reading the same music, transposed, would give; drums stay.

        A note that would leave MIDI's range stays in the nearest octave that fits.
        """

    @abstractmethod
    def nearest(self, token: str, known: Iterable[str]) -> str | None:
        """Return the known token that sounds most like `token`; None where nothing comes near."""

    @abstractmethod
    def clock(self, bpm: float | None = None) -> Clock:
        """Return a clock at `bpm` quarter notes a minute (None: as its tokens say, or 120)."""

    def music(self, tokens: Sequence[str]) -> list[str]:
        """Return the tokens without those that are no music, such as a length without a pitch."""
        return list(tokens)

    def is_token(self, token: str) -> bool:
        """Tell whether a token, or each part of a merged one, looks like one of the encoding's."""
        return True

    def joins(self, token: str) -> bool:
        """Tell whether byte-pair encoding may merge a token with its neighbours."""
        return False

    def context(self, primer: Sequence[str]) -> list[str]:
        """Return the tokens that put what goes on from a primer in its place."""
        return []

    def continued(self, tokens: Sequence[str], primer: Sequence[str]) -> list[str]:
        """Return the tokens of a piece that goes on from a primer but does not hold it."""
        return list(tokens)

    def follow(self, state: State, token: str) -> State | None:
        """Return the grammar's state after `token` in `state`, None where it may not stand there.

        The empty token stands for the end of the piece. Without rules any may follow any other.
        """
        return state

    def allowed(self, tokens: Sequence[str]) -> Callable[[State], np.ndarray] | None:
        """Return what tells of all tokens at once what `follow` tells of one; None for no rules."""
        return None

    def played(self, tokens: Sequence[str]) -> list[Played]:
        """Return the notes of tokens, times in quarter notes, by start."""
        song = self.song_of(self.music(tokens))
        quarter = song.ticks_per_quarter
        return sorted(
            Played(note.start / quarter, note.length / quarter, note.pitch, note.program)
            for note in song.notes
        )


def split(tokens: Iterable[str]) -> list[str]:
    """Return the parts of tokens, of which byte-pair encoding has merged some."""
    return [part for token in tokens for part in token.split(" ")]
