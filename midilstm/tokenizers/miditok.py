"""The encodings `tsd` and `remi`: a song ⇄ MidiTok's token strings. Knows no ids, no files.

Both hold every instrument, percussion, velocities and durations in one stream. `tsd` moves on in
time by shifts; `remi` by bars and positions, and holds tempos and time signatures.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, reduce
from importlib.metadata import version
from itertools import groupby
from math import inf

import miditok
import symusic

from midilstm import midi
from midilstm.midi import DRUMS
from midilstm.tokenizers import grammar, meter
from midilstm.tokenizers.base import Encoding, TokenContent, split
from midilstm.tokenizers.grammar import INCOMPLETE, UNNAMED, State
from midilstm.tokenizers.meter import POSITIONS, SIGNATURES, Clock, beats_of, parts, signature_of
from midilstm.tokenizers.notes import nearest_pitch

# Notes up to 8 beats long keep that grid; longer ones, nearly all held chords, have whole beats.
RESOLUTIONS = {(0, 8): POSITIONS, (8, 128): 1}
VELOCITIES = 16
SLOWEST, FASTEST = 16, 300  # each whole number of quarter notes a minute between them
CHANNELS = 15  # for pitched instruments


class MidiTokEncoding(Encoding):
    """One of MidiTok's encodings; see this file's docstring."""

    next_state = staticmethod(grammar.next_state)
    state_factors = staticmethod(grammar.state_factors)

    def __init__(self, name: str) -> None:
        """Be `tsd` or `remi`."""
        self.name, self.body_state = name, State(name)
        self.start_state = State("new remi" if name == "remi" else name, UNNAMED)
        self.version = f"3-miditok-{version('miditok')}"

    @cached_property
    def tokenizer(self) -> miditok.MusicTokenizer:
        """Return MidiTok's tokenizer."""
        return {"tsd": miditok.TSD, "remi": miditok.REMI}[self.name](
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
                tempo_range=(SLOWEST, FASTEST),
                num_tempos=FASTEST - SLOWEST + 1,
                use_time_signatures=self.name == "remi",
                time_signature_range={beat: list(beats) for beat, beats in SIGNATURES.items()},
            )
        )

    def encode(self, song: midi.Score) -> list[str]:
        """Return the tokens of a song, which must hold a note."""
        score = symusic.Score(song.ticks_per_quarter)
        order = sorted(song.notes, key=lambda n: (n.program, n.start, n.pitch, n.length))
        for program, notes in groupby(order, lambda note: note.program):
            track = symusic.Track(program=max(0, program), is_drum=program == DRUMS)
            for note in notes:
                track.notes.append(symusic.Note(*note[:4]))
            score.tracks.append(track)
        tempos, signatures = self._said(song)
        for tick, bpm in tempos.items():
            score.tempos.append(symusic.Tempo(tick, bpm))
        named: dict[float, meter.Signature] = {}
        for tick, signature in signatures.items():
            named[tick / song.ticks_per_quarter] = found = meter.sayable(signature)
            score.time_signatures.append(symusic.TimeSignature(tick, *meter.counted(found)))
        return meter.named(self.tokenizer.encode(score).tokens, named)

    def decode(self, tokens: Sequence[str]) -> midi.Score:
        """Return the song of tokens that the grammar allows, as a file can hold it."""
        tokens, signatures = meter.unnamed(tokens)
        score = self.tokenizer.decode(miditok.TokSequence(tokens=tokens))
        quarter = score.ticks_per_quarter
        tracks = {DRUMS if track.is_drum else track.program: track.notes for track in score.tracks}
        heard_as = _channels({program: len(notes) for program, notes in tracks.items()})
        notes = [
            midi.Note(n.time, n.duration, n.pitch, n.velocity, heard_as[program], number)
            for number, program in enumerate(tracks)
            for n in tracks[program]
        ]
        return midi.Score(
            quarter,
            _cut_where_struck_again(notes),
            {tempo.time: tempo.qpm for tempo in score.tempos} if self.name == "remi" else {},
            {round(place * quarter): signature for place, signature in signatures.items()},
        )

    def count_inexact(self, song: midi.Score) -> int:
        """Return how many tempos are out of reach, and time signatures have another name."""
        tempos, signatures = self._said(song)
        far = sum(not SLOWEST - 0.5 < bpm < FASTEST + 0.5 for bpm in tempos.values())
        return far + sum(s != meter.sayable(s) for s in signatures.values())

    def _said(self, song: midi.Score) -> tuple[dict[int, float], dict[int, meter.Signature]]:
        """Return the tempos and time signatures, by tick, that tokens have a place for."""
        # What stands after the last note would add empty bars, thousands if a clock is broken.
        end = song.end if self.name == "remi" else 0
        tempos = {tick: bpm for tick, bpm in song.tempos.items() if tick < end}
        return tempos, {tick: found for tick, found in song.time_signatures.items() if tick < end}

    def transpose(self, token: str, semitones: int) -> str:
        """Return the token of the same music transposed; see Encoding."""
        kind, value = parts(token)  # a merged token has no pitch
        return f"Pitch_{nearest_pitch(int(value) + semitones)}" if kind == "Pitch" else token

    def is_token(self, token: str) -> bool:
        """Tell whether a token, or each part of a merged one, is MidiTok's."""
        return all(part in self.tokenizer.vocab for part in token.split(" "))

    def is_mergeable(self, token: str) -> bool:
        """Tell whether byte-pair encoding may merge a token with its neighbours."""
        return parts(token)[0] != "Pitch"  # so that transposed pieces have as many tokens

    def drop_invalid(self, tokens: Sequence[str]) -> list[str]:
        """Return the tokens without those that are no music: strays, and notes cut short."""
        kept: list[str] = []
        states = [self.body_state]
        for token in [*split(tokens), ""]:
            if token and not self.is_token(token):
                raise ValueError(f"{token!r} is no token of {self.name}")
            end = len(states)
            while not (after := self.next_state(states[end - 1], token)):
                if states[end - 1].kind not in INCOMPLETE:
                    break
                end -= 1
            if after or not token:  # a stray, which fits nowhere, takes nothing with it
                del states[end:], kept[end - 1 :]
            if after and token:
                kept.append(token)
                states.append(after)
        return kept

    def with_header(self, tokens: Sequence[str], primer: Sequence[str]) -> list[str]:
        """Return tokens that go on from a primer as a piece of their own.

        It begins in the bar of its first note, or with that note where there are no bars, and
        states what holds there: meter, tempo, place, instrument.
        """
        tokens = split(tokens)
        heard = (i for i, token in enumerate(tokens) if parts(token)[0] in ("Pitch", "PitchDrum"))
        first = next(heard, len(tokens))
        return [*self._stated([*split(primer), *tokens[:first]]), *tokens[first:]]

    def change_meter(self, tokens: Sequence[str], known: Collection[str]) -> list[str]:
        """Return the tokens of the same notes, all in the known meter nearest to the first strange.

        They stay as they are where every meter is known, or none is.
        """
        said = [token for token in tokens if parts(token)[0] == "TimeSig"]
        there = [signature_of(parts(token)[1]) for token in known if token.startswith("TimeSig")]
        strange = [signature_of(parts(token)[1]) for token in said if token not in known]
        if not strange or not there:
            return list(tokens)
        bar = strange[0][0] / strange[0][1]
        nearest = min(there, key=lambda s: (abs(s[0] / s[1] - bar), s))
        return self.encode(
            replace(self.decode(self.drop_invalid(tokens)), time_signatures={0: nearest})
        )

    def _stated(self, tokens: Sequence[str]) -> list[str]:
        """Return what tokens state that holds after them, as a piece begins."""
        last = {parts(token)[0]: token for token in tokens}
        state = reduce(
            lambda state, token: self.next_state(state, token) or state, tokens, self.body_state
        )
        found = []
        if self.name == "remi":
            found = ["Bar_None", *([last["TimeSig"]] if "TimeSig" in last else [])]
            found += ["Position_0", last["Tempo"]] if "Tempo" in last else []
            if state.position > 0 or "Tempo" not in last:
                found.append(f"Position_{max(0, state.position)}")
        return [*found, *([] if state.program is None else [f"Program_{state.program}"])]

    def clock(self, bpm: float | None = None, primer: Sequence[str] = ()) -> Clock:
        """Return a clock that tells merged tokens where their first part stands."""
        clock = Clock(bpm, primed=bool(primer))
        if primer:
            for token in self._stated(split(primer)):
                clock.advance(token)
        return clock

    def bars(self, token: str) -> float:
        """Return the bars that a token begins, or its time shifts in bars of four quarters."""
        said = [parts(part) for part in token.split(" ")]
        shifts = sum(beats_of(value) for kind, value in said if kind == "TimeShift")
        return shifts / 4 + sum(kind == "Bar" for kind, _ in said)

    def content(self, token: str) -> TokenContent:
        """Return the pitch classes of what is no drum, and the instruments."""
        said = [parts(part) for part in token.split(" ")]
        programs = tuple(int(value) for kind, value in said if kind == "Program")
        classes = frozenset(int(value) % 12 for kind, value in said if kind == "Pitch")
        first = next((kind for kind, _ in said if kind in ("Program", "Pitch", "PitchDrum")), "")
        return TokenContent(classes, programs, first.startswith("Pitch"))

    def token_distance(self, token: str, other: str) -> tuple[float, ...] | None:
        """Return how far values of one kind lie apart; of pitches the class counts first."""
        (kind, wanted), (other_kind, value) = parts(token), parts(other)
        if kind != other_kind or kind == "TimeSig":
            return None
        if kind in ("Duration", "TimeShift"):
            return (abs(beats_of(value) - beats_of(wanted)),)
        if kind == "Program":
            drums = str(DRUMS) in (wanted, value)
            return None if drums else _unlike(int(value), int(wanted))
        apart = abs(float(value) - float(wanted))
        return (apart % 12 != 0, apart) if kind == "Pitch" else (apart,)


