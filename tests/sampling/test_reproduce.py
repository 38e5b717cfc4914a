"""`--reproduce` draws a piece again from its JSON, which is checked."""

import json
from pathlib import Path

import pytest
from sample_runs import midi_bytes, refusal, run

from midilstm import tokenizers
from midilstm.config import LENGTHS
from midilstm.generation.loaded_model import FittedOn, write_match_model
from midilstm.generation.opening import Opening, Part, write_openings
from midilstm.repetition.match_model import MatchWeights


def test_any_piece_is_reproduced_byte_for_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizers.write(["E4", "C#7", "C4"], tmp_path / "seed.mid")
    flags = ["--chars=30", "--temperature=1.3", "--top-k=4", "--top-p=0.95", "--bpm=77"]
    flags += ["--repetition-penalty=1.2", "--primer=seed.mid", "--include-primer", "--stop-at-end"]
    pieces = run(*flags, "--instrument=12", "--checkpoint=1", "--count=3")
    pieces += run("--bars=3") + run("--seconds=5.5", "--bpm=80", "--no-strict-grammar")
    assert pieces[1]["rng_batch"] == {"seed": pieces[1]["seed"], "count": 1}
    (tmp_path / "seed.mid").unlink()  # the JSON holds its tokens
    for piece in pieces:
        (again,) = run(f"--reproduce={piece['path']}", "--output-dir=again")
        assert midi_bytes(again) == midi_bytes(piece)
        assert set(again) == set(piece)
    assert "warning" not in capsys.readouterr().err


def test_a_piece_of_a_large_batch_is_reproduced_with_its_batch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["--chars=20", "--count=50", "--seed=3", "--stop-at-end"]
    pieces = run(*flags)
    batches = [{"seed": 3, "count": 32}] * 32 + [{"seed": 35, "count": 18}] * 18
    assert [piece["rng_batch"] for piece in pieces] == batches
    again = run(*flags, "--output-dir=again")
    assert [midi_bytes(piece) for piece in again] == [midi_bytes(piece) for piece in pieces]
    capsys.readouterr()
    (one,) = run(f"--reproduce={pieces[40]['path']}", "--output-dir=one")
    assert midi_bytes(one) == midi_bytes(pieces[40])
    assert one["rng_batch"] == pieces[40]["rng_batch"]
    output, error = capsys.readouterr()
    assert "--seed=43, one of 18 drawn together" in output
    assert "warning" not in error


def test_other_flags_change_only_their_own_settings(capsys: pytest.CaptureFixture[str]) -> None:
    (piece,) = run("--chars=30", "--seed=9", "--temperature=0.7", "--stop-at-end")
    reproduce = f"--reproduce={piece['path']}"
    (changed,) = run(reproduce, "--bpm=60", "--no-stop-at-end", "--chars=12")
    assert (changed["seed"], changed["temperature"], changed["stop_at_end"]) == (9, 0.7, False)
    assert (changed["bpm"], len(changed["tokens"])) == (60, 12)
    assert piece["tokens"][:5] == changed["tokens"][:5]
    for flag, lengths in (("--bars=2", [None, 2, None]), ("--seconds=1", [None, None, 1])):
        (other,) = run(reproduce, flag)
        assert [other[name] for name in LENGTHS] == lengths
    assert "warning" not in capsys.readouterr().err


def test_stems_are_written_beside_a_piece_and_replace_no_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (piece,) = run("--bars=2", "--stems", "--ending", "--seed=9")
    capsys.readouterr()
    folder, stem = piece["path"].with_suffix(".stems"), "Acoustic-Grand-Piano.mid"
    (folder / stem).write_text("mine")
    piece["path"].with_suffix(".mid").unlink()
    piece["path"].rename("kept.json")
    (again,) = run("--reproduce=kept.json")
    assert again["path"].stem == piece["path"].stem + "-2"
    assert again["stems"] and again["ending"]
    assert "notes has no bars, so that --ending changes nothing" in capsys.readouterr().err
    (path,) = again["path"].with_suffix(".stems").iterdir()
    assert (path.name, (folder / stem).read_text()) == (stem, "mine")
    assert tokenizers.read(path) == again["tokens"]


def test_other_weights_give_a_warning(model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (piece,) = run("--chars=30", "--seed=9")
    (model_dir / "epoch-0002.keras").unlink()
    run(f"--reproduce={piece['path']}", "--checkpoint=1")
    assert "warning: model/epoch-0001.keras has other weights than" in capsys.readouterr().err


def test_a_piece_that_began_with_an_opening_needs_the_same_openings(
    model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, part = model_dir / "openings.json", Part(40, 80, is_polyphonic=True)
    flags, refused = ["--chars=30", "--seed=9"], "has been removed or changed since"
    (without,) = run(*flags)
    write_openings(path, [Opening("a.mid", (1, 2, 3), {0: part})])
    (piece,), (free,) = run(*flags), run(*flags, "--no-opening")
    assert refused in refusal(capsys, f"--reproduce={without['path']}")
    assert run(f"--reproduce={piece['path']}")[0]["tokens"] == piece["tokens"] != free["tokens"]
    write_openings(path, [Opening("b.mid", (4, 4, 3), {0: part})])
    assert refused in refusal(capsys, f"--reproduce={piece['path']}")
    path.unlink()
    assert refused in refusal(capsys, f"--reproduce={piece['path']}")
    for body, again in ((free, []), (piece, ["--no-opening"])):
        (one,) = run(f"--reproduce={body['path']}", *again)
        assert one["tokens"] == free["tokens"]


def test_a_piece_keeps_its_match_model(match_model: MatchWeights, model_dir: Path) -> None:
    path, flags = model_dir / "match_model.json", ["--chars=200", "--seed=5", "--top-p=0.95"]
    (strong,), (off,) = run(*flags, "--memory=1.5"), run(*flags, "--memory=0")
    (changed,) = run(f"--reproduce={off['path']}", "--memory=1.5")
    assert changed["tokens"] == strong["tokens"] != off["tokens"]
    path.unlink()
    (without,) = run(*flags)
    pieces = (strong, off, without)
    for piece in pieces:
        assert run(f"--reproduce={piece['path']}")[0]["tokens"] == piece["tokens"]
    write_match_model(path, match_model, FittedOn())
    assert run(f"--reproduce={without['path']}")[0]["tokens"] == without["tokens"]


def test_a_piece_itself_is_refused_as_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    (piece,) = run("--chars=5")
    Path("text.json").write_text("a text")
    for path in (piece["path"].with_suffix(".mid"), Path("text.json")):
        error = refusal(capsys, f"--reproduce={path}")
        assert f"{path} does not describe a piece (it is not JSON); --reproduce takes the" in error


@pytest.mark.parametrize("name", ["strict_grammar", "bars", "primer_tokens"])
def test_a_missing_value_is_named(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (piece,) = run("--chars=5")
    body = json.loads(piece["path"].read_text("utf-8"))
    del body[name]
    (tmp_path / "wrong.json").write_text(json.dumps(body))
    error = refusal(capsys, "--reproduce=wrong.json")
    assert f"wrong.json does not describe a piece ({name} is missing)" in error
    assert "--reproduce takes the .json" in error
