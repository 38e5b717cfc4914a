"""Byte-pair merges: the frequent first, undone by splitting, learned from training pieces."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from midi_bytes import notes, smf

import preprocess
from midilstm.corpus import corpus as corpora
from midilstm.files import InputError
from midilstm.tokens import bpe, encoding
from midilstm.tokens import vocabulary as vocabularies
from midilstm.tokens.vocabulary import END, Vocabulary


def always(_: str) -> bool:
    return True


def lower(token: str) -> bool:
    return token.islower()


def test_the_most_frequent_pair_is_merged_first() -> None:
    pieces = [list("abXabXabXcdXcdXabc")]
    assert bpe.learn(pieces, 2, lower) == (("a", "b"), ("c", "d"))
    assert bpe.apply(list("abcXcd"), (("a", "b"), ("c", "d")), lower) == [
        "a b",
        "c",
        "X",
        "c d",
    ]


def test_merges_are_made_of_merges() -> None:
    learned = bpe.learn([list("abcXabcXabcXab")], 5, lower)
    assert learned == (("a", "b"), ("a b", "c"))  # what occurs once is no merge
    assert bpe.apply(list("abcab"), learned, always) == ["a b c", "a b"]


def test_tokens_that_do_not_join_stay_alone() -> None:
    assert bpe.learn([list("aXaXaXaX")], 5, lower) == ()
    assert bpe.apply(list("aXb"), (("a", "X"), ("X", "b")), lower) == list("aXb")


PIECES = st.lists(st.lists(st.sampled_from("abcdXY"), max_size=30), min_size=1, max_size=4)


@given(PIECES, st.integers(0, 8))
def test_splitting_undoes_merging(pieces: list[list[str]], count: int) -> None:
    learned = bpe.learn(pieces, count, lower)
    assert len(learned) <= count
    for piece in pieces:
        merged = bpe.apply(piece, learned, lower)
        assert " ".join(merged).split() == piece
        assert all(len(token) == 1 for token in merged if not lower(token.replace(" ", "")))


def band_piece(path: Path, seed: int) -> None:
    """Write a piece of a melody with two rhythms, a bass and drums."""
    steps = [0.5 if (i * (seed + 3)) % 7 < 4 else 1.0 for i in range(40)]
    starts = [sum(steps[:i]) for i in range(40)]
    melody = [
        (t, t + n, 60 + (i * seed) % 12) for i, (t, n) in enumerate(zip(starts, steps, strict=True))
    ]
    bass = [(i, i + 1, 36 + (i * (seed + 1)) % 12) for i in range(20)]
    drums = [(i / 2, i / 2 + 0.25, 42) for i in range(40)]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(
        smf(
            notes(*melody),
            notes(*bass, channel=1, start=b"\x00\xc1\x20"),
            notes(*drums, channel=9),
        )
    )


@pytest.fixture
def bands(tmp_path: Path) -> Path:
    for seed in range(6):
        band_piece(tmp_path / "bands" / f"{seed}.mid", seed)
    return tmp_path / "bands"


@pytest.mark.parametrize("name", ["tsd", "remi"])
def test_a_merged_corpus_is_the_same_music_in_fewer_tokens(
    name: str, bands: Path, tmp_path: Path
) -> None:
    plain = corpora.load_corpus(bands, name=name, transpose=True)
    merged = corpora.load_corpus(bands, name=name, transpose=True, bpe=20)
    assert merged.tokens < 0.7 * plain.tokens
    assert merged.sizes == plain.sizes
    assert list(merged.held_out) == list(plain.held_out)
    assert 0 < len(merged.vocabulary.merges) <= 20
    assert not any(" " in token for token in merged.vocabulary.tokens if "Pitch_" in token)
    assert set(merged.vocabulary.tokens) >= {
        *plain.vocabulary.tokens,
        *map(" ".join, merged.vocabulary.merges),
    }
    for path, ids in (plain.training | plain.held_out).items():
        other = (merged.training | merged.held_out)[path]
        tokens = [plain.vocabulary.tokens[i] for i in ids[:-1]]
        spelled = [merged.vocabulary.tokens[i] for i in other[:-1]]
        assert " ".join(spelled).split() == tokens
        assert merged.vocabulary.spelled(tokens) == spelled
        assert encoding.played(spelled, name) == encoding.played(tokens, name)
        for shift in vocabularies.KEYS:
            assert (merged.vocabulary.transposed(shift)[other] < len(merged.vocabulary)).all()
    encoding.write(spelled, tmp_path / "a.mid", name)
    encoding.write(tokens, tmp_path / "b.mid", name)
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()


def test_nothing_is_learned_from_held_out_pieces(bands: Path) -> None:
    before = corpora.load_corpus(bands, name="tsd", bpe=20)
    (held_out,) = before.held_out
    without = [[before.vocabulary.tokens[i] for i in ids[:-1]] for ids in before.training.values()]
    split = [" ".join(piece).split() for piece in without]
    assert before.vocabulary.merges == bpe.learn(
        split, 20, lambda token: encoding.joins(token, "tsd")
    )
    assert held_out not in before.training


@pytest.mark.parametrize("name", ["tsd", "remi"])
def test_grammar_and_clock_take_merged_tokens_as_their_parts(name: str, bands: Path) -> None:
    corpus = corpora.load_corpus(bands, name=name, bpe=20, validation=0)
    for ids in corpus.training.values():
        merged = [corpus.vocabulary.tokens[i] for i in ids[:-1]]
        state: encoding.State | None = encoding.START
        plain, clock = encoding.Clock(name), encoding.Clock(name)
        for token in merged:
            assert state is not None
            state = encoding.follow(state, token, name)
            told = [plain.tell(part) for part in token.split()]
            assert clock.tell(token) == told[0]
        assert state is not None
        assert encoding.follow(state, "", name) is not None


def test_merges_travel_with_the_vocabulary(tmp_path: Path) -> None:
    pairs = (("Velocity_79", "Duration_1.0.12"),)
    Vocabulary((END, "Velocity_79 Duration_1.0.12"), "tsd", pairs).save(tmp_path / "v.json")
    loaded = Vocabulary.load(tmp_path / "v.json")
    assert loaded.merges == pairs
    assert loaded.spelled(["Pitch_60", "Velocity_79", "Duration_1.0.12"]) == [
        "Pitch_60",
        "Velocity_79 Duration_1.0.12",
    ]
    text = (tmp_path / "v.json").read_text()
    for wrong in ('[["a"]]', '[["a", 1]]', '"ab"', "[1]", "3"):
        begin, end = text.index('"merges": ') + 10, text.index(',\n "tokens"')
        (tmp_path / "w.json").write_text(text[:begin] + wrong + text[end:])
        with pytest.raises(InputError):
            Vocabulary.load(tmp_path / "w.json")


def test_the_classic_encoding_has_nothing_to_merge(
    music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert preprocess.main([f"--data-dir={music}", "--bpe=10"]) == 2
    assert "--bpe is for --encoding=tsd and remi" in capsys.readouterr().err
    assert preprocess.main([f"--data-dir={music}", "--bpe=10", "--encoding=tsd"]) == 0
