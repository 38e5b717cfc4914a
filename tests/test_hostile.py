"""An untrusted model folder is refused in one sentence, soon, and in little memory."""

import json
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import hostile_files
import pytest
from hostile_files import CHECKPOINTS, NUMBERS, SETTINGS

import evaluate
import sample
from midilstm.model_dir import FORMAT
from midilstm.repetition.match_model import MatchWeights
from midilstm.tokenizers.vocabulary import END

MATCH_WEIGHTS = {field.name: 0.5 for field in fields(MatchWeights)}
FITTED_ON = {"checkpoint": "best", "weights_sha256": "0", "pieces": 1, "tokens": 2, "seed": 0}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a model folder, "model" in the current folder, that can be sampled from."""
    monkeypatch.chdir(tmp_path)
    hostile_files.write_model(tmp_path / "model")
    return tmp_path / "model"


def refusal_of_both(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the error of sample.py, which evaluate.py must print, too."""
    first = hostile_files.refusal(capsys, sample, "--chars=5")
    assert hostile_files.refusal(capsys, evaluate).split(": ", 1)[1] == first.split(": ", 1)[1]
    assert not list(Path().glob("output/*"))
    return first


def test_a_valid_model_folder_is_sampled_from() -> None:
    assert sample.main(["--chars=5", "--seed=1"]) == 0


