"""A piece → a score (MusicXML), by music21."""

import warnings
from collections import Counter
from typing import Any

from music21 import chord, exceptions21, metadata, meter, midi, note, stream
from music21.musicxml.m21ToXml import GeneralObjectExporter

from midilstm.fileio import InputError, printable
from midilstm.rendering import MARK
from midilstm.rendering.timeline import TimedPiece

# music21 takes 3 to 14 ms a note, and time that grows with the square of a chord.
MAX_NOTES, MAX_CHORD = 20_000, 128


def write_score(piece: TimedPiece) -> bytes:
    """Write a piece's file on music21's grid; raise InputError for one that it cannot hold."""
    song = piece.song
    crowds = Counter((one.track, 4 * one.start // song.ticks_per_quarter) for one in song.notes)
    if len(song.notes) > MAX_NOTES or max(crowds.values()) > MAX_CHORD:
        most = f"the most is {MAX_NOTES:,}, and {MAX_CHORD} in a chord"
        raise InputError(f"{piece.path} has too many notes for a score: {most}.")
    file = midi.MidiFile()
    try:
        with warnings.catch_warnings():
            # It warns of every track name that is no instrument's.
            warnings.simplefilter("ignore")
            file.readstr(piece.path.read_bytes())
            score = midi.translate.midiFileToStream(file)
        score.metadata = metadata.Metadata(title=printable(piece.path.stem))
        _fill_up(score)
        for part in score.parts:
            # music21 reads drums that its own exporter then misses among the part's instruments.
            hits: list[Any] = []
            for one in part.recurse().notes:
                hits += one.notes if isinstance(one, chord.ChordBase) else [one]
            drums = [hit.storedInstrument for hit in hits if isinstance(hit, note.Unpitched)]
            for drum in {type(drum): drum for drum in drums if drum}.values():
                part.insert(0, drum)
        text: bytes = GeneralObjectExporter(score).parse()
    except (exceptions21.Music21Exception, LookupError, ValueError, ArithmeticError) as error:
        raise InputError(f"{piece.path} cannot be written as a score: {error}.") from error
    return text + f"<!-- {MARK} -->\n".encode()


def _fill_up(score: stream.Score) -> None:
    """Give parts that end early the others' bars, with rests."""
    bars = [list(part.getElementsByClass(stream.Measure)) for part in score.parts]
    longest = [(bar.offset, bar) for bar in max(bars, key=len, default=[])]
    for part, own in zip(score.parts, bars, strict=True):
        while len(own) > 1 and not own[-1].recurse().notes:
            part.remove(own.pop())  # it would lack the time signature
        own[-1].rightBarline = None  # it may not be the last
        part.removeByClass(meter.TimeSignature)  # those of no bar
        for offset, bar in longest[len(own) :]:
            empty = stream.Measure(number=bar.number)
            if bar.timeSignature:
                empty.timeSignature = meter.TimeSignature(bar.timeSignature.ratioString)
            rest = note.Rest(quarterLength=bar.barDuration.quarterLength)
            rest.fullMeasure = True
            empty.append(rest)
            part.insert(offset, empty)
        part.getElementsByClass(stream.Measure).last().rightBarline = "final"
