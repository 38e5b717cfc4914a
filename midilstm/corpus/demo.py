"""The built-in corpus: Bach chorales from music21, written once as MIDI files. Knows no tokens."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path

from music21 import corpus, midi
from pebble import ProcessPool
from tqdm import tqdm

from midilstm.files import write_atomically

FOLDER = Path("demo")
NOTE = """\
Four-part chorales by Johann Sebastian Bach (public domain), one MIDI file each, written by
`train.py --demo` from the corpus that comes with music21. The encodings there are under that
corpus's own licences: see https://www.music21.org/music21docs/about/referenceCorpus.html
and the licence file in music21's corpus folder before you publish them.
"""


def make(jobs: int) -> Path:
    """Write music21's Bach chorales as MIDI files into the folder demo, once; return the folder."""
    note = FOLDER / "ABOUT.txt"  # written last: its presence says that the folder is complete
    if note.exists():
        return FOLDER
    print(f"Writing Bach chorales from music21's own corpus as MIDI files to {FOLDER}/ (once)")
    names = [name for name in chorales() if not _path(name).exists()]
    with ProcessPool(jobs, context=get_context("spawn")) as pool:
        written = pool.map(_write, names).result()
        for _ in tqdm(written, "Writing chorales", len(names), unit="file", disable=None):
            pass
    write_atomically(note, NOTE)
    return FOLDER


def chorales() -> list[str]:
    """Return the sorted names of music21's Bach chorales, the built-in corpus, each once."""
    return sorted(set(corpus.chorales.Iterator(returnType="filename")))


def _path(chorale: str) -> Path:
    return FOLDER / f"{Path(chorale).name}.mid"


def _write(chorale: str) -> None:
    """Write one of `chorales()`, with all its parts and each repeat once, as a MIDI file."""
    score = corpus.parse(chorale)
    # Played out, repeats would only be trained on twice; and those of bwv277 cannot be played out.
    for measure in score.recurse().getElementsByClass("Measure"):
        measure.leftBarline = measure.rightBarline = None
    file = midi.translate.music21ObjectToMidiFile(score)
    write_atomically(_path(chorale), file.writestr())
