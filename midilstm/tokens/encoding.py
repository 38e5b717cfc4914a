"""The room of encodings: one MIDI file ⇄ a list of token strings.

It is the only importer of music21, and knows nothing of ids, networks or folders. Each function
takes an encoding's name: `notes`, which is here, or `tsd` or `remi`, which are band.py's.

`notes`, the classic encoding, is the sequence of a piece's onsets. An onset with one pitch is that
pitch's music21 name (`C#4`, `B-3`), an onset with several is its chord's normal order (`1.5.6`).
Every pitched part counts, percussion does not, and neither rhythm nor a chord's register is kept.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from midilstm.tokens import band, rules

if TYPE_CHECKING:
    import numpy as np

ENCODINGS: tuple[str, ...] = ("notes", *band.NAMES)
# Raise it whenever the same bytes would give other tokens, counts or reasons: caches go by it.
VERSION = 1

MAX_BYTES = 4 * 2**20  # so that the worst such file takes less than 5 seconds and 300 MB
MAX_QUARTERS = 20_000  # nearly three hours at 120 beats a minute: beyond it, a broken clock
MAX_JUNK = 4096  # bytes allowed before the header; further in, it is another file's content
END_OF_TRACK, TEMPO, SIGNATURE = 0x2F, 0x51, 0x58  # kinds of meta event
METAS = {TEMPO: 6, SIGNATURE: 7}  # those that are heard, and the least bytes they take
PERCUSSION = 9  # MIDI channel 10, counted from 0

TICKS_PER_QUARTER = 480
STEP = TICKS_PER_QUARTER // 2  # each written token lasts half a quarter note
VELOCITY = 90
OCTAVE_4 = 60

# music21's own spelling of the twelve pitch classes.
STEPS = ("C", "C#", "D", "E-", "E", "F", "F#", "G", "G#", "A", "B-", "B")
NAMES = tuple(f"{STEPS[pitch % 12]}{pitch // 12 - 1}" for pitch in range(128))
# Two names are music21's for two pitches each, E-1 for E flat in octave 1 and for E in octave -1:
# reading lets the higher, audible one win.
PITCHES = {name: pitch for pitch, name in enumerate(NAMES)}
CLASSES = tuple(map(str, range(12)))

INSTRUMENTS = tuple(
    """Acoustic Grand Piano,Bright Acoustic Piano,Electric Grand Piano,Honky-tonk Piano,
Electric Piano 1,Electric Piano 2,Harpsichord,Clavinet,
Celesta,Glockenspiel,Music Box,Vibraphone,Marimba,Xylophone,Tubular Bells,Dulcimer,
Drawbar Organ,Percussive Organ,Rock Organ,Church Organ,Reed Organ,Accordion,Harmonica,
Tango Accordion,Acoustic Guitar (nylon),Acoustic Guitar (steel),Electric Guitar (jazz),
Electric Guitar (clean),Electric Guitar (muted),Overdriven Guitar,Distortion Guitar,
Guitar Harmonics,Acoustic Bass,Electric Bass (finger),Electric Bass (pick),Fretless Bass,
Slap Bass 1,Slap Bass 2,Synth Bass 1,Synth Bass 2,
Violin,Viola,Cello,Contrabass,Tremolo Strings,Pizzicato Strings,Orchestral Harp,Timpani,
String Ensemble 1,String Ensemble 2,Synth Strings 1,Synth Strings 2,
Choir Aahs,Voice Oohs,Synth Voice,Orchestra Hit,
Trumpet,Trombone,Tuba,Muted Trumpet,French Horn,Brass Section,Synth Brass 1,Synth Brass 2,
Soprano Sax,Alto Sax,Tenor Sax,Baritone Sax,Oboe,English Horn,Bassoon,Clarinet,
Piccolo,Flute,Recorder,Pan Flute,Blown Bottle,Shakuhachi,Whistle,Ocarina,
Lead 1 (square),Lead 2 (sawtooth),Lead 3 (calliope),Lead 4 (chiff),
Lead 5 (charang),Lead 6 (voice),Lead 7 (fifths),Lead 8 (bass + lead),
Pad 1 (new age),Pad 2 (warm),Pad 3 (polysynth),Pad 4 (choir),
Pad 5 (bowed),Pad 6 (metallic),Pad 7 (halo),Pad 8 (sweep),
FX 1 (rain),FX 2 (soundtrack),FX 3 (crystal),FX 4 (atmosphere),
FX 5 (brightness),FX 6 (goblins),FX 7 (echoes),FX 8 (sci-fi),
Sitar,Banjo,Shamisen,Koto,Kalimba,Bagpipe,Fiddle,Shanai,
Tinkle Bell,Agogo,Steel Drums,Woodblock,Taiko Drum,Melodic Tom,Synth Drum,Reverse Cymbal,
Guitar Fret Noise,Breath Noise,Seashore,Bird Tweet,Telephone Ring,Helicopter,Applause,
Gunshot""".replace("\n", "").split(",")
)

DRUMS = 128  # the program of a Note of percussion
State = rules.State  # what a grammar remembers of a piece; START before its first token
START = State()


class Note(NamedTuple):
    """A note as it is written: quarter notes, MIDI pitch, General MIDI program or DRUMS."""

    start: float
    length: float
    pitch: int
    program: int = 0


class MidiError(ValueError):
    """Say in one plain sentence why some bytes give no piece; `reason` is the short category."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason


