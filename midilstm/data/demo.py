"""Write the scores that come with music21 as MIDI files, once, for `train.py --demo`."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path

from music21 import corpus, midi
from pebble import ProcessPool
from tqdm import tqdm

from midilstm.data.files import count_noun
from midilstm.data.parsing import block_interrupts
from midilstm.fileio import write_atomically

ALL = "All scores of music21's corpus: fiddle tunes, madrigals, masses, quartets, chorales"
CHORALES = "Four-part chorales by Johann Sebastian Bach (public domain)"
FOLDERS = {"chorales": (Path("demo"), CHORALES), "all": (Path("demo-all"), ALL)}
NOTE = """\
{contents}, one MIDI file each, written by
`train.py --demo` from the corpus that comes with music21. The encodings there are under that
corpus's own licences: see https://www.music21.org/music21docs/about/referenceCorpus.html
and the licence file in music21's corpus folder before you publish them.
"""
MAX_SECONDS = 120  # for one score


def write_demo(jobs: int, name: str) -> Path:
    """Write music21's chorales, or all its scores, as MIDI files, once; return their folder."""
    folder, contents = FOLDERS[name]
    note = folder / "ABOUT.txt"  # written last, so that it marks a complete folder
    if note.exists():
        return folder
    print(f"Writing scores from music21's own corpus as MIDI files to {folder}/ (once)")
    paths = {score: folder / f"{file}.mid" for score, file in list_scores(name).items()}
    paths = {score: path for score, path in paths.items() if not path.exists()}
    failed = []
    with ProcessPool(jobs, context=get_context("spawn")) as pool:
        with block_interrupts():
            futures = pool.map(_write, list(paths), list(paths.values()), timeout=MAX_SECONDS)
            results = futures.result()
        for score in tqdm(paths, "Writing scores", unit="file", disable=None):
            try:
                next(results)
            except Exception as error:  # music21 raises many kinds
                failed.append(f"{score} ({type(error).__name__})")
    if failed:
        scores = count_noun(len(failed), "score")
        print(f"Left out {scores} that music21 cannot write, such as {failed[0]}")
    write_atomically(note, NOTE.format(contents=contents))
    return folder


def list_scores(name: str) -> dict[str, str]:
    """Return music21's names of the chorales or of all scores, sorted, with their file names."""
    if name == "chorales":
        chorales = sorted(set(corpus.chorales.Iterator(returnType="filename")))
        return {chorale: Path(chorale).name for chorale in chorales}
    root = corpus.corpora.CoreCorpus().manualCoreCorpusPath or Path(corpus.__file__).parent
    paths = sorted(path.relative_to(root) for path in corpus.getCorePaths() if _is_score(path))
    return {str(path): "-".join(path.parts) for path in paths}


def _is_score(path: Path) -> bool:
    """Return whether a file holds one score, not Roman numerals or a book of tunes."""
    if path.suffix == ".abc":
        return path.read_bytes().count(b"X:") < 2  # a book takes minutes
    return path.suffix != ".rntxt"


def _write(score: str, path: Path) -> None:
    """Write a score with all its parts as a MIDI file, without playing its repeats."""
    parsed = corpus.parse(score)
    for measure in parsed.recurse().getElementsByClass("Measure"):
        measure.leftBarline = measure.rightBarline = None
    # music21 cannot expand the repeats of bwv277.
    for mark in list(parsed.recurse().getElementsByClass(["RepeatMark", "RepeatBracket"])):
        mark.activeSite.remove(mark)
    file = midi.translate.music21ObjectToMidiFile(parsed)
    write_atomically(path, file.writestr())
