"""The sampling script: its flags, the files that come out, and mistakes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

import sample
import train
from midilstm.sampling import options
from midilstm.tokens import encoding

SMALL = [
    "--classic",
    "--embedding-size=8",
    "--units=6",
    "--layers=1",
    "--batch-size=1",
    "--seq-length=8",
    "--jobs=1",
    "--learning-rate=0.05",  # so that a few steps leave weights that hear what came before
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny trained model in it."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "data").mkdir()
    for number in range(4):
        steps = np.random.default_rng(number).choice([1, 2], 200, p=[0.8, 0.2])
        tokens = [("C4", "E4", "0.4.7", "2.5.9")[place % 4] for place in steps.cumsum()]
        encoding.write(tokens, folder / "data" / f"{number}.mid")
    flags = [f"--data-dir={folder / 'data'}", f"--model-dir={folder / 'model'}"]
    assert train.main([*SMALL, *flags, f"--log-dir={folder}", "--epochs=2", "--freq=1"]) == 0
    (folder / "model" / "best.keras").unlink()  # a test that wants one puts it there
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(trained / "model")
    return tmp_path


def only_file(folder: Path) -> Path:
    (path,) = (folder / "output").glob("*.mid")
    return path


def pieces(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.mid"))}


def description(folder: Path) -> dict[str, Any]:
    return json.loads(only_file(folder).with_suffix(".json").read_text(encoding="utf-8"))


def onsets(path: Path) -> list[float]:
    """Read the distinct note onsets, in quarter notes, with an independent library."""
    midi, times, now = mido.MidiFile(path), set(), 0
    for message in mido.merge_tracks(midi.tracks):
        now += message.time
        if message.type == "note_on" and message.velocity:
            times.add(now / midi.ticks_per_beat)
    return sorted(times)


def test_exactly_that_many_onsets_half_a_quarter_apart(folder: Path) -> None:
    assert sample.main(["--chars=100", "--seed=5", "--bpm=90", "--instrument=4"]) == 0
    path = only_file(folder)
    assert len(encoding.read(path)) == 100
    assert onsets(path) == [i / 2 for i in range(100)]
    messages = list(mido.merge_tracks(mido.MidiFile(path).tracks))
    assert [m.program for m in messages if m.type == "program_change"] == [4]
    assert [mido.tempo2bpm(m.tempo) for m in messages if m.type == "set_tempo"] == [
        pytest.approx(90, abs=1e-3)
    ]


def test_the_same_seed_gives_the_same_bytes_and_overwrites_nothing(folder: Path) -> None:
    for _ in range(2):
        assert sample.main(["--chars=20", "--seed=5"]) == 0
    assert sample.main(["--chars=20", "--seed=6"]) == 0
    names = pieces(folder / "output")
    same = {
        "epoch-0002_seed-5_temperature-1_chars-20.mid",
        "epoch-0002_seed-5_temperature-1_chars-20-2.mid",
    }
    assert same < set(names)
    assert len({names[name] for name in same}) == 1
    assert len(set(names.values())) == 2


def test_a_drawn_seed_is_printed_and_repeats_the_piece(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    assert sample.main(["--chars=20"]) == 0
    first = only_file(folder).read_bytes()
    seed = capsys.readouterr().out.split("--seed=")[1].split()[0]
    assert sample.main(["--chars=20", f"--seed={seed}", "--output-dir=again"]) == 0
    assert list(pieces(folder / "again").values()) == [first]


def test_a_checkpoint_can_be_chosen(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert sample.main(["--chars=5", "--checkpoint=1"]) == 0
    assert only_file(folder).name.startswith("epoch-0001_")
    assert sample.main(["--checkpoint=7"]) == 2
    assert "latest or one of 1, 2" in capsys.readouterr().err


def test_without_a_model_it_names_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert sample.main([f"--model-dir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert "python train.py" in error
    assert error.count("\n") == 1


def test_a_vocabulary_of_another_size_is_refused_with_both_numbers(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for path in (folder / "model").iterdir():
        (mixed / path.name).write_bytes(path.read_bytes())
    (mixed / "vocabulary.json").write_text('{"encoding": "notes", "tokens": ["<end>", "C4"]}')
    assert sample.main(["--model-dir=mixed"]) == 2
    assert "has 2 tokens and its settings say " in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag",
    [
        *(
            "--chars=0",
            "--temperature=-1",
            "--temperature=nan",
            "--temperature=x",
            "--temperature=1e-9",
            "--bpm=0",
        ),
        *("--instrument=128", "--instrument=kazoo", "--instrument=", "--seed=-1", "--count=0"),
        *("--top-k=-1", "--top-p=0", "--top-p=1.1", "--repetition-penalty=0.9"),
        *("--include-primer", "--temperature=0 --count=2"),
        *("--bars=0", "--bars=1.5", "--seconds=0", "--seconds=nan", "--chars=100 --bars=2"),
        *("--bars=100 --seconds=100", "--seconds=3 --chars=3"),
    ],
)
def test_impossible_flags_are_refused(flag: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        sample.main(flag.split(" "))
    assert stopped.value.code == 2
    assert flag.split("=")[0] in capsys.readouterr().err.splitlines()[-1]


def readers() -> list[Any]:
    """Return functions from a MIDI file to its (start in quarter notes, pitch), sorted."""

    def with_music21(path: Path) -> list[tuple[float, int]]:
        from music21 import converter

        notes = converter.parse(path, forceSource=True).flatten().notes
        return sorted((float(n.offset), p.midi) for n in notes for p in n.pitches)

    def with_mido(path: Path) -> list[tuple[float, int]]:
        midi, found, now = mido.MidiFile(path), [], 0
        for message in mido.merge_tracks(midi.tracks):
            now += message.time
            if message.type == "note_on" and message.velocity:
                found.append((now / midi.ticks_per_beat, message.note))
        return sorted(found)

    def with_symusic(path: Path) -> list[tuple[float, int]]:
        score = pytest.importorskip("symusic", reason="symusic is not installed").Score(path)
        ticks = score.ticks_per_quarter
        return sorted((n.start / ticks, n.pitch) for track in score.tracks for n in track.notes)

    def with_pretty_midi(path: Path) -> list[tuple[float, int]]:
        import pretty_midi

        midi = pretty_midi.PrettyMIDI(str(path))
        found = [(midi.time_to_tick(n.start), n.pitch) for i in midi.instruments for n in i.notes]
        return sorted((tick / midi.resolution, pitch) for tick, pitch in found)

    return [with_music21, with_mido, with_symusic, with_pretty_midi]


@pytest.mark.parametrize("reader", readers(), ids=lambda reader: reader.__name__)
def test_other_programs_read_the_notes_that_the_json_names(folder: Path, reader: Any) -> None:
    assert sample.main(["--chars=60", "--seed=2", "--bpm=97", "--instrument=flute"]) == 0
    tokens = description(folder)["tokens"]
    pitches = {"C4": [60], "E4": [64], "0.4.7": [60, 64, 67], "2.5.9": [62, 65, 69]}
    expected = [(i / 2, pitch) for i, token in enumerate(tokens) for pitch in pitches[token]]
    assert len(tokens) == 60
    assert reader(only_file(folder)) == sorted(expected)


def test_each_piece_of_a_batch_is_the_one_made_alone(folder: Path) -> None:
    for count, output in ((8, "eight"), (20, "twenty")):
        flags = ["--chars=40", f"--count={count}", "--seed=3", f"--output-dir={output}"]
        assert sample.main(flags) == 0
        made = pieces(folder / output)
        assert len(made) == count == len(set(made.values()))
        for seed in range(3, 3 + count):
            alone = [f"--seed={seed}", "--chars=40", f"--output-dir={output}-alone"]
            assert sample.main(alone) == 0
        assert pieces(folder / f"{output}-alone") == made


def test_the_json_tells_how_a_piece_was_made(folder: Path) -> None:
    flags = ["--chars=20", "--seed=5", "--top-k=3", "--top-p=0.9", "--repetition-penalty=1.1"]
    assert sample.main([*flags, "--instrument=violin"]) == 0
    found = description(folder)
    assert found["command"] == f"python sample.py {' '.join(flags)} --instrument=violin"
    assert (found["seed"], found["chars"], found["temperature"]) == (5, 20, 1.0)
    assert (found["top_k"], found["top_p"], found["repetition_penalty"]) == (3, 0.9, 1.1)
    assert found["instrument"] == "Violin"
    assert found["checkpoint"] == "2"
    assert found["tokens"] == encoding.read(only_file(folder))
    assert set(found["versions"]) == {"python", "numpy", "music21", "miditok", "symusic"}
    log = (folder / "model").resolve().parent / "training.csv"
    val_loss = log.read_text().splitlines()[2].split(",")[3]
    assert found["held_out_loss"] == pytest.approx(float(val_loss), abs=1e-6)
    assert (
        only_file(folder).stem
        == "epoch-0002_seed-5_temperature-1_top-k-3_top-p-0.9_penalty-1.1_chars-20"
    )


def test_like_makes_the_same_bytes_from_any_folder_of_flags(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    encoding.write(["E4", "C#7", "C4"], folder / "seed.mid")
    flags = ["--chars=30", "--temperature=1.3", "--top-k=4", "--top-p=0.95", "--bpm=77"]
    more = ["--repetition-penalty=1.2", "--primer=seed.mid", "--include-primer", "--until-end"]
    assert sample.main([*flags, *more, "--instrument=12", "--checkpoint=1", "--count=3"]) == 0
    (folder / "seed.mid").unlink()  # what the model was fed is kept in the JSON
    capsys.readouterr()
    for path in sorted((folder / "output").glob("*.json")):
        assert sample.main([f"--like={path}", "--output-dir=again"]) == 0
    assert pieces(folder / "again") == pieces(folder / "output")
    assert "careful" not in capsys.readouterr().err


def test_flags_beside_like_change_only_what_they_name(folder: Path) -> None:
    assert sample.main(["--chars=30", "--seed=9", "--temperature=0.7", "--until-end"]) == 0
    like = f"--like={only_file(folder).with_suffix('.json')}"
    changes = ["--bpm=60", "--no-until-end", "--chars=12", "--output-dir=x/output"]
    assert sample.main([like, *changes]) == 0
    before, after = description(folder), description(folder / "x")
    assert after["seed"] == 9
    assert after["temperature"] == 0.7
    assert (after["bpm"], after["until_end"], len(after["tokens"])) == (60, False, 12)
    assert before["tokens"][:5] == after["tokens"][:5]


def test_like_says_when_the_weights_are_others(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert sample.main(["--chars=30", "--seed=9"]) == 0
    other = folder / "other"
    other.mkdir()
    for path in (folder / "model").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "epoch-0001.keras").replace(other / "epoch-0002.keras")
    like = f"--like={only_file(folder).with_suffix('.json')}"
    assert sample.main([like, "--model-dir=other"]) == 0
    error = capsys.readouterr().err
    assert "other/epoch-0002.keras has other weights than made the piece of" in error
    assert "these are not the notes of" in error


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", "3", '{"seed": 1}', "[" * 100_000),
        *('{"tokens": "C4"}', '{"__import__": "os"}'),
    ],
    ids=lambda text: text[:12],
)
def test_broken_json_is_one_sentence(
    folder: Path, text: str, capsys: pytest.CaptureFixture
) -> None:
    (folder / "broken.json").write_text(text)
    assert sample.main(["--like=broken.json"]) == 2
    error = capsys.readouterr().err
    assert "broken.json" in error
    assert "--like takes the .json" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", "5"), ("seed", True), ("top_k", 1.5), ("primer_tokens", [1]), ("model_dir", None)],
)
def test_json_with_a_wrong_value_is_refused_by_name(
    folder: Path, name: str, value: object, capsys: pytest.CaptureFixture
) -> None:
    assert sample.main(["--chars=5"]) == 0
    body = description(folder) | {name: value}
    (folder / "wrong.json").write_text(json.dumps(body))
    assert sample.main(["--like=wrong.json"]) == 2
    error = capsys.readouterr().err
    assert "wrong.json" in error
    assert name in error


def test_a_primer_is_fed_and_its_unknown_tokens_are_named(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    primer = ["C4", "C6", "C6", "0.4", "E4"]
    encoding.write(primer, folder / "seed.mid")
    flags = ["--chars=200", "--seed=1", "--primer=seed.mid"]
    assert sample.main([*flags, "--include-primer"]) == 0
    said = capsys.readouterr().out
    assert "3 of the primer's 5 tokens: C6 (2, heard as C4), 0.4 (1, heard as 0.4.7)" in said
    assert sample.main([*flags, "--output-dir=x/output"]) == 0
    tokens, without = description(folder)["tokens"], description(folder / "x")["tokens"]
    assert tokens == primer + without
    assert len(without) == 200
    assert encoding.read(only_file(folder)) == tokens
    assert sample.main(["--chars=200", "--seed=1", "--output-dir=y/output"]) == 0
    assert description(folder / "y")["tokens"] != without


@pytest.mark.parametrize("contents", [b"", b"not MIDI", None])
def test_a_primer_that_cannot_be_read_is_named(
    folder: Path, contents: bytes | None, capsys: pytest.CaptureFixture
) -> None:
    if contents is not None:
        (folder / "bad.mid").write_bytes(contents)
    assert sample.main(["--primer=bad.mid"]) == 2
    error = capsys.readouterr().err
    assert "bad.mid" in error
    assert error.count("\n") == 1
    assert not (folder / "output").exists()


def test_until_end_pieces_end_where_the_model_ends_them(folder: Path) -> None:
    flags = ["--chars=400", "--count=12", "--seed=0", "--until-end"]
    assert sample.main(flags) == 0
    lengths = [len(json.loads(p.read_text())["tokens"]) for p in (folder / "output").glob("*.json")]
    assert len(lengths) == 12
    assert min(lengths) >= 1
    assert len(set(lengths)) > 3


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("0", 0), ("127", 127), ("Violin", 40), ("viol", None), ("VIOLA", 41), ("church", 19)),
        *(("acoustic grand piano", 0), ("lead 8 (bass + lead)", 87), ("synth", None)),
    ],
)
def test_instruments_are_found_by_name(text: str, number: int | None) -> None:
    if number is None:
        with pytest.raises(Exception, match=r"it could be .*(Viol|Synth)"):
            options.program(text)
    else:
        assert options.program(text) == number


def test_neither_file_of_a_piece_overwrites_another(folder: Path) -> None:
    stem = "epoch-0002_seed-5_temperature-1_chars-20"
    (folder / "output").mkdir()
    (folder / "output" / f"{stem}.json").write_text("mine")
    (folder / "output" / f"{stem}-2.mid").write_text("mine")
    assert sample.main(["--chars=20", "--seed=5"]) == 0
    made = {path.name for path in (folder / "output").iterdir()}
    assert made == {f"{stem}.json", f"{stem}-2.mid", f"{stem}-3.mid", f"{stem}-3.json"}
    assert (folder / "output" / f"{stem}.json").read_text() == "mine"
    assert (folder / "output" / f"{stem}-2.mid").read_text() == "mine"


def test_the_best_checkpoint_is_taken_where_there_is_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (folder / "model").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "best.keras").write_bytes((copy / "epoch-0001.keras").read_bytes())
    assert sample.main(["--chars=5", "--seed=1", "--model-dir=copy"]) == 0
    assert only_file(folder).name.startswith("best_")
    best = description(folder)
    assert sample.main(["--chars=5", "--seed=1", "--checkpoint=1", "--output-dir=x/output"]) == 0
    assert best["tokens"] == description(folder / "x")["tokens"]
    assert best["held_out_loss"] == description(folder / "x")["held_out_loss"]
    assert sample.main(["--checkpoint=../x"]) == 2
    assert "there is no '../x'; --checkpoint can be latest or one of" in capsys.readouterr().err


def test_a_piece_is_made_without_tensorflow(folder: Path) -> None:
    root = Path(sample.__file__).parent
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r}); import sample; "
        "assert sample.main(['--chars=5']) == 0; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert "numpy" in done.stdout.split()
    assert not {"tensorflow", "keras"} & set(done.stdout.split())