@dataclass(frozen=True)
class Piece:
    """Hold one piece's tokens and what a report says about it; `quarters` is its length.

    `fingerprint` is the same for the same pitches at the same onsets, whatever the encoding.
    """

    tokens: tuple[str, ...]
    instruments: tuple[str, ...]
    notes: int
    quarters: float
    music: str = ""

    @property
    def fingerprint(self) -> str:
        """Return `music`, or else the hash of the tokens."""
        return self.music or _fingerprint(self.tokens)


def read(path: Path | str, encoding: str = "notes") -> list[str]:
    """Return the tokens of the MIDI file at `path`; raise MidiError where it holds no piece."""
    return list(read_piece(path, encoding).tokens)


def write(
    tokens: Iterable[str],
    path: Path | str,
    encoding: str = "notes",
    *,
    bpm: float | None = None,
    instrument: int | None = None,
) -> int:
    """Write tokens as a MIDI file; return how many were left out because they are no music.

    `bpm` and `instrument`, a General MIDI program 0..127, override what the tokens say; where
    neither says, 120 and piano. In `notes` each token lasts half a quarter note.
    Raise ValueError for an unknown token, and for a tempo or program that MIDI cannot hold.
    """
    _check_encoding(encoding)
    tokens = list(tokens)
    if not tokens:
        raise ValueError("there are no tokens to write")
    if instrument is not None and not 0 <= instrument <= 127:
        raise ValueError(f"instrument {instrument} is not a General MIDI program from 0 to 127")
    if bpm is not None and not 4 <= bpm <= 60_000:
        raise ValueError(
            f"a tempo of {bpm} beats a minute does not fit in a MIDI file: use 4 to 60000"
        )
    tokens = _split(tokens)
    kept = music(tokens, encoding)
    if not has_notes(kept, encoding):
        raise ValueError(f"there is no note in these {len(tokens)} tokens")
    if encoding == "notes":
        chords = [_pitches(token) for token in kept]
        data = _midi_bytes(chords, band.BPM if bpm is None else bpm, instrument or 0)
    else:
        data = band.midi_of(kept, encoding, bpm, instrument)
    Path(path).write_bytes(data)
    return len(tokens) - len(kept)


def music(tokens: Sequence[str], encoding: str = "notes") -> Sequence[str]:
    """Return the tokens without those that are no music, such as a duration without a pitch.

    Raise ValueError for an unknown token.
    """
    _check_encoding(encoding)
    return tokens if encoding == "notes" else band.repaired(_split(tokens), encoding)


def has_notes(tokens: Sequence[str], encoding: str = "notes") -> bool:
    """Tell whether there is anything to hear in what `music` returns."""
    _check_encoding(encoding)
    if encoding == "notes":
        return bool(tokens)
    return any(rules.parts(token)[0] in ("Pitch", "PitchDrum") for token in tokens)


