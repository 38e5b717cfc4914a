"""The encodings `tsd` and `remi`: what is heard in a MIDI file ⇄ MidiTok's token strings.

The only importer of MidiTok and of symusic, MidiTok's reader and writer; knows nothing of ids,
networks or folders. Both encodings hold every instrument, percussion, velocities and
durations in one stream. `tsd` moves on in time by shifts; `remi` by bars and positions, and holds
tempos and time signatures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from midilstm.tokens.rules import COMMON_TIME, DRUMS, INCOMPLETE, POSITIONS, State, follow, parts

if TYPE_CHECKING:
    import miditok
    import symusic

NAMES = ("tsd", "remi")
# Raise it whenever the same bytes would give other tokens: caches go by it.
VERSION = 1

PERCUSSION = 9  # MIDI channel 10, counted from 0
# Notes up to 8 beats long keep that grid; longer ones, nearly all held chords, have whole beats.
RESOLUTIONS = {(0, 8): POSITIONS, (8, 128): 1}
VELOCITIES = 16
TEMPOS = (16, 300)  # each whole number of quarter notes a minute between them
SIGNATURES = {2: range(1, 13), 4: range(1, 17), 8: range(1, 25), 16: range(1, 33)}
CHANNELS = 15  # for pitched instruments
BPM = 120.0  # what MIDI takes a file to be in that says nothing

TEMPO_EVENT, SIGNATURE_EVENT = 0xFF51, 0xFF58  # status of such an event, beyond any channel's


@dataclass
class Heard:
    """Collect what the tracks of one file sound like, times in ticks."""

    # (program, start, length, pitch, velocity)
    notes: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    tempos: dict[int, float] = field(default_factory=dict)  # tick → quarter notes a minute
    signatures: dict[int, tuple[int, int]] = field(default_factory=dict)  # tick → 3, 4 for 3/4
    programs: list[int] = field(default_factory=lambda: [0] * 16)  # by channel
    unended: int = 0

    @property
    def end(self) -> int:
        """Return the tick at which the last note ends."""
        return max((start + length for _, start, length, *_ in self.notes), default=0)


def listen(events: Iterable[tuple[int, int, int, int]], heard: Heard) -> None:
    """Add the notes, tempos and time signatures of a track's (tick, status, data, data) events.

    A note ends at the next end of its pitch, as in `notes`; one that has none is counted only.
    """
    sounding: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for tick, status, data, value in events:
        channel = status & 15
        if status == TEMPO_EVENT:
            if data:
                heard.tempos[tick] = 60_000_000 / data
        elif status == SIGNATURE_EVENT:
            if data in SIGNATURES.get(value, ()):
                heard.signatures[tick] = (data, value)
        elif status >= 0xC0:
            heard.programs[channel] = data
        elif status >= 0x90 and value:
            program = DRUMS if channel == PERCUSSION else heard.programs[channel]
            sounding.setdefault((channel, data), []).append((program, tick, min(value, 127)))
        else:
            for program, start, velocity in sounding.pop((channel, data), ()):
                heard.notes.append((program, start, tick - start, data, velocity))
    heard.unended += sum(map(len, sounding.values()))


def version() -> str:
    """Return the versions that tokens depend on, this room's and MidiTok's."""
    from importlib.metadata import version

    return f"{VERSION}-miditok-{version('miditok')}"


@cache
def tokenizer(name: str) -> miditok.MusicTokenizer:
    """Return MidiTok's tokenizer of an encoding."""
    import miditok  # inside, because --help and cached runs must not wait a second for it

    kind = {"tsd": miditok.TSD, "remi": miditok.REMI}[name]
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
            use_tempos=name == "remi",
            tempo_range=TEMPOS,
            num_tempos=TEMPOS[1] - TEMPOS[0] + 1,
            use_time_signatures=name == "remi",
            time_signature_range={beat: list(beats) for beat, beats in SIGNATURES.items()},
        )
    )


def tokens_of(heard: Heard, ticks_per_quarter: int, name: str) -> list[str]:
    """Return the tokens of what was heard, which must hold a note."""
    import numpy as np
    import symusic

    score = symusic.Score(ticks_per_quarter)
    rows = np.array(heard.notes, np.int32)
    rows = rows[np.lexsort((rows[:, 2], rows[:, 3], rows[:, 1]))]  # by start, then pitch, length
    for program in np.unique(rows[:, 0]).tolist():
        times, lengths, pitches, velocities = rows[rows[:, 0] == program, 1:].T
        small = pitches.astype(np.int8), velocities.astype(np.int8)
        notes = symusic.Note.from_numpy(times.copy(), lengths.copy(), *small)
        track = symusic.Track(program=max(0, program), is_drum=program == DRUMS, notes=notes)
        score.tracks.append(track)
    if name == "remi":
        # What stands after the last note would only add empty bars, thousands of them if broken.
        end = heard.end
        for tick, bpm in sorted(heard.tempos.items()):
            if tick < end:
                score.tempos.append(symusic.Tempo(tick, bpm))
        for tick, signature in sorted(heard.signatures.items()):
            if tick < end:
                score.time_signatures.append(symusic.TimeSignature(tick, *signature))
    return tokenizer(name).encode(score).tokens


