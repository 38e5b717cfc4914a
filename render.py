"""Show and play MIDI files: a piano-roll picture, sound, a score and a listening page.

This room sees .mid files and the .json beside them, never models or tokens. Each maker returns
the bytes of one file; `save` alone writes. render.html is the page's layout and script.
"""

import argparse
import io
import json
import struct
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

MIDI_SUFFIXES = {".mid", ".midi"}
# Whatever else a broken file makes mido and pretty_midi raise besides mido's KeySignatureError.
BROKEN = (OSError, EOFError, LookupError, ValueError, ArithmeticError, TypeError, AttributeError)
# Every result carries this mark, so that a file without it is known to be somebody's own work.
MARK = "made by render.py"
MAX_SECONDS = 3600.0
RELEASE_SECONDS = 1.5
DRUM_COLOUR = "#777c85"
# Each stands out from white and from near-black alike (3 to 1 or more), so the picture and both
# themes of the page share them; neighbours lie far apart in hue.
COLOURS = (
    *("#2a80e2", "#cf5604", "#019a46", "#bf50a0", "#0d9298", "#d24c49", "#9163d5", "#977e0d"),
    *("#0b79a0", "#9d5d03", "#517e01", "#bb3658", "#0e8071", "#9846ab", "#5560cf", "#737409"),
)
# Heights of a note, in rows, by turns: parts that play in unison show one within the other.
THICKNESS = (0.94, 0.66, 0.38)


class RenderError(Exception):
    """Tell the user in one sentence what cannot be done and what would help."""


@dataclass(frozen=True)
class Note:
    """Hold one note: start and end in seconds, pitch and velocity 0 to 127."""

    start: float
    end: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Part:
    """Hold all notes of one instrument (General MIDI program 0 to 127), or of the drums (None)."""

    name: str
    program: int | None
    colour: str
    thickness: float
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Piece:
    """Hold one MIDI file's music; bars are the times of the bar lines in seconds."""

    path: Path
    parts: tuple[Part, ...]
    bars: tuple[float, ...]
    seconds: float


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Show and play MIDI files. FILE.png, FILE.wav and FILE.musicxml are written "
        "beside FILE.mid. A file that render.py made before is replaced; one that it did not make "
        "stays as it is, and is reported."
    )
    default = "default: the newest one in --output-dir; with --page, every one there"
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.mid", help=default)
    for flag, text in (
        ("--piano-roll", "draw FILE.png"),
        ("--audio", "play into FILE.wav; needs requirements-audio.txt"),
        ("--musicxml", "write FILE.musicxml for notation programs"),
        (
            "--page",
            "write index.html in --output-dir, to see and hear every piece there; a piece with a "
            "FILE.wav beside it plays that, any other is synthesised in the page",
        ),
    ):
        parser.add_argument(flag, action="store_true", help=f"{text} (default: off)")
    sounds = "sounds for --audio (default: the General MIDI set that comes with pretty_midi)"
    parser.add_argument("--soundfont", type=Path, metavar="FILE.sf2", help=sounds)
    folder = "folder of the page (default: %(default)s)"
    parser.add_argument("--output-dir", type=Path, default=Path("output"), help=folder)
    return parser.parse_args(argv)


def find_midi_files(folder: Path) -> list[Path]:
    """List a folder's MIDI files, newest first; raise RenderError where there are none."""
    found = [path for path in folder.glob("*") if path.suffix.lower() in MIDI_SUFFIXES]
    if not found:
        advice = "make one with python sample.py, or name a file"
        raise RenderError(f"{folder} holds no .mid file: {advice}.")
    return sorted(sorted(found), key=lambda path: path.stat().st_mtime_ns, reverse=True)


def open_midi(path: Path) -> Any:
    """Open a file as pretty_midi's PrettyMIDI; raise RenderError where it is missing or broken."""
    from mido.midifiles.meta import KeySignatureError
    from pretty_midi import PrettyMIDI

    if not path.is_file():
        raise RenderError(f"{path} is not a file: name a .mid file.")
    try:
        with warnings.catch_warnings():
            # A tempo on the wrong track is its composer's business, not its listener's.
            warnings.simplefilter("ignore")
            return PrettyMIDI(str(path))
    except (*BROKEN, KeySignatureError) as error:
        reason = f"no MIDI file, or a broken one ({str(error) or 'it ends too soon'})"
        raise RenderError(f"{path} cannot be read: {reason}.") from error


