"""The encodings `tsd` and `remi`: a song ⇄ MidiTok's token strings. Knows no ids, no files.

Both hold every instrument, percussion, velocities and durations in one stream. `tsd` moves on in
time by shifts; `remi` by bars and positions, and holds tempos and time signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from importlib.metadata import version

import miditok
import numpy as np
import symusic

from midilstm import midi
from midilstm.midi import BPM, DRUMS
from midilstm.tokens import rules
from midilstm.tokens.encoding import Clock, Encoding, split
from midilstm.tokens.notes import nearest_pitch
from midilstm.tokens.rules import COMMON_TIME, INCOMPLETE, POSITIONS, State, follow, parts

# Notes up to 8 beats long keep that grid; longer ones, nearly all held chords, have whole beats.
RESOLUTIONS = {(0, 8): POSITIONS, (8, 128): 1}
VELOCITIES = 16
TEMPOS = (16, 300)  # each whole number of quarter notes a minute between them
SIGNATURES = {2: range(1, 13), 4: range(1, 17), 8: range(1, 25), 16: range(1, 33)}
CHANNELS = 15  # for pitched instruments


class Band(Encoding):
    """One of MidiTok's encodings; see this file's docstring."""

    def __init__(self, name: str) -> None:
        """Be `tsd` or `remi`."""
        self.name = name
        self.version = f"2-miditok-{version('miditok')}"

    @cached_property
    def tokenizer(self) -> miditok.MusicTokenizer:
        """Return MidiTok's tokenizer."""
        kind = {"tsd": miditok.TSD, "remi": miditok.REMI}[self.name]
        return kind(
            miditok.TokenizerConfig(
                pitch_range=(0, 127),
                drums_pitch_range=(0, 127),
                beat_res=RESOLUTIONS,
                num_velocities=VELOCITIES,
                special_tokens=["PAD"],  # MidiTok wants one; it is never used
                use_programs=True,
                one_token_stream_for_programs=True,
                program_changes=True,
                use_tempos=self.name == "remi",
                tempo_range=TEMPOS,
                num_tempos=TEMPOS[1] - TEMPOS[0] + 1,
                use_time_signatures=self.name == "remi",
                time_signature_range={beat: list(beats) for beat, beats in SIGNATURES.items()},
            )
        )

    def tokens_of(self, song: midi.Song) -> list[str]:
        """Return the tokens of a song, which must hold a note."""
        score = symusic.Score(song.ticks_per_quarter)
        rows = np.array([note[:5] for note in song.notes], np.int32)
        rows = rows[np.lexsort((rows[:, 1], rows[:, 2], rows[:, 0]))]  # by start, pitch, length
        for program in np.unique(rows[:, 4]).tolist():
            times, lengths, pitches, velocities, _ = rows[rows[:, 4] == program].T
            small = pitches.astype(np.int8), velocities.astype(np.int8)
            notes = symusic.Note.from_numpy(times.copy(), lengths.copy(), *small)
            track = symusic.Track(program=max(0, program), is_drum=program == DRUMS, notes=notes)
            score.tracks.append(track)
        if self.name == "remi":
            # What stands after the last note would only add empty bars, thousands if broken.
            for tick, bpm in song.tempos.items():
                if tick < song.end:
                    score.tempos.append(symusic.Tempo(tick, bpm))
            for tick, signature in song.signatures.items():
                if tick < song.end and signature[0] in SIGNATURES.get(signature[1], ()):
                    score.time_signatures.append(symusic.TimeSignature(tick, *signature))
        found: list[str] = self.tokenizer.encode(score).tokens
        return found

    def song_of(self, tokens: Sequence[str]) -> midi.Song:
        """Return the song of tokens that the grammar allows, as a file can hold it.

        A note that is struck again ends there: in a MIDI file the first end would end both.
        """
        score = self.tokenizer.decode(miditok.TokSequence(tokens=list(tokens)))
        _share_channels(score)
        found: list[midi.Note] = []
        for number, track in enumerate(score.tracks):
            rows = track.notes.numpy()
            order = np.lexsort((rows["time"], rows["pitch"]))
            times, lengths, pitches, velocities = (
                rows[key][order] for key in ("time", "duration", "pitch", "velocity")
            )
            strokes, stroke = np.unique(np.stack([pitches, times]), axis=1, return_inverse=True)
            waits = np.append(np.diff(strokes[1]), -1)
            waits[np.append(np.diff(strokes[0]) != 0, True)] = np.iinfo(np.int32).max
            lengths = np.minimum(lengths, waits[stroke.ravel()])
            program = DRUMS if track.is_drum else track.program
            columns = (x.tolist() for x in (times, lengths, pitches, velocities))
            found += [midi.Note(*row, program, number) for row in zip(*columns, strict=True)]
        return midi.Song(
            score.ticks_per_quarter,
            tuple(sorted(found)),
            {tempo.time: tempo.qpm for tempo in score.tempos} if self.name == "remi" else {},
            {s.time: (s.numerator, s.denominator) for s in score.time_signatures},
        )

    def transpose(self, token: str, semitones: int) -> str:
        """Return the token of the same music transposed; see Encoding."""
        kind, value = parts(token)  # a merged token has no pitch
        return f"Pitch_{nearest_pitch(int(value) + semitones)}" if kind == "Pitch" else token

    def is_token(self, token: str) -> bool:
        """Tell whether a token, or each part of a merged one, looks like one of MidiTok's."""
        return rules.is_token(token)

    def joins(self, token: str) -> bool:
        """Tell whether byte-pair encoding may merge a token with its neighbours.

        Pitches stay alone, so that a transposed piece has one token for each of the piece's.
        """
        return parts(token)[0] != "Pitch"

    def follow(self, state: State, token: str) -> State | None:
        """Return the grammar's state after a token; see Encoding."""
        after: State | None = state
        for part in token.split(" "):
            after = follow(after, part, self.name) if after else None
        return after

    def allowed(self, tokens: Sequence[str]) -> Callable[[State], np.ndarray] | None:
        """Return what tells of all tokens at once what `follow` tells of one."""
        return rules.allowed(tokens, self.name)

    def music(self, tokens: Sequence[str]) -> list[str]:
        """Return the tokens without those that are no music: strays, and notes cut short."""
        known = self.tokenizer.vocab
        kept: list[str] = []
        states = [State()]
        for token in split(tokens):
            if token not in known:
                raise ValueError(f"{token!r} is no token of {self.name}")
            while (
                not (state := follow(states[-1], token, self.name))
                and states[-1].kind in INCOMPLETE
            ):
                kept.pop()
                states.pop()
            if state:
                kept.append(token)
                states.append(state)
        while states[-1].kind in INCOMPLETE:
            kept.pop()
            states.pop()
        return kept

    def context(self, primer: Sequence[str]) -> list[str]:
        """Return what must stand before music that goes on from a primer, to be in its place.

        In `remi` that is a bar, its time signature, the tempo and the place; in `tsd` nothing.
        """
        if self.name == "tsd":
            return []
        primer = split(primer)
        last = {kind: token for token in primer for kind in [parts(token)[0]]}
        state = self._after(primer)
        found = ["Bar_None", *([last["TimeSig"]] if "TimeSig" in last else [])]
        if "Tempo" in last:
            found += ["Position_0", last["Tempo"]]
        return [*found, f"Position_{max(0, state.position)}"]

    def continued(self, tokens: Sequence[str], primer: Sequence[str]) -> list[str]:
        """Return tokens that go on from a primer as a piece of their own, on its instrument."""
        tokens, primer = split(tokens), split(primer)
        found = self.context(primer)
        if found and tokens and parts(tokens[0])[0] in ("Position", "Bar"):
            found.pop()  # its place: the new music begins by naming one
        found += tokens
        program = self._after(primer).program
        for index, token in enumerate(found):
            kind = parts(token)[0]
            if kind == "Program" or program is None:
                break
            if kind in ("Pitch", "PitchDrum"):
                found.insert(index, f"Program_{program}")
                break
        return found

    def _after(self, tokens: Sequence[str]) -> State:
        """Return the state after a piece; what may not stand where it does changes nothing."""
        state = State()
        for token in tokens:
            state = follow(state, token, self.name) or state
        return state

    def clock(self, bpm: float | None = None) -> Clock:
        """Return a clock that tells merged tokens where their first part stands."""
        return _Clock(self.name, bpm)

    def nearest(self, token: str, known: Iterable[str]) -> str | None:
        """Return the known token of the same kind whose value is nearest.

        Of pitches the same class counts first, of instruments the family of General MIDI.
        """
        kind, wanted = parts(token)
        same = sorted(name for name in known if parts(name)[0] == kind)

        def distance(name: str) -> tuple[bool, float]:
            value = parts(name)[1]
            if kind in ("Duration", "TimeShift"):
                return False, abs(quarters_of(value) - quarters_of(wanted))
            if kind == "Program":
                return _unlike(int(value), int(wanted))
            if kind == "Pitch":
                return (int(value) - int(wanted)) % 12 != 0, abs(int(value) - int(wanted))
            return False, abs(float(value) - float(wanted))

        if kind == "TimeSig" or not same or (kind == "Program" and wanted == str(DRUMS)):
            return None
        return min(same, key=distance)


