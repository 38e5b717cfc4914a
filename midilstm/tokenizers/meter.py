"""Time signatures of `tsd` and `remi`, and the clock that gives the bars and seconds of tokens.

MidiTok's beat is the unit of the time signature. Twelve positions per half note cannot hold
sixteenths, so bars of half notes are counted in quarters: MidiTok gets 4/4 for the token 2/2.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import log2

from midilstm.midi import DEFAULT_BPM

# Positions per beat: the fewest that hold triplets and sixteenths alike (benchmarks/bands.md).
POSITIONS = 12
COMMON_TIME = (4, 4)
# unit → the beats per bar that have a token
SIGNATURES = {2: [*range(1, 9)], 4: [*range(1, 17)], 8: [*range(1, 25)], 16: [*range(1, 33)]}
Signature = tuple[int, int]  # beats per bar and their unit, such as (3, 4)


@lru_cache(maxsize=2**12)
def parts(token: str) -> tuple[str, str]:
    """Return a token's kind and value."""
    kind, _, value = token.partition("_")
    return kind, value


def beats_of(value: str) -> float:
    """Return the beats of a length such as 1.6.12: one and six twelfths."""
    whole, part, resolution = map(int, value.split("."))
    return whole + part / resolution


def parse_signature(value: str) -> Signature:
    """Return the time signature of a text such as 3/4."""
    beats, unit = map(int, value.split("/"))
    return beats, unit


def signature_token(signature: Signature) -> str:
    """Return the token of a time signature."""
    return f"TimeSig_{signature[0]}/{signature[1]}"


def to_miditok_meter(signature: Signature) -> Signature:
    """Return the time signature that MidiTok gets for this one: quarters instead of halves."""
    return (2 * signature[0], 4) if signature[1] == 2 else signature


def nearest_meter(signature: Signature) -> Signature:
    """Return the time signature that has a token and the nearest bar length, then unit."""
    beats, unit = signature
    if beats in SIGNATURES.get(unit, ()):
        return signature
    candidates = ((beats, unit) for unit, counts in SIGNATURES.items() for beats in counts)
    return min(candidates, key=lambda s: (abs(s[0] / s[1] - beats / unit), abs(log2(s[1] / unit))))


def nearest_known(signature: Signature, known: Sequence[Signature]) -> Signature:
    """Return the shortest known time signature of bars as long, or else the longest known one."""
    if signature in known or not known:
        return signature
    length = signature[0] / signature[1]
    longer = [x for x in known if x[0] / x[1] >= length]
    longest = max(known, key=lambda x: (x[0] / x[1], -x[1]))
    return min(longer, key=lambda x: (x[0] / x[1], abs(x[1] - signature[1])), default=longest)


