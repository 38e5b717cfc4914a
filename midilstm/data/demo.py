"""The built-in music: scores from music21, written once as MIDI files. Knows no tokens."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path

from music21 import corpus, midi
from pebble import ProcessPool
from tqdm import tqdm

from midilstm.data.parsing import without_interrupts
from midilstm.fileio import write_atomically

FOLDERS = {"chorales": Path("demo"), "all": Path("demo-all")}
WHAT = {
    "chorales": "Four-part chorales by Johann Sebastian Bach (public domain)",
    "all": "All scores of music21's corpus: fiddle tunes, madrigals, masses, quartets, chorales",
}
NOTE = """\
{what}, one MIDI file each, written by
`train.py --demo` from the corpus that comes with music21. The encodings there are under that
corpus's own licences: see https://www.music21.org/music21docs/about/referenceCorpus.html
and the licence file in music21's corpus folder before you publish them.
"""
SECONDS = 120  # for one score


def make(jobs: int, which: str = "chorales") -> Path:
    """Write music21's chorales, or all its scores, as MIDI files, once; return their folder."""
    folder = FOLDERS[which]
    note = folder / "ABOUT.txt"  # written last: its presence says that the folder is complete
    if note.exists():
        return folder
    print(f"Writing scores from music21's own corpus as MIDI files to {folder}/ (once)")
    paths = {name: folder / f"{file}.mid" for name, file in scores(which).items()}
    names = [name for name, path in paths.items() if not path.exists()]
    left_out = []
    with ProcessPool(jobs, context=get_context("spawn")) as pool:
        files = [paths[name] for name in names]
        with without_interrupts():
            written = pool.map(_write, names, files, timeout=SECONDS).result()
        for name in tqdm(names, "Writing scores", unit="file", disable=None):
            try:
                next(written)
            except Exception as error:  # whatever music21 raises on a score of its own
                left_out.append(f"{name} ({type(error).__name__})")
    if left_out:
        print(f"Left out {len(left_out)} scores that music21 cannot write, the first {left_out[0]}")
    write_atomically(note, NOTE.format(what=WHAT[which]))
    return folder


def scores(which: str) -> dict[str, str]:
    """Return music21's names of the chorales or of all scores, sorted, each with a file's name."""
    if which == "chorales":
        names = sorted(set(corpus.chorales.Iterator(returnType="filename")))
        return {name: Path(name).name for name in names}
    root = corpus.corpora.CoreCorpus().manualCoreCorpusPath or Path(corpus.__file__).parent
    found = sorted(path.relative_to(root) for path in corpus.getCorePaths() if _is_score(path))
    return {str(path): "-".join(path.parts) for path in found}


def _is_score(path: Path) -> bool:
    """Say whether a file is one score: Roman numerals are none, and some ABC files are books."""
    if path.suffix == ".abc":
        return path.read_bytes().count(b"X:") < 2  # of a tune; a book takes minutes
    return path.suffix != ".rntxt"


def _write(score: str, path: Path) -> None:
    """Write a score, with all its parts and each repeat once, as a MIDI file."""
    parsed = corpus.parse(score)
    # Played out, repeats would only be trained on twice; and those of bwv277 cannot be played out.
    for measure in parsed.recurse().getElementsByClass("Measure"):
        measure.leftBarline = measure.rightBarline = None
    for mark in list(parsed.recurse().getElementsByClass(["RepeatMark", "RepeatBracket"])):
        mark.activeSite.remove(mark)
    file = midi.translate.music21ObjectToMidiFile(parsed)
    write_atomically(path, file.writestr())