def context(primer: Sequence[str], encoding: str = "notes") -> list[str]:
    """Return the tokens that put what goes on from a primer in its place: bar, tempo, position."""
    _check_encoding(encoding)
    return [] if encoding == "notes" else band.context(_split(primer), encoding)


def continued(tokens: Sequence[str], primer: Sequence[str], encoding: str = "notes") -> list[str]:
    """Return the tokens of a piece that goes on from a primer but does not hold it."""
    _check_encoding(encoding)
    if encoding == "notes":
        return list(tokens)
    return band.continued(_split(tokens), _split(primer), encoding)


def parts(token: str) -> int:
    """Return of how many of the encoding's tokens a token is merged."""
    return token.count(" ") + 1


def is_token(token: str, encoding: str = "notes") -> bool:
    """Tell whether a token, or each part of a merged one, looks like one of the encoding's."""
    _check_encoding(encoding)
    return encoding == "notes" or rules.is_token(token)


def joins(token: str, encoding: str = "notes") -> bool:
    """Tell whether byte-pair encoding may merge a token with its neighbours.

    Pitches stay alone, so that a transposed piece has one token for each of the piece's.
    """
    _check_encoding(encoding)
    return encoding != "notes" and rules.parts(token)[0] != "Pitch"


def _split(tokens: Iterable[str]) -> list[str]:
    """Return the parts of tokens, of which byte-pair encoding has merged some."""
    return [part for token in tokens for part in token.split(" ")]


def transpose(token: str, semitones: int, encoding: str = "notes") -> str:
    """Return the token that reading the same music, transposed, would give; drums stay.

    A note that would leave MIDI's range stays in the nearest octave that fits.
    Raise ValueError for an unknown token.
    """
    _check_encoding(encoding)
    if encoding != "notes":
        kind, value = rules.parts(token)  # a merged token has no pitch
        return f"Pitch_{_nearest(int(value) + semitones)}" if kind == "Pitch" else token
    found = _pitches(token)
    if token in PITCHES:
        return NAMES[_nearest(found[0] + semitones)]
    return _normal_order(sum(1 << pitch for pitch in {(pitch + semitones) % 12 for pitch in found}))


def played(tokens: Sequence[str], encoding: str = "notes") -> list[Note]:
    """Return the notes that `write` gives tokens; raise ValueError for an unknown token."""
    _check_encoding(encoding)
    if encoding != "notes":
        found = band.played(music(tokens, encoding), encoding)
        return [
            Note(start, length, pitch, DRUMS if program == rules.DRUMS else program)
            for start, length, pitch, program in found
        ]
    length = STEP / TICKS_PER_QUARTER
    return [
        Note(number * length, length, pitch)
        for number, token in enumerate(tokens)
        for pitch in _pitches(token)
    ]


class Clock:
    """Tell where in a piece each of its tokens stands, as they come."""

    def __init__(self, encoding: str = "notes", bpm: float | None = None) -> None:
        """Begin a piece at `bpm` quarter notes a minute (None: as its tokens say, or 120).

        Where an encoding has no bars, they are of four quarter notes.
        """
        _check_encoding(encoding)
        self._band = None if encoding == "notes" else band.Clock(encoding, bpm)
        self._quarter = 60 / (band.BPM if bpm is None else bpm)
        self._tokens = 0

    def tell(self, token: str) -> tuple[float, float]:
        """Return the bars and the seconds after the beginning at which the next token stands."""
        if self._band:
            told = [self._band.tell(part) for part in token.split(" ")]
            return told[0]  # a merged token stands where its first part does
        quarters = self._tokens * STEP / TICKS_PER_QUARTER
        self._tokens += 1
        return quarters / 4, quarters * self._quarter


def follow(state: State, token: str, encoding: str = "notes") -> State | None:
    """Return the grammar's state after `token` in `state`, None where it may not stand there.

    The empty token stands for the end of the piece. In `notes` any token may follow any other.
    """
    _check_encoding(encoding)
    if encoding == "notes":
        return state
    after: State | None = state
    for part in token.split(" "):
        after = rules.follow(after, part, encoding) if after else None
    return after


def allowed(tokens: Sequence[str], encoding: str = "notes") -> Callable[[State], np.ndarray] | None:
    """Return what tells of all tokens at once what `follow` tells of one, bool [V].

    None where the encoding forbids nothing.
    """
    _check_encoding(encoding)
    return None if encoding == "notes" else rules.allowed(tokens, encoding)