@pytest.mark.parametrize("kind", CHECKPOINTS | NUMBERS)
def test_a_hostile_checkpoint_is_refused(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, message = (CHECKPOINTS | NUMBERS)[kind]
    (folder / "best.keras").unlink()
    write(folder / "best.keras", hostile_files.good_parts())
    sentence = refusal_of_both(capsys)
    assert message in sentence
    assert "best.keras" in sentence


def test_damaged_names_of_layers_do_not_make_hdf5_hang(folder: Path) -> None:
    parts = hostile_files.good_parts()
    name, end = b"lstm_1".ljust(8, b"\0"), bytes(7)
    assert b"\x06" + end + name in parts["model.weights.h5"]
    damaged = parts["model.weights.h5"].replace(b"\x06" + end + name, b"\x2a" + end + name)
    hostile_files.pack(folder / "best.keras", {**parts, "model.weights.h5": damaged})
    script = [sys.executable, sample.__file__, "--chars=5"]
    assert subprocess.run(script, capture_output=True, timeout=60).returncode == 0


def changed(part: str, **values: Any) -> str:
    return json.dumps({**SETTINGS, part: {**SETTINGS[part], **values}})


HOSTILE_SETTINGS = {
    "many layers": (changed("model", layers=10**8), "layers is 100000000"),
    "a fraction of layers": (changed("model", layers=1e8), "layers is 100000000.0"),
    "large numbers": (changed("model", units=10**4000), "is too large"),
    "larger numbers": (json.dumps(SETTINGS).replace("9", "9" * 5000), "cannot be used"),
    "infinity": (json.dumps(SETTINGS).replace(" 9,", " 1e999,"), "cannot be used"),
    "not a number": (changed("model", units=float("nan")), "NaN"),
    "a text": (changed("model", units="6"), "units is '6'"),
    "true": (changed("model", units=True), "units is True"),
    "null": (changed("model", units=None), "units is None"),
    "unknown names": (changed("model", other=[[1]] * 1000), "which differ: other"),
    "a network of no layers": (changed("model", layers=0), "layers is 0"),
    "missing names": (json.dumps({**SETTINGS, "model": {"units": 5}}), "which differ"),
    "no parts": (json.dumps({"format": FORMAT}), "cannot be used"),
    "a part that is a text": (json.dumps({**SETTINGS, "dataset": "x"}), "cannot be used"),
    "numbers for file names": (changed("dataset", held_out=[1]), "held_out is (1,)"),
    "a list": ("[]", "cannot be used"),
    "levels": ('{"format":' * 10_000, "cannot be used"),
    "a million names": ("{" + '"a": 0, ' * 1_000_000 + '"b": 0}', "cannot be used"),
    "escapes": (changed("model", units="\x1b[2J\n\u202e"), "units is"),
    "another size": (changed("dataset", vocabulary_size=6), "mixes two runs"),
    "another width": (changed("model", units=7), "is damaged or not of the network"),
    "a wide network": (changed("model", units=65_536, layers=64), "not of the network"),
}


@pytest.mark.parametrize("kind", HOSTILE_SETTINGS)
def test_hostile_settings_are_refused(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, message = HOSTILE_SETTINGS[kind]
    (folder / "settings.json").write_text(text)
    assert message in refusal_of_both(capsys)


def match_model(**values: Any) -> str:
    return json.dumps({"weights": {**MATCH_WEIGHTS, **values}, "fitted_on": FITTED_ON})


MATCH_MODELS = {
    "a list": "[]",
    "texts": match_model(bias="1" * 9000),
    "large numbers": match_model(bias=10**4000),
    "infinity": match_model(bias=0.125).replace("0.125", "1e999"),
    "not a number": match_model(bias=float("nan")),
    "nothing": match_model(bias=None),
    "other names": json.dumps({"weights": {"x" * 9000: 1}, "fitted_on": FITTED_ON}),
    "levels": "[" * 10_000,
    "a million entries": json.dumps({"weights": [0] * 1_000_000, "fitted_on": FITTED_ON}),
    "no numbers of what": json.dumps({"weights": MATCH_WEIGHTS, "fitted_on": [1]}),
    "bytes": "\x00",
}


@pytest.mark.parametrize("kind", MATCH_MODELS)
def test_a_hostile_match_model_is_refused(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "match_model.json").write_text(MATCH_MODELS[kind])
    assert "match_model.json is not a match model" in refusal_of_both(capsys)


VOCABULARIES: dict[str, dict[str, Any]] = {
    "other merges": {"merges": [["C4", "E4"]]},
    "merges that are none": {"merges": [["C4"]]},
    "very many tokens": {"tokens": [END, *map(str, range(300_000))]},
    "a token less": {"tokens": [END, "C4", "E4", "0.4.7"]},
    "another encoding": {"encoding": "remi"},
}


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_a_vocabulary_that_does_not_fit_is_refused(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = json.loads((folder / "vocabulary.json").read_text())
    (folder / "vocabulary.json").write_text(json.dumps({**body, **VOCABULARIES[kind]}))
    sentence = refusal_of_both(capsys)
    assert "is not a readable vocabulary" in sentence or "mixes two runs" in sentence


@pytest.mark.parametrize("name", ["settings.json", "vocabulary.json", "match_model.json"])
@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device", "a file of a terabyte"])
def test_a_pipe_folder_or_device_in_place_of_json_is_refused(
    name: str, kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, _ = CHECKPOINTS[kind]
    (folder / name).unlink(missing_ok=True)
    write(folder / name, hostile_files.good_parts())
    assert name in refusal_of_both(capsys)


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--epochs=2", "--start-from=model"])
def test_training_never_loads_a_hostile_checkpoint(
    flag: str, tmp_path: Path, music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, model = pytest.importorskip("train"), tmp_path / "model"
    shutil.rmtree(model)
    flags = [f"--data-dir={music}", "--embedding-size=4", "--units=6", "--layers=1", "--jobs=1"]
    flags += ["--batch-size=2", "--seq-length=8", "--no-memory", "--freq=1"]
    assert train.main([*flags, "--epochs=1"]) == 0
    path = model / "epoch-0001.keras"
    parts = hostile_files.parts_of(path)
    shutil.copytree(model, "trained")
    flags += [flag] if flag == "--epochs=2" else [flag, "--model-dir=new", "--epochs=1"]
    for kind, (write, _) in CHECKPOINTS.items():
        shutil.rmtree(model)
        shutil.copytree("trained", model, ignore=shutil.ignore_patterns("*.keras"))
        write(path, parts)
        capsys.readouterr()
        status = train.main(flags)
        error = capsys.readouterr().err
        if flag == "--epochs=2" and "is damaged and was renamed to" in error:
            assert status == 0, kind  # trained again, from the beginning
        else:
            assert (status, "epoch-0001.keras" in error) == (2, True), (kind, error)
            assert error.count("\n") == 1, (kind, error)
