"""The whole evaluation on tiny models: what it says of memory, of chance, and of mistakes."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evaluate
import train
from midilstm import tokenizers as tokens
from midilstm.copies import CopyReport
from midilstm.evaluation import baseline
from midilstm.rendering.page import page_entry
from midilstm.rendering.timeline import read_timed
from midilstm.repetition.match_model import MatchWeights
from midilstm.tokenizers import vocabulary as vocabularies

NETWORK = ["--embedding-size=16", "--units=48", "--layers=1", "--dropout=0"]
TRAINING = [
    "--no-transpose",
    "--batch-size=1",
    "--seq-length=8",
    "--learning-rate=0.01",
    "--validation=0.25",
]
EPOCHS = 45
LENGTH = 48


def batched(numbers: list[float]) -> list[tuple[float, ...]]:
    """Return notes, four numbers each."""
    return [*zip(*(numbers[at::4] for at in range(4)), strict=True)]


def random_piece(path: Path, seed: int) -> None:
    names = [tokens.get("notes").transpose("C4", semitones) for semitones in range(-5, 15)]
    names += ["0.4.7", "2.5.9", "7.11.2"]
    tokens.write(np.random.default_rng(seed).choice(names, LENGTH).tolist(), path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model that has three pieces by heart; a fourth is held out."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "data").mkdir()
    for seed in range(4):
        random_piece(folder / "data" / f"piece{seed}.mid", seed)
    flags = [f"--data-dir={folder / 'data'}", f"--model-dir={folder / 'model'}"]
    flags += [f"--log-dir={folder}", "--jobs=1", f"--epochs={EPOCHS}", f"--freq={EPOCHS - 1}"]
    assert train.main([*NETWORK, *TRAINING, *flags]) == 0
    return folder


Evaluation = Callable[..., dict[str, Any]]


@pytest.fixture
def evaluated(trained: Path, tmp_path: Path) -> Evaluation:
    """Return a function that evaluates with these flags and gives what --json holds."""

    def run(*flags: str) -> dict[str, Any]:
        written = tmp_path / "evaluation.json"
        places = [f"--data-dir={trained / 'data'}", f"--model-dir={trained / 'model'}"]
        places += ["--checkpoint=latest"]  # the one that has pieces by heart
        assert evaluate.main([*places, "--jobs=1", f"--json={written}", *flags]) == 0
        return json.loads(written.read_text(encoding="utf-8"))

    return run


def test_a_model_that_has_pieces_by_heart_is_found_out(
    trained: Path, evaluated: Evaluation, capsys: pytest.CaptureFixture[str]
) -> None:
    result = evaluated("--samples=6")
    settings = json.loads((trained / "model" / "settings.json").read_text(encoding="utf-8"))
    (held_out,) = settings["dataset"]["held_out"]
    longest = result["copying"]["generated"]["longest"]
    assert longest["length"] >= 24
    assert longest["piece"] in {f"piece{seed}.mid" for seed in range(4)} - {held_out}
    original = tokens.read(trained / "data" / longest["piece"])
    assert longest["piece_start"] + longest["length"] <= len(original)
    assert "it has memorised" in result["summary"]
    assert longest["piece"] in result["summary"]
    assert "worse than the best n-gram baseline" in result["summary"]
    assert result["copying"]["held_out"]["grams"]["8"]["exact"]["value"] == 0
    scores = result["scores"]
    assert scores["training"]["nll_per_token"]["value"] < 1
    assert scores["held_out"]["nll_per_token"]["value"] > 3
    assert scores["held_out"]["pieces"] == 1
    printed = capsys.readouterr().out
    assert "training (3 of 3)" in printed
    assert f"{longest['length']} tokens of {longest['piece']}" in printed
    assert result["summary"][1:] in printed


def test_of_random_notes_it_says_the_opposite(evaluated: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    for seed in range(3):
        random_piece(tmp_path / "made" / f"{seed}.mid", 100 + seed)
    tokens.write(["C1", "C8"] * 10, tmp_path / "made" / "unknown.mid")  # tokens it never met
    result = evaluated(f"--generated={tmp_path / 'made'}")
    assert "it has not memorised" in result["summary"]
    assert result["copying"]["generated"]["longest"]["length"] < 8
    assert result["copying"]["generated"]["pieces"] == 4
    assert result["statistics"]["values"]["pitch range (semitones)"]["generated"]["value"] > 20
    assert "polyphony" not in result["statistics"]["values"]
    assert result["similarity"]["reference_set"] == "held_out"
    assert result["similarity"]["distributions"] == {}
    assert "inter-onset overlap" in result["similarity"]["skipped_features"]


def test_a_transposed_copy_is_memory_too(
    trained: Path, evaluated: Evaluation, tmp_path: Path
) -> None:
    settings = json.loads((trained / "model" / "settings.json").read_text(encoding="utf-8"))
    (held_out,) = settings["dataset"]["held_out"]
    name = next(f"piece{seed}.mid" for seed in range(4) if f"piece{seed}.mid" != held_out)
    original = tokens.read(trained / "data" / name)
    moved = [tokens.get("notes").transpose(token, 5) for token in original]
    (tmp_path / "made").mkdir()
    tokens.write(moved, tmp_path / "made" / "a.mid")
    result = evaluated(f"--generated={tmp_path / 'made'}")
    found = result["copying"]["generated"]
    assert found["longest_transposed"]["length"] == LENGTH
    assert found["longest_transposed"]["piece"] == name
    assert found["longest_transposed"]["semitones"] == -5
    assert found["grams"]["12"]["exact"]["value"] == 0
    assert "it has memorised" in result["summary"]
    report = CopyReport.read(tmp_path / "made")
    assert (report.copies["a.mid"].piece, report.copies["a.mid"].tokens) == (name, LENGTH)
    entry = page_entry(read_timed(tmp_path / "made" / "a.mid"), report)["copy"]
    assert (entry["piece"], entry["semitones"]) == (name, -5)
    assert (entry["start"], entry["end"]) == (0, LENGTH / 4)
    (part,) = read_timed(trained / "data" / name).parts
    assert sorted(batched(entry["parts"][0]["notes"])) == sorted(part.notes)


def test_the_same_seed_gives_the_same_numbers_and_another_other_pieces(
    evaluated: Evaluation,
) -> None:
    first, repeated_mask = (
        evaluated("--samples=2", "--seed=3"),
        evaluated("--samples=2", "--seed=3"),
    )
    other = evaluated("--samples=2", "--seed=4")
    assert first == repeated_mask
    assert (
        first["scores"]["held_out"]["nll_per_token"] == other["scores"]["held_out"]["nll_per_token"]
    )
    assert first["statistics"] != other["statistics"]
    assert evaluated("--samples=2", f"--seed={2**63 - 1}")["seed"] == 2**63 - 1


NAMES = [field.name for field in fields(MatchWeights)]
WEIGHTS = dict(zip(NAMES, (1.0, 2.0, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0), strict=True))


@pytest.fixture
def remembering(trained: Path, tmp_path: Path) -> Path:
    """Return the model's folder with a memory in it."""
    folder = tmp_path / "remembering"
    shutil.copytree(trained / "model", folder)
    fitted_on = {"checkpoint": "best", "weights_sha256": "", "pieces": 3, "tokens": 9, "seed": 0}
    body = {"weights": WEIGHTS, "fitted_on": fitted_on}
    (folder / "match_model.json").write_text(json.dumps(body), encoding="utf-8")
    return folder


