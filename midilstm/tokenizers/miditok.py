"""The encodings `tsd` and `remi`, which turn a score into MidiTok's token strings and back.

Both hold every instrument, percussion, velocities and durations in one stream. `tsd` moves in
time by shifts, `remi` by bars and positions; `remi` also holds tempos and time signatures, and
gives each bar instrument by instrument (order.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from importlib.metadata import version
from itertools import groupby

import miditok
import symusic

from midilstm import midi
from midilstm.midi import DRUMS
from midilstm.tokenizers import grammar, meter
from midilstm.tokenizers.base import Encoding, TokenContent, split
from midilstm.tokenizers.grammar import INCOMPLETE, UNNAMED, State
from midilstm.tokenizers.meter import POSITIONS, Clock, Signature, beats_of, parse_signature, parts
from midilstm.tokenizers.notes import nearest_pitch
from midilstm.tokenizers.order import by_instrument, omit_programs, program_rank

# Notes up to 8 beats long keep that grid; longer ones, nearly all held chords, have whole beats.
RESOLUTIONS = {(0, 8): POSITIONS, (8, 128): 1}
VELOCITIES = 16
SLOWEST, FASTEST = 16, 300  # quarter notes per minute; each integer between them has a token
PITCH_KINDS = ("Pitch", "PitchDrum")
PLAYS_ON = (*PITCH_KINDS, "Position")


class MidiTokEncoding(Encoding):
    """One of MidiTok's encodings; see this file's docstring."""

    def __init__(self, name: str, *, is_solo: bool = False) -> None:
        """Set up the encoding of this name, `tsd` or `remi`, or the variant `solo` of `remi`."""
        carried = UNNAMED if is_solo else None
        self.name, self.body_state = name, State(name, carried=carried)
        self.keeps_meter, self.is_solo = name == "remi", is_solo
        self.has_places = self.keeps_meter and not is_solo
        if name == "remi":
            self.opening_bars, self.default_top_p = 8, 0.96  # benchmarks/bands.md
            self.order = 3 if is_solo else 2
            self.solo = None if is_solo else MidiTokEncoding(name, is_solo=True)
        start = "new remi" if name == "remi" else name
        self.start_state = State(start, UNNAMED, carried=carried)
        self.version = f"5-miditok-{version('miditok')}"

    @cached_property
    def tokenizer(self) -> miditok.MusicTokenizer:
        """Return MidiTok's tokenizer."""
        return {"tsd": miditok.TSD, "remi": miditok.REMI}[self.name](
            miditok.TokenizerConfig(
                pitch_range=(0, 127),
                drums_pitch_range=(0, 127),
                beat_res=RESOLUTIONS,
                num_velocities=VELOCITIES,
                special_tokens=["PAD"],  # MidiTok requires one; it is never used
                use_programs=True,
                one_token_stream_for_programs=True,
                program_changes=True,
                use_tempos=self.name == "remi",
                tempo_range=(SLOWEST, FASTEST),
                num_tempos=FASTEST - SLOWEST + 1,
                use_time_signatures=self.name == "remi",
                time_signature_range=meter.SIGNATURES,
            )
        )

    def encode(self, score: midi.Score) -> list[str]:
        """Return the tokens of a score, which must hold a note."""
        miditok_score = symusic.Score(score.ticks_per_quarter)
        order = sorted(score.notes, key=lambda n: (n.program, n.start, n.pitch, n.length))
        for program, notes in groupby(order, lambda note: note.program):
            track = symusic.Track(program=max(0, program), is_drum=program == DRUMS)
            for note in notes:
                track.notes.append(symusic.Note(*note[:4]))
            miditok_score.tracks.append(track)
        tempos, signatures = self._meta_events(score)
        for tick, bpm in tempos.items():
            miditok_score.tempos.append(symusic.Tempo(tick, bpm))
        meters, _ = meter.align_meters(signatures, score.ticks_per_quarter)
        for start, signature in meters.items():
            tick = int(start * score.ticks_per_quarter)
            miditok_signature = symusic.TimeSignature(tick, *meter.to_miditok_meter(signature))
            miditok_score.time_signatures.append(miditok_signature)
        tokens = meter.restore_meters(self.tokenizer.encode(miditok_score).tokens, meters)
        return self.in_order(tokens)

    def decode(self, tokens: Sequence[str]) -> midi.Score:
        """Return the score of tokens that the grammar allows, in a form that a file can hold."""
        tokens, signatures = meter.strip_meters(tokens)
        score = self.tokenizer.decode(miditok.TokSequence(tokens=tokens))
        quarter = score.ticks_per_quarter
        tracks = {DRUMS if track.is_drum else track.program: track.notes for track in score.tracks}
        programs = midi.programs_of_channels(
            {program: len(notes) for program, notes in tracks.items()}
        )
        notes = [
            midi.Note(n.time, n.duration, n.pitch, n.velocity, programs[program], index)
            for index, program in enumerate(tracks)
            for n in tracks[program]
        ]
        return midi.Score(
            quarter,
            midi.cut_at_next_onset(notes),
            {tempo.time: tempo.qpm for tempo in score.tempos} if self.name == "remi" else {},
            {round(start * quarter): signature for start, signature in signatures.items()},
        )

    def count_inexact(self, score: midi.Score) -> int:
        tempos, signatures = self._meta_events(score)
        out_of_range = sum(not SLOWEST - 0.5 < bpm < FASTEST + 0.5 for bpm in tempos.values())
        return out_of_range + meter.align_meters(signatures, score.ticks_per_quarter)[1]

    def _meta_events(self, score: midi.Score) -> tuple[dict[int, float], dict[int, Signature]]:
        """Return the tempos and the time signatures, by tick, that the tokens will hold."""
        # Events after the last note would add empty bars, thousands in a file with broken times.
        end = score.end if self.name == "remi" else 0
        tempos = {tick: bpm for tick, bpm in score.tempos.items() if tick < end}
        return tempos, {tick: s for tick, s in score.time_signatures.items() if tick < end}

    def transpose(self, token: str, semitones: int) -> str:
        kind, value = parts(token)  # a merged token has no pitch
        return f"Pitch_{nearest_pitch(int(value) + semitones)}" if kind == "Pitch" else token

    def is_token(self, token: str) -> bool:
        return all(part in self.tokenizer.vocab for part in token.split(" "))

    def is_mergeable(self, token: str) -> bool:
        return parts(token)[0] != "Pitch"  # so that transposed pieces have as many tokens

    def in_order(self, tokens: Sequence[str]) -> list[str]:
        return by_instrument(tokens) if self.name == "remi" else list(tokens)

    def abbreviate(self, tokens: Sequence[str]) -> list[str]:
        return omit_programs(tokens) if self.is_solo else list(tokens)

    def next_state(self, state: State, token: str) -> State | None:
        return grammar.next_state(state, token, self.name)

    def state_factors(self, state: State) -> tuple[State, ...]:
        return grammar.state_factors(state)

    def drop_invalid(self, tokens: Sequence[str]) -> list[str]:
        """Return the tokens without those that the grammar forbids and without incomplete notes."""
        kept: list[str] = []
        states = [self.body_state]
        for token in [*split(tokens), ""]:
            if token and not self.is_token(token):
                raise ValueError(f"{token!r} is not a token of {self.name}")
            end = len(states)
            while not (after := self.next_state(states[end - 1], token)):
                if states[end - 1].kind not in INCOMPLETE:
                    break
                end -= 1
            if after or not token:  # a token that fits nowhere is dropped alone
                del states[end:], kept[end - 1 :]
            if after and token:
                kept.append(token)
                states.append(after)
        return kept

    def with_header(self, tokens: Sequence[str], primer: Sequence[str]) -> list[str]:
        """Return tokens that continue a primer as a complete piece without the primer.

        The piece begins in the bar of its first note (in `tsd` with that note) and states the
        meter, tempo, position and instrument that hold there.
        """
        tokens = split(tokens)
        first = _first_pitch(tokens)
        return [*self._header([*split(primer), *tokens[:first]]), *tokens[first:]]

    def name_program(self, tokens: Sequence[str], primer: Sequence[str]) -> list[str]:
        if not self.is_solo:
            return list(tokens)
        tokens = split(tokens)
        start = first = _first_pitch(tokens)
        place = self._header([*split(primer), *tokens[:first]])[-2:] if tokens[first:] else ()
        while start and parts(tokens[start - 1])[0] in ("Program", "Position"):
            start -= 1
        return [*tokens[:start], *place, *tokens[first:]]

    def _header(self, tokens: Sequence[str]) -> list[str]:
        """Return the tokens that begin a piece with the meter, tempo and program after `tokens`."""
        signature, tempos, state = list[str](), dict[int, str](), self.body_state
        for token in tokens:
            if not (after := self.next_state(state, token)):
                continue
            kind = parts(token)[0]
            if kind == "Bar":
                tempos = {0: [*tempos.values()][-1]} if tempos else {}
            elif kind == "TimeSig":
                signature = [token]
            elif kind == "Tempo":
                tempos[state.position] = token
            state = after
        header = ["Bar_None", *signature] if self.name == "remi" else []
        header += [part for x, tempo in sorted(tempos.items()) for part in (f"Position_{x}", tempo)]
        is_carried = state.program == UNNAMED and state.carried is not None
        program = state.carried if is_carried else state.program
        header += [f"Program_{program}"] if program is not None and program >= DRUMS else []
        return [*header, *([f"Position_{state.position}"] if state.position >= 0 else [])]

    def header(self, tokens: Sequence[str]) -> list[str]:
        last = {parts(token)[0]: token for token in tokens}
        if not {"TimeSig", "Tempo"} <= last.keys():
            return []
        program = [last["Program"]] if self.is_solo and "Program" in last else []
        return ["Bar_None", last["TimeSig"], "Position_0", last["Tempo"], *program]

    def change_meter(self, tokens: Sequence[str], known: Collection[str]) -> list[str]:
        """Return the same notes in the known meter that is nearest to the first unknown one.

        The tokens stay the same if all of their meters are known or `known` has no meter.
        """
        candidates = _signatures(split(known))
        unknown = [signature for signature in _signatures(tokens) if signature not in candidates]
        if not unknown or not candidates:
            return list(tokens)
        bar = unknown[0][0] / unknown[0][1]
        nearest = min(candidates, key=lambda s: (abs(s[0] / s[1] - bar), s))
        score = self.decode(self.drop_invalid(tokens))
        return self.encode(replace(score, time_signatures={0: nearest}))

    def clock(self, bpm: float | None = None, primer: Sequence[str] | None = None) -> Clock:
        clock = Clock(bpm, awaits_note=primer is not None, is_primed=bool(primer))
        for token in self._header(split(primer)) if primer else ():
            clock.advance(token)
        return clock

    def bars(self, token: str) -> float:
        """Return the number of bars that a token begins, or its time shifts in bars of 4/4."""
        pairs = [parts(part) for part in token.split(" ")]
        shifts = sum(beats_of(value) for kind, value in pairs if kind == "TimeShift")
        return shifts / 4 + sum(kind == "Bar" for kind, _ in pairs)

    def content(self, token: str) -> TokenContent:
        return _content(token)

    def skips(self, token: str, programs: Collection[int]) -> bool:
        """Tell whether programs lose their place, in `remi` in the bar, through a token."""
        last = max(map(program_rank, programs))
        for kind, value in map(parts, token.split(" ")):
            if kind == "Program" and int(value) in programs:
                return False
            if kind == "Bar" or (kind == "Program" and program_rank(int(value)) > last):
                return True
        return self.name == "tsd"

    def token_distance(self, token: str, other: str) -> tuple[float, ...] | None:
        """Return the distance of two values of one kind; for pitches the class counts first."""
        (kind, value), (other_kind, other_value) = parts(token), parts(other)
        if kind != other_kind or kind == "TimeSig":
            return None
        if kind in ("Duration", "TimeShift"):
            return (abs(beats_of(other_value) - beats_of(value)),)
        if kind == "Program":
            is_drum = str(DRUMS) in (value, other_value)
            return None if is_drum else midi.program_distance(int(other_value), int(value))
        distance = abs(float(other_value) - float(value))
        return (distance % 12 != 0, distance) if kind == "Pitch" else (distance,)