def read_piece(path: Path) -> Piece:
    """Read a file's music; raise RenderError where it is broken, holds no notes or is too long."""
    midi = open_midi(path)
    parts = group_parts(midi.instruments)
    if not parts:
        raise RenderError(f"{path} holds no notes.")
    seconds = max(note.end for part in parts for note in part.notes)
    if seconds > MAX_SECONDS:
        limit = f"render.py takes at most {MAX_SECONDS:,.0f}"
        raise RenderError(f"{path} lasts {seconds:,.0f} seconds, {limit}.")
    bars = tuple(float(second) for second in midi.get_downbeats() if second < seconds)
    return Piece(path, parts, bars, seconds)


def group_parts(instruments: Iterable[Any]) -> tuple[Part, ...]:
    """Join pretty_midi's instruments of one sound into one part, as they appear, drums last."""
    from pretty_midi import program_to_instrument_name

    sounds: dict[int | None, list[Note]] = {}
    for instrument in instruments:
        notes = sounds.setdefault(None if instrument.is_drum else int(instrument.program), [])
        for note in instrument.notes:
            # pretty_midi mixes NumPy's numbers with Python's; JSON knows only Python's.
            start, end = float(note.start), float(note.end)
            notes.append(Note(start, end, int(note.pitch), int(note.velocity)))
    drums = sounds.pop(None, [])
    parts: list[Part] = []
    for program, notes in sounds.items():
        if program is not None and notes:
            name, turn = program_to_instrument_name(program), len(parts)
            colour, thickness = COLOURS[turn % len(COLOURS)], THICKNESS[turn % len(THICKNESS)]
            parts.append(Part(name, program, colour, thickness, tuple(notes)))
    if drums:
        parts.append(Part("Drums", None, DRUM_COLOUR, THICKNESS[0], tuple(drums)))
    return tuple(parts)


def draw_piano_roll(piece: Piece) -> bytes:
    """Draw a PNG: bars across, pitch up, one colour an instrument, drums on lanes of their own."""
    # Figure instead of pyplot: no window system is asked for, and no state is left behind.
    from matplotlib.figure import Figure

    pitched = [part for part in piece.parts if part.program is not None]
    drums = [part for part in piece.parts if part.program is None]
    pitches = sorted({note.pitch for part in pitched for note in part.notes})
    lanes = sorted({note.pitch for part in drums for note in part.notes})
    tall = min(max((pitches[-1] - pitches[0]) * 0.11, 2.4), 7) if pitches else 0
    heights = [inches for inches in (tall, 0.19 * len(lanes)) if inches]
    size = (min(max(piece.seconds * 0.16, 10), 36), sum(heights) + 1.4)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    grid = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)
    panels = list(grid[:, 0])
    if pitches:
        draw_notes(panels[0], pitched, {pitch: pitch for pitch in pitches}, piece.seconds)
        label_pitches(panels[0], pitches[0], pitches[-1])
    if lanes:
        rows = {pitch: row for row, pitch in enumerate(lanes)}
        draw_notes(panels[-1], drums, rows, piece.seconds)
        label_drums(panels[-1], lanes)
    label_figure(figure, panels, piece)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A title in a script the font lacks is drawn with boxes; the picture is no worse for it.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="png", metadata={"Software": MARK})
    return buffer.getvalue()


def draw_notes(axes: Any, parts: Sequence[Part], rows: dict[int, int], seconds: float) -> None:
    """Draw each note as a box from its start to its end on the row that its pitch maps to."""
    from matplotlib.collections import PolyCollection

    for part in parts:
        boxes = []
        for note in part.notes:
            # A drum's note may last a few milliseconds: a box too thin to see would be a lie too.
            left, right = note.start, max(note.end, note.start + seconds / 400)
            low, high = (rows[note.pitch] + side * part.thickness / 2 for side in (-1, 1))
            boxes.append([(left, low), (left, high), (right, high), (right, low)])
        look: dict[str, Any] = {"facecolor": part.colour, "edgecolor": "white", "linewidth": 0.3}
        layer = 4 - part.thickness
        axes.add_collection(PolyCollection(boxes, zorder=layer, label=part.name, **look))


def label_pitches(axes: Any, lowest: int, highest: int) -> None:
    """Name the octaves (every white key where there are few) and shade the rows of black keys."""
    from pretty_midi import note_number_to_name

    named = {0} if highest - lowest > 14 else {0, 2, 4, 5, 7, 9, 11}
    ticks = [pitch for pitch in range(lowest - 1, highest + 2) if pitch % 12 in named]
    axes.set_yticks(ticks, [note_number_to_name(pitch) for pitch in ticks])
    axes.set_ylim(lowest - 1.5, highest + 1.5)
    for pitch in range(lowest - 1, highest + 2):
        if pitch % 12 in {1, 3, 6, 8, 10}:
            axes.axhspan(pitch - 0.5, pitch + 0.5, color="#f4f4f6", linewidth=0, zorder=0)


