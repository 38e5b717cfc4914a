"""The sampling script: its flags, the files that come out, and mistakes."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, cast

import mido
import numpy as np
import pytest
from fake_network import FakeNetwork

import model
import sample
from midilstm import tokenizers as tokens
from midilstm.config import LENGTHS, DataConfig, ModelConfig, TrainConfig
from midilstm.data.dataset import Dataset, ReadReport
from midilstm.evaluation import copying, ranking
from midilstm.fileio import InputError
from midilstm.generation import length
from midilstm.generation import loaded_model as model_folder
from midilstm.midi import program_of
from midilstm.model_dir import DatasetSummary, RunSettings, save_settings
from midilstm.repetition.match_model import MatchWeights
from midilstm.repetition.metrics import repeat_lags
from midilstm.tokenizers.vocabulary import END, Vocabulary

TOKENS = (END, "C4", "E4", "0.4.7", "2.5.9")
NOTE = ("Pitch_64", "Pitch_67", "Velocity_63", "Duration_0.6.12")
TSD = (END, "Program_0", *NOTE, "TimeShift_0.6.12")
Sampled = list[dict[str, Any]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model folder with two checkpoints of a tiny network."""
    folder = tmp_path_factory.mktemp("model")
    config = ModelConfig(embedding_size=4, units=6, layers=1, dropout=0, input_dropout=0)
    Vocabulary(TOKENS).save(folder / "vocabulary.json")
    settings = RunSettings(
        model=config,
        data=DataConfig(),
        train=TrainConfig(),
        dataset=DatasetSummary(vocabulary_size=len(TOKENS)),
    )
    save_settings(folder, settings)
    network = model.build_model(config, len(TOKENS), batch_size=1, sequence_length=1)
    for epoch in (1, 2):
        rng, path = np.random.default_rng(epoch), folder / f"epoch-000{epoch}.keras"
        spreads = (2, 2, 2, 0, 1.5, 0)  # such that it hears what came before and is never sure
        shapes = [array.shape for array in network.get_weights()]
        network.set_weights([rng.normal(0, *pair) for pair in zip(spreads, shapes, strict=True)])
        network.save(path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("metrics.json", json.dumps({"val_loss": epoch / 4}))
    return folder


@pytest.fixture(autouse=True)
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    for path in trained.iterdir():
        (tmp_path / "model" / path.name).symlink_to(path)
    return tmp_path


def run(*words: str) -> Sampled:
    """Run sample.py; return the JSON of each piece made, by seed, with its path."""
    before = set(Path().rglob("*.json"))
    assert sample.main(list(words)) == 0
    made = set(Path().rglob("*.json")) - before
    bodies = [json.loads(path.read_text("utf-8")) | {"path": path} for path in made]
    return sorted(bodies, key=lambda body: body["seed"])


def music(body: dict[str, Any]) -> bytes:
    return body["path"].with_suffix(".mid").read_bytes()


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run sample.py where it must refuse; return its one sentence."""
    assert sample.main(list(words)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_exactly_that_many_onsets_half_a_quarter_apart() -> None:
    (made,) = run("--chars=100", "--seed=5", "--bpm=90", "--instrument=4")
    file = mido.MidiFile(made["path"].with_suffix(".mid"))
    messages, starts, now = list(mido.merge_tracks(file.tracks)), set(), 0
    for message in messages:
        now += message.time
        if message.type == "note_on" and message.velocity:
            starts.add(now / file.ticks_per_beat)
    assert sorted(starts) == [i / 2 for i in range(100)]
    assert [m.program for m in messages if m.type == "program_change" and m.channel != 9] == [4]
    tempos = [mido.tempo2bpm(m.tempo) for m in messages if m.type == "set_tempo"]
    assert tempos == [pytest.approx(90, abs=1e-3)]
    assert tokens.read(made["path"].with_suffix(".mid")) == made["tokens"]


def test_the_same_seed_gives_the_same_bytes_and_overwrites_nothing(folder: Path) -> None:
    stem = "epoch-0002_seed-5_temperature-1_chars-20"
    (folder / "output").mkdir()
    (folder / "output" / f"{stem}.json").write_text('{"seed": 0}')
    (folder / "output" / f"{stem}-2.mid").write_text("mine")
    (first,), (second,) = run("--chars=20", "--seed=5"), run("--chars=20", "--seed=5")
    assert (first["path"].stem, second["path"].stem) == (f"{stem}-3", f"{stem}-4")
    assert music(first) == music(second)
    assert (folder / "output" / f"{stem}.json").read_text() == '{"seed": 0}'
    assert not (folder / "output" / f"{stem}.mid").exists()
    assert music(*run("--chars=20", "--seed=6")) != music(first)


def test_a_drawn_seed_is_printed_and_repeats_the_piece(capsys: pytest.CaptureFixture[str]) -> None:
    (first,) = run("--chars=20")
    seed = capsys.readouterr().out.split("--seed=")[1].split()[0]
    assert music(*run("--chars=20", f"--seed={seed}")) == music(first)


def test_the_best_checkpoint_is_taken_unless_another_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--chars=5")[0]["path"].stem.startswith("epoch-0002_")
    (folder / "model" / "best.keras").symlink_to(folder / "model" / "epoch-0001.keras")
    (best,), (first,) = run("--chars=9", "--seed=1"), run("--chars=9", "--seed=1", "--checkpoint=1")
    assert (best["checkpoint"], first["checkpoint"]) == ("best", "1")
    assert best["tokens"] == first["tokens"]
    assert best["val_loss"] == first["val_loss"] == 0.25
    assert "best, latest, 1, 2" in refused(capsys, "--checkpoint=7")


def test_a_folder_without_a_model_or_of_two_runs_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "python train.py" in refused(capsys, "--model-dir=none")
    (folder / "model" / "vocabulary.json").unlink()
    Vocabulary((END, "C4")).save(folder / "model" / "vocabulary.json")
    assert "has 2 tokens and its settings say 5" in refused(capsys)


@pytest.mark.parametrize(
    "flag",
    [
        *("--chars=0", "--bars=1.5", "--seconds=0", "--seconds=nan", "--chars=100 --bars=2"),
        *("--temperature=-1", "--temperature=nan", "--temperature=x", "--temperature=1e-9"),
        *("--bpm=0", "--seed=-1", "--count=0", "--top-k=-1", "--top-p=0", "--top-p=1.1"),
        *("--repetition-penalty=0.9", "--memory=2.1", "--memory=-1", "--temperature=0 --count=2"),
    ],
)
def test_impossible_flags_are_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        sample.main(flag.split(" "))
    assert stopped.value.code == 2
    assert flag.split("=")[0] in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "hint"),
    [("128", "0 to 127"), ("kazoo", "try violin"), ("viol", "Violin, Viola")],
)
def test_an_instrument_is_a_number_or_the_beginning_of_one_name(
    text: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hint in refused(capsys, f"--instrument={text}")
    names = ("127", "VIOLA", "church", "lead 8 (bass + lead)")
    assert [program_of(name) for name in names] == [127, 41, 19, 87]


def read_with_music21(path: Path) -> list[tuple[float, int]]:
    from music21 import converter

    notes = converter.parse(path, forceSource=True).flatten().notes
    return sorted((float(n.offset), p.midi) for n in notes for p in n.pitches)


def read_with_pretty_midi(path: Path) -> list[tuple[float, int]]:
    import pretty_midi

    midi = pretty_midi.PrettyMIDI(str(path))
    found = [(midi.time_to_tick(n.start), n.pitch) for i in midi.instruments for n in i.notes]
    return sorted((tick / midi.resolution, pitch) for tick, pitch in found)


def test_other_programs_read_the_notes_that_the_json_names() -> None:
    (made,) = run("--chars=60", "--seed=2", "--bpm=97", "--instrument=flute")
    pitches = {"C4": [60], "E4": [64], "0.4.7": [60, 64, 67], "2.5.9": [62, 65, 69]}
    expected = [(i / 2, pitch) for i, t in enumerate(made["tokens"]) for pitch in pitches[t]]
    for reader in (read_with_music21, read_with_pretty_midi):
        assert reader(made["path"].with_suffix(".mid")) == sorted(expected)


def test_each_piece_of_eight_is_the_one_made_alone() -> None:
    made = run("--chars=40", "--count=8", "--seed=3")
    assert [body["seed"] for body in made] == list(range(3, 11))
    assert len({music(body) for body in made}) == 8
    for body in made:
        assert music(*run("--chars=40", f"--seed={body['seed']}")) == music(body)
        assert body["rng_batch"] == {"seed": body["seed"], "count": 1}


def test_a_piece_of_a_large_group_names_it_and_is_drawn_with_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = run("--chars=20", "--count=50", "--seed=3", "--stop-at-end")
    groups = [{"seed": 3, "count": 32}] * 32 + [{"seed": 35, "count": 18}] * 18
    assert [body["rng_batch"] for body in made] == groups
    repeated_mask = run(
        "--chars=20", "--count=50", "--seed=3", "--stop-at-end", "--output-dir=again"
    )
    assert [music(body) for body in repeated_mask] == [music(body) for body in made]
    capsys.readouterr()
    (one,) = run(f"--reproduce={made[40]['path']}", "--output-dir=one")
    assert (music(one), one["rng_batch"]) == (music(made[40]), made[40]["rng_batch"])
    said = capsys.readouterr()
    assert "--seed=43, one of 18 drawn together" in said.out
    assert "careful" not in said.err


WEIGHTS = MatchWeights(0.25, 1.0, 0, 1, 1, 0, 0, -0.5)
FITTED_ON = {"checkpoint": "best", "weights_sha256": "0", "pieces": 1, "tokens": 2, "seed": 0}


@pytest.fixture
def remembering(folder: Path) -> Path:
    """Give the model a memory; return its file."""
    model_folder.write_match_model(folder / "model" / "match_model.json", WEIGHTS, FITTED_ON)
    return folder / "model" / "match_model.json"


def returning(body: dict[str, Any]) -> float:
    """Return the share of spans of 8 tokens that came earlier."""
    return float((repeat_lags(np.array(body["tokens"]), 8) > 0).mean())


def test_a_piece_remembers_itself_where_the_model_has_a_memory(remembering: Path) -> None:
    flags = ["--chars=300", "--seed=5"]
    (new,), (weak,), (strong,) = (run(*flags, f"--memory={x}") for x in ("1", "0.5", "2"))
    (off,) = run(*flags, "--memory=0")
    assert off["path"].stem.endswith("_memory-0_chars-300")
    assert (off["memory"], off["memory_weights"]) == (0, None)
    assert (new["memory"], new["memory_weights"]) == (1, WEIGHTS.to_json())
    assert new["path"].stem == "epoch-0002_seed-5_temperature-1_chars-300"
    assert returning(off) < returning(weak) < returning(new) < returning(strong)
    remembering.unlink()
    (without,) = run(*flags)
    assert without["tokens"] == off["tokens"]
    assert (without["memory"], without["memory_weights"]) == (1, None)


def test_like_remembers_as_the_piece_did(
    remembering: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--chars=200", "--seed=5", "--top-p=0.95"]
    (new,), (off,) = run(*flags, "--memory=1.5"), run(*flags, "--memory=0")
    (repeated_mask,) = run(f"--reproduce={off['path']}", "--memory=1.5")
    assert repeated_mask["tokens"] == new["tokens"] != off["tokens"]
    remembering.unlink()  # what the piece was drawn with is kept in its JSON
    (without,) = run(*flags)
    for body in (new, off, without):
        assert run(f"--reproduce={body['path']}")[0]["tokens"] == body["tokens"]
    model_folder.write_match_model(remembering, WEIGHTS, FITTED_ON)
    assert run(f"--reproduce={without['path']}")[0]["tokens"] == without["tokens"]
    body = json.loads(without["path"].read_text(encoding="utf-8"))
    Path("wrong.json").write_text(json.dumps({**body, "memory_weights": {"bias": 1}}))
    assert "expected the numbers min_lag_bars, bias" in refused(capsys, "--reproduce=wrong.json")


def test_the_primer_fills_the_memory(remembering: Path) -> None:
    assert remembering.exists()
    motif = ["C4", "E4", "0.4.7", "E4", "2.5.9", "C4"]
    tokens.write([*motif, "0.4.7", "0.4.7", *motif[:3]], Path("seed.mid"))
    flags = ["--primer=seed.mid", "--chars=3", "--count=20", "--seed=0"]
    with_it = sum(body["tokens"] == motif[3:] for body in run(*flags, "--memory=2"))
    without = sum(body["tokens"] == motif[3:] for body in run(*flags, "--memory=0"))
    assert with_it > without + 10


def test_a_model_without_a_memory_says_so(
    remembering: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in ("", "[]", "{}", '{"weights": {}, "fitted_on": {}}'):
        remembering.write_text(content)
        assert "model/match_model.json is not a match model that train.py wrote" in refused(capsys)
    body = {"weights": {**WEIGHTS.to_json(), "bias": "1"}, "fitted_on": FITTED_ON}
    remembering.write_text(json.dumps(body))
    assert "bias is '1', expected a number" in refused(capsys)
    remembering.unlink()
    assert "--memory=1.5 needs a match model" in refused(capsys, "--memory=1.5")


def test_the_json_tells_how_a_piece_was_made() -> None:
    flags = ["--chars=20", "--seed=5", "--top-k=3", "--top-p=0.9", "--repetition-penalty=1.1"]
    (found,) = run(*flags, "--instrument=violin")
    assert found["command"] == f"python sample.py {' '.join(flags)} --instrument=violin"
    assert (found["seed"], found["chars"], found["bars"], found["temperature"]) == (5, 20, None, 1)
    assert (found["top_k"], found["top_p"], found["repetition_penalty"]) == (3, 0.9, 1.1)
    assert (found["instrument"], found["checkpoint"], found["val_loss"]) == (
        "Violin",
        "2",
        0.5,
    )
    assert set(found["versions"]) == {"python", "numpy", "music21", "miditok", "symusic"}
    knobs = "temperature-1_top-k-3_top-p-0.9_penalty-1.1"
    assert found["path"].stem == f"epoch-0002_seed-5_{knobs}_chars-20"


def test_like_makes_the_same_bytes_from_any_flags(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens.write(["E4", "C#7", "C4"], folder / "seed.mid")
    flags = ["--chars=30", "--temperature=1.3", "--top-k=4", "--top-p=0.95", "--bpm=77"]
    more = ["--repetition-penalty=1.2", "--primer=seed.mid", "--include-primer", "--stop-at-end"]
    made = run(*flags, *more, "--instrument=12", "--checkpoint=1", "--count=3")
    made += run("--bars=3") + run("--seconds=5.5", "--bpm=80", "--no-strict-grammar")
    (folder / "seed.mid").unlink()  # what the model was fed is kept in the JSON
    for body in made:
        (repeated_mask,) = run(f"--reproduce={body['path']}", "--output-dir=again")
        assert music(repeated_mask) == music(body)
        assert set(repeated_mask) == set(body)
    assert "careful" not in capsys.readouterr().err


def test_flags_beside_like_change_only_what_they_name(capsys: pytest.CaptureFixture[str]) -> None:
    (made,) = run("--chars=30", "--seed=9", "--temperature=0.7", "--stop-at-end")
    like = f"--reproduce={made['path']}"
    (after,) = run(like, "--bpm=60", "--no-stop-at-end", "--chars=12")
    assert (after["seed"], after["temperature"], after["stop_at_end"]) == (9, 0.7, False)
    assert (after["bpm"], len(after["tokens"])) == (60, 12)
    assert made["tokens"][:5] == after["tokens"][:5]
    for flag, lengths in (("--bars=2", [None, 2, None]), ("--seconds=1", [None, None, 1])):
        (other,) = run(like, flag)
        assert [other[name] for name in LENGTHS] == lengths
    assert "careful" not in capsys.readouterr().err


def test_like_says_when_the_weights_are_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (made,) = run("--chars=30", "--seed=9")
    (folder / "model" / "epoch-0002.keras").unlink()
    run(f"--reproduce={made['path']}", "--checkpoint=1")
    error = capsys.readouterr().err
    assert "model/epoch-0001.keras has other weights than" in error


@pytest.mark.parametrize("text", ["", "[]", "3", '{"seed": 1}', "[" * 100_000])
def test_a_file_that_is_no_description_is_refused(
    folder: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.json").write_text(text)
    error = refused(capsys, "--reproduce=broken.json")
    assert "broken.json" in error
    assert "--reproduce takes the .json" in error


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("seed", "5"), ("seed", True), ("seed", -1), ("top_k", 1.5), ("temperature", 1e-9)),
        *(("primer_tokens", [1]), ("model_dir", None), ("bars", 2), ("rng_batch", None)),
        *(("rng_batch", {"seed": 1, "count": 10**9}), ("strict_grammar", ...), ("bars", ...)),
    ],
)
def test_a_description_with_a_wrong_or_missing_value_is_refused_by_name(
    folder: Path, name: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    (body,) = run("--chars=5")
    body = {**body, "path": "", name: value}
    if value is ...:
        del body[name]
    (folder / "wrong.json").write_text(json.dumps(body))
    error = refused(capsys, "--reproduce=wrong.json")
    assert "wrong.json" in error
    assert name in error


def test_a_primer_is_fed_and_its_unknown_tokens_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    primer = ["C4", "C6", "C6", "0.4", "E4"]
    tokens.write(primer, folder / "seed.mid")
    flags = ["--chars=200", "--seed=2"]
    (whole,) = run(*flags, "--primer=seed.mid", "--include-primer")
    said = capsys.readouterr().out
    assert "The model does not know C6 (replaced by C4), 0.4 (replaced by 0.4.7)" in said
    (new,) = run(*flags, "--primer=seed.mid")
    assert whole["tokens"] == primer + new["tokens"]
    assert "needs a --primer" in refused(capsys, "--include-primer")
    assert len(new["tokens"]) == 200
    assert new["tokens"] != run(*flags)[0]["tokens"]
    (made,) = run("--bars=3", "--seed=2", "--primer=seed.mid", "--include-primer")
    assert made["tokens"] == whole["tokens"][: 5 + 24]  # bars count the new music


@pytest.mark.parametrize("contents", [b"", b"not MIDI", None])
def test_a_primer_that_cannot_be_read_is_named(
    folder: Path, contents: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if contents is not None:
        (folder / "bad.mid").write_bytes(contents)
    assert "bad.mid" in refused(capsys, "--primer=bad.mid")
    assert not (folder / "output").exists()


def test_until_end_pieces_end_where_the_model_ends_them() -> None:
    lengths = {
        len(x["tokens"]) for x in run("--bars=50", "--count=12", "--seed=0", "--stop-at-end")
    }
    assert min(lengths) >= 1
    assert len(lengths) > 3


@pytest.mark.parametrize(
    ("words", "count"),
    [
        *(("", 100), ("--bars=2", 16), ("--seconds=4", 16), ("--seconds=4 --bpm=90", 12)),
        *(("--seconds=2.6", 11), ("--seconds=0.001", 1)),
    ],
)
def test_a_piece_is_as_long_as_asked(words: str, count: int) -> None:
    (made,) = run(*words.split())
    assert len(made["tokens"]) == count
    length = words.split(" ")[0].lstrip("-").replace("=", "-") or "chars-100"
    assert made["path"].stem.endswith(f"_temperature-1_{length}")


def test_a_model_that_never_moves_on_is_stopped_with_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(length.MAX_TOKENS_PER_UNIT, "bars", 7)  # as if a bar took more tokens
    assert [len(body["tokens"]) for body in run("--bars=2", "--count=2")] == [14, 14]
    error = capsys.readouterr().err
    assert "warning: 2 of 2 pieces were cut off at 14 tokens, before 2 bars" in error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError("no note")])
def test_a_piece_that_is_not_written_leaves_no_description(
    folder: Path, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise error

    monkeypatch.setattr(tokens, "write", fail)
    assert sample.main(["--chars=5"]) == (130 if error is KeyboardInterrupt else 2)
    assert list((folder / "output").iterdir()) == []


@pytest.fixture
def rhythmic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sample.py find a model of `tsd` that knows no grammar."""
    network = cast(Any, FakeNetwork())
    found = model_folder.LoadedModel(Path("epoch-0001.keras"), network, Vocabulary(TSD, "tsd"))
    monkeypatch.setattr(model_folder, "open_model", lambda *_: found)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("rhythmic")
@pytest.mark.parametrize(
    "words", ["--top-p=0.8", "--top-k=3 --stop-at-end", "--count=9 --chars=400"]
)
def test_the_grammar_is_kept_unless_told_otherwise(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = run(*words.split(), "--seed=1")
    free = run(*words.split(), "--seed=1", "--no-strict-grammar")
    assert "tokens that are not valid music" in capsys.readouterr().out
    assert max(body["n_invalid_tokens"] for body in strict) <= 3
    assert sum(body["n_invalid_tokens"] for body in free) > 3 * len(free)
    (repeated_mask,) = run(f"--reproduce={free[-1]['path']}")
    assert repeated_mask["tokens"] == free[-1]["tokens"]


def test_a_piece_is_made_without_tensorflow_and_notes_without_miditok(folder: Path) -> None:
    root = Path(sample.__file__).parent
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r}); import sample; "
        "assert sample.main(['--chars=5']) == 0; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "numpy" in loaded
    assert not {"tensorflow", "keras", "miditok"} & set(loaded)


