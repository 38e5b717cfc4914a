"""Drums in sheet music: a line and a notehead for each, and what notation programs play."""

from xml.etree.ElementTree import Element, SubElement

from music21 import note

from midilstm.rendering.timeline import drum_name

# Where General MIDI's drums stand in a staff, and the noteheads of those that are not drums.
DRUM_LINES = {
    **dict.fromkeys((35, 36), "F4"),
    **dict.fromkeys((41, 43), "A4"),
    **dict.fromkeys((37, 38, 39, 40), "C5"),
    **dict.fromkeys((45, 47), "D5"),
    **dict.fromkeys((48, 50, 56), "E5"),
    **dict.fromkeys((51, 53, 54, 59), "F5"),
    **dict.fromkeys((42, 46), "G5"),
    **dict.fromkeys((49, 57), "A5"),
    **dict.fromkeys((52, 55), "B5"),
    44: "D4",
}
OTHER_DRUMS = ("B4", "G4", "E4")
NOTEHEADS = {
    **dict.fromkeys((37, 42, 44, 46, 49, 51, 52, 55, 57, 59), "x"),
    **dict.fromkeys((39, 53, 54, 56), "diamond"),
}
ID = "drum-"  # begins the id of a note until its instrument is written


def drum_hit(drum: int) -> note.Unpitched:
    """Return a hit of a General MIDI drum; its id, which is removed later, names the drum."""
    line = DRUM_LINES.get(drum, OTHER_DRUMS[drum % len(OTHER_DRUMS)])
    hit = note.Unpitched(displayName=line)
    hit.notehead = NOTEHEADS.get(drum, "normal")
    hit.id = f"{ID}{drum}"
    return hit


def name_drums(entry: Element, part: Element) -> None:
    """Give each drum of a part an instrument, as notation programs play it."""
    notes = [x for x in part.iter("note") if x.get("id", "").startswith(ID)]
    hits = {x: int(x.attrib.pop("id").removeprefix(ID)) for x in notes}
    names = {drum: f"{part.get('id')}-{drum}" for drum in sorted(set(hits.values()))}
    if hits:
        entry[:] = [x for x in entry if x.tag not in ("score-instrument", "midi-instrument")]
    for drum, name in names.items():
        player = SubElement(entry, "score-instrument", id=name)
        SubElement(player, "instrument-name").text = drum_name(drum)
    for drum, name in names.items():
        player = SubElement(entry, "midi-instrument", id=name)
        SubElement(player, "midi-channel").text = "10"
        SubElement(player, "midi-unpitched").text = str(drum + 1)
    for hit, drum in hits.items():
        place = max(i for i, child in enumerate(hit) if child.tag in ("duration", "tie"))
        hit.insert(place + 1, Element("instrument", id=names[drum]))
