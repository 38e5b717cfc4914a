"""Which model sample.py draws from, and how its match model, grammar and ranking act."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from fake_network import FakeNetwork
from sample_runs import TOKENS, midi_bytes, refusal, run

import sample
from midilstm.config import ModelConfig, SamplingConfig
from midilstm.data.dataset import Dataset
from midilstm.data.files import ReadReport
from midilstm.evaluation import copying, ranking
from midilstm.fileio import InputError
from midilstm.generation import loaded_model
from midilstm.generation.length import MAX_TOKENS_PER_UNIT
from midilstm.generation.network import Network, load
from midilstm.generation.sampler import GeneratedPiece
from midilstm.repetition.match_model import MatchWeights
from midilstm.repetition.metrics import repeat_lags
from midilstm.schema import to_json
from midilstm.tokenizers.vocabulary import END, Vocabulary

NOTE = ("Pitch_64", "Pitch_67", "Velocity_63", "Duration_0.6.12")
TSD = Vocabulary((END, "Program_0", *NOTE, "TimeShift_0.6.12"), "tsd")


def test_the_best_checkpoint_is_the_default(
    model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--chars=5")[0]["path"].stem.startswith("epoch-0002_")
    assert "from model/epoch-0002.keras (epoch 2) with --seed=" in capsys.readouterr().out
    (model_dir / "best.keras").symlink_to(model_dir / "epoch-0001.keras")
    (best,), (first,) = run("--chars=9", "--seed=1"), run("--chars=9", "--seed=1", "--checkpoint=1")
    assert (best["checkpoint"], first["checkpoint"]) == ("best", "1")
    assert best["tokens"] == first["tokens"]
    assert best["val_loss"] == first["val_loss"] == 0.25
    assert "best, latest, 1, 2" in refusal(capsys, "--checkpoint=7")


def test_a_folder_without_a_model_or_of_two_runs_is_refused(
    model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "python train.py" in refusal(capsys, "--model-dir=none")
    (model_dir / "vocabulary.json").unlink()
    Vocabulary((END, "C4")).save(model_dir / "vocabulary.json")
    assert "has 2 tokens and its settings say 5" in refusal(capsys)


def test_a_checkpoint_that_training_removes_meanwhile_is_selected_again(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = model_dir / "epoch-0002.keras"

    def remove_and_load(path: Path, config: ModelConfig, vocabulary_size: int) -> Network:
        newest.unlink(missing_ok=True)
        return load(path, config, vocabulary_size)

    monkeypatch.setattr(loaded_model, "load", remove_and_load)
    model = loaded_model.open_model(model_dir, "latest")
    assert model.checkpoint_path.stem == "epoch-0001"
    assert model.network.metrics == {"epoch": 1, "val_loss": 0.25}
    newest.symlink_to("nowhere")
    monkeypatch.setattr(loaded_model, "load", load)
    with pytest.raises(InputError, match="damaged"):
        loaded_model.open_model(model_dir, "latest")


def repeated_share(piece: dict[str, Any]) -> float:
    return float((repeat_lags(np.array(piece["tokens"]), 8) > 0).mean())


def test_a_stronger_match_model_makes_a_piece_repeat_itself_more(
    match_model: MatchWeights, model_dir: Path
) -> None:
    flags = ["--chars=300", "--seed=5"]
    off, weak, default, strong = (run(*flags, f"--memory={x}")[0] for x in (0, 0.5, 1, 2))
    assert off["path"].stem.endswith("_memory-0_chars-300")
    assert (off["memory"], off["memory_weights"]) == (0, None)
    assert (default["memory"], default["memory_weights"]) == (1, to_json(match_model))
    assert default["path"].stem == "epoch-0002_seed-5_temperature-1_chars-300"
    shares = [repeated_share(piece) for piece in (off, weak, default, strong)]
    assert shares == sorted({*shares})
    (model_dir / "match_model.json").unlink()
    (without,) = run(*flags)
    assert without["tokens"] == off["tokens"]
    assert (without["memory"], without["memory_weights"]) == (1, None)


@pytest.mark.parametrize(
    "flags", ["--top-p=0.8", "--top-k=3 --stop-at-end", "--count=9 --chars=400"]
)
def test_the_grammar_holds_unless_it_is_switched_off(
    flags: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = cast(Any, FakeNetwork())
    model = loaded_model.LoadedModel(Path("epoch-0001.keras"), network, TSD)
    monkeypatch.setattr(loaded_model, "open_model", lambda *_: model)
    strict = run(*flags.split(), "--seed=1")
    free = run(*flags.split(), "--seed=1", "--no-strict-grammar")
    assert "tokens that are not valid music" in capsys.readouterr().out
    assert max(piece["n_invalid_tokens"] for piece in strict) <= 3
    assert sum(piece["n_invalid_tokens"] for piece in free) > 3 * len(free)
    (again,) = run(f"--reproduce={free[-1]['path']}")
    assert again["tokens"] == free[-1]["tokens"]


@pytest.mark.parametrize("flags", ["--chars=4", "--bars=1", "--seconds=0.4"])
def test_pieces_without_a_note_are_named_and_the_others_written(
    flags: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = cast(Any, FakeNetwork())
    model = loaded_model.LoadedModel(Path("epoch-0001.keras"), network, TSD)
    monkeypatch.setattr(loaded_model, "open_model", lambda *_: model)
    monkeypatch.setitem(MAX_TOKENS_PER_UNIT, "bars", 4)
    monkeypatch.setitem(MAX_TOKENS_PER_UNIT, "seconds", 4)
    written = {piece["seed"] for piece in run(flags, "--count=12", "--seed=0")}
    error = capsys.readouterr().err
    silent = sorted({*range(12)} - written)
    assert silent
    assert f"no file for --seed={', '.join(map(str, silent[:10]))}" in error
    for count in (1, 2):
        assert "drew no note" in refusal(capsys, "--chars=1", f"--count={count}", "--seed=0")
    assert "Listen" not in capsys.readouterr().out


def test_constraints_are_recorded_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    (plain,) = run("--chars=60", "--seed=3")
    assert capsys.readouterr().out.endswith("\nListen: python render.py --page\n")
    flags = (
        "--chords=C Dm7",
        "--key=auto",
        "--control-strength=2",
        "--top-k=4",
        "--instrument=sax",
    )
    (piece,) = run("--chars=60", "--seed=3", *flags, "--output-dir=my music")
    output = capsys.readouterr().out
    assert "(key " in output
    assert "\nChords: C (C E G) | Dm7 (D F A C)\nInstrument: Alto Sax\n" in output
    assert output.endswith("\nListen: python render.py --page '--output-dir=my music'\n")
    assert piece["path"].stem.endswith("_top-k-4_key-auto_chords-C-Dm7_control-2_chars-60")
    assert (piece["key"], piece["chords"], piece["control_strength"]) == ("auto", "C Dm7", 2)
    assert piece["constraint_report"]["key"]
    assert piece["tokens"] != plain["tokens"]
    reproduce = f"--reproduce={piece['path']}"
    assert midi_bytes(*run(reproduce)) == midi_bytes(piece)
    (off,) = run(reproduce, "--control-strength=0", "--top-k=0")
    assert off["tokens"] == plain["tokens"]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--key=H minor", "not a key that music21 knows"),
        ("--chords=C X", "X in --chords is not a known chord symbol"),
        ("--instruments=piano", "train one with python train.py --encoding=remi"),
        ("--best=1", "has none for epoch-0002.keras: give the folder of the music"),
        ("--memory=1.5", "--memory=1.5 needs a match model"),
        ("--instrument=kazoo", "try piano, guitar"),
    ],
)
def test_what_the_model_cannot_follow_is_refused(
    flag: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(capsys, flag)


def dataset_of(training: dict[str, np.ndarray]) -> Dataset:
    return Dataset(Vocabulary(TOKENS), training, {}, ReadReport(), {})


def test_best_keeps_the_best_pieces_and_explains_the_others(
    model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    reference = {str(n): np.append(np.tile(rng.integers(1, 5, 20), 4), 0) for n in range(8)}
    ranking.write_reference(model_dir, dataset_of(reference))
    flags = ["--chars=80", "--seed=5", "--count=6"]
    pieces = {piece["seed"]: midi_bytes(piece) for piece in run(*flags)}
    capsys.readouterr()
    kept = run(*flags, "--best=2")
    output, error = capsys.readouterr()
    assert "--best cannot find copies, because data does not hold the music" in error
    assert [midi_bytes(piece) for piece in kept] == [pieces[piece["seed"]] for piece in kept]
    assert len(kept) == 2
    lines = [line for line in output.splitlines() if "left out" in line]
    left_out = {int(line.split("--seed=")[1].split(",")[0]) for line in lines}
    assert left_out | {piece["seed"] for piece in kept} == {5, 6, 7, 8, 9, 10}
    scores = [piece["ranking"]["score"] for piece in kept]
    assert f"score {min(scores):.2f})" in output
    assert "ranking" not in run("--chars=80", f"--seed={kept[0]['seed']}")[0]


def test_best_counts_long_copies_against_a_piece(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags, vocabulary = ["--chars=80", "--seed=5", "--count=2"], Vocabulary(TOKENS)
    copied_ids = vocabulary.ids_of(run(*flags)[0]["tokens"])[20:60]
    training = {"a.mid": np.append(copied_ids, 0)}
    training |= {f"{n}.mid": np.append(np.arange(n, n + 40) % 4 + 1, 0) for n in range(1, 8)}
    dataset = dataset_of(training)
    monkeypatch.setattr(copying, "load_music", lambda *_, **__: (dataset, []))
    ranking.write_reference(model_dir, dataset)
    copied = run(*flags, "--best=2", "--data-dir=music")[0]["ranking"]
    assert copied["copied"] >= 40
    assert f"{copied['copied']} tokens in a row of a training piece" in copied["reasons"]


def test_best_ranks_the_pieces_of_each_checkpoint_of_a_run(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--chars=80", "--count=2", "--best=1"]
    dataset = dataset_of({f"{n}.mid": np.append(np.arange(n, n + 40) % 4 + 1, 0) for n in range(8)})
    (model_dir / "best.keras").symlink_to(model_dir / "epoch-0001.keras")
    ranking.write_reference(model_dir, dataset)
    assert len(ranking.read_reference(model_dir / "reference.json")) == 2
    for which in ("best", "latest", "1", "2"):  # all of two epochs
        assert "ranking" in run(*flags, f"--checkpoint={which}")[0]
    with monkeypatch.context() as patch:
        patch.setattr(ranking, "measure_ranges", None)  # nothing is measured twice
        ranking.write_reference(model_dir, dataset)
    (model_dir / "reference.json").unlink()
    capsys.readouterr()
    assert "give the folder of the music" in refusal(capsys, *flags)
    monkeypatch.setattr(copying, "load_music", lambda *_, **__: (dataset, []))
    assert "ranking" in run(*flags, "--checkpoint=2")[0]
    rank = sample.make_ranker(
        SamplingConfig(count=3, best=3), loaded_model.open_model(model_dir, "1")
    )
    drawn = [GeneratedPiece(ids, [], None) for ids in ((), (1, 2), ())]
    assert [*rank(dict(enumerate(drawn)))] == [1]
    with pytest.raises(InputError, match="none of the 1 pieces has a note"):
        rank({0: drawn[0]})
