"""What an encoding is: the one interface that everything after tokens/ sees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from midilstm import files, midi


class Played(NamedTuple):
    """A note as it is heard: quarter notes, MIDI pitch, General MIDI program or midi.DRUMS."""

    start: float
    length: float
    pitch: int
    program: int = 0


class Sounds(NamedTuple):
    """What a token sounds: pitch classes, programs in the order named, notes before any named."""

    classes: frozenset[int] = frozenset()
    programs: tuple[int, ...] = ()
    plays: bool = False


class Clock(Protocol):
    """Tell where in a piece each of its tokens stands, as they come."""

    def tell(self, token: str, /) -> tuple[float, float]:
        """Return the bars and the seconds after the beginning at which the next token stands."""

    def place(self) -> tuple[float, float]:
        """Return the bars after the beginning, and the beats into one, where a note would sound."""


class Encoding(ABC):
    """Songs ⇄ token strings, of which some may be merged (bpe.py); ValueError for unknown ones."""

    name: str
    version: str  # another whenever the same song might give other tokens
    keeps_rhythm = True
    start: Any = None  # the grammar's state where a piece begins; None: any token may follow any
    begun: Any = None  # where it need no longer state what pieces begin with; None: as `start`

    @abstractmethod
    def tokens_of(self, song: midi.Song) -> list[str]:
        """Return the tokens of a song; raise MidiError where it gives none."""

    @abstractmethod
    def song_of(self, tokens: Sequence[str]) -> midi.Song:
        """Return the song that tokens stand for, the mirror of `tokens_of`."""

    @abstractmethod
    def transpose(self, token: str, semitones: int) -> str:
        """Return the token of the same music, transposed as far as MIDI reaches; drums stay."""

    @abstractmethod
    def distance(self, token: str, other: str) -> tuple[float, ...] | None:
        """Return how unlike two tokens sound, most telling first; None where nothing is alike."""

    def nearest(self, token: str, known: Iterable[str]) -> str | None:
        """Return the known token that sounds most like `token`; None where nothing comes near."""
        near = ((self.distance(token, name), name) for name in known)
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

    def sounds(self, token: str) -> Sounds:
        """Return what a token sounds, merged ones with all parts."""
        return Sounds()

    def approximated(self, song: midi.Song) -> int:
        """Return how many of a song's tempos and time signatures its tokens say inexactly."""
        return 0

    def music(self, tokens: Sequence[str]) -> list[str]:
        """Return the tokens without those that are no music, such as a length without a pitch."""
        return list(tokens)

    def is_token(self, token: str) -> bool:
        """Tell whether a token, or each part of a merged one, looks like one of the encoding's."""
        return True

    def joins(self, token: str) -> bool:
        """Tell whether byte-pair encoding may merge a token with its neighbours."""
        return False

    def continued(self, tokens: Sequence[str], primer: Sequence[str]) -> list[str]:
        """Return the tokens of a piece that goes on from a primer but does not hold it."""
        return list(tokens)

    def rebarred(self, tokens: Sequence[str], known: Collection[str]) -> list[str]:
        """Return the tokens of the same notes in bars that known tokens can name."""
        return list(tokens)

    def follow(self, state: Any, token: str) -> Any:
        """Return the grammar's state after a token, "" for the end; None where it may not stand."""
        return state

    def aspects(self, state: Any) -> tuple[Any, ...]:
        """Return states, few in all, of which one forbids a token wherever `state` does."""
        return (state,)

    def read(self, path: Path | str, *, pedal: bool = True) -> list[str]:
        """Return the tokens of the MIDI file at `path`; raise MidiError where it holds no piece."""
        return self.tokens_of(midi.read(path, pedal=pedal))

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
        kept = self.music(found)
        song = self.song_of(kept)
        if not song.notes:
            raise ValueError(f"there is no note in these {len(found)} tokens")
        performed = midi.performed(song, bpm=bpm, instrument=instrument)
        files.write_atomically(Path(path), midi.to_bytes(performed))
        return len(found) - len(kept)

    def played(self, tokens: Sequence[str]) -> list[Played]:
        """Return the notes of tokens, times in quarter notes, by start."""
        song = self.song_of(self.music(tokens))
        beat = song.ticks_per_quarter
        return sorted(
            Played(n.start / beat, n.length / beat, n.pitch, n.program) for n in song.notes
        )


def split(tokens: Iterable[str]) -> list[str]:
    """Return the parts of tokens, of which byte-pair encoding has merged some."""
    return [part for token in tokens for part in token.split(" ")]
