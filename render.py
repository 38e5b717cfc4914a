"""Turn MIDI files into pictures, sound, sheet music or a web page, written beside each FILE.mid.

An earlier output of render.py is replaced; any other file of the same name is kept and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from midilstm import cli
from midilstm.config import RenderConfig
from midilstm.fileio import InputError, exclusive_lock
from midilstm.schema import add_arguments, from_flags


def parse_args(argv: Sequence[str] | None = None) -> tuple[RenderConfig, list[Path]]:
    """Return the settings and the files of the command line."""
    parser = cli.Parser(__doc__)
    text = "files to render (none = the newest one in --output-dir; with --page, all of them)"
    parser.add_argument("files", nargs="*", default=[], type=Path, metavar="FILE.mid", help=text)
    add_arguments(parser, RenderConfig)
    arguments = parser.parse_args(argv)
    return from_flags(RenderConfig, vars(arguments)), arguments.files


def render(config: RenderConfig, files: Sequence[Path]) -> None:
    """Write all requested outputs; raise InputError at the first that cannot be written."""
    from tqdm import tqdm

    from midilstm.rendering import write_marked
    from midilstm.rendering.audio import render_audio
    from midilstm.rendering.musicxml import write_score
    from midilstm.rendering.page import build_page
    from midilstm.rendering.pictures import draw_piano_roll, draw_self_similarity
    from midilstm.rendering.timeline import TimedPiece, read_timed, readable_pieces

    kinds: dict[str, tuple[bool, Callable[[TimedPiece], bytes]]] = {
        ".png": (config.piano_roll, draw_piano_roll),
        ".self-similarity.png": (config.self_similarity, draw_self_similarity),
        ".wav": (config.audio, partial(render_audio, soundfont=config.soundfont)),
        ".musicxml": (config.musicxml, write_score),
    }
    outputs = {suffix: draw for suffix, (is_chosen, draw) in kinds.items() if is_chosen}
    if not outputs and not config.page:
        flags = "--piano-roll, --self-similarity, --audio, --musicxml or --page"
        raise InputError(f"no output was chosen: add {flags}.")
    pieces, in_folder = [read_timed(path) for path in files], []
    if config.page or not pieces:
        newest = islice(readable_pieces(config.output_dir), None if config.page else 1)
        in_folder = list(tqdm(newest, unit="piece", leave=False, disable=None))
        if not in_folder:
            cure = "make one with python sample.py, or name a file"
            raise InputError(f"{config.output_dir} contains no .mid file that can be read: {cure}.")
    for piece in tqdm(pieces or in_folder, unit="piece", leave=False, disable=None):
        for suffix, draw in outputs.items():
            tqdm.write(write_marked(draw(piece), piece.path.with_suffix(suffix)))
    if config.page:
        page = build_page(in_folder, config.output_dir)
        with exclusive_lock(config.output_dir, timeout=60):
            tqdm.write(write_marked(page, config.output_dir / "index.html"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    config, files = parse_args(argv)
    return cli.run_cli(lambda: render(config, files))


if __name__ == "__main__":
    cli.exit_with(main())