def version(encoding: str = "notes") -> str:
    """Return a text that is another whenever the same bytes might give other tokens."""
    _check_encoding(encoding)
    return str(VERSION) if encoding == "notes" else f"{VERSION}-{band.version()}"


def read_piece(source: Path | str | bytes, encoding: str = "notes") -> Piece:
    """Read a MIDI file's path, or its bytes, as a Piece.

    Raise MidiError, and nothing else, for any contents; OSError for a path that cannot be read.
    Time and memory grow linearly with the number of bytes.
    """
    _check_encoding(encoding)
    data = source if isinstance(source, bytes) else _load(Path(source))
    if len(data) > MAX_BYTES:
        raise MidiError("too large", f"more than {MAX_BYTES // 2**20} MiB")
    header, promised, ticks_per_quarter = _read_header(data)
    tracks = list(_tracks(data, header))
    heard = _Heard()
    for track in tracks:
        _listen(track, heard, ticks_per_quarter)
    if len(tracks) < promised:
        found = len(tracks)
        raise MidiError("truncated", f"its header promises {promised} tracks, it holds {found}")
    if encoding != "notes":
        return _band_piece(tracks, heard, ticks_per_quarter, encoding)
    _check_heard(heard)
    return Piece(
        tokens=_tokens(heard),
        instruments=tuple(sorted(heard.instruments)),
        notes=heard.notes,
        quarters=heard.end / ticks_per_quarter,
    )


def _tokens(heard: _Heard) -> tuple[str, ...]:
    return tuple(_token(heard.onsets[slot]) for slot in sorted(heard.onsets))


def _fingerprint(tokens: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(tokens).encode()).hexdigest()


def _band_piece(
    tracks: Sequence[tuple[bytes, bool]], heard: _Heard, ticks_per_quarter: int, encoding: str
) -> Piece:
    """Return the Piece, in one of band.py's encodings, of tracks that `heard` has heard."""
    whole = band.Heard()
    for track in tracks:
        band.listen(_events(*track), whole)
    if not whole.notes:
        raise _nothing_heard(whole.unended)
    _check_length(whole.end, ticks_per_quarter)
    programs = {note[0] for note in whole.notes}
    return Piece(
        tokens=tuple(band.tokens_of(whole, ticks_per_quarter, encoding)),
        instruments=tuple(
            sorted("Percussion" if p == rules.DRUMS else INSTRUMENTS[p] for p in programs)
        ),
        notes=len(whole.notes),
        quarters=whole.end / ticks_per_quarter,
        music=_fingerprint(_tokens(heard)) if heard.notes else "",
    )


def nearest(token: str, known: Iterable[str], encoding: str = "notes") -> str | None:
    """Return the known token that sounds most like `token`; None where nothing comes near.

    For a note, that is the same pitch class in the nearest octave, or else the nearest pitch; for a
    chord, the token that shares the largest part of the pitch classes of both.
    """
    _check_encoding(encoding)
    if encoding != "notes":
        return band.nearest(token, known)
    sounding = {name: _pitches(name) for name in sorted(known)}
    wanted = _pitches(token)
    classes = {pitch % 12 for pitch in wanted}
    if len(wanted) == 1:
        notes = [(name, pitches[0]) for name, pitches in sounding.items() if name in PITCHES]
        return min(
            notes,
            key=lambda note: (note[1] % 12 not in classes, abs(note[1] - wanted[0])),
            default=(None, 0),
        )[0]

    def shared(name: str) -> float:
        others = {pitch % 12 for pitch in sounding[name]}
        return len(classes & others) / len(classes | others)

    best = max(sounding, key=shared, default=None)
    return best if best is not None and shared(best) else None


def chorales() -> list[str]:
    """Return the sorted names of music21's Bach chorales, the built-in corpus, each once."""
    from music21 import corpus  # inside, because --help and cached runs must not wait for it

    return sorted(set(corpus.chorales.Iterator(returnType="filename")))


