"""The built-in corpus: Bach chorales from music21, written once as MIDI files. Knows no tokens."""

from __future__ import annotations

import os
from pathlib import Path

from music21 import corpus

FOLDER = Path("demo")
NOTE = """\
Four-part chorales by Johann Sebastian Bach (public domain), one MIDI file each, written by
`train.py --demo` from the corpus that comes with music21. The encodings there are under that
corpus's own licences: see https://www.music21.org/music21docs/about/referenceCorpus.html
and the licence file in music21's corpus folder before you publish them.
"""


def make(jobs: int | None = None) -> Path:
    """Write music21's Bach chorales as MIDI files into the folder demo, once; return the folder."""
    note = FOLDER / "ABOUT.txt"  # written last: its presence says that the folder is complete
    if note.exists():
        return FOLDER
    from multiprocessing import get_context

    from pebble import ProcessPool
    from tqdm import tqdm

    FOLDER.mkdir(exist_ok=True)
    print(f"Writing Bach chorales from music21's own corpus as MIDI files to {FOLDER}/ (once)")
    names = [name for name in chorales() if not (FOLDER / file_name(name)).exists()]
    with ProcessPool(jobs or os.cpu_count() or 1, context=get_context("spawn")) as pool:
        written = pool.map(_write_chorale, names).result()
        for _ in tqdm(written, "Writing chorales", len(names), unit="file", disable=None):
            pass
    note.write_text(NOTE, encoding="utf-8")
    return FOLDER


def file_name(chorale: str) -> str:
    """Return the file name of a chorale in the demo folder."""
    return f"{Path(chorale).name}.mid"


def _write_chorale(chorale: str) -> None:
    path = FOLDER / file_name(chorale)
    partial = path.with_suffix(".partial")
    write_chorale(chorale, partial)
    partial.replace(path)


def chorales() -> list[str]:
    """Return the sorted names of music21's Bach chorales, the built-in corpus, each once."""
    return sorted(set(corpus.chorales.Iterator(returnType="filename")))


def write_chorale(name: str, path: Path) -> None:
    """Write one of `chorales()`, with all its parts and each repeat once, as a MIDI file."""
    score = corpus.parse(name)
    # Played out, repeats would only be trained on twice; and those of bwv277 cannot be played out.
    for measure in score.recurse().getElementsByClass("Measure"):
        measure.leftBarline = measure.rightBarline = None
    score.write("midi", fp=path)
