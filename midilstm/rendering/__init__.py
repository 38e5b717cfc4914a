"""A MIDI file → a picture, sound, a score, a listening page. Knows no tokens and no models."""

from pathlib import Path

from midilstm.fileio import InputError, printable, write_atomically

# Every result carries this mark, so that a file without it is known to be somebody's own work.
MARK = "made by render.py"


def write_marked(data: bytes, path: Path) -> str:
    """Write a result and return its path; raise InputError rather than replace one without mark."""
    try:
        if path.exists() and not (path.is_file() and MARK.encode() in path.read_bytes()):
            cure = "move it away to write there"
            raise InputError(f"{path} is not render.py's work and stays: {cure}.")
        write_atomically(path, data)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    return printable(str(path))
