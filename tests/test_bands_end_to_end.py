"""A folder of band pieces through every script, in tsd and in remi, with tiny models."""

import json
from pathlib import Path
from typing import Any

import mido
import pretty_midi
import pytest
from midi_bytes import band

import evaluate
import sample
import train
from midilstm import tokenizers
from midilstm.generation import fit_model
from midilstm.tokenizers.vocabulary import Vocabulary

SMALL = ["--embedding-size=8", "--units=16", "--layers=1", "--batch-size=2", "--seq-length=16"]


@pytest.fixture(scope="module", params=["tsd", "remi"])
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """Return an encoding and a folder with a model of six band pieces, with merged tokens."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "data").mkdir()
    for seed in range(6):
        (folder / "data" / f"{seed}.mid").write_bytes(band(seed))
    flags = [*data_flags(folder), *SMALL, f"--encoding={request.param}", "--bpe=20"]
    flags += ["--no-memory"] * (request.param == "tsd")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_model, "MAX_SAMPLED", 20_000)  # one round of sampling
        assert train.main([*flags, f"--log-dir={folder}", "--epochs=1"]) == 0
    assert Vocabulary.load(folder / "model" / "vocabulary.json").merges
    return request.param, folder


def data_flags(folder: Path) -> list[str]:
    return [f"--data-dir={folder / 'data'}", f"--model-dir={folder / 'model'}", "--jobs=1"]


def draw(folder: Path, *flags: str) -> tuple[dict[str, Any], Path]:
    """Draw a piece; return its JSON and the path of its MIDI file."""
    places = [f"--model-dir={folder / 'model'}", f"--output-dir={folder / 'output'}", "--seed=1"]
    assert sample.main([*places, *flags]) == 0
    path = max((folder / "output").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return json.loads(path.read_text("utf-8")), path.with_suffix(".mid")


def split_tokens(body: dict[str, Any]) -> list[str]:
    return " ".join(body["tokens"]).split()


@pytest.mark.parametrize("length", ["--bars=3", "--seconds=7", "--chars=90"])
def test_a_piece_has_the_length_of_its_flag(trained: tuple[str, Path], length: str) -> None:
    name, folder = trained
    body, path = draw(folder, length)
    parts = pretty_midi.PrettyMIDI(str(path)).instruments
    last_onset = max(note.start for part in parts for note in part.notes)
    assert body["n_invalid_tokens"] <= 3  # no more than a note cut off at the end
    encoding = tokenizers.get(name)
    clock = encoding.clock()
    bars = [clock.advance(token)[0] for token in split_tokens(body)]
    if length == "--bars=3":
        assert bars[-1] < 3
        assert last_onset < 3 * 2  # bars of 4/4 at 120
    elif length == "--seconds=7":
        assert last_onset < 7
    else:
        assert len(body["tokens"]) == 90
    starts = [note.start / 2 for note in encoding.timed_notes(body["tokens"])]
    limit = 7 if length == "--seconds=7" else 1e9  # the tokens hold the last bar whole
    assert last_onset == pytest.approx(max(x for x in starts if x < limit), abs=0.01)


def test_the_grammar_makes_an_untrained_model_draw_valid_music(trained: tuple[str, Path]) -> None:
    _, folder = trained
    flags = ["--chars=300", "--temperature=5"]
    strict, _ = draw(folder, *flags)
    free, _ = draw(folder, *flags, "--no-strict-grammar")
    assert strict["n_invalid_tokens"] <= 3
    assert free["n_invalid_tokens"] > 30


def test_a_primer_comes_before_the_new_music(trained: tuple[str, Path]) -> None:
    name, folder = trained
    primer = folder / "data" / "0.mid"
    body, path = draw(folder, f"--primer={primer}", "--include-primer", "--bars=2")
    assert split_tokens(body)[: len(body["primer_tokens"])] == tokenizers.read(primer, name)
    assert mido.MidiFile(path).length > mido.MidiFile(primer).length
    _, again = draw(folder, f"--reproduce={path.with_suffix('.json')}")
    assert again.read_bytes() == path.read_bytes()
    body, path = draw(folder, f"--primer={primer}", "--bars=4", "--seed=3")
    assert body["n_invalid_tokens"] <= 3
    assert 0 < mido.MidiFile(path).length < 5 * 2 + 2  # bars at 120, and the last notes' ends


def test_seconds_count_the_new_music_at_its_own_tempo(trained: tuple[str, Path]) -> None:
    name, folder = trained
    slow = folder / "slow.mid"
    file = mido.MidiFile(folder / "data" / "0.mid")
    file.tracks[0].insert(0, mido.MetaMessage("set_tempo", tempo=1_000_000, time=0))
    file.save(slow)
    body, path = draw(folder, f"--primer={slow}", "--include-primer", "--seconds=10")
    clock, primer = tokenizers.get(name).clock(), body["primer_tokens"]
    fresh = iter(split_tokens(body))
    for _, token in zip(primer, fresh, strict=False):
        clock.advance(token)
    while clock.advance(token := next(fresh)) and not token.startswith("Pitch"):
        pass
    per_quarter = 1 if name == "remi" else 0.5  # `tsd` has no tempo
    expected = clock.quarter * per_quarter + 10
    assert mido.MidiFile(path).length == pytest.approx(expected, abs=0.05)


def test_the_evaluation_measures_rhythm(trained: tuple[str, Path]) -> None:
    name, folder = trained
    report = folder / "e.json"
    flags = [*data_flags(folder), "--samples=3", "--length=60", f"--json={report}"]
    assert evaluate.main(flags) == 0
    body = json.loads(report.read_text("utf-8"))
    assert body["similarity"]["distributions"]["duration overlap"]["value"] > 0
    assert body["statistics"]["values"]["instruments"]["held_out"]["value"] == 3
    assert (body["groove"] is None) == (name == "tsd")  # which has no meter
    if name == "remi":
        assert body["groove"]["values"]["instruments"]["held_out"]["value"] == 3
    scores = body["scores"]["held_out"]
    per_note, per_token = (scores[f"nll_per_{unit}"]["value"] for unit in ("note", "token"))
    assert per_note / per_token == pytest.approx(scores["tokens"] / 100)
