"""Write a piece as sheet music (MusicXML) with music21."""

import warnings
from collections import Counter

from music21 import exceptions21, metadata, meter, midi, note, stream
from music21.musicxml.m21ToXml import GeneralObjectExporter

from midilstm.fileio import InputError, printable
from midilstm.rendering import MARK
from midilstm.rendering.timeline import TimedPiece

# music21 takes 3 to 14 ms per note, and time that grows with the square of a chord's size.
MAX_NOTES, MAX_CHORD = 20_000, 128


def write_score(piece: TimedPiece) -> bytes:
    """Return a piece on music21's rhythmic grid; raise InputError if it is too large."""
    notes, quarter = piece.score.notes, piece.score.ticks_per_quarter
    sixteenths = Counter((event.track, 4 * event.start // quarter) for event in notes)
    if len(notes) > MAX_NOTES or max(sixteenths.values()) > MAX_CHORD:
        limit = f"the limit is {MAX_NOTES:,}, and {MAX_CHORD} per chord"
        raise InputError(f"{piece.path} has too many notes for a score: {limit}.")
    try:
        with warnings.catch_warnings():
            # music21 warns about each track name that is not an instrument's.
            warnings.simplefilter("ignore")
            notation = midi.translate.midiStringToStream(piece.path.read_bytes())
        notation.metadata = metadata.Metadata(title=printable(piece.path.stem))
        _complete_bars(notation)
        _add_drum_instruments(notation)
        text: bytes = GeneralObjectExporter(notation).parse()
    except (exceptions21.Music21Exception, LookupError, ValueError, ArithmeticError) as error:
        raise InputError(f"{piece.path} cannot be written as a score: {error}.") from error
    return text + f"<!-- {MARK} -->\n".encode()


def _add_drum_instruments(notation: stream.Score) -> None:
    """List the drums that a part plays among its instruments, as music21's exporter needs."""
    for part in notation.parts:
        drums = {
            type(hit.storedInstrument): hit.storedInstrument
            for element in part.recurse().notes
            for hit in getattr(element, "notes", [element])
            if isinstance(hit, note.Unpitched) and hit.storedInstrument
        }
        for drum in drums.values():
            part.insert(0, drum)


def _complete_bars(notation: stream.Score) -> None:
    """Give all parts the same bars: fill those that end early with rests."""
    bars = [list(part.getElementsByClass(stream.Measure)) for part in notation.parts]
    longest = [(bar.offset, bar) for bar in max(bars, key=len, default=[])]
    for part, part_bars in zip(notation.parts, bars, strict=True):
        while len(part_bars) > 1 and not part_bars[-1].recurse().notes:
            part.remove(part_bars.pop())  # it would lack the time signature
        part_bars[-1].rightBarline = None  # it may not be the last
        part.removeByClass(meter.TimeSignature)  # those outside of bars
        for offset, bar in longest[len(part_bars) :]:
            empty = stream.Measure(number=bar.number)
            if bar.timeSignature:
                empty.timeSignature = meter.TimeSignature(bar.timeSignature.ratioString)
            empty.append(note.Rest(bar.barDuration.quarterLength, fullMeasure=True))
            part.insert(offset, empty)
        part.getElementsByClass(stream.Measure).last().rightBarline = "final"
