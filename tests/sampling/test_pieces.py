"""The pieces of sample.py: their notes, lengths, seeds, names and files."""

import json
import subprocess
import sys
import time
from pathlib import Path

import mido
import numpy as np
import pretty_midi
import pytest
from sample_runs import midi_bytes, run

import sample
from midilstm import tokenizers
from midilstm.generation.length import MAX_TOKENS_PER_UNIT


def test_notes_follow_each_other_by_half_a_quarter() -> None:
    (piece,) = run("--chars=100", "--seed=5", "--bpm=90", "--instrument=4")
    file = mido.MidiFile(piece["path"].with_suffix(".mid"))
    messages, onsets, now = list(mido.merge_tracks(file.tracks)), set(), 0
    for message in messages:
        now += message.time
        if message.type == "note_on" and message.velocity:
            onsets.add(now / file.ticks_per_beat)
    assert sorted(onsets) == [i / 2 for i in range(100)]
    assert [m.program for m in messages if m.type == "program_change" and m.channel != 9] == [4]
    tempos = [mido.tempo2bpm(m.tempo) for m in messages if m.type == "set_tempo"]
    assert tempos == [pytest.approx(90, abs=1e-3)]
    assert tokenizers.read(piece["path"].with_suffix(".mid")) == piece["tokens"]


def read_with_music21(path: Path) -> list[tuple[float, int]]:
    from music21 import converter

    notes = converter.parse(path, forceSource=True).flatten().notes
    return sorted((float(n.offset), p.midi) for n in notes for p in n.pitches)


def read_with_pretty_midi(path: Path) -> list[tuple[float, int]]:
    file = pretty_midi.PrettyMIDI(str(path))
    notes = [(file.time_to_tick(n.start), n.pitch) for i in file.instruments for n in i.notes]
    return sorted((tick / file.resolution, pitch) for tick, pitch in notes)


def test_other_programs_read_the_same_notes() -> None:
    (piece,) = run("--chars=60", "--seed=2", "--bpm=97", "--instrument=flute")
    pitches = {"C4": [60], "E4": [64], "0.4.7": [60, 64, 67], "2.5.9": [62, 65, 69]}
    expected = [(i / 2, pitch) for i, t in enumerate(piece["tokens"]) for pitch in pitches[t]]
    for read in (read_with_music21, read_with_pretty_midi):
        assert read(piece["path"].with_suffix(".mid")) == sorted(expected)


@pytest.mark.parametrize(
    ("flags", "count"),
    [
        *(("", 100), ("--bars=2", 16), ("--seconds=4", 16), ("--seconds=4 --bpm=90", 12)),
        *(("--seconds=2.6", 11), ("--seconds=0.001", 1)),
    ],
)
def test_a_piece_has_the_length_of_its_flag(flags: str, count: int) -> None:
    (piece,) = run(*flags.split())
    assert len(piece["tokens"]) == count
    length = flags.split(" ")[0].lstrip("-").replace("=", "-") or "chars-100"
    assert piece["path"].stem.endswith(f"_temperature-1_{length}")


def test_a_piece_that_does_not_reach_its_length_is_cut_off_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MAX_TOKENS_PER_UNIT, "bars", 7)  # as if a bar took more tokens
    assert [len(piece["tokens"]) for piece in run("--bars=2", "--count=2")] == [14, 14]
    error = capsys.readouterr().err
    assert "warning: 2 of 2 pieces were cut off at 14 tokens, before 2 bars" in error


def test_a_seed_fixes_the_bytes_and_no_file_is_overwritten(tmp_path: Path) -> None:
    stem, output = "epoch-0002_seed-5_temperature-1_chars-20", tmp_path / "output"
    output.mkdir()
    (output / f"{stem}.json").write_text('{"seed": 0}')
    (output / f"{stem}-2.mid").write_text("mine")
    (first,), (second,) = run("--chars=20", "--seed=5"), run("--chars=20", "--seed=5")
    assert (first["path"].stem, second["path"].stem) == (f"{stem}-3", f"{stem}-4")
    assert midi_bytes(first) == midi_bytes(second)
    assert (output / f"{stem}.json").read_text() == '{"seed": 0}'
    assert not (output / f"{stem}.mid").exists()
    assert midi_bytes(*run("--chars=20", "--seed=6")) != midi_bytes(first)


def test_a_random_seed_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    (piece,) = run("--chars=20")
    seed = capsys.readouterr().out.split("--seed=")[1].split()[0]
    assert midi_bytes(*run("--chars=20", f"--seed={seed}")) == midi_bytes(piece)