def _share_channels(score: symusic.Score) -> None:
    """Give the notes of the rarest instruments to their likest, until all have their channel.

    MIDI has fifteen channels for pitched instruments; more would take each other's programs.
    """
    tracks = sorted((t for t in score.tracks if not t.is_drum), key=lambda t: -len(t.notes))
    for rare in tracks[CHANNELS:]:
        likest = min(tracks[:CHANNELS], key=lambda t: _unlike(t.program, rare.program))
        likest.notes.extend(rare.notes)
        rare.notes.clear()
    for index in reversed(range(len(score.tracks))):
        if not score.tracks[index].notes:
            del score.tracks[index]


def _unlike(program: int, other: int) -> tuple[bool, int]:
    """Return how far programs lie apart: in another family of General MIDI, and in number."""
    return program // 8 != other // 8, abs(program - other)


class _Clock:
    """Tell where in a piece each token stands, as they come."""

    def __init__(self, name: str, bpm: float | None) -> None:
        """Begin a piece; `bpm` overrides what its tokens say of tempo."""
        self._fixed, self._bpm = bpm is not None, BPM if bpm is None else bpm
        self._name, self._quarters, self._seconds, self._bars = name, 0.0, 0.0, 0
        self._bar = 0.0  # the quarter note at which the bar began
        self._beats, self._beat = COMMON_TIME

    def tell(self, token: str) -> tuple[float, float]:
        """Return the bars and the seconds after the beginning at which the next token stands."""
        told = [self._tell(part) for part in token.split(" ")]
        return told[0]

    def _tell(self, token: str) -> tuple[float, float]:
        kind, value = parts(token)
        if kind == "TimeShift":
            self._go(self._quarters + quarters_of(value))
        elif kind == "Bar":
            if self._bars:
                self._bar += self._length
            self._bars += 1
            self._go(self._bar)
        elif kind == "Position":
            self._go(self._bar + int(value) / POSITIONS * 4 / self._beat)
        elif kind == "TimeSig":
            self._beats, self._beat = map(int, value.split("/"))
        elif kind == "Tempo" and not self._fixed:
            self._bpm = float(value)
        if self._name == "tsd":
            return self._quarters / self._length, self._seconds
        within = (self._quarters - self._bar) / self._length
        return max(0, self._bars - 1) + within, self._seconds

    @property
    def _length(self) -> float:
        """Return the quarter notes in a bar."""
        return self._beats * 4 / self._beat

    def _go(self, quarters: float) -> None:
        self._seconds += (quarters - self._quarters) * 60 / self._bpm
        self._quarters = quarters


def quarters_of(value: str) -> float:
    """Return the beats of a length such as 1.6.12: one and six twelfths."""
    whole, part, resolution = map(int, value.split("."))
    return whole + part / resolution


ENCODINGS = {name: Band(name) for name in ("tsd", "remi")}
