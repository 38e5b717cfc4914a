"""Model folders of strangers: each is answered in one sentence, soon, in little memory."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import hostile_files
import numpy as np
import pytest
from hostile_files import CHECKPOINTS, NUMBERS

import evaluate
import sample
from midilstm import model_dir as runs
from midilstm.config import DataConfig, ModelConfig, SamplingConfig, TrainConfig
from midilstm.generation.generate import GROUP
from midilstm.model_dir import DatasetSummary, RunSettings
from midilstm.repetition.match_model import MatchWeights
from midilstm.schema import to_json
from midilstm.tokenizers.vocabulary import END, Vocabulary

SETTINGS: dict[str, Any] = {
    "format": runs.FORMAT,
    **RunSettings(
        model=ModelConfig(embedding_size=4, units=6, layers=1),
        data=DataConfig(),
        train=TrainConfig(),
        dataset=DatasetSummary(
            pieces=2, tokens=9, held_out=("a.mid",), sha256="ab", vocabulary_size=5
        ),
    ).to_json(),
}
PULLS = {field.name: 0.5 for field in fields(MatchWeights)}
FITTED_ON = {"checkpoint": "best", "weights_sha256": "0", "pieces": 1, "tokens": 2, "seed": 0}
LAYERS: dict[str, tuple[str, str, list[tuple[int, ...]]]] = {
    "embedding": ("embedding", "vars", [(5, 4)]),
    "lstm": ("lstm_1", "cell/vars", [(4, 24), (6, 24), (24,)]),
    "dense": ("next_token", "vars", [(6, 5), (5,)]),
}
SECONDS, MEGABYTES = 5.0, 200  # of this process; far more than it takes


def good_parts() -> hostile_files.Parts:
    """Return the parts of a checkpoint, written without Keras."""
    path = Path("arrays.h5")
    with h5py.File(path, "w") as file:
        for layer, (name, where, shapes) in LAYERS.items():
            file.create_group(f"layers/{layer}/vars").attrs["name"] = name
            for number, shape in enumerate(shapes):
                file[f"layers/{layer}/{where}/{number}"] = np.full(shape, 0.5, np.float32)
    config = {"config": {"layers": [{"class_name": "LSTM"}]}}
    arrays = path.read_bytes()
    path.unlink()
    return {
        "config.json": json.dumps(config).encode(),
        "model.weights.h5": arrays,
        "metadata.json": b"{}",
        "metrics.json": b'{"val_loss": 1.5}',
    }


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a model folder that can be sampled from, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model"
    model.mkdir()
    Vocabulary((END, "C4", "E4", "0.4.7", "2.5.9")).save(model / "vocabulary.json")
    (model / "settings.json").write_text(json.dumps(SETTINGS))
    hostile_files.pack(model / "best.keras", good_parts())
    return model


@contextmanager
def bounded() -> Iterator[None]:
    """Hold what is done within to seconds and to memory."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def peak() -> int:
        lines = status.read_text().splitlines() if status.exists() else []
        return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)

    with suppress(OSError):
        clear.write_text("5")  # the peak is what it takes now
    before, began = peak(), time.process_time()
    yield
    assert time.process_time() - began < SECONDS
    assert peak() - before < MEGABYTES * 1024


def refusal(capsys: pytest.CaptureFixture[str], door: Any, *words: str) -> str:
    """Run a script that must refuse; return its one sentence."""
    with bounded():
        assert door.main(list(words)) == 2
    lines = capsys.readouterr().err.splitlines()
    (error,) = (line for line in lines if "warning: " not in line)
    assert error.isprintable()
    assert len(error) < 1500
    return error


