"""Turn MIDI files into pictures, sound, sheet music or a web page, written beside each FILE.mid.

An earlier output of render.py is replaced; any other file of the same name is kept and reported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from midilstm import cli
from midilstm.fileio import InputError


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = "default: the newest one in --output-dir; with --page, all of them"
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.mid", help=default)
    for flag, text in (
        ("--piano-roll", "draw FILE.png"),
        ("--self-similarity", "draw FILE.self-similarity.png: how much of each bar recurs in each"),
        ("--audio", "play into FILE.wav; needs requirements-audio.txt"),
        ("--musicxml", "write FILE.musicxml for notation programs"),
        ("--page", "write index.html in --output-dir, which shows and plays all its pieces"),
    ):
        parser.add_argument(flag, action="store_true", help=f"{text} (default: off)")
    soundfont = "sounds for --audio (default: the soundfont that comes with pretty_midi)"
    parser.add_argument("--soundfont", type=Path, metavar="FILE.sf2", help=soundfont)
    folder = "folder of the page (default: %(default)s)"
    parser.add_argument("--output-dir", type=Path, default=Path("output"), help=folder)
    return parser.parse_args(argv)


def render(arguments: argparse.Namespace) -> None:
    """Write all requested outputs; raise InputError at the first that cannot be written."""
    from tqdm import tqdm

    from midilstm.rendering import write_marked
    from midilstm.rendering.audio import render_audio
    from midilstm.rendering.musicxml import write_score
    from midilstm.rendering.page import build_page
    from midilstm.rendering.piano_roll import draw_piano_roll
    from midilstm.rendering.self_similarity import draw_self_similarity
    from midilstm.rendering.timeline import TimedPiece, read_timed, readable_pieces

    outputs: dict[str, Callable[[TimedPiece], bytes]] = {}
    if arguments.piano_roll:
        outputs[".png"] = draw_piano_roll
    if arguments.self_similarity:
        outputs[".self-similarity.png"] = draw_self_similarity
    if arguments.audio:
        outputs[".wav"] = partial(render_audio, soundfont=arguments.soundfont)
    if arguments.musicxml:
        outputs[".musicxml"] = write_score
    if not outputs and not arguments.page:
        flags = "--piano-roll, --self-similarity, --audio, --musicxml or --page"
        raise InputError(f"no output was chosen: add {flags}.")
    folder, pieces = arguments.output_dir, [read_timed(path) for path in arguments.files]
    in_folder: list[TimedPiece] = []
    if arguments.page or not pieces:
        newest = islice(readable_pieces(folder), None if arguments.page else 1)
        in_folder = list(tqdm(newest, unit="piece", leave=False, disable=None))
        if not in_folder:
            cure = "make one with python sample.py, or name a file"
            raise InputError(f"{folder} contains no .mid file that can be read: {cure}.")
    for piece in tqdm(pieces or in_folder, unit="piece", leave=False, disable=None):
        for suffix, draw in outputs.items():
            tqdm.write(write_marked(draw(piece), piece.path.with_suffix(suffix)))
    if arguments.page:
        page = build_page(in_folder, folder.resolve().name)
        tqdm.write(write_marked(page, folder / "index.html"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    arguments = parse_args(argv)
    return cli.run_cli(lambda: render(arguments))


if __name__ == "__main__":
    sys.exit(main())