def test_the_json_records_how_a_piece_was_made() -> None:
    flags = ["--chars=20", "--seed=5", "--top-k=3", "--top-p=0.9", "--repetition-penalty=1.1"]
    (piece,) = run(*flags, "--instrument=violin")
    expected = {
        "command": f"python sample.py {' '.join(flags)} --instrument=violin",
        **{"seed": 5, "chars": 20, "bars": None, "temperature": 1, "top_k": 3, "top_p": 0.9},
        **{"repetition_penalty": 1.1, "instrument": "Violin", "checkpoint": "2", "val_loss": 0.5},
    }
    assert piece.items() >= expected.items()
    assert set(piece["versions"]) == {"python", "numpy", "music21", "miditok", "symusic"}
    settings = "temperature-1_top-k-3_top-p-0.9_penalty-1.1"
    assert piece["path"].stem == f"epoch-0002_seed-5_{settings}_chars-20"


@pytest.mark.parametrize(
    "flag",
    [
        *("--chars=0", "--seconds=nan", "--chars=100 --bars=2", "--temperature=1e-9", "--top-p=0"),
        *("--temperature=0 --count=2", "--best=3 --count=2", "--ending", "--no-such-flag", "--key"),
    ],
)
def test_impossible_flags_are_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        sample.main(flag.split(" "))
    assert exit_info.value.code == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert flag.split("=")[0] in error
    assert "--help" in error


def visible_files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != ".lock"]


@pytest.mark.parametrize("suffix", [".json", ".mid"])
def test_an_interrupted_piece_is_completed_by_the_same_call(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(path: Path, target: Path) -> Path:
        if target.suffix == suffix:
            raise KeyboardInterrupt
        return path.rename(target)

    flags = ["--chars=5", "--seed=1"]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        assert sample.main(flags) == 130
    left = [path.suffix for path in visible_files(tmp_path / "output")]
    assert left == ([] if suffix == ".json" else [".json"])
    assert sample.main([*flags, "--bpm=90"]) == 0  # another piece, which spares that JSON
    assert sample.main(flags) == 0
    stems = sorted(path.stem for path in (tmp_path / "output").glob("*.mid"))
    assert stems == sorted(path.stem for path in (tmp_path / "output").glob("*.json"))
    assert len(stems) == 2


@pytest.mark.slow
def test_sampling_that_is_killed_leaves_nothing_half(tmp_path: Path) -> None:
    rng, output = np.random.default_rng(0), tmp_path / "output"
    flags = ["--count=60", "--chars=20", "--seed=1"]
    for _ in range(10):
        before = len([*output.glob("*.mid")])
        process = subprocess.Popen([sys.executable, sample.__file__, *flags], cwd=tmp_path)
        while process.poll() is None and len([*output.glob("*")]) <= 2 * before + 2:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        process.wait()
        for path in output.glob("[!.]*.mid"):  # a piece is whole, and its JSON, too
            body = json.loads(path.with_suffix(".json").read_text("utf-8"))
            assert tokenizers.read(path) == body["tokens"]
    assert sample.main(flags) == 0
    names = {path.name for path in visible_files(output)}
    assert {Path(name).stem for name in names if name.endswith(".mid")} == {
        Path(name).stem for name in names if name.endswith(".json")
    }
    assert not [name for name in names if name.startswith(".")]


def test_a_model_folder_of_another_name_is_named(model_dir: Path) -> None:
    names = {"rags": "rags_", ".Bach & Söhne": "Bach-Söhne_", "語" * 80: "語" * 60 + "_"}
    for name in names:
        Path(name).symlink_to(model_dir, target_is_directory=True)
    for name, start in {"model/": "", "model/.": "", **names}.items():
        (piece,) = run("--chars=5", f"--model-dir={name}")
        assert piece["path"].stem.startswith(f"{start}epoch-0002_seed-")


@pytest.mark.parametrize("blocks", [0, 1])
def test_a_full_disk_leaves_no_partial_piece(tmp_path: Path, blocks: int) -> None:
    script = Path(sample.__file__)
    command = f"ulimit -f {blocks}; {sys.executable} {script} --seed=1"  # of 1,024 bytes
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("sample.py: cannot write output/epoch-0002_seed-1")
    assert done.stderr.endswith("(File too large); all files written before are intact\n")
    assert not visible_files(tmp_path / "output")


def test_sampling_imports_neither_tensorflow_nor_without_need_miditok(tmp_path: Path) -> None:
    root = Path(sample.__file__).parent
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r}); import sample; "
        "assert sample.main(['--chars=5']) == 0; print(*sys.modules)"
    )
    modules = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "numpy" in modules
    assert not {"tensorflow", "keras", "miditok"} & set(modules)