def test_the_best_are_no_copies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [body["tokens"] for body in run("--chars=80", "--seed=5", "--count=2")]
    vocabulary = Vocabulary(TOKENS)
    music = {"a.mid": np.append(vocabulary.ids_of(made[0])[20:60], 0)}
    music |= {f"{n}.mid": np.append(np.arange(40 * n, 40 * n + 40) % 4 + 1, 0) for n in range(1, 8)}
    corpus = Dataset(vocabulary, music, {}, ReadReport(0, {}), {})
    monkeypatch.setattr(copying, "load_music", lambda *_, **__: (corpus, []))
    ranking.write_reference(folder / "model", list(music.values()))
    kept = run("--chars=80", "--seed=5", "--count=2", "--best=2", "--data-dir=music")
    found = {body["seed"]: body["ranking"] for body in kept}
    assert found[5]["copied"] >= 40
    assert f"{found[5]['copied']} tokens in a row of a training piece" in found[5]["reasons"]


@pytest.mark.parametrize("blocks", [0, 1])
def test_a_full_disk_leaves_no_half_a_piece(folder: Path, blocks: int) -> None:
    script = Path(sample.__file__)
    command = f"ulimit -f {blocks}; {sys.executable} {script} --seed=1"  # of 1,024 bytes
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("sample.py: cannot write output/epoch-0002_seed-1")
    assert done.stderr.endswith("(File too large); all files written before are intact\n")
    assert not list((folder / "output").iterdir())


