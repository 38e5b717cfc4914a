"""The whole evaluation of tiny models: its numbers, its summary, and its error messages."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evaluate
import train
from midilstm import tokenizers
from midilstm.copies import CopyReport
from midilstm.generation.loaded_model import FittedOn, write_match_model
from midilstm.rendering.page import page_entry
from midilstm.rendering.timeline import read_timed
from midilstm.repetition.match_model import MatchWeights

NETWORK = ["--embedding-size=16", "--units=48", "--layers=1", "--dropout=0"]
TRAINING = [
    *("--no-transpose", "--batch-size=1", "--seq-length=8", "--learning-rate=0.02"),
    *("--validation=0.25", "--no-memory"),
]
EPOCHS, LENGTH = 25, 48
WEIGHTS = MatchWeights(1.0, 2.0, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
Evaluate = Callable[..., dict[str, Any]]


def write_random_piece(path: Path, seed: int) -> None:
    names = [tokenizers.get("notes").transpose("C4", semitones) for semitones in range(-5, 15)]
    names += ["0.4.7", "2.5.9", "7.11.2"]
    tokenizers.write(np.random.default_rng(seed).choice(names, LENGTH).tolist(), path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model that has memorised three pieces; a fourth is held out."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "data").mkdir()
    for seed in range(4):
        write_random_piece(folder / "data" / f"piece{seed}.mid", seed)
    flags = [f"--data-dir={folder / 'data'}", f"--model-dir={folder / 'model'}"]
    flags += [f"--log-dir={folder}", "--jobs=1", f"--epochs={EPOCHS}", f"--freq={EPOCHS - 1}"]
    assert train.main([*NETWORK, *TRAINING, *flags]) == 0
    return folder


@pytest.fixture
def flags(run: Path) -> list[str]:
    return [f"--data-dir={run / 'data'}", f"--model-dir={run / 'model'}", "--jobs=1"]


@pytest.fixture
def evaluated(flags: list[str], tmp_path: Path) -> Evaluate:
    """Return a function that evaluates with more flags and returns the content of --json."""

    def evaluate_with(*more: str) -> dict[str, Any]:
        path = tmp_path / "evaluation.json"
        assert evaluate.main([*flags, "--checkpoint=latest", f"--json={path}", *more]) == 0
        return dict(json.loads(path.read_text(encoding="utf-8")))

    return evaluate_with


def held_out_name(run: Path) -> str:
    settings = json.loads((run / "model" / "settings.json").read_text(encoding="utf-8"))
    (name,) = settings["dataset"]["held_out"]
    return str(name)


def refusal(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """Return the error message of an evaluation, which must be one line."""
    assert evaluate.main(flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_model_that_memorised_its_pieces_is_recognised(
    run: Path, evaluated: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    result = evaluated("--samples=6")
    longest = result["copying"]["generated"]["longest"]
    assert longest["length"] >= 24
    assert longest["piece"] in {f"piece{seed}.mid" for seed in range(4)} - {held_out_name(run)}
    original = tokenizers.read(run / "data" / longest["piece"])
    assert longest["piece_start"] + longest["length"] <= len(original)
    assert "it has memorised" in result["summary"]
    assert longest["piece"] in result["summary"]
    assert "worse than the best n-gram baseline" in result["summary"]
    assert result["copying"]["held_out"]["grams"]["8"]["exact"]["value"] == 0
    scores = result["scores"]
    assert scores["training"]["nll_per_token"]["value"] < 1
    assert scores["held_out"]["nll_per_token"]["value"] > 3
    assert (scores["held_out"]["pieces"], scores["training"]["n_available"]) == (1, 3)
    assert result["summary"] in capsys.readouterr().out


def test_random_notes_in_files_are_not_memorised(evaluated: Evaluate, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for seed, name in enumerate(("a", "b", "c", ".hidden"), 100):  # the last is not read
        write_random_piece(tmp_path / "new" / f"{name}.mid", seed)
    tokenizers.write(["C1", "C8"] * 10, tmp_path / "new" / "unknown.mid")  # unknown tokens
    result = evaluated(f"--generated={tmp_path / 'new'}")
    assert "it has not memorised" in result["summary"]
    assert result["generated"] == {"pieces": 4, "length": LENGTH, "memory": None}
    assert result["copying"]["generated"]["longest"]["length"] < 8
    assert result["statistics"]["values"]["pitch range (semitones)"]["generated"]["value"] > 20
    assert result["similarity"]["reference_set"] == "held_out"
    assert result["groove"] is None  # `notes` has no bars


def test_a_transposed_copy_in_a_file_is_reported_and_shown_on_the_page(
    run: Path, evaluated: Evaluate, tmp_path: Path
) -> None:
    name = min({f"piece{seed}.mid" for seed in range(4)} - {held_out_name(run)})
    original, folder = tokenizers.read(run / "data" / name), tmp_path / "new"
    folder.mkdir()
    transpose = tokenizers.get("notes").transpose
    tokenizers.write([transpose(token, 5) for token in original], folder / "a.mid")
    result = evaluated(f"--generated={folder}")
    copies = result["copying"]["generated"]
    match = copies["longest_transposed"]
    assert (match["length"], match["piece"], match["semitones"]) == (LENGTH, name, -5)
    assert copies["grams"]["12"]["exact"]["value"] == 0
    assert "it has memorised" in result["summary"]
    copy = CopyReport.load(folder).copies["a.mid"]
    assert (copy.piece, copy.tokens) == (name, LENGTH)
    entry = page_entry(read_timed(folder / "a.mid"), copy)["copy"]
    assert (entry["piece"], entry["semitones"]) == (name, -5)
    assert (entry["start"], entry["end"]) == (0, LENGTH / 4)
    numbers = entry["parts"][0]["notes"]
    (part,) = read_timed(run / "data" / name).parts
    notes = zip(*(numbers[offset::4] for offset in range(4)), strict=True)
    assert sorted(notes) == sorted(note[:4] for note in part.notes)


def test_the_seed_decides_which_pieces_are_drawn(evaluated: Evaluate) -> None:
    first, again = (evaluated("--samples=2", "--seed=3") for _ in range(2))
    assert first == again
    other = evaluated("--samples=2", f"--seed={2**63 - 1}")
    assert other["statistics"] != first["statistics"]
    assert other["scores"] == first["scores"]


def test_the_match_model_is_scored_and_used_for_sampling(
    run: Path, tmp_path: Path, evaluated: Evaluate
) -> None:
    folder = tmp_path / "remembering"
    shutil.copytree(run / "model", folder)
    write_match_model(folder / "match_model.json", WEIGHTS, FittedOn())
    flags = [f"--model-dir={folder}", "--samples=4", "--length=300"]
    result, off = evaluated(*flags), evaluated(*flags, "--memory=0")
    assert "the model with memory" in result["summary"]
    assert result["memory"] == asdict(WEIGHTS)
    assert result["generated"] == {"pieces": 4, "length": 300, "memory": 1}
    assert set(result["repetition"]) == {"generated", "held_out", "training"}
    assert off["scores"] == result["scores"]
    share, off_share = (
        x["repetition"]["generated"]["spans"]["8"]["share"]["value"] for x in (result, off)
    )
    assert off_share < share


def test_tensorflow_is_not_imported(flags: list[str]) -> None:
    arguments = [*flags, "--samples=2"]
    code = f"import sys, evaluate; assert evaluate.main({arguments!r}) == 0; print(*sys.modules)"
    root = Path(evaluate.__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"keras", "tensorflow"} & set(done.stdout.split())


def test_likelihoods_equal_those_that_training_logged(run: Path, evaluated: Evaluate) -> None:
    rows = (run / "training.csv").read_text(encoding="utf-8").splitlines()
    columns, last = rows[0].split(","), map(float, rows[-1].split(","))
    logged = dict(zip(columns, last, strict=True))
    result = evaluated("--samples=0")
    likelihood = result["scores"]["held_out"]
    assert likelihood["accuracy"]["value"] == pytest.approx(logged["val_accuracy"], abs=1e-5)
    # Keras limits the loss of tokens less likely than 1e-7; the evaluation does not.
    assert likelihood["nll_per_token"]["value"] > logged["val_loss"] - 1e-3
    assert (result["generated"], result["copying"]) == (None, None)


def test_other_music_needs_a_flag_and_is_all_held_out(
    evaluated: Evaluate, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_random_piece(other / "new.mid", 50)
    tokenizers.write(["C4", "C1", "C8", "C1", "D4"] * 9, other / "unknown.mid")
    error = refusal(capsys, *flags, f"--data-dir={other}")
    assert "4 pieces with 196 tokens, but this folder has 2 with 95" in error
    assert "--other-corpus" in error
    result = evaluated(f"--data-dir={other}", "--other-corpus", "--samples=2")
    assert [*result["scores"]] == ["held_out"]
    assert result["scores"]["held_out"]["pieces"] == 2
    assert result["scores"]["held_out"]["tokens"] == 95 - 27
    assert (result["ngram_baseline"], result["copying"]) == (None, None)
    (warning,) = result["warnings"]
    assert "27 of 95 tokens, of 2 kinds that the model does not know (C1, C8)" in warning


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--model-dir=nowhere", "python train.py"),
        ("--data-dir=nowhere", "--data-dir"),
        ("--generated=nowhere", "nowhere is not a folder"),
        ("--checkpoint=999", "--checkpoint can be"),
    ],
)
def test_a_mistake_is_reported_in_one_sentence(
    flags: list[str], flag: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refusal(capsys, *flags, flag)
