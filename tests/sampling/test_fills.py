"""`--fill` and `--keep` on the command line: files, JSON, and the same bytes again."""

import json
from pathlib import Path

import numpy as np
import pytest
from fill_bands import random_band
from model_files import write_band_model
from sample_runs import midi_bytes, refusal, run

from midilstm import midi
from midilstm.generation.opening import Opening, Part, write_openings
from midilstm.midi import Note, Score


@pytest.fixture
def band_model(tmp_path: Path) -> str:
    """Write a model of random weights that knows bars, and song.mid; return its flag."""
    write_band_model(tmp_path / "band")
    (tmp_path / "song.mid").write_bytes(midi.to_bytes(random_band(np.random.default_rng(3))))
    return f"--model-dir={tmp_path / 'band'}"


def test_a_piece_that_was_written_into_is_reproduced_without_its_primer(band_model: str) -> None:
    flags = [band_model, "--primer=song.mid", "--candidates=2", "--seed=4"]
    pieces = run(*flags, "--fill=2,4-5", "--count=2", "--bpm=90")
    pieces += run(*flags, "--keep=flute, bass", "--bars=4", "--stems")
    assert [piece["drawn_bars"] for piece in pieces] == [[2, 4, 5], [2, 4, 5], [1, 2, 3, 4]]
    assert pieces[2]["kept_instruments"] == ["Electric Bass (finger)", "Flute"]
    Path("song.mid").unlink()
    for piece in pieces:
        assert piece["rng_batch"] == {"seed": piece["seed"], "count": 1}
        (again,) = run(band_model, f"--reproduce={piece['path']}", "--output-dir=again")
        assert midi_bytes(again) == midi_bytes(piece)
        assert set(again) == set(piece)


def test_a_piece_around_a_kept_part_needs_the_same_openings(
    band_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(band_model.partition("=")[2]) / "openings.json"
    write_openings(path, [Opening("a.mid", (1, 2, 3), {0: Part(40, 80, is_polyphonic=True)})])
    (piece,) = run(band_model, "--primer=song.mid", "--keep=flute", "--bars=1", "--candidates=1")
    path.unlink()
    refused = refusal(capsys, band_model, f"--reproduce={piece['path']}")
    assert "has been removed or changed since" in refused


@pytest.mark.parametrize(
    "damage",
    [
        {"notes": ["0 480 60 90 0 0"]},
        {"notes": ["0 480 128 90 0 0 0"]},
        {"notes": ["9999999999 1 60 90 0 0 0"]},
        {"notes": []},
        {"ticks_per_quarter": 0},
        {"tempos": [[0, 0]]},
        {"time_signatures": [[0, 3, 5]]},
        {"tempos": None},
        {"track_names": {"x": "melody"}},
    ],
    ids=str,
)
def test_a_damaged_source_is_refused(
    band_model: str, damage: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    (piece,) = run(band_model, "--primer=song.mid", "--fill=2", "--candidates=1")
    body = {key: value for key, value in piece.items() if key != "path"}
    body["source_score"] |= damage
    Path("broken.json").write_text(json.dumps(body))
    capsys.readouterr()
    error = refusal(capsys, band_model, "--reproduce=broken.json")
    assert "broken.json does not describe a piece (" in error


def test_chords_to_a_tune_are_reproduced_without_the_tune(
    capsys: pytest.CaptureFixture[str],
) -> None:
    score = Score(480, tuple(Note(480 * i, 480, 72 + i % 5, 80, 73) for i in range(16)))
    Path("tune.mid").write_bytes(midi.to_bytes(score))
    pieces = run("--primer=tune.mid", "--keep=flute", "--chords=C F", "--count=2", "--seed=4")
    assert "Drawing chords to Flute, 16 onsets, from model" in capsys.readouterr().out
    assert [len(piece["tokens"]) for piece in pieces] == [16, 16]
    assert pieces[0]["tokens"] != pieces[1]["tokens"]
    Path("tune.mid").unlink()
    for piece in pieces:
        (again,) = run(f"--reproduce={piece['path']}", "--output-dir=again")
        assert midi_bytes(again) == midi_bytes(piece)
        assert set(again) == set(piece)


def test_a_primer_and_a_model_with_bars_are_needed(
    band_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "need a --primer" in refusal(capsys, band_model, "--keep=flute")
    assert "which notes does not have" in refusal(capsys, "--primer=song.mid", "--fill=2")
    assert "cannot be used with --fill" in refusal(
        capsys, band_model, "--primer=song.mid", "--fill=2", "--chars=100"
    )
