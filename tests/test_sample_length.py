"""Bars, seconds and grammar from the command line to the file, with a network made up here."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import mido
import numpy as np
import pytest
from test_drawing import FakeNetwork

import sample
from midilstm.sampling import loop, network, options
from midilstm.tokens import encoding
from midilstm.tokens.vocabulary import END, Vocabulary

TOKENS = (END, "C4", "D4", "E4", "0.4", "2.5", "4.7")
NOTES, CHORDS = TOKENS[1:4], TOKENS[4:]
Run = Callable[..., list[dict[str, Any]]]


class Network(FakeNetwork):
    digest = "of no weights"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs sample.py and returns the JSON of each piece made."""
    fake = cast(network.Network, Network())
    trained = sample.Trained(Path("epoch-0001.keras"), fake, Vocabulary(TOKENS), None)
    monkeypatch.setattr(sample, "open_model", lambda *_: trained)
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> list[dict[str, Any]]:
        before = set(tmp_path.rglob("*.json"))
        seed = [] if any("--like" in word for word in words) else ["--seed=1"]
        assert sample.main([*words, *seed]) == 0
        made = set(tmp_path.rglob("*.json")) - before
        bodies = [{**json.loads(path.read_text("utf-8")), "path": path} for path in made]
        return sorted(bodies, key=lambda body: body["seed"])

    return call


def seconds_of(path: Path) -> list[float]:
    """Read when notes begin, in seconds, with an independent library."""
    times, now = set(), 0.0
    for message in mido.MidiFile(path):
        now += message.time
        if message.type == "note_on" and message.velocity:
            times.add(round(now, 3))
    return sorted(times)


def test_bars_are_four_quarter_notes(run: Run) -> None:
    (made,) = run("--bars=2")
    assert len(made["tokens"]) == 16
    assert (made["chars"], made["bars"], made["seconds"]) == (None, 2, None)
    assert made["path"].stem == "epoch-0001_seed-1_temperature-1_bars-2"


@pytest.mark.parametrize(
    ("words", "tokens"),
    [
        (["--seconds=4"], 16),
        (["--seconds=4", "--bpm=90"], 12),
        (["--seconds=2.6"], 11),
        (["--seconds=0.001"], 1),
    ],
)
def test_seconds_go_by_the_tempo(run: Run, words: list[str], tokens: int) -> None:
    (made,) = run(*words)
    seconds, starts = made["seconds"], seconds_of(made["path"].with_suffix(".mid"))
    assert len(made["tokens"]) == tokens == len(starts)
    assert starts[-1] < seconds <= starts[-1] + 30 / (made["bpm"] or 120) + 1e-3
    assert made["path"].stem.endswith(words[0].replace("--seconds=", "_seconds-"))


def test_without_a_length_it_is_a_hundred_tokens(run: Run) -> None:
    (made,) = run()
    assert (made["chars"], made["bars"], made["seconds"]) == (100, None, None)
    assert len(made["tokens"]) == 100
    assert made["path"].stem.endswith("_chars-100")


def test_bars_count_the_new_music_of_each_piece(run: Run) -> None:
    encoding.write(["C4", "D4", "E4"], "seed.mid")
    made = run("--bars=3", "--count=3", "--primer=seed.mid", "--include-primer")
    assert [len(piece["tokens"]) for piece in made] == [3 + 24] * 3
    assert all(piece["tokens"][:3] == ["C4", "D4", "E4"] for piece in made)
    longer = run("--chars=30", "--count=3", "--primer=seed.mid", "--include-primer")
    for piece, whole in zip(made, longer, strict=True):  # the same music, cut
        assert piece["tokens"] == whole["tokens"][:27]


def test_bars_are_a_maximum_until_the_end(run: Run) -> None:
    made = run("--bars=8", "--count=20", "--until-end")
    free = run("--chars=64", "--count=20", "--until-end")
    assert [piece["tokens"] for piece in made] == [piece["tokens"] for piece in free]
    assert len({len(piece["tokens"]) for piece in made}) > 2


