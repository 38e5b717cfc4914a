"""Write a piece as sheet music (MusicXML) with music21."""

import io
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from music21 import (
    chord,
    clef,
    harmony,
    instrument,
    key,
    metadata,
    meter,
    note,
    percussion,
    pitch,
    stream,
    tempo,
    tie,
)
from music21.musicxml.m21ToXml import ScoreExporter
from music21.stream.makeNotation import makeTupletBrackets

from midilstm import midi
from midilstm.fileio import InputError, printable, read_json
from midilstm.midi.chord_symbols import ChordSymbol, parse_bars
from midilstm.rendering import MARK
from midilstm.rendering.drum_staff import drum_hit, name_drums
from midilstm.rendering.staves import (
    BEAT,
    Event,
    bar_lines,
    quantise_score,
    split_bars,
    split_staves,
)
from midilstm.rendering.timeline import TimedPiece

# music21 takes 1 to 3 ms per note or measure, and time that grows with the square of a chord.
MAX_NOTES, MAX_MEASURES, MAX_AT_ONCE = 20_000, 20_000, 128
AUTHOR = "midi-lstm"


def write_score(piece: TimedPiece) -> bytes:
    """Return a piece on music21's rhythmic grid; raise InputError if it is too large."""
    score = quantise_score(midi.read(piece.path, pedal=False))
    bars = bar_lines(score)
    at_once = max(Counter((event.program, event.start) for event in score.notes).values())
    is_small = len(score.notes) <= MAX_NOTES and at_once <= MAX_AT_ONCE
    staves = list(split_staves(score)) if is_small else []
    if not staves or len(staves) * len(bars) > MAX_MEASURES:
        raise InputError(
            f"{piece.path} is too large for a score: the limit is {MAX_NOTES:,} notes, "
            f"{MAX_AT_ONCE} of an instrument at once, and {MAX_MEASURES:,} measures."
        )
    key_signature = _estimate_key(score)
    notation = stream.Score()
    notation.metadata = metadata.Metadata(title=printable(piece.path.stem), composer=AUTHOR)
    for index, (program, voices) in enumerate(staves):
        part = _part(program, voices, f"P{index + 1}", score, bars, key_signature)
        notation.insert(0, part)
    measures = list(notation.parts[0].getElementsByClass(stream.Measure))
    _add_tempos(measures, score, bars)
    _add_chords(measures, read_chords(piece.path), bars)
    exporter = ScoreExporter(notation, makeNotation=False)
    # music21 warns where there are more parts than MIDI channels.
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        root = exporter.parse()
    for software in root.iter("software"):
        software.text = AUTHOR
    for entry, part in zip(root.iter("score-part"), root.findall("part"), strict=True):
        name_drums(entry, part)
    return bytes(exporter.asBytes()) + f"<!-- {MARK} -->\n".encode()


def _estimate_key(score: midi.Score) -> key.Key:
    lengths: Counter[int] = Counter()
    for event in score.notes:
        if event.program != midi.DRUMS:
            lengths[event.pitch % 12] += event.length
    if not lengths:
        return key.Key("C")
    notes = [note.Note(x, quarterLength=length / BEAT) for x, length in sorted(lengths.items())]
    estimate: key.Key = stream.Stream(notes).analyze("key")
    return estimate


def _part(
    program: int,
    voices: Sequence[Sequence[Event]],
    name: str,
    score: midi.Score,
    bars: Sequence[float],
    key_signature: key.Key,
) -> stream.Part:
    """Return a staff as music21's part, complete with rests, accidentals, beams and tuplets."""
    part, is_drums = stream.Part(), program == midi.DRUMS
    player = instrument.UnpitchedPercussion() if is_drums else instrument.Instrument()
    player.partId, player.instrumentId = name, f"{name}-instrument"
    player.midiProgram = max(0, program)
    player.instrumentName = part.partName = midi.instrument_name(program)
    signatures, spellings = {0: (4, 4), **score.time_signatures}, _spellings(key_signature)
    measures = [stream.Measure(number=index + 1) for index in range(len(bars) - 1)]
    meters: list[meter.TimeSignature] = []
    for measure, start in zip(measures, bars, strict=False):
        if start in signatures:
            beats, unit = signatures[int(start)]
            measure.timeSignature = meter.TimeSignature(f"{beats}/{unit}")
        meters.append(measure.timeSignature or meters[-1])
    for index, events_of_bars in enumerate(split_bars(voice, bars) for voice in voices):
        for measure, signature, events in zip(measures, meters, events_of_bars, strict=True):
            if index == 0 or any(event.pitches for event in events):
                elements = [_element(event, is_drums, spellings) for event in events]
                # Not with makeBeams, whose time grows with the square of the number of bars.
                for element, beams in zip(elements, signature.getBeams(elements), strict=True):
                    if isinstance(element, note.Rest):
                        element.style.hideObjectOnPrint = index > 0
                    elif beams:
                        element.beams = beams
                measure.insert(0, stream.Voice(elements, id=index + 1))
                makeTupletBrackets(measure.voices[-1], inPlace=True)
    part.insert(0, player)
    part.append(measures)
    measures[-1].rightBarline = "final"
    measures[0].clef = clef.PercussionClef() if is_drums else clef.bestClef(part, recurse=True)
    if not is_drums:
        measures[0].keySignature = key.KeySignature(key_signature.sharps)
        part.makeAccidentals(inPlace=True)
    return part