def both(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what sample.py says; evaluate.py says the same."""
    first = refusal(capsys, sample, "--chars=5")
    assert refusal(capsys, evaluate).split(": ", 1)[1] == first.split(": ", 1)[1]
    assert not list(Path().glob("output/*"))
    return first


def test_the_good_one_is_sampled_from() -> None:
    assert sample.main(["--chars=5", "--seed=1"]) == 0


@pytest.mark.parametrize("kind", CHECKPOINTS | NUMBERS)
def test_a_hostile_checkpoint_is_refused(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, said = (CHECKPOINTS | NUMBERS)[kind]
    (folder / "best.keras").unlink()
    write(folder / "best.keras", good_parts())
    sentence = both(capsys)
    assert said in sentence
    assert "best.keras" in sentence


def test_names_that_hdf5_hangs_on_are_not_read(folder: Path) -> None:
    parts = good_parts()
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
    "large numbers": (changed("model", units=10**4000), "units is 1000"),
    "larger numbers": (json.dumps(SETTINGS).replace("9", "9" * 5000), "cannot be used"),
    "infinity": (json.dumps(SETTINGS).replace(" 9,", " 1e999,"), "cannot be used"),
    "not a number": (changed("model", units=float("nan")), "NaN"),
    "a text": (changed("model", units="6"), "units is '6'"),
    "true": (changed("model", units=True), "units is True"),
    "null": (changed("model", units=None), "units is None"),
    "unknown names": (changed("model", other=[[1]] * 1000), "which differ: other"),
    "a network of no layers": (changed("model", layers=0), "layers is 0"),
    "missing names": (json.dumps({**SETTINGS, "model": {"units": 5}}), "which differ"),
    "no parts": (json.dumps({"format": runs.FORMAT}), "cannot be used"),
    "a part that is a text": (json.dumps({**SETTINGS, "dataset": "x"}), "cannot be used"),
    "numbers for file names": (changed("dataset", held_out=[1]), "held_out is (1,)"),
    "a list": ("[]", "cannot be used"),
    "a name twice": (json.dumps(SETTINGS)[:-1] + ', "model": {}}', "twice"),
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
    text, said = HOSTILE_SETTINGS[kind]
    (folder / "settings.json").write_text(text)
    assert said in both(capsys)


def memory(**values: Any) -> str:
    return json.dumps({"weights": {**PULLS, **values}, "fitted_on": FITTED_ON})


MEMORIES = {
    "a list": "[]",
    "texts": memory(bias="1" * 9000),
    "large numbers": memory(bias=10**4000),
    "infinity": memory(bias=0.125).replace("0.125", "1e999"),
    "not a number": memory(bias=float("nan")),
    "nothing": memory(bias=None),
    "other names": json.dumps({"weights": {"x" * 9000: 1}, "fitted_on": FITTED_ON}),
    "a name twice": memory()[:-1] + ', "weights": {}}',
    "levels": "[" * 10_000,
    "a million entries": json.dumps({"weights": [0] * 1_000_000, "fitted_on": FITTED_ON}),
    "no numbers of what": json.dumps({"weights": PULLS, "fitted_on": [1]}),
    "bytes": "\x00",
}


@pytest.mark.parametrize("kind", MEMORIES)
def test_a_hostile_memory_is_refused(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "match_model.json").write_text(MEMORIES[kind])
    assert "match_model.json is not a match model" in both(capsys)


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
    sentence = both(capsys)
    assert "is not a readable vocabulary" in sentence or "mixes two runs" in sentence


@pytest.mark.parametrize("name", ["settings.json", "vocabulary.json", "match_model.json"])
@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device", "a file of a terabyte"])
def test_what_is_no_file_is_not_waited_for(
    name: str, kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, _ = CHECKPOINTS[kind]
    (folder / name).unlink(missing_ok=True)
    write(folder / name, good_parts())
    assert name in both(capsys)


def recipe(**values: Any) -> dict[str, Any]:
    body = to_json(SamplingConfig(chars=5, seed=1))
    body |= {"rng_batch": {"seed": 1, "count": 1}, "weights_sha256": "ab", "primer_tokens": ["C4"]}
    return {**body, "memory_weights": None, **values}


RECIPES: dict[str, tuple[Any, str]] = {
    "a list": ([], "describe"),
    "chars": (recipe(chars=10**18), "chars is 1000"),
    "bars": (recipe(chars=None, bars=10**9), "bars is 1000"),
    "seconds": (recipe(chars=None, seconds=1e300), "seconds is 1e+300"),
    "two lengths": (recipe(bars=4), "chars and bars are both given"),
    "a large group": (recipe(rng_batch={"seed": 1, "count": GROUP + 1}), "rng_batch does not hold"),
    "a group of large numbers": (recipe(rng_batch={"seed": 10**999, "count": 1}), "rng_batch"),
    "a group that is none": (recipe(rng_batch=7), "rng_batch"),
    "texts": (recipe(temperature="1"), "temperature is '1'"),
    "on and off": (recipe(top_k=True), "top_k is True"),
    "large numbers": (recipe(temperature=10**4000), "temperature is 1000"),
    "a long path": (recipe(model_dir="x" * 10**6), "model_dir is 'xxx"),
    "a path that is none": (recipe(model_dir="a\0b"), "model_dir is"),
    "another folder": (recipe(model_dir="\x1b[2J"), "no trained model"),
    "a checkpoint of escapes": (recipe(checkpoint="\x1b[2J\n"), "--checkpoint can be"),
    "no instrument": (recipe(instrument="\x1b[2J"), "General MIDI"),
    "tokens that are none": (recipe(primer_tokens=["\x1b[2J"]), "not a token of notes"),
    "tokens that are texts": (recipe(primer_tokens="C4"), "not a list of tokens"),
    "very many tokens": (recipe(primer_tokens=["C4"] * 300_000), "more than 262,144"),
    "numbers for tokens": (recipe(primer_tokens=[1]), "not a list of tokens"),
    "no tokens": (recipe(primer_tokens=None), "describe"),
    "another memory": (recipe(memory_weights={"bias": 1e9}), "expected the numbers"),
    "a memory of large numbers": (recipe(memory_weights={**PULLS, "bias": 10**999}), "bias is"),
    "levels": ("[" * 10_000, "nested"),
    "a name twice": (json.dumps(recipe())[:-1] + ', "seed": 2}', "twice"),
    "not a number": (recipe(bpm=float("nan")), "NaN"),
}


@pytest.mark.parametrize("kind", RECIPES)
def test_a_hostile_recipe_is_refused(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    body, said = RECIPES[kind]
    Path("a.json").write_text(body if isinstance(body, str) else json.dumps(body))
    assert said in refusal(capsys, sample, "--reproduce=a.json")


def test_the_good_recipe_is_drawn_again(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.json").write_text(json.dumps(recipe()))
    assert sample.main(["--reproduce=a.json"]) == 0
    assert "has other weights" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--reproduce", "--primer"])
@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device", "a file of a terabyte"])
def test_a_piece_that_is_no_file_is_not_waited_for(
    flag: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write, _ = CHECKPOINTS[kind]
    write(Path("a"), good_parts())
    refusal(capsys, sample, f"{flag}=a")


@pytest.mark.parametrize(
    "flag",
    [
        *("--count=1000000000000000000000", "--count=100001", "--chars=1000000000000000000"),
        *("--chars=1000001", "--bars=10001", "--bars=1e3", "--seconds=inf", "--seconds=1e9"),
        *("--top-k=99999999999999999999", "--bpm=inf", "--repetition-penalty=inf"),
    ],
)
def test_numbers_without_end_are_refused_at_once(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with bounded(), pytest.raises(SystemExit) as stopped:
        sample.main([flag])
    assert stopped.value.code == 2
    assert flag.split("=")[0] in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("flag", ["--samples=1000000000", "--length=1000000000"])
def test_evaluation_of_pieces_without_end_is_refused(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        evaluate.main([flag])
    assert stopped.value.code == 2
    assert flag.split("=")[0] in capsys.readouterr().err.splitlines()[-1]


def test_a_piece_of_weights_that_never_move_on_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from midilstm.generation import length as pieces

    monkeypatch.setattr(pieces, "MAX_TOKENS", 50)
    assert sample.main(["--seconds=86400", "--seed=1"]) == 0
    assert "cut off at 50 tokens" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("how", ["resume", "start from"])
def test_train_goes_on_from_no_hostile_checkpoint(
    how: str, tmp_path: Path, music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = pytest.importorskip("train")
    shutil.rmtree(tmp_path / "model")
    flags = [f"--data-dir={music}", "--embedding-size=4", "--units=6", "--layers=1", "--jobs=1"]
    flags += ["--batch-size=2", "--seq-length=8", "--no-memory", "--freq=1"]
    assert train.main([*flags, "--epochs=1"]) == 0
    path = tmp_path / "model" / "epoch-0001.keras"
    parts = hostile_files.parts_of(path)
    for checkpoint in (path, tmp_path / "model" / "best.keras"):
        checkpoint.unlink()
    if how == "start from":
        flags += ["--start-from=model", "--model-dir=new", "--epochs=1"]
    else:
        flags += ["--epochs=2"]
    for kind, (write, _) in CHECKPOINTS.items():
        write(path, parts)
        capsys.readouterr()
        status = train.main(flags)
        said = capsys.readouterr().err
        if how == "resume" and "is damaged and was renamed to" in said:
            assert status == 0, kind  # trained again, from the beginning
        else:
            assert (status, "epoch-0001.keras" in said) == (2, True), (kind, said)
            assert said.count("\n") == 1, (kind, said)
        for left in (tmp_path / "model").glob("*.keras"):
            if left.is_dir() and not left.is_symlink():
                left.rmdir()
            else:
                left.unlink()