def _channels(counts: Mapping[int, int]) -> dict[int, int]:
    """Return the program that plays the notes of each program, of which there are `counts`.

    MIDI has fifteen channels for pitched instruments: more would take each other's programs, so
    the rarest give their notes to their likest.
    """
    often = sorted((p for p in counts if p != DRUMS), key=lambda p: -counts[p])
    kept = often[:CHANNELS]
    rare = {p: min(kept, key=lambda other: _unlike(other, p)) for p in often[CHANNELS:]}
    return {program: rare.get(program, program) for program in counts}


def _unlike(program: int, other: int) -> tuple[bool, int]:
    """Return how far programs lie apart: in another family of General MIDI, and in number."""
    return program // 8 != other // 8, abs(program - other)


def _cut_where_struck_again(notes: list[midi.Note]) -> tuple[midi.Note, ...]:
    """Return the notes by start; one struck again ends there, as both would end in a file."""
    found: list[midi.Note] = []
    strokes: dict[tuple[int, int], tuple[float, float]] = {}  # key → the first heard, and the next
    for note in sorted(notes, reverse=True):
        key = note.program, note.pitch
        first, following = strokes.get(key, (inf, inf))
        if note.start < first:
            first, following = strokes[key] = note.start, first
        found.append(note._replace(length=int(min(note.length, following - note.start))))
    return tuple(sorted(found))


ENCODINGS = {name: MidiTokEncoding(name) for name in ("tsd", "remi")}
