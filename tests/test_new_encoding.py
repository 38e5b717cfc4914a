"""A new encoding is one file and one line in ENCODINGS: here one made up, from folder to file."""

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from fake_network import FakeNetwork
from midi_bytes import notes, smf

from midilstm import midi
from midilstm import tokens as encodings
from midilstm.corpus import corpus
from midilstm.sampling.choose import Knobs
from midilstm.sampling.loop import generate
from midilstm.tokens.encoding import Clock, Encoding
from midilstm.tokens.vocabulary import Vocabulary


class Steps(Encoding):
    """Say of each note, after a `then`, how far it lies above the one before, in semitones."""

    name, version = "steps", "1"
    start = ""

    def tokens_of(self, song: midi.Song) -> list[str]:
        steps = pairwise([60, *(note.pitch for note in song.notes)])
        return [token for a, b in steps for token in ("then", f"{b - a:+d}")]

    def song_of(self, tokens: Sequence[str]) -> midi.Song:
        found, pitch = [], 60
        for place, token in enumerate(tokens[1::2]):
            pitch += int(token)
            found.append(midi.Note(place, 1, pitch))
        return midi.Song(1, tuple(found))

    def transpose(self, token: str, semitones: int) -> str:  # noqa: ARG002 - steps stay
        return token

    def distance(self, token: str, other: str) -> tuple[float, ...] | None:
        return (abs(int(token) - int(other)),) if "then" not in (token, other) else None

    def clock(self, bpm: float | None = None) -> Clock:
        raise NotImplementedError

    def follow(self, state: str, token: str) -> str | None:
        return None if (token == "then") == (state == "then") else token


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("midilstm.tokens.steps")
    module.ENCODINGS = {"steps": Steps()}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(encodings.ENCODINGS, "steps", ("steps", "intervals"))


@pytest.mark.usefixtures("steps")
def test_a_new_encoding_goes_from_folder_to_file(tmp_path: Path) -> None:
    for name, pitches in {"a": (62, 64, 60), "b": (61, 62, 64)}.items():
        played = [(i, i + 1, pitch) for i, pitch in enumerate(pitches)]
        (tmp_path / f"{name}.mid").write_bytes(smf(notes(*played)))
    found = corpus.load_corpus(tmp_path, name="steps", jobs=1, validation=0, transpose=True)
    assert sum(map(len, found.training.values())) == 2 * (6 + 1)
    found.vocabulary.save(tmp_path / "vocabulary.json")
    vocabulary = Vocabulary.load(tmp_path / "vocabulary.json")
    assert vocabulary.encoding.nearest("+3", vocabulary.tokens[1:4]) == "+2"
    ids = generate(FakeNetwork(), [0], 10, Knobs(), grammar=vocabulary.grammar())[0]
    tokens = [vocabulary.tokens[number] for number in ids]
    assert tokens[::2] == ["then"] * 5
    assert encodings.write(tokens, tmp_path / "new.mid", "steps") == 0
    assert encodings.read(tmp_path / "new.mid", "steps") == tokens