@lru_cache(maxsize=2**14)
def _content(token: str) -> TokenContent:
    pairs = [parts(part) for part in token.split(" ")]
    programs = tuple(int(value) for kind, value in pairs if kind == "Program")
    pitches = tuple(int(value) for kind, value in pairs if kind == "Pitch")
    classes = frozenset(pitch % 12 for pitch in pitches)
    first = next((kind for kind, _ in pairs if kind in ("Program", *PITCH_KINDS)), "")
    begin = next((kind for kind, _ in pairs if kind in ("Program", "Bar", *PLAYS_ON)), "")
    has_notes, plays_on = first in PITCH_KINDS, begin in PLAYS_ON
    meters = tuple(value for kind, value in pairs if kind == "TimeSig")
    return TokenContent(classes, programs, has_notes, plays_on, pitches, meters)


def _first_pitch(tokens: Sequence[str]) -> int:
    """Return the index of the first note in unmerged tokens, or their number."""
    pitches = (i for i, token in enumerate(tokens) if parts(token)[0] in PITCH_KINDS)
    return next(pitches, len(tokens))


def _signatures(tokens: Iterable[str]) -> list[Signature]:
    """Return the time signatures of unmerged tokens."""
    return [parse_signature(value) for kind, value in map(parts, tokens) if kind == "TimeSig"]


ENCODINGS = {name: MidiTokEncoding(name) for name in ("tsd", "remi")}