def _spellings(key_signature: key.Key) -> dict[int, str]:
    """Return by pitch class the name of a note in a key; other notes are sharp or flat as it is."""
    flat = "C D- D E- E F G- G A- A B- B"
    sharp = "C C# D D# E F F# G G# A A# B"
    chromatic = (flat if key_signature.sharps < 0 else sharp).split()
    scale = list(key_signature.pitches)
    if key_signature.mode == "minor":
        scale.append(key_signature.tonic.transpose("-m2"))
    return {**dict(enumerate(chromatic)), **{x.pitchClass: x.name for x in scale}}


def _element(event: Event, is_drums: bool, spellings: Mapping[int, str]) -> note.GeneralNote:
    element: note.GeneralNote = note.Rest()
    if event.pitches and is_drums:
        hits = [drum_hit(drum) for drum in event.pitches]
        element = hits[0] if len(hits) == 1 else percussion.PercussionChord(hits)
    elif event.pitches:
        notes = [note.Note(_pitch(midi_pitch, spellings)) for midi_pitch in event.pitches]
        element = notes[0] if len(notes) == 1 else chord.Chord(notes)
    element.duration.quarterLength = Fraction(event.end - event.start) / BEAT
    if event.tie:
        element.tie = tie.Tie(event.tie)
    return element


def _pitch(midi_pitch: int, spellings: Mapping[int, str]) -> pitch.Pitch:
    name = spellings[midi_pitch % 12]
    # B# and C- are named for another octave.
    return pitch.Pitch(name, octave=midi_pitch // 12 - 1 + {"B#": -1, "C-": 1}.get(name, 0))


def _add_tempos(
    measures: Sequence[stream.Measure], score: midi.Score, bars: Sequence[float]
) -> None:
    """Add the tempo at the beginning, and the last of each bar in which it changes."""
    tempos = {0: midi.DEFAULT_BPM, **score.tempos}
    changes = {bisect_right(bars, tick) - 1: (tick, round(x)) for tick, x in tempos.items()}
    shown = 0
    for index, (tick, bpm) in sorted(changes.items()):
        if bpm != shown and index < len(measures):
            offset = Fraction(tick - bars[index]) / BEAT
            measures[index].insert(offset, tempo.MetronomeMark(number=bpm))
            shown = bpm


def read_chords(path: Path) -> list[list[ChordSymbol | None]]:
    """Return the chords by bar that the JSON beside a piece says it follows.

    Where the piece begins with its primer, the JSON does not tell in which bar they begin.
    """
    try:
        body = read_json(path.with_suffix(".json"))
        return parse_bars(body["chords"]) if not body["include_primer"] else []
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []


def _add_chords(
    measures: Sequence[stream.Measure],
    chords: Sequence[Sequence[ChordSymbol | None]],
    bars: Sequence[float],
) -> None:
    for index, (start, end) in enumerate(pairwise(bars) if chords else ()):
        symbols = chords[index % len(chords)]
        for position, symbol in enumerate(symbols):
            offset = Fraction(end - start) / BEAT * position / len(symbols)
            measures[index].insert(offset, _harmony(symbol))


def _harmony(symbol: ChordSymbol | None) -> harmony.ChordSymbol:
    """Return a symbol as typed, with its root and bass; None is N.C."""
    if not symbol:
        return harmony.ChordSymbol(root="C", kind="none", kindStr="N.C.")
    root, bass, suffix = symbol.root, symbol.notes[0], symbol.text[len(symbol.root) :]
    if bass != root:
        suffix = suffix[: suffix.rindex("/")]
    root, bass = (name.replace("b", "-") for name in (root, bass))
    return harmony.ChordSymbol(root=root, bass=bass, kind="other", kindStr=suffix)