def label_drums(axes: Any, lanes: Sequence[int]) -> None:
    """Name each lane after its General MIDI drum."""
    from pretty_midi import note_number_to_drum_name

    names = [note_number_to_drum_name(pitch) or f"Drum {pitch}" for pitch in lanes]
    axes.set_yticks(range(len(lanes)), names, fontsize=8)
    axes.set_ylim(-0.8, len(lanes) - 0.2)


def label_figure(figure: Any, panels: Sequence[Any], piece: Piece) -> None:
    """Number the bars, name the file and explain the colours."""
    step = next(s for s in (1, 2, 4, 8, 16, 32, 64, 128, 1 << 20) if len(piece.bars) / s <= 24)
    for axes in panels:
        axes.set_xlim(0, piece.seconds)
        axes.set_xticks(piece.bars[::step], range(1, len(piece.bars) + 1, step))
        axes.grid(axis="x", color="#d9dade", linewidth=0.6, zorder=1)
        axes.tick_params(length=0, labelcolor="#44474d")
        axes.spines[:].set_visible(False)
    panels[-1].set_xlabel("Bar", color="#44474d")
    # A dollar sign in a file name is no formula.
    panels[0].set_title(piece.path.stem, loc="left", pad=12, parse_math=False)
    look = {"frameon": False, "fontsize": 9, "handlelength": 1}
    figure.legend(loc="outside lower left", ncols=int(figure.get_figwidth() // 2.4), **look)


def render_audio(piece: Piece, soundfont: Path | None = None) -> bytes:
    """Play a piece into a WAV, 48 kHz stereo 16-bit; raise RenderError where a part is missing."""
    import pretty_midi

    try:
        import midirenderer
    except ImportError as error:
        cure = "pip install -r requirements-audio.txt"
        raise RenderError(f"--audio needs midirenderer: {cure}") from error
    soundfont = soundfont or Path(pretty_midi.__file__).with_name("TimGM6mb.sf2")
    if not soundfont.is_file():
        raise RenderError(f"{soundfont} is not a file: name a soundfont with --soundfont FILE.sf2.")
    try:
        # Errors from its native code are plain RuntimeErrors with a reason in them.
        sound = midirenderer.render_wave_from(soundfont.read_bytes(), with_release(piece))
    except (OSError, RuntimeError, ValueError) as error:
        raise RenderError(f"{piece.path} cannot be played with {soundfont}: {error}.") from error
    return with_mark(sound)


def with_release(piece: Piece) -> bytes:
    """Return the MIDI file's bytes, with time at its end for the last notes to ring."""
    import mido

    song = mido.MidiFile(piece.path)
    if song.length > MAX_SECONDS:
        raise RenderError(f"{piece.path} goes on in silence for {song.length:,.0f} seconds.")
    # The renderer stops at the last event of any track, so a silent one that ends later does it.
    tick = open_midi(piece.path).time_to_tick(piece.seconds + RELEASE_SECONDS)
    song.tracks.append(mido.MidiTrack([mido.MetaMessage("end_of_track", time=tick)]))
    song.type = 1
    buffer = io.BytesIO()
    song.save(file=buffer)
    return buffer.getvalue()


def with_mark(sound: bytes) -> bytes:
    """Add the mark to a WAV, in RIFF's own field for a software's name (LIST INFO ISFT)."""
    name = MARK.encode() + b"\0" * (2 - len(MARK) % 2)
    chunk = b"INFOISFT" + struct.pack("<I", len(name)) + name
    body = sound[8:] + b"LIST" + struct.pack("<I", len(chunk)) + chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body


def write_score(piece: Piece) -> bytes:
    """Write MusicXML with music21, on its grid of sixteenths and triplet eighths."""
    from music21 import chord, exceptions21, metadata, midi, note
    from music21.musicxml.m21ToXml import GeneralObjectExporter

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
        raise RenderError(f"{piece.path} cannot be written as a score: {error}.") from error
    return text + f"<!-- {MARK} -->\n".encode()


def build_page(pieces: Sequence[Piece], title: str) -> bytes:
    """Fill render.html with the pieces, in the order given; the page needs no other file."""
    layout = Path(__file__).with_name("render.html").read_text(encoding="utf-8")
    data = json.dumps({"title": title, "pieces": [describe(piece) for piece in pieces]})
    # A file name must not be able to close the script element that holds it.
    data = data.replace("<", "\\u003c")
    return layout.replace("{{mark}}", MARK).replace("{{data}}", data).encode()


def describe(piece: Piece) -> dict[str, Any]:
    """Return what the page shows of a piece; its notes: start ms, length ms, pitch, velocity."""
    path, settings = piece.path, read_settings(piece.path.with_suffix(".json"))
    novelty = settings.pop("novelty", None)
    sound, made = path.with_suffix(".wav"), path.stat().st_mtime
    fresh = sound.is_file() and sound.stat().st_mtime >= made
    parts = []
    for part in piece.parts:
        rows = [(ms(n.start), ms(n.end - n.start), n.pitch, n.velocity) for n in part.notes]
        parts.append(vars(part) | {"notes": [number for row in rows for number in row]})
    return {
        "name": path.name,
        "made": datetime.fromtimestamp(made).strftime("%Y-%m-%d %H:%M"),
        "seconds": round(piece.seconds, 3),
        "bars": [ms(second) for second in piece.bars],
        "sound": sound.name if fresh else None,
        "settings": spell(settings),
        "novelty": spell(novelty) if isinstance(novelty, dict) else {},
        "parts": parts,
    }


def ms(seconds: float) -> int:
    """Return whole milliseconds."""
    return round(seconds * 1000)


def read_settings(path: Path) -> dict[str, Any]:
    """Read the JSON that says how a piece was made; name a broken one and go on without it."""
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print(f"render.py: left out: {path} is not JSON ({error}).", file=sys.stderr)
        return {}
    return settings if isinstance(settings, dict) else {}


def spell(settings: dict[str, Any]) -> dict[str, str]:
    """Spell settings for people."""
    return {key: show(value) for key, value in settings.items()}


def show(value: object) -> str:
    """Spell a setting for people: four digits of a fraction, the length of a list."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return f"{len(value):,}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {show(item)}" for key, item in value.items())
    return str(value)


def save(data: bytes, path: Path) -> None:
    """Write a result; raise RenderError rather than replace a file that render.py did not make."""
    from tqdm import tqdm

    try:
        if path.exists() and MARK.encode() not in path.read_bytes():
            advice = "move it away to write there"
            raise RenderError(f"{path} is not render.py's work and stays: {advice}.")
        path.write_bytes(data)
    except OSError as error:
        raise RenderError(f"{path} cannot be written: {error.strerror}.") from error
    tqdm.write(str(path))


def run(arguments: argparse.Namespace) -> None:
    """Make everything asked for; raise RenderError at the first thing that cannot be made."""
    from tqdm import tqdm

    folder, page = arguments.output_dir, arguments.page
    flags = (arguments.piano_roll, arguments.audio, arguments.musicxml)
    if not any(flags) and not page:
        raise RenderError("say what to make: --piano-roll, --audio, --musicxml or --page.")
    pieces = [read_piece(path) for path in arguments.files]
    found = read_folder(folder) if page else []
    if not pieces and any(flags):
        pieces = found or [read_piece(find_midi_files(folder)[0])]
    # Music21 can take a minute over one piece: the bar shows at once, and goes when all is done.
    for piece in tqdm(pieces, unit="piece", leave=False, disable=None):
        if arguments.piano_roll:
            save(draw_piano_roll(piece), piece.path.with_suffix(".png"))
        if arguments.audio:
            save(render_audio(piece, arguments.soundfont), piece.path.with_suffix(".wav"))
        if arguments.musicxml:
            save(write_score(piece), piece.path.with_suffix(".musicxml"))
    if page:
        save(build_page(found, folder.resolve().name), folder / "index.html")


def read_folder(folder: Path) -> list[Piece]:
    """Read a folder's pieces, newest first; name those left out; RenderError where none is left."""
    from tqdm import tqdm

    pieces = []
    for path in tqdm(find_midi_files(folder), unit="piece", leave=False, disable=None):
        try:
            pieces.append(read_piece(path))
        except RenderError as error:
            tqdm.write(f"render.py: left out: {error}", file=sys.stderr)
    if not pieces:
        raise RenderError(f"{folder} holds no .mid file that can be read.")
    return pieces


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status, 2 for anything the user can mend."""
    arguments = parse_args(argv)
    try:
        run(arguments)
    except RenderError as error:
        print(f"render.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
