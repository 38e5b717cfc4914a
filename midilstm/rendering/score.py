"""A piece → a score (MusicXML), by music21."""

import warnings
from typing import Any

from music21 import chord, exceptions21, metadata, midi, note
from music21.musicxml.m21ToXml import GeneralObjectExporter

from midilstm.files import InputError
from midilstm.rendering import MARK
from midilstm.rendering.piece import TimedPiece


def write_score(piece: TimedPiece) -> bytes:
    """Write a piece's file on music21's grid of sixteenths and triplet eighths."""
    file = midi.MidiFile()
    try:
        with warnings.catch_warnings():
            # It warns of every track name that is no instrument's.
            warnings.simplefilter("ignore")
            file.readstr(piece.path.read_bytes())
            score = midi.translate.midiFileToStream(file)
        score.metadata = metadata.Metadata(title=piece.path.stem)
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