def test_a_checkpoint_that_training_removes_meanwhile_is_selected_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_weights, newest = model_folder.read_weights, folder / "model" / "epoch-0002.keras"

    def remove_and_read(path: Path, config: ModelConfig, vocabulary_size: int) -> Any:
        newest.unlink(missing_ok=True)
        return read_weights(path, config, vocabulary_size)

    monkeypatch.setattr(model_folder, "read_weights", remove_and_read)
    loaded = model_folder.open_model(folder / "model", "latest")
    assert loaded.checkpoint_path.stem == "epoch-0001"
    assert loaded.metrics == {"val_loss": 0.25}
    newest.symlink_to("nowhere")
    monkeypatch.setattr(model_folder, "read_weights", read_weights)
    with pytest.raises(InputError, match="damaged"):
        model_folder.open_model(folder / "model", "latest")


def test_wishes_are_recorded_and_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    (plain,) = run("--chars=60", "--seed=3")
    assert capsys.readouterr().out.endswith("\nListen: python render.py --page\n")
    wishes = ("--chords=C Dm7", "--key=auto", "--control-strength=2", "--top-k=4")
    (made,) = run("--chars=60", "--seed=3", *wishes, "--output-dir=my music")
    told = capsys.readouterr().out
    assert "(key " in told
    assert told.endswith("\nListen: python render.py --page '--output-dir=my music'\n")
    assert made["path"].stem.endswith("_top-k-4_key-auto_chords-C-Dm7_control-2_chars-60")
    assert (made["key"], made["chords"], made["control_strength"]) == ("auto", "C Dm7", 2)
    assert made["constraint_report"]["key"]
    assert made["tokens"] != plain["tokens"]
    (repeated_mask,) = run(f"--reproduce={made['path']}")
    assert music(repeated_mask) == music(made)
    (off,) = run(f"--reproduce={made['path']}", "--control-strength=0", "--top-k=0")
    assert off["tokens"] == plain["tokens"]


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--key=H minor", "no key that music21 knows"),
        ("--chords=C X", "X in --chords is no chord"),
        ("--instruments=piano", "it knows no instruments"),
        ("--best=1", "run its train.py command again"),
    ],
)
def test_a_wish_that_cannot_be_is_one_sentence(
    flag: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in refused(capsys, flag)


def test_the_best_are_the_pieces_of_their_seeds_and_the_others_are_told_why(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    people = [np.append(np.tile(rng.integers(1, 5, 20), 4), 0) for _ in range(8)]
    ranking.write_reference(folder / "model", people)
    before = {body["seed"]: music(body) for body in run("--chars=80", "--seed=5", "--count=6")}
    capsys.readouterr()
    kept = run("--chars=80", "--seed=5", "--count=6", "--best=2")
    told, careful = capsys.readouterr()
    assert "--best cannot find copies, because data does not hold the music" in careful
    assert [music(body) for body in kept] == [before[body["seed"]] for body in kept]
    assert len(kept) == 2
    fell = {
        int(line.split("--seed=")[1].split(",")[0]) for line in told.splitlines() if "left" in line
    }
    assert fell | {body["seed"] for body in kept} == {5, 6, 7, 8, 9, 10}
    assert "reference pieces have" in told or "less typical" in told
    scores = [body["ranking"]["score"] for body in kept]
    assert f"score {min(scores):.2f})" in told
    assert "best" not in run("--chars=80", f"--seed={kept[0]['seed']}")[0]
    with pytest.raises(SystemExit):
        sample.main(["--count=2", "--best=3"])
