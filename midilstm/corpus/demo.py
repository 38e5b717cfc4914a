"""The built-in corpus: Bach chorales from music21, written once as MIDI files. Knows no tokens."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path

from music21 import corpus, midi
from pebble import ProcessPool
from tqdm import tqdm

from midilstm.corpus.reading import without_interrupts
from midilstm.files import write_atomically

FOLDER = Path("demo")
NOTE = """\
Four-part chorales by Johann Sebastian Bach (public domain), from music21's corpus, whose encodings
have licences of their own: see its licence file before you publish them, and
https://www.music21.org/music21docs/about/referenceCorpus.html
"""


def make(jobs: int) -> Path:
    """Write music21's Bach chorales as MIDI files into the folder demo, once; return the folder."""
    note = FOLDER / "ABOUT.txt"  # written last: its presence says that the folder is complete
    if note.exists():
        return FOLDER
    print(f"Writing Bach chorales from music21's own corpus as MIDI files to {FOLDER}/ (once)")
    paths = {name: FOLDER / f"{Path(name).name}.mid" for name in chorales()}
    missing = {name: path for name, path in paths.items() if not path.exists()}
    with ProcessPool(jobs, context=get_context("spawn")) as pool:
        with without_interrupts():
            written = pool.map(_write, missing, missing.values()).result()
        for _ in tqdm(written, "Writing chorales", len(missing), unit="file", disable=None):
            pass
    write_atomically(note, NOTE)
    return FOLDER


def chorales() -> list[str]:
    """Return the sorted names of music21's Bach chorales, the built-in corpus, each once."""
    return sorted(set(corpus.chorales.Iterator(returnType="filename")))


def _write(chorale: str, path: Path) -> None:
    """Write one of `chorales()`, with all its parts and each repeat once, as a MIDI file."""
    score = corpus.parse(chorale)
    # Played out, repeats would only be trained on twice; and those of bwv277 cannot be played out.
    for measure in score.recurse().getElementsByClass("Measure"):
        measure.leftBarline = measure.rightBarline = None
    file = midi.translate.music21ObjectToMidiFile(score)
    write_atomically(path, file.writestr())
