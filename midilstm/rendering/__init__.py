"""A MIDI file → a picture, sound, a score, a listening page. Knows no tokens and no models."""

from pathlib import Path

from midilstm.files import InputError, write_atomically

# Every result carries this mark, so that a file without it is known to be somebody's own work.
MARK = "made by render.py"


def write_marked(data: bytes, path: Path) -> str:
    """Write a result and return its path; raise InputError rather than replace one without mark."""
    if path.exists() and MARK.encode() not in path.read_bytes():
        raise InputError(f"{path} is not render.py's work and stays: move it away to write there.")
    write_atomically(path, data)
    return str(path)
