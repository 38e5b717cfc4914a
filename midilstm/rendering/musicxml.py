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
    exceptions21,
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
from midilstm.fileio import InputError, printable
from midilstm.rendering import MARK
from midilstm.rendering.chord_marks import add_chords, read_chords
from midilstm.rendering.drum_staff import drum_hit, name_drums
from midilstm.rendering.staves import (
    BEAT,
    Event,
    Staff,
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
    try:
        # music21 warns where there are more parts than MIDI channels.
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            text = _export(piece.path, score, staves, bars)
    except (exceptions21.Music21Exception, LookupError, ValueError, ArithmeticError) as error:
        raise InputError(f"{piece.path} cannot be written as a score: {error}.") from error
    return text + f"<!-- {MARK} -->\n".encode()


def _export(path: Path, score: midi.Score, staves: Sequence[Staff], bars: Sequence[float]) -> bytes:
    """Return the MusicXML of the staves."""
    key_signature = _estimate_key(score)
    notation = stream.Score()
    notation.metadata = metadata.Metadata(title=printable(path.stem), composer=AUTHOR)
    for index, staff in enumerate(staves):
        notation.insert(0, _part(staff, f"P{index + 1}", score, bars, key_signature))
    _add_tempos(notation.parts[0], score, bars)
    exporter = ScoreExporter(notation, makeNotation=False)
    root = exporter.parse()
    for software in root.iter("software"):
        software.text = AUTHOR
    for entry, part in zip(root.iter("score-part"), root.findall("part"), strict=True):
        name_drums(entry, part)
    if chords := read_chords(path):
        lengths = [(end - start) / BEAT for start, end in pairwise(bars)]
        add_chords(root.findall("part")[0], chords, lengths)
    return bytes(exporter.asBytes())


def _estimate_key(score: midi.Score) -> key.Key:
    """Return the key that fits the pitch classes, by how long they sound."""
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
    staff: Staff, name: str, score: midi.Score, bars: Sequence[float], key_signature: key.Key
) -> stream.Part:
    """Return a staff as music21's part, complete with rests, accidentals, beams and tuplets."""
    part, is_drums = stream.Part(), staff.program == midi.DRUMS
    player = instrument.UnpitchedPercussion() if is_drums else instrument.Instrument()
    player.partId, player.instrumentId = name, f"{name}-instrument"
    player.midiProgram = max(0, staff.program)
    player.instrumentName = part.partName = midi.instrument_name(staff.program)
    voices = [split_bars(x, bars, is_first=i == 0) for i, x in enumerate(staff.voices)]
    signatures, spellings = {0: (4, 4), **score.time_signatures}, _spellings(key_signature)
    measures = []
    for index, start in enumerate(bars[:-1]):
        measure = stream.Measure(number=index + 1)
        if start in signatures:
            signature = meter.TimeSignature("{}/{}".format(*signatures[int(start)]))
            measure.timeSignature = signature
        in_bar = {i: voice[index] for i, voice in enumerate(voices) if index in voice}
        for voice_index, events in in_bar.items():
            elements = [_element(event, is_drums, spellings) for event in events]
            voice = measure if len(in_bar) == 1 else stream.Voice(id=voice_index + 1)
            voice.append(elements)
            _beam(elements, signature, is_first=voice_index == 0)
            makeTupletBrackets(voice, inPlace=True)
            if voice is not measure:
                measure.insert(0, voice)
        measures.append(measure)
    part.insert(0, player)
    part.append(measures)
    measures[-1].rightBarline = "final"
    measures[0].clef = clef.PercussionClef() if is_drums else clef.bestClef(part, recurse=True)
    if not is_drums:
        measures[0].keySignature = key.KeySignature(key_signature.sharps)
        part.makeAccidentals(inPlace=True)
    return part


def _beam(
    elements: Sequence[note.GeneralNote], signature: meter.TimeSignature, *, is_first: bool
) -> None:
    """Beam the notes of a voice in a bar, and hide its rests unless it is the first voice."""
    for element, beams in zip(elements, signature.getBeams(elements), strict=True):
        if isinstance(element, note.NotRest) and beams:
            element.beams = beams
        elif isinstance(element, note.Rest):
            element.style.hideObjectOnPrint = not is_first
            element.fullMeasure = len(elements) == 1


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
    """Return an event as music21's note, chord or rest."""
    element: note.GeneralNote = note.Rest()
    if event.pitches and is_drums:
        hits = [drum_hit(drum) for drum in event.pitches]
        element = hits[0] if len(hits) == 1 else percussion.PercussionChord(hits)
    elif event.pitches:
        notes = [note.Note(_pitch(midi_pitch, spellings)) for midi_pitch in event.pitches]
        element = notes[0] if len(notes) == 1 else chord.Chord(notes)
    element.duration.quarterLength = Fraction(event.end - event.start) / BEAT
    if event.has_previous or event.has_next:
        kinds = {(False, True): "start", (True, True): "continue", (True, False): "stop"}
        element.tie = tie.Tie(kinds[event.has_previous, event.has_next])
    return element


def _pitch(midi_pitch: int, spellings: Mapping[int, str]) -> pitch.Pitch:
    """Return a MIDI pitch with the name that it has in the key."""
    spelled = pitch.Pitch(spellings[midi_pitch % 12], octave=midi_pitch // 12 - 1)
    spelled.octave += round(
        (midi_pitch - spelled.ps) / 12
    )  # B# and C- are named for another octave
    return spelled


def _add_tempos(part: stream.Part, score: midi.Score, bars: Sequence[float]) -> None:
    """Add the tempo at the beginning, and the last of each bar in which it changes."""
    tempos = {0: midi.DEFAULT_BPM, **score.tempos}
    changes = {bisect_right(bars, tick) - 1: (tick, round(x)) for tick, x in tempos.items()}
    shown = 0
    measures = part.getElementsByClass(stream.Measure)
    for index, (tick, bpm) in sorted(changes.items()):
        if bpm != shown and index < len(measures):
            offset = Fraction(tick - bars[index]) / BEAT
            measures[index].insert(offset, tempo.MetronomeMark(number=bpm))
            shown = bpm
