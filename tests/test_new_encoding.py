"""A new encoding needs one file and one line in ENCODINGS: here it is added to a copy."""

import shutil
import subprocess
import sys
from pathlib import Path

from midi_bytes import notes, smf

ROOT = Path(__file__).parent.parent
STEPS = '''
"""For each note, after a `then`, the interval to the note before, in semitones."""

from itertools import accumulate, pairwise

from midilstm import midi
from midilstm.tokenizers.base import Encoding


class Steps(Encoding):
    name, version, start_state = "steps", "1", ""

    def encode(self, song):
        steps = pairwise([60, *(note.pitch for note in song.notes)])
        return [token for a, b in steps for token in ("then", f"{b - a:+d}")]

    def decode(self, tokens):
        pitches = list(accumulate(map(int, tokens[1::2]), initial=60))[1:]
        return midi.Score(1, tuple(midi.Note(i, 1, pitch) for i, pitch in enumerate(pitches)))

    def transpose(self, token, semitones):
        return token

    def token_distance(self, token, other):
        return (abs(int(token) - int(other)),) if "then" not in (token, other) else None

    def clock(self, bpm=None):
        raise NotImplementedError

    def bars(self, token):
        return 0.25

    def next_state(self, state, token):
        return None if (token == "then") == (state == "then") else token


ENCODINGS = {"steps": Steps()}
'''
FROM_FOLDER_TO_FILE = """
from pathlib import Path
from fake_network import FakeNetwork
import preprocess
from midilstm import tokenizers as encodings
from midilstm.config import DataConfig, SamplingConfig
from midilstm.data.dataset import load_dataset
from midilstm.generation.sampler import Sampler
from midilstm.tokenizers.vocabulary import Vocabulary

if __name__ == "__main__":  # the pool's workers import this file
    assert preprocess.main(["--data-dir=music", "--encoding=steps", "--jobs=1"]) == 0
    config = DataConfig(data_dir=Path("music"), encoding="steps", jobs=1, validation=0)
    corpus = load_dataset(config)
    corpus.vocabulary.save(Path("vocabulary.json"))
    vocabulary = Vocabulary.load(Path("vocabulary.json"))
    assert vocabulary.encoding.nearest("+9", vocabulary.tokens[1:]) == "+2"
    sampler = Sampler(FakeNetwork(), vocabulary, SamplingConfig(chars=10))
    tokens = sampler.draw([0])[0].tokens
    assert tokens[::2] == ["then"] * 5, tokens
    encodings.write(tokens, "new.mid", "steps")
    assert encodings.read("new.mid", "steps") == tokens
"""


def test_a_new_encoding_goes_from_folder_to_file(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "midilstm", tmp_path / "midilstm")
    for path in ("preprocess.py", "tests/fake_network.py"):
        shutil.copy(ROOT / path, tmp_path)
    line = '    "steps": ("steps", "intervals"),\n'
    encodings = tmp_path / "midilstm" / "tokenizers" / "__init__.py"
    begin, end = encodings.read_text("utf-8").split("ENCODINGS = {\n")
    encodings.write_text(f"{begin}ENCODINGS = {{\n{line}{end}", "utf-8")
    (tmp_path / "midilstm" / "tokenizers" / "steps.py").write_text(STEPS, "utf-8")
    (tmp_path / "music").mkdir()
    # Steps of -2, -1, 0, +1 and +2: with `then` and the end, as many tokens as the network knows.
    for name, pitches in {"a": (58, 59, 59), "b": (61, 63, 62)}.items():
        played = [(i, i + 1, pitch) for i, pitch in enumerate(pitches)]
        (tmp_path / "music" / f"{name}.mid").write_bytes(smf(notes(*played)))
    (tmp_path / "script.py").write_text(FROM_FOLDER_TO_FILE, "utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
