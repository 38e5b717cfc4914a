"""Chord symbols in sheet music: those that a generated piece was drawn to follow."""

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from music21 import defaults

from midilstm.fileio import read_json
from midilstm.midi.chord_symbols import ChordSymbol, parse_bars


def read_chords(path: Path) -> list[list[ChordSymbol | None]]:
    """Return the chords by bar of the JSON beside a piece, or none where there are none.

    Where the piece begins with its primer, the JSON does not tell in which bar they begin.
    """
    try:
        body = read_json(path.with_suffix(".json"))
        return parse_bars(body["chords"]) if not body["include_primer"] else []
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []


def add_chords(part: Element, bars: list[list[ChordSymbol | None]], quarters: list[float]) -> None:
    """Write the bars of chords, repeated, above a part's measures, whose lengths are given."""
    for index, (measure, length) in enumerate(zip(part.iter("measure"), quarters, strict=True)):
        place = [child.tag for child in measure].index("note")
        symbols = bars[index % len(bars)]
        for position, symbol in reversed(list(enumerate(symbols))):
            offset = round(position / len(symbols) * length * defaults.divisionsPerQuarter)
            measure.insert(place, _harmony(symbol, offset))


def _harmony(symbol: ChordSymbol | None, offset: int) -> Element:
    """Return a symbol as typed, with its root and bass; None is N.C."""
    harmony = Element("harmony")
    root, text, kind = (symbol.root, symbol.text, "other") if symbol else ("C", "", "none")
    _add_note(harmony, "root", root)
    suffix = text[len(root) :]
    bass = symbol.notes[0] if symbol and symbol.notes[0] != root else ""
    if bass:
        suffix = suffix[: suffix.rindex("/")]
    SubElement(harmony, "kind", text=suffix if symbol else "N.C.").text = kind
    if bass:
        _add_note(harmony, "bass", bass)
    SubElement(harmony, "offset").text = str(offset)
    return harmony


def _add_note(harmony: Element, role: str, name: str) -> None:
    """Add the root or the bass, such as Bb."""
    parent = SubElement(harmony, role)
    SubElement(parent, f"{role}-step").text = name[0]
    if name[1:]:
        SubElement(parent, f"{role}-alter").text = "1" if name[1] == "#" else "-1"
