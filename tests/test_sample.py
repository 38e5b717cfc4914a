"""Sampling by its frequencies, and the files that come out."""

from pathlib import Path

import mido
import numpy as np
import pytest

import encoding
import sample
import train

SMALL = [
    "--embedding-size=8",
    "--units=6",
    "--layers=1",
    "--batch-size=4",
    "--seq-length=8",
    "--jobs=1",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny trained model in it."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "data").mkdir()
    for number in range(4):
        tokens = np.random.default_rng(number).choice(["C4", "E4", "0.4.7", "2.5.9"], 60)
        encoding.write(tokens.tolist(), folder / "data" / f"{number}.mid")
    flags = [f"--data-dir={folder / 'data'}", f"--model-dir={folder / 'model'}"]
    assert train.main([*SMALL, *flags, f"--log-dir={folder}", "--epochs=2", "--freq=1"]) == 0
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(trained / "model")
    return tmp_path


def only_file(folder: Path) -> Path:
    (path,) = (folder / "output").iterdir()
    return path


def onsets(path: Path) -> list[float]:
    """Read the distinct note onsets, in quarter notes, with an independent library."""
    midi, times, now = mido.MidiFile(path), set(), 0
    for message in mido.merge_tracks(midi.tracks):
        now += message.time
        if message.type == "note_on" and message.velocity:
            times.add(now / midi.ticks_per_beat)
    return sorted(times)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_frequencies_match_the_tempered_distribution(temperature: float) -> None:
    probabilities = np.array([0.2, 0.4, 0.25, 0.1, 0.05])
    expected = probabilities[1:] ** (1 / temperature)  # entry 0, the end, is never drawn
    expected /= expected.sum()
    rng, n = np.random.default_rng(0), 20_000
    drawn = [sample.choose(probabilities, rng, temperature=temperature) for _ in range(n)]
    counts = np.bincount(drawn, minlength=5)
    assert counts[0] == 0
    chi_square = ((counts[1:] - n * expected) ** 2 / (n * expected)).sum()
    assert chi_square < 16.27  # the 0.999 quantile for 3 degrees of freedom


def test_temperature_zero_is_the_likeliest() -> None:
    rng = np.random.default_rng(0)
    probabilities = np.array([0.9, 0.02, 0.05, 0.03])
    assert {sample.choose(probabilities, rng, temperature=0) for _ in range(20)} == {2}


def test_probabilities_of_zero_stay_zero() -> None:
    np.testing.assert_array_equal(sample.tempered(np.array([0.0, 1.0, 0.0]), 2.0), [0, 1, 0])


def test_generation_feeds_each_id_back_beginning_at_the_end_token() -> None:
    fed = []

    def step(ids: np.ndarray) -> np.ndarray:
        fed.append(int(ids[0]))
        return np.eye(6)[[ids[0] % 5 + 1]]  # surely the next number: 1, 2, 3, 4, 5, 1 ...

    ids = sample.generate(step, 7, np.random.default_rng(0))
    assert ids == [1, 2, 3, 4, 5, 1, 2]
    assert fed == [0, *ids[:-1]]


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
    names = {path.name: path.read_bytes() for path in (folder / "output").iterdir()}
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
    assert next((folder / "again").iterdir()).read_bytes() == first


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
    assert "has 2 tokens and settings.json says " in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag", ["--chars=0", "--temperature=-1", "--temperature=nan", "--bpm=0", "--instrument=128"]
)
def test_impossible_flags_are_refused(flag: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        sample.main([flag])
    assert stopped.value.code == 2
    assert flag.split("=")[0] in capsys.readouterr().err