def test_a_memory_in_the_model_folder_is_scored_and_sampled_with(
    remembering: Path, evaluated: Evaluation, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--model-dir={remembering}", "--samples=4", "--length=300"]
    found = evaluated(*flags)
    printed = capsys.readouterr().out
    assert "4 pieces of 300 tokens, drawn with --memory=1\n" in printed
    assert "nats a token with memory" in printed
    assert "Held-out nats a token by part of the pieces" in printed
    assert "the model with memory" in found["summary"]
    assert "its pieces repeat themselves" in found["summary"]
    assert found["memory"] == WEIGHTS
    assert found["generated"]["memory"] == 1
    assert set(found["repetition"]) == {"generated", "held_out", "training"}
    off = evaluated(*flags, "--memory=0")
    assert "4 pieces of 300 tokens, without memory\n" in capsys.readouterr().out
    assert off["scores"] == found["scores"]
    shares = [of["repetition"]["generated"]["spans"]["8"]["share"]["value"] for of in (off, found)]
    assert shares[0] < shares[1]


def test_a_damaged_memory_is_one_sentence(
    trained: Path, remembering: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (remembering / "match_model.json").write_text('{"delay": 1}', encoding="utf-8")
    flags = [f"--model-dir={remembering}", f"--data-dir={trained / 'data'}", "--jobs=1"]
    assert evaluate.main(flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "match_model.json" in error


def test_no_tensorflow_is_waited_for(trained: Path) -> None:
    places = [f"--data-dir={trained / 'data'}", f"--model-dir={trained / 'model'}", "--samples=2"]
    code = f"import sys, evaluate; assert evaluate.main({places!r}) == 0; print(*sys.modules)"
    root = Path(evaluate.__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"keras", "tensorflow"} & set(done.stdout.split())


def test_scores_are_those_that_training_logged(trained: Path, evaluated: Evaluation) -> None:
    rows = (trained / "training.csv").read_text(encoding="utf-8").splitlines()
    columns = rows[0].split(",")
    logged = dict(zip(columns, map(float, rows[-1].split(",")), strict=True))
    found = evaluated("--samples=0")
    assert found["scores"]["held_out"]["accuracy"]["value"] == pytest.approx(
        logged["val_accuracy"], abs=1e-5
    )
    # The log cuts off what is less likely than one in ten million; the evaluation does not.
    assert found["scores"]["held_out"]["nll_per_token"]["value"] > logged["val_loss"] - 1e-3
    assert "copying" not in found


def test_other_music_is_refused_unless_it_is_meant(
    trained: Path, evaluated: Evaluation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    random_piece(other / "new.mid", 50)
    tokens.write(["C4", "C1", "C8", "C1", "D4"] * 9, other / "strange.mid")
    flags = [f"--data-dir={other}", f"--model-dir={trained / 'model'}", "--jobs=1"]
    assert evaluate.main(flags) == 2
    refusal = capsys.readouterr().err
    assert refusal.count("\n") == 1
    assert "4 pieces with 196 tokens; here 2 with 95" in refusal
    assert "--other-corpus" in refusal
    result = evaluated(f"--data-dir={other}", "--other-corpus", "--samples=2")
    assert result["scores"]["held_out"]["pieces"] == 2
    assert result["scores"]["held_out"]["tokens"] == 95 - 27
    assert "training" not in result["scores"]
    assert "ngram_baseline" not in result
    assert "copying" not in result
    (note,) = result["warnings"]
    assert "27 of 95 tokens, of 2 kinds that the model does not know (C1, C8)" in note


def test_without_held_out_pieces_it_says_so(
    trained: Path, tmp_path: Path, evaluated: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline, "TRAINING_PIECES", 3)
    flags = [f"--data-dir={trained / 'data'}", f"--model-dir={tmp_path / 'all'}", "--jobs=1"]
    few = [f"--log-dir={tmp_path}", "--epochs=1", "--validation=0"]
    assert train.main([*NETWORK, *TRAINING, *flags, *few]) == 0
    result = evaluated(f"--model-dir={tmp_path / 'all'}", "--samples=2")
    assert "no pieces were held out" in result["summary"]
    assert result["scores"]["training"]["pieces"] == 3
    assert result["scores"]["training"]["of"] == 4
    assert "held_out" not in result["copying"]
    assert result["similarity"]["reference_set"] == "training"


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--model-dir=nowhere", "python train.py"),
        ("--data-dir=nowhere", "--data-dir"),
        ("--generated=nowhere", "nowhere is not a folder"),
        ("--checkpoint=999", "--checkpoint can be"),
    ],
)
def test_mistakes_are_one_sentence(
    trained: Path, flag: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [f"--data-dir={trained / 'data'}", f"--model-dir={trained / 'model'}", "--jobs=1"]
    assert evaluate.main([*places, flag]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error


def test_a_folder_that_mixes_two_runs_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixture = tmp_path / "mixed"
    shutil.copytree(trained / "model", mixture)
    vocabularies.Vocabulary((vocabularies.END, "C4")).save(mixture / "vocabulary.json")
    assert evaluate.main([f"--model-dir={mixture}", f"--data-dir={trained / 'data'}"]) == 2
    assert "has 2 tokens and its settings say" in capsys.readouterr().err