def write_chorale(name: str, path: Path) -> None:
    """Write one of `chorales()`, with all its parts and each repeat once, as a MIDI file."""
    from music21 import corpus  # inside, because --help and cached runs must not wait for it

    score = corpus.parse(name)
    # Played out, repeats would only be trained on twice; and those of bwv277 cannot be played out.
    for measure in score.recurse().getElementsByClass("Measure"):
        measure.leftBarline = measure.rightBarline = None
    score.write("midi", fp=path)


def _check_encoding(encoding: str) -> None:
    if encoding not in ENCODINGS:
        raise ValueError(f"unknown encoding {encoding!r}: choose from {', '.join(ENCODINGS)}")


# Reading: bytes → tracks → events → notes → onsets → tokens.


@dataclass
class _Heard:
    """Collect what the tracks of one file sound like, times in ticks."""

    onsets: dict[int, int] = field(default_factory=dict)  # twelfth of a quarter → set of pitches
    programs: list[int] = field(default_factory=lambda: [0] * 16)  # by channel
    instruments: set[str] = field(default_factory=set)
    notes: int = 0
    unended: int = 0
    end: int = 0


def _load(path: Path) -> bytes:
    with path.open("rb") as file:
        # One byte more than allowed is enough to know that a file is too large.
        return file.read(MAX_BYTES + 1)


def _read_header(data: bytes) -> tuple[int, int, int]:
    """Return the header's end, tracks and ticks per quarter note; look past RIFF and junk."""
    start = data.find(b"MThd", 0, MAX_JUNK)
    if not data:
        raise MidiError("empty file")
    if start < 0:
        raise MidiError("not a MIDI file", f"it starts with {data[:13].decode('latin-1')!r}")
    if len(data) < start + 14:
        raise MidiError("truncated", "the file ends inside its header")
    kind, tracks, division = (int.from_bytes(data[start + i : start + i + 2]) for i in (8, 10, 12))
    if kind == 2:
        raise MidiError("format 2", "its tracks are separate patterns without a common time")
    if kind > 2:
        raise MidiError("unknown format", f"it says MIDI format {kind}; 0 and 1 can be read")
    if division & 0x8000:
        raise MidiError("SMPTE timing", "its times are film frames, not parts of a beat")
    if division == 0:
        raise MidiError("zero division", "its quarter note has no ticks")
    return start + 14, tracks, division


def _tracks(data: bytes, position: int) -> Iterator[tuple[bytes, bool]]:
    """Yield each track's bytes, and whether its length can be believed.

    A length that leads neither to another track nor to the end of the file is not believed:
    then the track ends at its End of Track event. More tracks than the header promises are read.
    """
    position = data.find(b"MTrk", position)
    while position >= 0:
        start = position + 8
        end = start + int.from_bytes(data[position + 4 : start])
        believed = end <= len(data) and data[end : end + 4] in (b"", b"MTrk")
        position = data.find(b"MTrk", end if believed else start)
        if not believed:
            end = position if position >= 0 else len(data)
        yield data[start:end], believed


def _events(track: bytes, believed: bool) -> Iterator[tuple[int, int, int, int]]:
    """Yield (tick, status, data, data) of note and program events; raise MidiError if damaged."""
    position = tick = status = 0
    try:
        while position < len(track):
            delta = track[position]
            position += 1
            if delta > 127:
                delta, position = _variable_length(track, position - 1)
            tick += delta
            byte = track[position]
            if byte >= 0xF0:
                kind = track[position + 1] if byte == 0xFF else 0
                if kind == END_OF_TRACK:
                    return
                begin = position
                position = _skip_payload(track, position)
                if kind in METAS and position <= len(track):
                    yield tick, 0xFF00 | kind, *_meta(kind, track[begin:position])
                continue
            if byte > 127:
                status = byte
                position += 1
            elif not status:
                raise MidiError("damaged", "a track begins in the middle of an event")
            if status < 0xA0:
                yield tick, status, track[position], track[position + 1]
            elif 0xC0 <= status < 0xD0:
                yield tick, status, track[position], 0
            position += 1 if 0xC0 <= status < 0xE0 else 2
    except IndexError:
        position = len(track) + 1
    if position > len(track) or not believed:
        raise MidiError("truncated", "a track stops before its end")


