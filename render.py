"""Show and play MIDI files; a picture, sound and score of FILE.mid are written beside it.

A file that render.py made before is replaced; one that it did not make stays, and is reported.
"""

from __future__ import annotations

import midilstm  # noqa: F401 - the first, for Ctrl-C is its business from then on

# isort: split
import _thread
import argparse
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from midilstm import cli as shared
from midilstm.fileio import InputError


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = "default: the newest one in --output-dir; with --page, every one there"
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.mid", help=default)
    for flag, text in (
        ("--piano-roll", "draw FILE.png"),
        ("--form", "draw FILE.form.png: how much of each bar stands in each other bar"),
        ("--audio", "play into FILE.wav; needs requirements-audio.txt"),
        ("--musicxml", "write FILE.musicxml for notation programs"),
        ("--page", "write index.html in --output-dir, to see and hear every piece there"),
    ):
        parser.add_argument(flag, action="store_true", help=f"{text} (default: off)")
    sounds = "sounds for --audio (default: those that come with pretty_midi)"
    parser.add_argument("--soundfont", type=Path, metavar="FILE.sf2", help=sounds)
    folder = "folder of the page (default: %(default)s)"
    parser.add_argument("--output-dir", type=Path, default=Path("output"), help=folder)
    return parser.parse_args(argv)


def render(arguments: argparse.Namespace) -> None:
    """Make everything asked for; raise InputError at the first thing that cannot be made."""
    from tqdm import tqdm

    from midilstm.rendering import write_marked
    from midilstm.rendering.audio import render_audio
    from midilstm.rendering.musicxml import write_score
    from midilstm.rendering.page import build_page
    from midilstm.rendering.piano_roll import draw_piano_roll
    from midilstm.rendering.self_similarity import draw_self_similarity
    from midilstm.rendering.timeline import TimedPiece, read_timed, readable_pieces

    chosen: dict[str, Callable[[TimedPiece], bytes]] = {}
    if arguments.piano_roll:
        chosen[".png"] = draw_piano_roll
    if arguments.form:
        chosen[".form.png"] = draw_self_similarity
    if arguments.audio:
        chosen[".wav"] = partial(render_audio, soundfont=arguments.soundfont)
    if arguments.musicxml:
        chosen[".musicxml"] = write_score
    if not chosen and not arguments.page:
        raise InputError("say what to make: --piano-roll, --form, --audio, --musicxml or --page.")
    folder, named = arguments.output_dir, [read_timed(path) for path in arguments.files]
    found: list[TimedPiece] = []
    if arguments.page or not named:
        newest = islice(readable_pieces(folder), None if arguments.page else 1)
        found = list(tqdm(newest, unit="piece", leave=False, disable=None))
        if not found:
            advice = "make one with python sample.py, or name a file"
            raise InputError(f"{folder} holds no .mid file that can be read: {advice}.")
    # Music21 can take a minute over one piece: the bar shows at once, and goes when all is done.
    for piece in tqdm(named or found, unit="piece", leave=False, disable=None):
        for suffix, make in chosen.items():
            tqdm.write(write_marked(make(piece), piece.path.with_suffix(suffix)))
    if arguments.page:
        tqdm.write(write_marked(build_page(found, folder.resolve().name), folder / "index.html"))


def interrupt_again(lost: sys.UnraisableHookArgs) -> None:
    """Repeat a Ctrl-C that fell where Python ignores it, as while music21's objects are freed."""
    if lost.exc_type is KeyboardInterrupt:
        threading.Timer(0.05, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(lost)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the files; return the exit status."""
    arguments = parse_args(argv)
    sys.unraisablehook = interrupt_again
    return shared.run(lambda: render(arguments))


if __name__ == "__main__":
    sys.exit(main())