def score_of(tokens: Sequence[str], name: str) -> symusic.Score:
    """Return the music that tokens stand for, which the grammar must allow, as a file can hold it.

    A note that is struck again ends there: in a MIDI file the first end would end both.
    """
    import miditok
    import numpy as np
    import symusic

    score = tokenizer(name).decode(miditok.TokSequence(tokens=list(tokens)))
    _share_channels(score)
    for track in score.tracks:
        rows = track.notes.numpy()
        order = np.lexsort((rows["time"], rows["pitch"]))
        times, lengths, pitches, velocities = (
            rows[key][order] for key in ("time", "duration", "pitch", "velocity")
        )
        strokes, stroke = np.unique(np.stack([pitches, times]), axis=1, return_inverse=True)
        waits = np.append(np.diff(strokes[1]), -1)
        waits[np.append(np.diff(strokes[0]) != 0, True)] = np.iinfo(np.int32).max
        lengths = np.minimum(lengths, waits[stroke.ravel()]).astype(np.int32)
        track.notes = symusic.Note.from_numpy(times, lengths, pitches, velocities)
        track.notes.sort()
    return score


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


def midi_of(tokens: Sequence[str], name: str, bpm: float | None, instrument: int | None) -> bytes:
    """Return a MIDI file of tokens that the grammar allows; see encoding.write."""
    import symusic

    score = score_of(tokens, name)
    if bpm is not None or name == "tsd":
        score.tempos = symusic.Score(1).tempos
        score.tempos.append(symusic.Tempo(0, BPM if bpm is None else bpm))
    if instrument is not None:
        for track in score.tracks:
            track.program = track.program if track.is_drum else instrument
    return bytes(score.dumps_midi())


def played(tokens: Sequence[str], name: str) -> list[tuple[float, float, int, int]]:
    """Return the notes of tokens that the grammar allows, in order.

    Each is (start, length, pitch, program or DRUMS), times in quarter notes.
    """
    score = score_of(tokens, name)
    quarter = score.ticks_per_quarter
    found = [
        (
            note.start / quarter,
            note.duration / quarter,
            note.pitch,
            DRUMS if track.is_drum else track.program,
        )
        for track in score.tracks
        for note in track.notes
    ]
    return sorted(found)


def repaired(tokens: Iterable[str], name: str) -> list[str]:
    """Return the tokens without those that are no music: strays, and notes cut short."""
    known = tokenizer(name).vocab
    kept: list[str] = []
    states = [State()]
    for token in tokens:
        if token not in known:
            raise ValueError(f"{token!r} is no token of {name}")
        while not (state := follow(states[-1], token, name)) and states[-1].kind in INCOMPLETE:
            kept.pop()
            states.pop()
        if state:
            kept.append(token)
            states.append(state)
    while states[-1].kind in INCOMPLETE:
        kept.pop()
        states.pop()
    return kept


def context(primer: Sequence[str], name: str) -> list[str]:
    """Return what must stand before music that goes on from a primer, so that it is in its place.

    In `remi` that is a bar, its time signature, the place in it and the tempo; in `tsd` nothing.
    """
    if name == "tsd":
        return []
    last = {kind: token for token in primer for kind in [parts(token)[0]]}
    state = _after(primer, name)
    found = ["Bar_None", *([last["TimeSig"]] if "TimeSig" in last else [])]
    if "Tempo" in last:
        found += ["Position_0", last["Tempo"]]
    return [*found, f"Position_{max(0, state.position)}"]


def continued(tokens: Sequence[str], primer: Sequence[str], name: str) -> list[str]:
    """Return tokens that go on from a primer as a piece of their own, with its last instrument."""
    found = context(primer, name)
    if found and tokens and parts(tokens[0])[0] in ("Position", "Bar"):
        found.pop()  # its place: the new music begins by naming one
    found += tokens
    program = _after(primer, name).program
    for index, token in enumerate(found):
        kind = parts(token)[0]
        if kind == "Program" or program is None:
            break
        if kind in ("Pitch", "PitchDrum"):
            found.insert(index, f"Program_{program}")
            break
    return found


def _after(tokens: Sequence[str], name: str) -> State:
    """Return the state after a piece; what may not stand where it does changes nothing."""
    state = State()
    for token in tokens:
        state = follow(state, token, name) or state
    return state


class Clock:
    """Tell where in a piece each token stands, as they come."""

    def __init__(self, name: str, bpm: float | None) -> None:
        """Begin a piece; `bpm` overrides what its tokens say of tempo."""
        self._fixed, self._bpm = bpm is not None, BPM if bpm is None else bpm
        self._name, self._quarters, self._seconds, self._bars = name, 0.0, 0.0, 0
        self._bar = 0.0  # the quarter note at which the bar began
        self._beats, self._beat = COMMON_TIME

    def tell(self, token: str) -> tuple[float, float]:
        """Return the bars and the seconds after the beginning at which the next token stands."""
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


def nearest(token: str, known: Iterable[str]) -> str | None:
    """Return the known token of the same kind whose value is nearest; None where there is none.

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