def _variable_length(track: bytes, position: int) -> tuple[int, int]:
    """Return the number of at most four 7-bit bytes at `position`, and the position after it."""
    number = 0
    for index in range(position, position + 4):
        number = number << 7 | track[index] & 127
        if track[index] < 128:
            return number, index + 1
    raise MidiError("damaged", "a time or length takes more than four bytes")


def _meta(kind: int, event: bytes) -> tuple[int, int]:
    """Return what a tempo or time signature event says; zeros where it is too short."""
    if len(event) < METAS[kind]:
        return 0, 0
    if kind == TEMPO:
        return int.from_bytes(event[3:6]), 0
    return event[3], 1 << min(event[4], 7)


def _skip_payload(track: bytes, position: int) -> int:
    """Return the position after the meta or system exclusive event at `position`."""
    if track[position] not in (0xF0, 0xF7, 0xFF):
        raise MidiError("damaged", f"an event of unknown kind {track[position]:#x}")
    length, position = _variable_length(track, position + (2 if track[position] == 0xFF else 1))
    return position + length


def _listen(track: tuple[bytes, bool], heard: _Heard, ticks_per_quarter: int) -> None:
    """Add a track's pitched notes to `heard`; a note ends at the next end of its pitch."""
    starts: list[int] = []
    ends: list[int] = []
    pitches: list[int] = []
    sounding: dict[tuple[int, int], list[int]] = {}  # (channel, pitch) → unended notes
    for tick, status, data, velocity in _events(*track):
        if status > 0xFF:
            continue
        if data > 127:
            raise MidiError("damaged", f"a data byte of {data}; 127 is the highest")
        channel = status & 15
        if status >= 0xC0:
            heard.programs[channel] = data
        elif channel == PERCUSSION:
            if status >= 0x90 and velocity:
                heard.instruments.add("Percussion")
        elif status >= 0x90 and velocity:
            sounding.setdefault((channel, data), []).append(len(starts))
            starts.append(tick)
            ends.append(-1)
            pitches.append(data)
            heard.instruments.add(INSTRUMENTS[heard.programs[channel]])
        else:
            for note in sounding.pop((channel, data), ()):
                ends[note] = tick
    notes = [note for note in zip(starts, ends, pitches, strict=True) if note[1] >= 0]
    heard.notes += len(notes)
    heard.unended += len(starts) - len(notes)
    heard.end = max(heard.end, max(ends, default=0))
    _check_length(heard.end, ticks_per_quarter)
    _add_onsets(notes, heard.onsets, ticks_per_quarter)


def _add_onsets(
    notes: list[tuple[int, int, int]], onsets: dict[int, int], ticks_per_quarter: int
) -> None:
    """Add (start, end, pitch) notes of one track to `onsets`, joined into chords as music21 does.

    A note joins an earlier one that starts less than a sixteenth before it and ends at most a
    sixteenth from it, and then counts at that note's onset. Such earlier notes end more than a
    sixteenth apart, so one for each sixteenth of ending time need be kept: no search, no square.
    """
    quantise = _quantiser(ticks_per_quarter)
    heads: dict[int, tuple[int, int, int]] = {}  # sixteenth of ending → (start, end, slot)
    for start, end, pitch in notes:
        sixteenth = 4 * end // ticks_per_quarter
        near = [
            head
            for key in (sixteenth - 1, sixteenth, sixteenth + 1)
            if (head := heads.get(key))
            and 4 * (start - head[0]) < ticks_per_quarter >= 4 * abs(end - head[1])
        ]
        slot = min(near)[2] if near else quantise(start)
        if not near:
            heads[sixteenth] = (start, end, slot)
        onsets[slot] = onsets.get(slot, 0) | 1 << pitch


def _quantiser(ticks_per_quarter: int) -> Callable[[int], int]:
    """Return a function from ticks to the nearer of sixteenth and triplet eighth, in twelfths.

    Half way, music21 takes the earlier sixteenth, and a sixteenth before a triplet.
    """
    slots = (0, 3, 4, 6, 8, 9, 12)
    whole = ticks_per_quarter
    edges = (  # the first tick nearer to each next slot
        3 * whole // 24 + 1,
        7 * whole // 24 + 1,
        (10 * whole + 23) // 24,
        14 * whole // 24 + 1,
        (17 * whole + 23) // 24,
        21 * whole // 24 + 1,
    )

    def quantise(tick: int) -> int:
        quarter, rest = divmod(tick, ticks_per_quarter)
        return 12 * quarter + slots[bisect_right(edges, rest)]

    return quantise