def test_a_model_that_never_moves_on_is_stopped_with_a_word(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(options.LENGTHS, "bars", 20)
    run("--bars=1", "--count=2")
    assert "careful" not in capsys.readouterr().err
    monkeypatch.setattr(encoding.Clock, "tell", lambda *_: (0.0, 0.0))
    made = run("--bars=2", "--count=2")
    assert [len(piece["tokens"]) for piece in made] == [40, 40]
    error = capsys.readouterr().err
    assert "2 of 2 pieces were cut off at 40 tokens, before 2 bars" in error
    assert error.count("careful") == 1


def test_like_makes_the_bars_again_and_another_length_where_one_is_given(
    run: Run, capsys: pytest.CaptureFixture
) -> None:
    for words in (["--bars=3"], ["--seconds=5.5", "--bpm=80"], ["--chars=24"]):
        (made,) = run(*words)
        like = f"--like={made['path']}"
        (again,) = run(like, "--output-dir=again")
        assert again["tokens"] == made["tokens"]
        for length, tokens in (("--chars=100", 100), ("--bars=2", 16), ("--seconds=1", None)):
            (other,) = run(like, length)
            given = [other[name] for name in options.LENGTHS if other[name] is not None]
            assert [f"{value:g}" for value in given] == [length.split("=")[1]]
            assert tokens in (None, len(other["tokens"]))
    (made,) = run("--seconds=5")
    (slower,) = run(f"--like={made['path']}", "--bpm=60")
    assert (len(made["tokens"]), len(slower["tokens"])) == (20, 10)
    assert "careful" not in capsys.readouterr().err


def test_a_json_from_before_these_flags_still_makes_its_piece(run: Run) -> None:
    (made,) = run("--chars=30", "--bpm=90", "--instrument=flute")
    old = json.loads(made["path"].read_text("utf-8"))
    for name in ("bars", "seconds", "strict_grammar", "tokens_left_out"):
        del old[name]
    Path("old.json").write_text(json.dumps(old))
    (again,) = run("--like=old.json", "--output-dir=again")
    assert again["tokens"] == made["tokens"]
    first, second = (piece["path"].with_suffix(".mid").read_bytes() for piece in (made, again))
    assert first == second


def test_tempo_and_instrument_are_the_model_s_unless_given(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made,) = run("--chars=30")
    assert (made["bpm"], made["instrument"]) == (None, None)
    (given,) = run("--chars=30", "--bpm=120", "--instrument=0", "--output-dir=given")
    assert (given["bpm"], given["instrument"]) == (120, "Acoustic Grand Piano")
    first, second = (piece["path"].with_suffix(".mid").read_bytes() for piece in (made, given))
    assert first == second  # notes say neither
    heard: list[dict[str, Any]] = []
    monkeypatch.setattr(encoding, "write", lambda *_, **knobs: heard.append(knobs))
    run(f"--like={made['path']}")
    run("--bpm=90", "--instrument=40")
    assert heard == [{"bpm": None, "instrument": None}, {"bpm": 90, "instrument": 40}]


def test_what_is_no_music_is_counted(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (made,) = run("--chars=30")
    assert made["tokens_left_out"] == 0
    assert "left out" not in capsys.readouterr().out
    monkeypatch.setattr(encoding, "write", lambda *_, **__: 7)
    (made,) = run("--chars=30")
    assert made["tokens_left_out"] == 7
    assert list(made)[-2:] == ["tokens", "path"]
    assert "left out 7 of 30 tokens that are no music" in capsys.readouterr().out


def follow(state: tuple, token: str, _: str) -> tuple | None:
    """Say that notes and chords take turns, beginning with a note, and a chord ends a piece."""
    wanted = CHORDS if state == ("note",) else (*NOTES, "")
    return (("note",) if token in NOTES else ()) if token in wanted else None


def allowed(tokens: Sequence[str], _: str) -> Callable[[tuple], np.ndarray]:
    """Say the same of all tokens."""
    return lambda state: np.array([follow(state, token, "") is not None for token in tokens])


def mistakes(tokens: list[str]) -> int:
    return sum(token not in (NOTES, CHORDS)[place % 2] for place, token in enumerate(tokens))


@pytest.mark.parametrize(
    "words",
    [
        *([], ["--top-p=0.8"], ["--top-k=3", "--repetition-penalty=1.3"], ["--temperature=0"]),
        *(["--until-end"], ["--count=20"], ["--bars=6", "--count=2"]),
    ],
    ids=str,
)
def test_the_grammar_is_kept_unless_told_otherwise(
    run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "follow", follow)
    monkeypatch.setattr(encoding, "allowed", allowed)
    strict, free = run(*words), run(*words, "--no-strict-grammar")
    assert [mistakes(piece["tokens"]) for piece in strict] == [0] * len(strict)
    assert sum(mistakes(piece["tokens"]) for piece in free) > len(free)
    assert {piece["strict_grammar"] for piece in strict} == {True}
    assert {piece["strict_grammar"] for piece in free} == {False}
    for piece in (strict[-1], free[-1]):
        (again,) = run(f"--like={piece['path']}")
        assert again["tokens"] == piece["tokens"]


def test_the_grammar_has_heard_the_primer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "follow", follow)
    monkeypatch.setattr(encoding, "allowed", allowed)
    # A second note does not fit: the first still waits for its chord.
    for primer, first in ((["C4", "E4"], 1), (["0.4", "C4", "2.5"], 0)):
        encoding.write(primer, "seed.mid")
        (made,) = run("--chars=40", "--primer=seed.mid")
        assert mistakes([*NOTES[:first], *made["tokens"]]) == 0


def test_notes_need_no_grammar(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[object] = []
    generate = loop.generate

    def listen(*args: Any, grammar: object, **knobs: Any) -> list[list[int]]:
        heard.append(grammar)
        return generate(*args, grammar=None, **knobs)

    monkeypatch.setattr(loop, "generate", listen)
    run("--chars=20")
    assert heard == [None]
    monkeypatch.setattr(encoding, "follow", follow)
    monkeypatch.setattr(encoding, "allowed", allowed)
    run("--chars=20")
    assert heard[1] is not None