def align_meters(
    signatures: Mapping[int, Signature], ticks_per_quarter: int
) -> tuple[dict[float, Signature], int]:
    """Return the time signatures by quarter note in tokens, and how many of them are inexact.

    Given those of a score by tick. One that begins inside a bar is inexact: it ends that bar, which
    gets a time signature of its shorter length, a whole number of sixteenths.
    """
    aligned, n_inexact = {0: COMMON_TIME}, 0  # by sixteenth
    for tick, signature in signatures.items():
        bar, (beats, unit) = next(reversed(aligned.items()))
        start = max(bar, round(4 * tick / ticks_per_quarter))
        if rest := (start - bar) % (16 * beats // unit):
            unit = next(x for x in SIGNATURES if x >= unit and rest * x % 16 == 0)
            beats, unit = nearest_meter((rest * unit // 16, unit))
            aligned[start - rest] = beats, unit
            start += 16 * beats // unit - rest
        aligned[start] = nearest_meter(signature)
        is_exact = not rest and start * ticks_per_quarter == 4 * tick
        n_inexact += not is_exact or aligned[start] != signature
    return {start / 4: signature for start, signature in aligned.items()}, n_inexact


def restore_meters(tokens: Iterable[str], signatures: Mapping[float, Signature]) -> list[str]:
    """Return MidiTok's tokens with the original time signatures, which are given by quarter."""
    clock, starts = Clock(), sorted(signatures)
    restored: list[str] = []
    for token in tokens:
        clock.advance(token)
        index = bisect_left(starts, clock.bar + 1 / POSITIONS)
        signature = signatures[starts[index - 1]] if index else COMMON_TIME
        is_signature = token == signature_token(to_miditok_meter(signature))
        restored.append(signature_token(signature) if is_signature else token)
    return restored


def strip_meters(tokens: Iterable[str]) -> tuple[list[str], dict[float, Signature]]:
    """Return tokens for MidiTok, and the time signatures by quarter: undo `restore_meters`."""
    clock, signature = Clock(), COMMON_TIME
    stripped: list[str] = []
    signatures: dict[float, Signature] = {0.0: signature}
    for token in tokens:
        clock.advance(token)
        if parts(token)[0] == "TimeSig":
            if (new := parse_signature(parts(token)[1])) != signature:
                signature = signatures[clock.bar] = new
            token = signature_token(to_miditok_meter(signature))
        stripped.append(token)
    return stripped, signatures


class Clock:
    """Measure the bars, seconds and quarter notes of a piece; tokens are given in order.

    In `remi` time goes back to the beginning of the bar with each program.
    """

    def __init__(
        self, bpm: float | None = None, *, awaits_note: bool = False, is_primed: bool = False
    ) -> None:
        """Begin a piece; `bpm` overrides the tempos of its tokens.

        If `awaits_note`, bars and seconds count from the bar of the first note or, where that bar
        `is_primed`, the seconds count from that note.
        """
        self._has_fixed_bpm = bpm is not None
        self._awaits_note, self._is_primed = awaits_note, is_primed
        self.quarter, self._bars = 0.0, 0
        self.bar = 0.0  # the quarter note at which the bar began
        self._length, self._beat = 4.0, 4  # quarter notes per bar, and the unit of the beat
        # Of the bar: the quarter notes and seconds at which each tempo begins, and the tempo.
        self._tempos = [(0.0, 0.0, DEFAULT_BPM if bpm is None else bpm)]
        self._origin = 0.0  # the time from which seconds count

    def advance(self, token: str, /) -> tuple[float, float]:
        """Return the bars and seconds up to which the tokens before this one are the whole music.

        A time shift counts as music before it. Of a merged token the first part counts.
        """
        times = [self._advance(*parts(part)) for part in token.split(" ")]
        return times[0]

    def position(self) -> tuple[float, float]:
        """Return the bars from the beginning, and the beats into the bar, of the next note."""
        quarters = self.quarter - self.bar
        return self._bars_to(self.quarter), quarters % self._length * self._beat / 4

    def quarters_to(self, *, bars: float = 0, seconds: float = 0) -> float:
        """Return the quarter notes from the next note to so many bars, or seconds, of the piece."""
        if bars:
            return self.bar + (bars - max(0, self._bars - 1)) * self._length - self.quarter
        time = self._origin + seconds
        start, begun, bpm = next((x for x in self._tempos[::-1] if x[1] <= time), self._tempos[0])
        return start + (time - begun) * bpm / 60 - self.quarter

    def _bars_to(self, quarter: float) -> float:
        return max(0, self._bars - 1) + (quarter - self.bar) / self._length

    def _seconds_to(self, quarter: float) -> float:
        start, begun, bpm = next(
            (x for x in self._tempos[::-1] if x[0] <= quarter), self._tempos[0]
        )
        return begun + (quarter - start) * 60 / bpm - self._origin

    def _advance(self, kind: str, value: str) -> tuple[float, float]:
        now = self.quarter
        if kind == "TimeShift":
            now += beats_of(value)
        elif kind == "Bar":
            now = self.bar = self.bar + self._length * (self._bars > 0)
            self._tempos = [(now, self._seconds_to(now) + self._origin, self._tempos[-1][2])]
            self._bars += 1
        elif kind == "Position":
            now = self.bar + int(value) / POSITIONS * 4 / self._beat
        elif kind == "Program" and self._bars:
            now = self.bar
        elif kind == "TimeSig":
            beats, self._beat = to_miditok_meter(parse_signature(value))
            self._length = beats * 4 / self._beat
        elif kind == "Tempo" and not self._has_fixed_bpm:
            self._tempos.append((now, self._seconds_to(now) + self._origin, float(value)))
        self.quarter = now
        if self._awaits_note:
            self._bars = min(self._bars, 1)
            if not self._bars:
                self.bar = now  # `tsd` has no bars: the first one begins at this token
            self._origin += self._seconds_to(now if self._is_primed else self.bar)
            self._awaits_note = kind not in ("Pitch", "PitchDrum")
        earliest = self.bar if self._bars else now  # other programs may still play in the bar
        return self._bars_to(earliest), self._seconds_to(earliest)
