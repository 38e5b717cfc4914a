"""An untrusted model folder or piece is refused in one sentence, soon, and in little memory."""

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
from midilstm.config import SamplingConfig
from midilstm.generation import length
from midilstm.generation.sampler import GROUP
from midilstm.repetition.match_model import MatchWeights
from midilstm.schema import to_json
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
    "large numbers": (changed("model", units=10**4000), "is too large"),
    "larger numbers": (json.dumps(SETTINGS).replace("9", "9" * 5000), "cannot be used"),
    "infinity": (json.dumps(SETTINGS).replace(" 9,", " 1e999,"), "cannot be used"),
    "not a number": (changed("model", units=float("nan")), "NaN"),
    "a text": (changed("model", units="6"), "units is '6'"),
    "true": (changed("model", units=True), "units is True"),
    "unknown names": (changed("model", other=[[1]] * 1000), "which differ: other"),
    "missing names": (json.dumps({**SETTINGS, "model": {"units": 5}}), "which differ"),
    "a part that is a text": (json.dumps({**SETTINGS, "dataset": "x"}), "cannot be used"),
    "numbers for file names": (changed("dataset", held_out=[1]), "held_out is (1,)"),
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
    "large numbers": match_model(bias=10**4000),
    "infinity": match_model(bias=0.125).replace("0.125", "1e999"),
    "other names": json.dumps({"weights": {"x" * 9000: 1}, "fitted_on": FITTED_ON}),
    "a million entries": json.dumps({"weights": [0] * 1_000_000, "fitted_on": FITTED_ON}),
    "no numbers of what": json.dumps({"weights": MATCH_WEIGHTS, "fitted_on": [1]}),
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


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device", "a file of a terabyte"])
def test_a_pipe_folder_or_device_in_place_of_a_file_is_refused(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, _ = CHECKPOINTS[kind]
    write(Path("a"), {})
    for flag in ("--reproduce", "--primer"):
        hostile_files.refusal(capsys, sample, f"{flag}=a")
    for name in ("settings.json", "vocabulary.json", "match_model.json"):
        shutil.copytree("model", "whole", dirs_exist_ok=True)
        (folder / name).unlink(missing_ok=True)
        write(folder / name, {})
        assert name in refusal_of_both(capsys)
        shutil.rmtree(folder)
        shutil.move("whole", folder)


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


def piece_json(**values: Any) -> dict[str, Any]:
    body = to_json(SamplingConfig(chars=5, seed=1))
    body |= {"rng_batch": {"seed": 1, "count": 1}, "weights_sha256": "ab", "primer_tokens": ["C4"]}
    return {**body, "memory_weights": None, **values}


METADATA: dict[str, tuple[Any, str]] = {
    "a list": ([], "describe"),
    "chars": (piece_json(chars=10**18), "chars is 1000"),
    "seconds": (piece_json(chars=None, seconds=1e300), "seconds is 1e+300"),
    "two lengths": (piece_json(bars=4), "chars and bars are both given"),
    "a large group": (piece_json(rng_batch={"seed": 1, "count": GROUP + 1}), "rng_batch"),
    "a group without the seed": (piece_json(rng_batch={"seed": 5, "count": 9}), "does not hold"),
    "a group that is none": (piece_json(rng_batch=7), "rng_batch"),
    "texts": (piece_json(temperature="1"), "temperature is '1'"),
    "a long path": (piece_json(model_dir="x" * 10**6), "model_dir is 'xxx"),
    "a path that is none": (piece_json(model_dir="a\0b"), "model_dir is"),
    "another folder": (piece_json(model_dir="\x1b[2J"), "no trained model"),
    "a checkpoint of escapes": (piece_json(checkpoint="\x1b[2J\n"), "--checkpoint can be"),
    "no instrument": (piece_json(instrument="\x1b[2J"), "General MIDI"),
    "tokens that are none": (piece_json(primer_tokens=["\x1b[2J"]), "not a token of notes"),
    "tokens that are texts": (piece_json(primer_tokens="C4"), "not a list of tokens"),
    "very many tokens": (piece_json(primer_tokens=["C4"] * 300_000), "more than 262,144"),
    "a memory of large numbers": (
        piece_json(memory_weights=MATCH_WEIGHTS | {"bias": 1e9}),
        "bias is",
    ),
}


@pytest.mark.parametrize("kind", METADATA)
def test_hostile_metadata_of_a_piece_are_refused(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    body, message = METADATA[kind]
    Path("a.json").write_text(body if isinstance(body, str) else json.dumps(body))
    assert message in hostile_files.refusal(capsys, sample, "--reproduce=a.json")


def test_valid_metadata_are_drawn_again(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.json").write_text(json.dumps(piece_json()))
    assert sample.main(["--reproduce=a.json"]) == 0
    assert "has other weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "flag"),
    [
        *((sample, f"--count={count}") for count in (10**21, 100_001)),
        *((sample, f"--chars={count}") for count in (10**18, 1_000_001)),
        *((sample, flag) for flag in ("--bars=10001", "--bars=1e3", "--seconds=1e9", "--bpm=inf")),
        *((sample, flag) for flag in ("--top-k=99999999999999999999", "--repetition-penalty=inf")),
        *((evaluate, flag) for flag in ("--samples=1000000000", "--length=1000000000")),
    ],
)
def test_settings_that_would_take_for_ever_are_refused_at_once(
    script: Any, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with hostile_files.bounded(), pytest.raises(SystemExit) as stopped:
        script.main([flag])
    assert stopped.value.code == 2
    assert flag.split("=")[0] in capsys.readouterr().err.splitlines()[-1]


def test_a_piece_whose_time_never_advances_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(length, "MAX_TOKENS", 50)
    assert sample.main(["--seconds=86400", "--seed=1"]) == 0
    assert "cut off at 50 tokens" in capsys.readouterr().err
