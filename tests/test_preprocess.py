"""Vocabulary, split, batches and report."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import preprocess
from midilstm.corpus import batches, demo
from midilstm.corpus import corpus as corpora
from midilstm.corpus import report as reports
from midilstm.files import InputError
from midilstm.tokens import encoding
from midilstm.tokens import vocabulary as vocabularies
from midilstm.tokens.vocabulary import END, Vocabulary


def test_vocabulary_comes_back_from_its_file(tmp_path: Path) -> None:
    vocabulary = Vocabulary((END, "0.4.7", "C#4"))
    vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json") == vocabulary
    assert vocabulary.ids == {END: 0, "0.4.7": 1, "C#4": 2}


@pytest.mark.parametrize(
    "body",
    [
        "not JSON",
        "[]",
        json.dumps({"encoding": "notes", "tokens": ["C4"]}),
        json.dumps({"encoding": "notes", "tokens": [END, "C4", "C4"]}),
        json.dumps({"encoding": "morse", "tokens": [END, "C4"]}),
        json.dumps({"encoding": "notes", "tokens": [END, 4]}),
    ],
)
def test_a_damaged_vocabulary_is_refused_by_name(tmp_path: Path, body: str) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(body)
    with pytest.raises(InputError, match=r"vocabulary\.json"):
        Vocabulary.load(path)


def test_corpus_holds_the_files_tokens_as_ids(music: Path) -> None:
    corpus = corpora.load_corpus(music, validation=0, jobs=1)
    tokens = corpus.vocabulary.tokens
    assert tokens[0] == END
    assert list(tokens[1:]) == sorted(tokens[1:])
    for name, ids in corpus.training.items():
        assert [tokens[i] for i in ids] == [*encoding.read(music / name), END]
    assert list(corpus.training) == [f"piece{number}.mid" for number in range(6)]


@pytest.mark.parametrize(
    ("pieces", "share", "held_out"),
    [(2, 0.1, 0), (3, 0.1, 1), (10, 0.1, 1), (20, 0.25, 5), (20, 0, 0)],
)
def test_split_sizes(pieces: int, share: float, held_out: int) -> None:
    music = {str(number): f"hash {number}" for number in range(pieces)}
    assert len(corpora.held_out_names(music, share, seed=0)) == held_out


def test_split_is_by_music_and_seed() -> None:
    music = {str(number): f"hash {number}" for number in range(20)}
    chosen = corpora.held_out_names(music, 0.2, seed=0)
    assert chosen == corpora.held_out_names(dict(reversed(music.items())), 0.2, seed=0)
    assert chosen != corpora.held_out_names(music, 0.2, seed=1)


def test_neither_a_new_file_nor_the_vocabulary_reshuffles_the_split(
    music: Path, make_piece: Callable[..., list[str]]
) -> None:
    def held_out(**options: bool) -> set[str]:
        return set(corpora.load_corpus(music, validation=0.34, **options).held_out)  # type: ignore[arg-type]

    before = held_out()
    assert len(before) == 2
    assert held_out(transpose=True) == before
    encoding.write(["A0", *make_piece(music / "new.mid", seed=50)], music / "new.mid")
    assert len(held_out() - before) <= 1


def test_lanes_go_on_from_batch_to_batch() -> None:
    ids = np.arange(1, 101, dtype=np.int32)  # 3 lanes of 33 ids: 4 whole steps of 8
    made = list(batches.batches(ids, 3, 8, 200))
    assert len(made) == batches.batch_count(100, 3, 8) == 4
    x = np.concatenate([x for x, _ in made], axis=1)
    y = np.concatenate([y for _, y in made], axis=1)
    assert x.dtype == np.int32
    assert y.dtype == np.float32
    assert y.shape == (3, 32, 200)
    for lane in range(3):
        np.testing.assert_array_equal(x[lane], np.arange(33 * lane + 1, 33 * lane + 33))
    np.testing.assert_array_equal(y.argmax(-1), x + 1)
    np.testing.assert_array_equal(y.sum(-1), 1)


def test_the_smallest_stream_with_a_batch() -> None:
    reports.require_batch(16 * 64 + 16, 16, 64)
    assert batches.batch_count(16 * 64 + 16, 16, 64) == 1
    assert batches.batch_count(16 * 64 + 15, 16, 64) == 0
    with pytest.raises(InputError, match=r"1,039 tokens .* needs 1,040.*--batch-size or --seq-len"):
        reports.require_batch(16 * 64 + 15, 16, 64)


def test_scoring_predicts_each_id_once_from_the_one_before() -> None:
    rng = np.random.default_rng(0)
    pieces = [np.append(rng.integers(1, 9, n), 0).astype(np.int32) for n in (3, 11, 7, 20, 5)]
    seen: list[tuple[int, int]] = []
    firsts = 0
    for first, x, targets, weights in batches.scoring_batches(pieces, 2, 4):
        assert x.shape == targets.shape == weights.shape == (2, 4)
        firsts += first
        seen += [
            (int(a), int(b)) for a, b in zip(x[weights == 1], targets[weights == 1], strict=True)
        ]
    expected = [
        (int(a), int(b)) for ids in pieces for a, b in zip([0, *ids[:-1]], ids, strict=True)
    ]
    assert firsts == 3
    assert sorted(seen) == sorted(expected)


def test_an_empty_folder_says_what_to_put_there(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert preprocess.main(["--data-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path) in error
    assert "train.py --demo" in error
    assert error.count("\n") == 1


def test_a_missing_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert preprocess.main(["--data-dir", str(tmp_path / "nowhere")]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().err


def test_only_broken_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "page.mid").write_text("<!DOCTYPE html>")
    assert preprocess.main(["--data-dir", str(tmp_path)]) == 2
    assert "page.mid: not a MIDI file" in capsys.readouterr().err


def test_report_counts_and_names(
    music: Path, make_piece: Callable[..., list[str]], capsys: pytest.CaptureFixture
) -> None:
    (music / "broken.mid").write_bytes(b"MThd")
    (music / "copy.MIDI").write_bytes((music / "piece3.mid").read_bytes())
    make_piece(music / "sub" / "more.mid", seed=9, length=5)
    assert (
        preprocess.main(["--data-dir", str(music), "--batch-size", "2", "--seq-length", "8"]) == 0
    )
    printed = capsys.readouterr().out.splitlines()
    lines = dict(line.split(maxsplit=1) for line in printed if line[0] != " ")
    assert lines["found"].startswith("9 files")
    assert lines["parsed"].startswith("7 ")
    assert lines["skipped"] == "1"
    assert "  truncated: 1" in printed
    assert lines["duplicates"] == "1, used once"
    assert lines["pieces"] == "6 for training, 1 held out"
    assert lines["instruments"] == "Acoustic Grand Piano 7"
    assert lines["tokens"].startswith("372 ")  # 6 of 60, one of 5, and 7 ends
    assert lines["vocabulary"] == "9"


def test_demo_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(encoding, "chorales", lambda: ["bach/bwv66.6", "bach/bwv277"])
    folder = demo.make(jobs=1)
    made = sorted(path.name for path in folder.iterdir())
    assert made == ["ABOUT.txt", "bwv277.mid", "bwv66.6.mid"]
    assert len(encoding.read(folder / "bwv66.6.mid")) > 30
    assert "music21" in (folder / "ABOUT.txt").read_text()
    (folder / "bwv277.mid").unlink()
    demo.make(jobs=1)
    assert not (folder / "bwv277.mid").exists()


def test_the_report_as_json(music: Path, tmp_path: Path) -> None:
    (music / "broken.mid").write_bytes(b"MThd")
    file = tmp_path / "reports" / "r.json"
    flags = ["--batch-size=2", "--seq-length=8", "--validation=0", "--min-notes=40"]
    encoding.write(["C4", "D4"], music / "short.mid")
    assert preprocess.main([f"--data-dir={music}", *flags, f"--report={file}"]) == 0
    report = json.loads(file.read_text())
    assert report["found"] == 8
    assert report["parsed"] == 6
    assert list(report["skipped"]) == ["truncated", "too few notes"]
    (short,) = report["skipped"]["too few notes"]
    assert short["path"] == str(music / "short.mid")
    assert "2, and --min-notes asks for 40" in short["detail"]
    assert report["tokens"] == {"all": 366, "training": 366}
    assert report["batches_an_epoch"] == 22
    assert report["quarters"] == 6 * 30
    assert preprocess.main([f"--data-dir={music}", *flags, f"--report={file}"]) == 0
    assert json.loads(file.read_text())["from_cache"] == 6


def test_a_scheduler_that_does_not_answer_is_named(
    music: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("distributed", reason="needs requirements-dask.txt")
    assert preprocess.main([f"--data-dir={music}", "--scheduler=tcp://127.0.0.1:9"]) == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err


def test_a_closed_vocabulary_has_every_token_in_every_key() -> None:
    closed = Vocabulary((END, "0.4.7", "C4")).closed()
    assert closed.tokens[0] == END
    assert {"F#3", "B-3", "C4", "F4"} < set(closed.tokens)
    assert {"6.10.1", "11.3.6", "5.9.0"} < set(closed.tokens)
    assert len(closed) == 1 + 12 + 12
    assert closed.closed().closed().ids.keys() > closed.ids.keys()  # notes go on to other octaves


def test_transposed_streams_are_the_same_music_in_other_keys(music: Path) -> None:
    corpus = corpora.load_corpus(music, jobs=1, transpose=True)
    vocabulary, pieces = corpus.vocabulary, list(corpus.training.values())
    keys = np.array([vocabulary.transposed(k) for k in vocabularies.KEYS])
    stream = batches.epoch_stream(
        pieces, np.random.default_rng(3), shuffle=True, transpositions=keys
    )
    assert len(stream) == sum(map(len, pieces))
    assert stream.max() < len(vocabulary)
    found = set()
    for piece in np.split(stream, np.flatnonzero(stream == 0) + 1)[:-1]:
        tokens = [vocabulary.tokens[i] for i in piece[:-1]]
        same = [
            (number, k)
            for number, ids in enumerate(pieces)
            for k in vocabularies.KEYS
            if [encoding.transpose(vocabulary.tokens[i], k) for i in ids[:-1]] == tokens
        ]
        assert len(same) == 1
        found.add(same[0])
    assert {number for number, _ in found} == set(range(len(pieces)))
    assert len({k for _, k in found}) > 1


def test_streams_keep_the_order_unless_asked() -> None:
    pieces = [np.array([number, 0], np.int32) for number in range(1, 9)]
    rng = np.random.default_rng(0)
    plain = batches.epoch_stream(pieces, rng, shuffle=False)
    np.testing.assert_array_equal(plain, np.concatenate(pieces))
    shuffled = batches.epoch_stream(pieces, rng, shuffle=True)
    assert sorted(shuffled) == sorted(plain)
    assert list(shuffled) != list(plain)


def test_the_next_batch_is_made_while_the_last_is_used() -> None:
    made: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for number in range(4):
            made.append(number)
            if number == 1:
                second.set()
            yield number

    coming = batches.ahead(items())
    assert next(coming) == 0
    assert second.wait(10)  # without anyone asking for it
    assert list(coming) == [1, 2, 3]
    assert made == [0, 1, 2, 3]


def test_an_error_in_making_a_batch_is_raised_where_it_is_used() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    coming = batches.ahead(items())
    assert next(coming) == 1
    with pytest.raises(ZeroDivisionError):
        next(coming)
