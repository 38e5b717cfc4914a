"""A hostile JSON file of a piece, and flags without bounds, are refused in one sentence."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import hostile_files
import pytest
from hostile_files import CHECKPOINTS

import evaluate
import sample
from midilstm.config import SamplingConfig
from midilstm.generation.sampler import GROUP
from midilstm.repetition.match_model import MatchWeights
from midilstm.schema import to_json

MATCH_WEIGHTS = {field.name: 0.5 for field in fields(MatchWeights)}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a model folder, "model" in the current folder, that can be sampled from."""
    monkeypatch.chdir(tmp_path)
    hostile_files.write_model(tmp_path / "model")
    return tmp_path / "model"


def piece_json(**values: Any) -> dict[str, Any]:
    body = to_json(SamplingConfig(chars=5, seed=1))
    body |= {"rng_batch": {"seed": 1, "count": 1}, "weights_sha256": "ab", "primer_tokens": ["C4"]}
    return {**body, "memory_weights": None, **values}


METADATA: dict[str, tuple[Any, str]] = {
    "a list": ([], "describe"),
    "chars": (piece_json(chars=10**18), "chars is 1000"),
    "bars": (piece_json(chars=None, bars=10**9), "bars is 1000"),
    "seconds": (piece_json(chars=None, seconds=1e300), "seconds is 1e+300"),
    "two lengths": (piece_json(bars=4), "chars and bars are both given"),
    "a large group": (piece_json(rng_batch={"seed": 1, "count": GROUP + 1}), "rng_batch"),
    "a group without the seed": (piece_json(rng_batch={"seed": 5, "count": 9}), "does not hold"),
    "a negative group": (piece_json(rng_batch={"seed": -2, "count": 9}), "rng_batch"),
    "a group that is none": (piece_json(rng_batch=7), "rng_batch"),
    "texts": (piece_json(temperature="1"), "temperature is '1'"),
    "on and off": (piece_json(top_k=True), "top_k is True"),
    "large numbers": (piece_json(temperature=10**4000), "too large"),
    "a long path": (piece_json(model_dir="x" * 10**6), "model_dir is 'xxx"),
    "a path that is none": (piece_json(model_dir="a\0b"), "model_dir is"),
    "another folder": (piece_json(model_dir="\x1b[2J"), "no trained model"),
    "a checkpoint of escapes": (piece_json(checkpoint="\x1b[2J\n"), "--checkpoint can be"),
    "no instrument": (piece_json(instrument="\x1b[2J"), "General MIDI"),
    "tokens that are none": (piece_json(primer_tokens=["\x1b[2J"]), "not a token of notes"),
    "tokens that are texts": (piece_json(primer_tokens="C4"), "not a list of tokens"),
    "very many tokens": (piece_json(primer_tokens=["C4"] * 300_000), "more than 262,144"),
    "numbers for tokens": (piece_json(primer_tokens=[1]), "not a list of tokens"),
    "no tokens": (piece_json(primer_tokens=None), "describe"),
    "another memory": (piece_json(memory_weights={"bias": 1e9}), "the settings of MatchWeights"),
    "a memory of large numbers": (
        piece_json(memory_weights=MATCH_WEIGHTS | {"bias": 1e9}),
        "bias is",
    ),
    "levels": ("[" * 10_000, "nested"),
    "not a number": (piece_json(bpm=float("nan")), "NaN"),
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


@pytest.mark.parametrize("flag", ["--reproduce", "--primer"])
@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a device", "a file of a terabyte"])
def test_a_pipe_folder_or_device_in_place_of_a_piece_is_refused(
    flag: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write, _ = CHECKPOINTS[kind]
    write(Path("a"), hostile_files.good_parts())
    hostile_files.refusal(capsys, sample, f"{flag}=a")


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
    from midilstm.generation import length

    monkeypatch.setattr(length, "MAX_TOKENS", 50)
    assert sample.main(["--seconds=86400", "--seed=1"]) == 0
    assert "cut off at 50 tokens" in capsys.readouterr().err
