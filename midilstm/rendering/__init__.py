"""Turn a MIDI file into a picture, sound, sheet music or a web page."""

from pathlib import Path

from midilstm.fileio import InputError, printable, write_atomically

# Every output carries this mark, so that a user's own file of the same name is never replaced.
MARK = "made by render.py"


def write_marked(data: bytes, path: Path) -> str:
    """Write an output and return its path; raise InputError rather than replace a user's file."""
    if path.exists() and not (path.is_file() and MARK.encode() in path.read_bytes()):
        cure = "move it away to write there"
        raise InputError(f"{path} was not written by render.py and is kept: {cure}.")
    write_atomically(path, data)
    return printable(str(path))
