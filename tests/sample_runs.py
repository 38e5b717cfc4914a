"""Run sample.py in tests and read what it wrote."""

import json
from pathlib import Path
from typing import Any

import pytest

import sample
from midilstm.tokenizers.vocabulary import END

TOKENS = (END, "C4", "E4", "0.4.7", "2.5.9")  # of the model in the fixture `model_dir`


def run(*flags: str) -> list[dict[str, Any]]:
    """Run sample.py; return the JSON of each new piece, by seed, with its path."""
    before = set(Path().rglob("*.json"))
    assert sample.main(list(flags)) == 0
    paths = set(Path().rglob("*.json")) - before
    bodies = [json.loads(path.read_text("utf-8")) | {"path": path} for path in paths]
    return sorted(bodies, key=lambda body: body["seed"])


def midi_bytes(body: dict[str, Any]) -> bytes:
    """Return the content of a piece's MIDI file."""
    content: bytes = body["path"].with_suffix(".mid").read_bytes()
    return content


def refusal(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """Run sample.py with flags that it refuses; return its one sentence."""
    assert sample.main(list(flags)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error
