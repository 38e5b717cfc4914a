"""A folder of bands through every script, in tsd and in remi, with tiny models."""

import json
from pathlib import Path
from typing import Any

import mido
import pretty_midi
import pytest
from midi_bytes import band, notes, smf

import evaluate
import sample
import train
from midilstm import tokenizers as encodings
from midilstm.tokenizers import vocabulary as vocabularies

SMALL = ["--embedding-size=8", "--units=16", "--layers=1", "--batch-size=2", "--seq-length=16"]


@pytest.fixture(scope="module", params=["tsd", "remi"])
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """Return an encoding and a folder with a model of six bands, whose tokens are merged."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "data").mkdir()
    for seed in range(6):
        (folder / "data" / f"{seed}.mid").write_bytes(band(seed))
    assert train.main([*places(folder), *SMALL, f"--encoding={request.param}", "--bpe=20"]) == 0
    return request.param, folder


def places(folder: Path, *, is_sampling: bool = False) -> list[str]:
    if is_sampling:
        return [f"--model-dir={folder / 'model'}", f"--output-dir={folder / 'output'}", "--seed=1"]
    words = [f"--data-dir={folder / 'data'}", f"--model-dir={folder / 'model'}", "--jobs=1"]
    return [*words, f"--log-dir={folder}", "--epochs=2"]


def newest(folder: Path) -> tuple[dict[str, Any], Path]:
    path = max((folder / "output").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return json.loads(path.read_text("utf-8")), path.with_suffix(".mid")


def test_the_model_folder_says_how_it_hears(trained: tuple[str, Path]) -> None:
    name, folder = trained
    vocabulary = vocabularies.Vocabulary.load(folder / "model" / "vocabulary.json")
    assert vocabulary.encoding_name == name
    assert vocabulary.merges
    settings = json.loads((folder / "model" / "settings.json").read_text("utf-8"))
    assert settings["data"]["bpe"] == 20


@pytest.mark.parametrize("words", [["--encoding=notes"], ["--bpe=10"]])
def test_a_run_in_another_encoding_is_refused(
    trained: tuple[str, Path], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    name, folder = trained
    other = words if words[0].startswith("--encoding") else [f"--encoding={name}", *words]
    assert train.main([*places(folder), *SMALL, *other]) == 2
    changed = "encoding was" if words[0].startswith("--encoding") else "bpe was 20"
    assert changed in capsys.readouterr().err


@pytest.mark.parametrize("length", ["--bars=3", "--seconds=7", "--chars=90"])
def test_a_piece_is_music_of_the_length_asked_for(trained: tuple[str, Path], length: str) -> None:
    name, folder = trained
    assert sample.main([*places(folder, is_sampling=True), length]) == 0
    body, path = newest(folder)
    file = pretty_midi.PrettyMIDI(str(path))
    starts = [note.start for part in file.instruments for note in part.notes]
    assert starts
    assert body["n_invalid_tokens"] <= 3  # no more than a note cut short at the end
    clock = encodings.get(name).clock()
    told = [clock.advance(token) for token in " ".join(body["tokens"]).split()]
    if length == "--bars=3":
        assert told[-1][0] < 3
        assert max(starts) < 3 * 2  # bars of 4/4 at 120
    elif length == "--seconds=7":
        assert max(starts) < 7
    else:
        assert len(body["tokens"]) == 90
    assert max(starts) == pytest.approx(
        max(note.start for note in encodings.get(name).timed_notes(body["tokens"])) / 2, abs=0.01
    )


def test_the_grammar_keeps_an_untrained_model_to_music(trained: tuple[str, Path]) -> None:
    _, folder = trained
    wild = [*places(folder, is_sampling=True), "--chars=300", "--temperature=5"]
    assert sample.main(wild) == 0
    strict, _ = newest(folder)
    assert sample.main([*wild, "--no-strict-grammar"]) == 0
    free, _ = newest(folder)
    assert strict["n_invalid_tokens"] <= 3
    assert free["n_invalid_tokens"] > 30


def test_a_primer_comes_before_the_new_music(trained: tuple[str, Path]) -> None:
    name, folder = trained
    primer = folder / "data" / "0.mid"
    words = [f"--primer={primer}", "--include-primer", "--bars=2"]
    assert sample.main([*places(folder, is_sampling=True), *words]) == 0
    body, path = newest(folder)
    split = " ".join(body["tokens"]).split()
    assert split[: len(body["primer_tokens"])] == encodings.read(primer, name)
    assert mido.MidiFile(path).length > mido.MidiFile(primer).length
    words = [f"--reproduce={path.with_suffix('.json')}", f"--output-dir={folder / 'output'}"]
    assert sample.main(words) == 0
    assert newest(folder)[1].read_bytes() == path.read_bytes()


def test_new_music_alone_goes_on_as_the_primer_ended(trained: tuple[str, Path]) -> None:
    _, folder = trained
    words = [f"--primer={folder / 'data' / '1.mid'}", "--bars=4", "--seed=3"]
    assert sample.main([*places(folder, is_sampling=True)[:2], *words]) == 0
    body, path = newest(folder)
    assert body["n_invalid_tokens"] <= 3
    assert 0 < mido.MidiFile(path).length < 5 * 2 + 2  # bars at 120, and the last notes' ends


def test_seconds_are_of_new_music_whatever_the_primer(trained: tuple[str, Path]) -> None:
    name, folder = trained
    slow = folder / "slow.mid"
    slow.write_bytes((folder / "data" / "0.mid").read_bytes())
    file = mido.MidiFile(slow)
    file.tracks[0].insert(0, mido.MetaMessage("set_tempo", tempo=1_000_000, time=0))
    file.save(slow)
    words = [f"--primer={slow}", "--include-primer", "--seconds=10"]
    assert sample.main([*places(folder, is_sampling=True), *words]) == 0
    body, _ = newest(folder)
    clock = encodings.get(name).clock()
    told = [clock.advance(token)[1] for token in " ".join(body["tokens"]).split()]
    new = told[-1] - told[len(body["primer_tokens"]) - 1]
    assert 5 < new < 10


def test_a_primer_of_unknown_drums_is_heard_as_known_ones(
    trained: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder = trained
    primer = folder / "drums.mid"
    primer.write_bytes(smf(notes((0, 1, 81), (1, 2, 82), channel=9)))
    words = [*places(folder, is_sampling=True), f"--primer={primer}", "--chars=20"]
    vocabulary = folder / "model" / "vocabulary.json"
    assert "PitchDrum_42" in vocabulary.read_text("utf-8")
    assert sample.main(words) == 0  # heard as the hi-hat it knows
    assert "replaced by PitchDrum_42" in capsys.readouterr().out


def test_the_evaluation_knows_rhythm(trained: tuple[str, Path]) -> None:
    _, folder = trained
    words = [f"--data-dir={folder / 'data'}", f"--model-dir={folder / 'model'}", "--jobs=1"]
    words += ["--samples=3", "--length=60", f"--json={folder / 'e.json'}"]
    assert evaluate.main(words) == 0
    found = json.loads((folder / "e.json").read_text("utf-8"))
    assert found["similarity"]["distributions"]["duration overlap"]["value"] > 0
    assert found["statistics"]["values"]["instruments"]["held_out"]["value"] == 3
    a_note, a_token = (
        found["scores"]["held_out"][f"nll_per_{what}"]["value"] for what in ("note", "token")
    )
    assert a_note / a_token == pytest.approx(found["scores"]["held_out"]["tokens"] / 100)