def _check_length(end: int, ticks_per_quarter: int) -> None:
    if end > MAX_QUARTERS * ticks_per_quarter:
        raise MidiError("absurdly long", f"it lasts more than {MAX_QUARTERS} quarter notes")


def _check_heard(heard: _Heard) -> None:
    """Raise MidiError if there is nothing to make tokens from."""
    if heard.notes:
        return
    if heard.instruments and not heard.unended:
        raise MidiError("only percussion")
    raise _nothing_heard(heard.unended)


def _nothing_heard(unended: int) -> MidiError:
    if unended:
        return MidiError("hanging notes", "its notes begin and never end")
    return MidiError("no notes")


@lru_cache(maxsize=2**16)
def _token(pitches: int) -> str:
    """Return the token of a set of MIDI pitches, given as an integer with their bits set."""
    if pitches & (pitches - 1) == 0:
        return NAMES[pitches.bit_length() - 1]
    classes = 0
    while pitches:
        classes |= pitches & 0xFFF
        pitches >>= 12
    return _normal_order(classes)


def _normal_order(classes: int) -> str:
    """Return the normal order of a set of pitch classes, given as an integer of 12 bits.

    It is Forte's, as in music21: the rotation that spans least, then the one packed to the left.
    Computed here, because music21's import takes some 200 times as long as reading a piece.
    """
    members = [pitch_class for pitch_class in range(12) if classes >> pitch_class & 1]
    rotations = [members[i:] + members[:i] for i in range(len(members))]
    best = min(
        rotations, key=lambda turn: [(turn[i] - turn[0]) % 12 for i in (-1, *range(len(turn)))]
    )
    return ".".join(map(str, best))


# Transposing: token → pitches → token.


def _nearest(pitch: int) -> int:
    """Return the MIDI pitch of the same class that is nearest."""
    if pitch < 0:
        return pitch % 12
    return min(pitch, 127 - (127 - pitch) % 12)


# Writing: tokens → pitches → events → bytes.


def _pitches(token: str) -> list[int]:
    """Return a token's MIDI pitches; a chord of one pitch class becomes an octave."""
    if token in PITCHES:
        return [PITCHES[token]]
    parts = token.split(".")
    if not all(part in CLASSES for part in parts) or len(set(parts)) < len(parts):
        raise ValueError(f"{token!r} is neither a note such as C#4 nor a chord such as 1.5.6")
    pitches = [OCTAVE_4 + int(part) for part in parts]
    return pitches if len(pitches) > 1 else [pitches[0], pitches[0] + 12]


def _midi_bytes(chords: list[list[int]], bpm: float, instrument: int) -> bytes:
    """Return a MIDI file of one track, its chords half a quarter note each."""
    # Inside, because --help and cached runs must not wait for music21. Its event classes are used,
    # because building its notation objects first takes some 70 times as long.
    from music21 import midi

    track = midi.MidiTrack(0)

    def add(delta: int, kind: object, first: int | bytes, second: int | None = None) -> None:
        time = midi.DeltaTime(track, time=delta)
        event = midi.MidiEvent(track, type=kind, channel=1)
        event.parameter1, event.parameter2 = first, second
        track.events += [time, event]

    voice, meta = midi.ChannelVoiceMessages, midi.MetaEvents
    add(0, meta.SET_TEMPO, round(60_000_000 / bpm).to_bytes(3))
    add(0, voice.PROGRAM_CHANGE, instrument)
    for pitches in chords:
        for pitch in pitches:
            add(0, voice.NOTE_ON, pitch, VELOCITY)
        for index, pitch in enumerate(pitches):
            add(0 if index else STEP, voice.NOTE_OFF, pitch, 0)
    add(0, meta.END_OF_TRACK, b"")
    file = midi.MidiFile()
    file.ticksPerQuarterNote = TICKS_PER_QUARTER
    file.tracks = [track]
    return file.writestr()
