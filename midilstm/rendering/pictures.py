"""Draw a piece as a piano roll, or how much of each bar recurs in each other bar (PNG)."""

import io
import warnings
from collections.abc import Callable, Sequence

# Figure instead of pyplot: it needs no window system and leaves no global state behind.
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from pretty_midi import note_number_to_name

from midilstm.fileio import InputError, printable
from midilstm.midi import DRUMS
from midilstm.rendering import MARK
from midilstm.rendering.repeats import repeated_spans, self_similarity
from midilstm.rendering.timeline import Part, TimedPiece, drum_name

MAX_BARS = 1000  # more would take minutes, and a bar would be less than a pixel


def draw_piano_roll(piece: TimedPiece) -> bytes:
    """Draw time across and pitch up, one colour per instrument, one named row per drum."""
    pitched = [part for part in piece.parts if part.program != DRUMS]
    drums = [part for part in piece.parts if part.program == DRUMS]
    pitches, drum_keys = (
        sorted({note.pitch for part in parts for note in part.notes}) for parts in (pitched, drums)
    )
    height = min(max((pitches[-1] - pitches[0]) * 0.11, 2.4), 7) if pitches else 0
    heights = [inches for inches in (height, 0.19 * len(drum_keys)) if inches]
    size = (min(max(piece.seconds * 0.16, 10), 36), sum(heights) + 1.4)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    grid = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)
    top, bottom = grid[0, 0], grid[-1, 0]
    if pitches:
        draw_notes(top, pitched, int, piece.seconds)
        label_pitches(top, pitches[0], pitches[-1])
    # A span may have the colour of an instrument; it is drawn pale, notes are not.
    for start, end, colour in repeated_spans(piece):
        top.axvspan(start, end, facecolor=(colour, 0.15), edgecolor="white", zorder=0.5)
    if drum_keys:
        draw_notes(bottom, drums, drum_keys.index, piece.seconds)
        names = list(map(drum_name, drum_keys))
        bottom.set_yticks(range(len(drum_keys)), names, fontsize=8)
        bottom.set_ylim(-0.8, len(drum_keys) - 0.2)
    label_bars(figure, piece)
    return finish_figure(figure, piece)


def draw_self_similarity(piece: TimedPiece) -> bytes:
    """Draw a square of bars by bars, dark where two are alike; raise InputError above MAX_BARS."""
    if max(len(piece.bars), piece.score.quarters / 4) > MAX_BARS:
        reason = "too many for a self-similarity matrix"
        raise InputError(f"{piece.path} has more than {MAX_BARS:,} bars, {reason}.")
    figure = Figure(figsize=(8, 7.4), dpi=110, layout="constrained")
    axes = figure.subplots()
    edges = (0.5, len(piece.bars) + 0.5)
    matrix = self_similarity(piece.score)
    image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1, extent=(*edges, *edges[::-1]))
    axes.set(xlabel="Bar", ylabel="Bar")
    figure.colorbar(image, shrink=0.6, label="share of the notes that agree")
    return finish_figure(figure, piece)


def draw_notes(
    axes: Axes, parts: Sequence[Part], row_of: Callable[[int], int], seconds: float
) -> None:
    """Draw each note as a box from its start to its end on the row of its pitch."""
    for part in parts:
        boxes = []
        for note in part.notes:
            # A drum's note may last a few milliseconds, too short to see.
            start, end = note.start, max(note.end, note.start + seconds / 400)
            low, high = (row_of(note.pitch) + side * part.thickness / 2 for side in (-1, 1))
            boxes.append([(start, low), (start, high), (end, high), (end, low)])
        layer = PolyCollection(boxes, facecolor=part.colour, edgecolor="white", linewidth=0.3)
        if part.is_kept:
            layer.set(facecolor=(part.colour, 0.2), edgecolor=part.colour, linewidth=0.7)
        layer.set(zorder=4 - part.thickness, label=part.label)
        axes.add_collection(layer)


def label_pitches(axes: Axes, lowest: int, highest: int) -> None:
    """Name the Cs (every white key in a narrow range) and shade the rows of black keys."""
    labelled = {0} if highest - lowest > 14 else {0, 2, 4, 5, 7, 9, 11}
    ticks = [pitch for pitch in range(128) if pitch % 12 in labelled]
    axes.set_yticks(ticks, [note_number_to_name(pitch) for pitch in ticks])
    axes.set_ylim(lowest - 1.5, highest + 1.5)
    for pitch in range(lowest - 1, highest + 2):
        if pitch % 12 in {1, 3, 6, 8, 10}:
            axes.axhspan(pitch - 0.5, pitch + 0.5, color="#f4f4f6", linewidth=0, zorder=0)


def label_bars(figure: Figure, piece: TimedPiece) -> None:
    """Add bar numbers and a legend of the instruments."""
    step = 1 << max(0, (len(piece.bars) - 1) // 24).bit_length()
    for axes in figure.axes:
        axes.set_xlim(0, piece.seconds)
        axes.set_xticks(piece.bars[::step], map(str, range(1, len(piece.bars) + 1, step)))
        axes.grid(axis="x", color="#d9dade", linewidth=0.6, zorder=1)
        axes.tick_params(length=0, labelcolor="#44474d")
        axes.spines[:].set_visible(False)
    axes.set_xlabel("Bar (tinted: repeats, one tint per passage)", color="#44474d")
    style = {"frameon": False, "fontsize": 9, "handlelength": 1}
    figure.legend(loc="outside lower left", ncols=int(figure.get_figwidth() // 2.4), **style)


def finish_figure(figure: Figure, piece: TimedPiece) -> bytes:
    """Write the file's name, cut to 72 characters, above a figure; return it as a marked PNG."""
    title = printable(piece.path.stem)[:72]
    figure.axes[0].set_title(title, loc="left", pad=12, parse_math=False)  # "$" is no formula
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Letters of a title that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="png", metadata={"Software": MARK})
    return buffer.getvalue()
