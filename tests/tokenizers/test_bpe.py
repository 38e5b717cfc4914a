"""Byte-pair encoding: the frequent first, undone by splitting, the same music."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from midi_bytes import band

from midilstm import midi
from midilstm import tokenizers as encodings
from midilstm.fileio import InputError
from midilstm.tokenizers import bpe
from midilstm.tokenizers import vocabulary as vocabularies
from midilstm.tokenizers.vocabulary import END, Vocabulary


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


PLAIN = {seed: band(seed) for seed in range(6)}


@pytest.mark.parametrize("name", ["tsd", "remi"])
def test_merged_pieces_are_the_same_music_in_fewer_tokens(name: str, tmp_path: Path) -> None:
    encoding = encodings.get(name)
    pieces = [encoding.encode(midi.read(data)) for data in PLAIN.values()]
    merges = bpe.learn(pieces, 20, encoding.is_mergeable)
    assert 0 < len(merges) <= 20
    assert not any("Pitch_" in part for pair in merges for part in pair)
    names = {*map(" ".join, merges)}.union(*pieces)
    vocabulary = Vocabulary((END, *sorted(names)), name, merges).transposition_closure()
    for tokens in pieces:
        merged = vocabulary.apply_merges(tokens)
        assert len(merged) < 0.7 * len(tokens)
        assert " ".join(merged).split(" ") == tokens
        assert encoding.timed_notes(merged) == encoding.timed_notes(tokens)
        ids = vocabulary.ids_of(merged, missing=len(vocabulary))
        for shift in vocabularies.KEYS:
            assert (vocabulary.transposed(shift)[ids] < len(vocabulary)).all()
        # Grammar and clock take a merged token as its parts.
        state, plain, clock = encoding.start_state, encoding.clock(), encoding.clock()
        for token in merged:
            state = encoding.next_state(state, token)
            told = [plain.advance(part) for part in token.split()]
            assert clock.advance(token) == told[0]
        assert encoding.next_state(state, "") is not None
    encodings.write(merged, tmp_path / "a.mid", name)
    encodings.write(tokens, tmp_path / "b.mid", name)
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()


def test_merges_travel_with_the_vocabulary(tmp_path: Path) -> None:
    pairs = (("Velocity_79", "Duration_1.0.12"),)
    Vocabulary((END, *pairs[0], " ".join(pairs[0])), "tsd", pairs).save(tmp_path / "v.json")
    loaded = Vocabulary.load(tmp_path / "v.json")
    assert loaded.merges == pairs
    assert loaded.apply_merges(["Pitch_60", "Velocity_79", "Duration_1.0.12"]) == [
        "Pitch_60",
        "Velocity_79 Duration_1.0.12",
    ]
    text = (tmp_path / "v.json").read_text()
    for wrong in ('[["a"]]', '[["a", 1]]', '"ab"', "[1]", "3"):
        begin, end = text.index('"merges": ') + 10, text.index(',\n "tokens"')
        (tmp_path / "w.json").write_text(text[:begin] + wrong + text[end:])
        with pytest.raises(InputError):
            Vocabulary.load(tmp_path / "w.json")
