"""Bars, beats and seconds of `tsd` and `remi`: time signatures, and where in a piece tokens stand.

MidiTok's beat is a time signature's unit. Twelve positions in a half note have no room for
sixteenths, so bars of halves are counted in quarters: MidiTok is told 4/4, the token says 2/2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import log2

from midilstm.midi import DEFAULT_BPM

# Positions in a beat: the fewest that hold triplets and sixteenths alike (benchmarks/bands.md).
POSITIONS = 12
COMMON_TIME = (4, 4)
SIGNATURES = {2: range(1, 9), 4: range(1, 17), 8: range(1, 25), 16: range(1, 33)}
Signature = tuple[int, int]  # beats in a bar, and their unit: 3, 4


@lru_cache(maxsize=2**12)
def parts(token: str) -> tuple[str, str]:
    """Return a token's kind and value."""
    kind, _, value = token.partition("_")
    return kind, value


def signature_of(value: str) -> Signature:
    """Return a time signature such as 3/4."""
    beats, unit = map(int, value.split("/"))
    return beats, unit


def spelled(signature: Signature) -> str:
    """Return the token of a time signature."""
    return f"TimeSig_{signature[0]}/{signature[1]}"


def counted(signature: Signature) -> Signature:
    """Return the time signature in whose beats such bars are counted."""
    return (2 * signature[0], 4) if signature[1] == 2 else signature


def sayable(signature: Signature) -> Signature:
    """Return the time signature that has a token and the most alike bars."""
    beats, unit = signature
    if beats in SIGNATURES.get(unit, ()):
        return signature
    every = ((other, of) for of, others in SIGNATURES.items() for other in others)
    return min(every, key=lambda s: (abs(s[0] / s[1] - beats / unit), abs(log2(s[1] / unit))))


def named(tokens: list[str], signatures: Mapping[float, Signature]) -> list[str]:
    """Return MidiTok's tokens with the names of time signatures, given by quarter note."""
    clock, prefetch, now, found = Clock(), sorted(signatures.items()), COMMON_TIME, []
    for token in tokens:
        clock.advance(token)
        while prefetch and prefetch[0][0] < clock.bar + 1 / POSITIONS:
            now = prefetch.pop(0)[1]
        found.append(spelled(now) if token == spelled(counted(now)) else token)
    return found


def unnamed(tokens: Iterable[str]) -> tuple[list[str], dict[float, Signature]]:
    """Return tokens for MidiTok, and the time signatures by quarter note: the mirror of `named`."""
    clock, now, found = Clock(), COMMON_TIME, []
    signatures: dict[float, Signature] = {0.0: now}
    for token in tokens:
        clock.advance(token)
        if parts(token)[0] == "TimeSig":
            if (said := signature_of(parts(token)[1])) != now:
                now = signatures[clock.bar] = said
            token = spelled(counted(now))
        found.append(token)
    return found, signatures


class Clock:
    """Tell where in a piece each token stands, as they come; of merged ones their first part."""

    def __init__(self, bpm: float | None = None, *, primed: bool = False) -> None:
        """Begin a piece; `bpm` overrides what its tokens say of tempo.

        `primed`, it counts the bars from the one with the first note, and the seconds from there.
        """
        self._waits = primed
        self._fixed, self._bpm = bpm is not None, DEFAULT_BPM if bpm is None else bpm
        self._quarters, self._seconds, self._bars = 0.0, 0.0, 0
        self.bar = 0.0  # the quarter note at which the bar began
        self._length, self._beat = 4.0, 4  # quarter notes in a bar, and the beat's unit

    def advance(self, token: str, /) -> tuple[float, float]:
        """Return the bars and the seconds after the beginning at which the next token stands."""
        told = [self._advance(part) for part in token.split(" ")]
        return told[0]

    def position(self) -> tuple[float, float]:
        """Return the bars after the beginning, and the beats into one, where a note would sound."""
        quarters = self._quarters - self.bar
        return self._whole() + quarters / self._length, quarters % self._length * self._beat / 4

    def _whole(self) -> int:
        return max(0, self._bars - 1)

    def _advance(self, token: str) -> tuple[float, float]:
        (kind, value), now = parts(token), self._quarters
        if kind == "TimeShift":
            now += beats_of(value)
        elif kind == "Bar":
            now = self.bar = self.bar + self._length * (self._bars > 0)
            self._bars += 1
        elif kind == "Position":
            now = self.bar + int(value) / POSITIONS * 4 / self._beat
        elif kind == "TimeSig":
            beats, self._beat = counted(signature_of(value))
            self._length = beats * 4 / self._beat
        elif kind == "Tempo" and not self._fixed:
            self._bpm = float(value)
        self._seconds += (now - self._quarters) * 60 / self._bpm
        self._quarters = now
        if self._waits:
            self._bars, self._seconds = min(self._bars, 1), 0.0
            self.bar = self.bar if self._bars else now  # without bars, one begins here
            self._waits = kind not in ("Pitch", "PitchDrum")
        return self._whole() + (now - self.bar) / self._length, self._seconds


def beats_of(value: str) -> float:
    """Return the beats of a length such as 1.6.12: one and six twelfths."""
    whole, part, resolution = map(int, value.split("."))
    return whole + part / resolution
