"""What an encoding is: the one interface that everything after tokens/ sees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from midilstm import fileio as files
from midilstm import midi


class TimedNote(NamedTuple):
    """A note as it is heard: quarter notes, MIDI pitch, General MIDI program or midi.DRUMS."""

    start: float
    length: float
    pitch: int
    program: int = 0


class TokenContent(NamedTuple):
    """What a token sounds: pitch classes, programs in the order named, notes before any named."""

    pitch_classes: frozenset[int] = frozenset()
    programs: tuple[int, ...] = ()
    has_notes: bool = False


class Clock(Protocol):
    """Tell where in a piece each of its tokens stands, as they come."""

    def advance(self, token: str, /) -> tuple[float, float]:
        """Return the bars and the seconds after the beginning at which the next token stands."""

    def position(self) -> tuple[float, float]:
        """Return the bars after the beginning, and the beats into one, where a note would sound."""


class Encoding(ABC):
    """Songs ⇄ token strings, of which some may be merged (bpe.py); ValueError for unknown ones."""

    name: str
    version: str  # another whenever the same song might give other tokens
    keeps_rhythm = True
    start_state: Any = (
        None  # the grammar's state where a piece begins; None: any token may follow any
    )
    body_state: Any = None  # where it need no longer state what pieces begin with; None: as `start`

    @abstractmethod
    def encode(self, song: midi.Score) -> list[str]:
        """Return the tokens of a song; raise MidiError where it gives none."""

    @abstractmethod
    def decode(self, tokens: Sequence[str]) -> midi.Score:
        """Return the song that tokens stand for, the mirror of `tokens_of`."""

    @abstractmethod
    def transpose(self, token: str, semitones: int) -> str:
        """Return the token of the same music, transposed as far as MIDI reaches; drums stay."""

    @abstractmethod
    def token_distance(self, token: str, other: str) -> tuple[float, ...] | None:
        """Return how unlike two tokens sound, most telling first; None where nothing is alike."""

    def nearest(self, token: str, known: Iterable[str]) -> str | None:
        """Return the known token that sounds most like `token`; None where nothing comes near."""
        near = ((self.token_distance(token, name), name) for name in known)
        return min((pair for pair in near if pair[0] is not None), default=(None, None))[1]

    @abstractmethod
    def clock(self, bpm: float | None = None, primer: Sequence[str] = ()) -> Clock:
        """Return a clock at `bpm` quarter notes a minute (None: as its tokens say, or 120).

        After a primer it is that of the new music, which begins with its first note: from there
        it counts the seconds, and the bars from that note's.
        """

    @abstractmethod
    def bars(self, token: str) -> float:
        """Return how many bars the music moves on with a token, merged ones with all parts."""

    def content(self, token: str) -> TokenContent:
        """Return what a token sounds, merged ones with all parts."""
        return TokenContent()

    def count_inexact(self, song: midi.Score) -> int:
        """Return how many of a song's tempos and time signatures its tokens say inexactly."""
        return 0

    def drop_invalid(self, tokens: Sequence[str]) -> list[str]:
        """Return the tokens without those that are no music, such as a length without a pitch."""
        return list(tokens)

    def is_token(self, token: str) -> bool:
        """Tell whether a token, or each part of a merged one, looks like one of the encoding's."""
        return True

    def is_mergeable(self, token: str) -> bool:
        """Tell whether byte-pair encoding may merge a token with its neighbours."""
        return False

    def with_header(self, tokens: Sequence[str], primer: Sequence[str]) -> list[str]:
        """Return the tokens of a piece that goes on from a primer but does not hold it."""
        return list(tokens)

    def change_meter(self, tokens: Sequence[str], known: Collection[str]) -> list[str]:
        """Return the tokens of the same notes in bars that known tokens can name."""
        return list(tokens)

    def next_state(self, state: Any, token: str) -> Any:
        """Return the grammar's state after a token, "" for the end; None where it may not stand."""
        return state

    def state_factors(self, state: Any) -> tuple[Any, ...]:
        """Return states, few in all, of which one forbids a token wherever `state` does."""
        return (state,)

    def read(self, path: Path | str, *, pedal: bool = True) -> list[str]:
        """Return the tokens of the MIDI file at `path`; raise MidiError where it holds no piece."""
        return self.encode(midi.read(path, pedal=pedal))

    def write(
        self,
        tokens: Iterable[str],
        path: Path | str,
        *,
        bpm: float | None = None,
        instrument: int | None = None,
    ) -> int:
        """Write tokens as a MIDI file; return how many are no music, left out.

        `bpm` and `instrument`, a General MIDI program, override what the tokens say; where
        neither says, it is 120 and piano. Raise ValueError where there is no note.
        """
        found = split(tokens)
        kept = self.drop_invalid(found)
        song = self.decode(kept)
        if not song.notes:
            raise ValueError(f"there is no note in these {len(found)} tokens")
        with_tempo_and_program = midi.with_tempo_and_program(song, bpm=bpm, instrument=instrument)
        files.write_atomically(Path(path), midi.to_bytes(with_tempo_and_program))
        return len(found) - len(kept)

    def timed_notes(self, tokens: Sequence[str]) -> list[TimedNote]:
        """Return the notes of tokens, times in quarter notes, by start."""
        song = self.decode(self.drop_invalid(tokens))
        beat = song.ticks_per_quarter
        return sorted(
            TimedNote(n.start / beat, n.length / beat, n.pitch, n.program) for n in song.notes
        )


def split(tokens: Iterable[str]) -> list[str]:
    """Return the parts of tokens, of which byte-pair encoding has merged some."""
    return [part for token in tokens for part in token.split(" ")]
