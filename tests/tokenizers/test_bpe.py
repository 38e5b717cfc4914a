"""Byte-pair encoding: frequent pairs are merged, and splitting gives the same music."""

from pathlib import Path

import pytest
from band_files import BOTH
from hypothesis import given
from hypothesis import strategies as st
from midi_bytes import band

from midilstm import midi, tokenizers
from midilstm.fileio import InputError
from midilstm.tokenizers import bpe
from midilstm.tokenizers.vocabulary import END, KEYS, Vocabulary


@pytest.mark.parametrize(
    ("text", "count", "merges", "merged"),
    [
        # The most frequent pair is merged first.
        ("abXabXabXcdXcdXabc", 2, (("a", "b"), ("c", "d")), "ab X ab X ab X cd X cd X ab c"),
        # Merges are made of merges; a pair that occurs once is not merged.
        ("abcXabcXabcXab", 5, (("a", "b"), ("a b", "c")), "abc X abc X abc X ab"),
        # Tokens that may not be merged stay alone.
        ("aXaXaXaX", 5, (), "a X a X a X a X"),
    ],
)
def test_the_merges_of_a_text(text: str, count: int, merges: bpe.Merges, merged: str) -> None:
    assert bpe.learn([list(text)], count, str.islower) == merges
    expected = [" ".join(word) for word in merged.split()]
    assert bpe.apply(list(text), merges, str.islower) == expected


PIECES = st.lists(st.lists(st.sampled_from("abcdXY"), max_size=30), min_size=1, max_size=4)


@given(PIECES, st.integers(0, 8))
def test_splitting_undoes_merging(pieces: list[list[str]], count: int) -> None:
    merges = bpe.learn(pieces, count, str.islower)
    assert len(merges) <= count
    for piece in pieces:
        merged = bpe.apply(piece, merges, str.islower)
        assert " ".join(merged).split() == piece
        assert all(len(token) == 1 for token in merged if not token.islower())


@BOTH
def test_merged_pieces_are_the_same_music_in_fewer_tokens(name: str, tmp_path: Path) -> None:
    encoding = tokenizers.get(name)
    pieces = [encoding.encode(midi.read(band(seed))) for seed in range(6)]
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
        for shift in KEYS:
            assert (vocabulary.transposed(shift)[ids] < len(vocabulary)).all()
            transposed = [encoding.transpose(token, shift) for token in tokens]
            assert vocabulary.apply_merges(transposed) == [
                encoding.transpose(token, shift) for token in merged
            ]
        # Grammar and clock take a merged token as its parts.
        state, plain, clock = encoding.start_state, encoding.clock(), encoding.clock()
        for token in merged:
            state = encoding.next_state(state, token)
            first, *_ = [plain.advance(part) for part in token.split()]
            assert clock.advance(token) == first
        assert encoding.next_state(state, "") is not None
    tokenizers.write(merged, tmp_path / "a.mid", name)
    tokenizers.write(tokens, tmp_path / "b.mid", name)
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()


def test_a_vocabulary_is_saved_with_its_merges(tmp_path: Path) -> None:
    pair = ("Velocity_79", "Duration_1.0.12")
    Vocabulary((END, *pair, " ".join(pair)), "tsd", (pair,)).save(tmp_path / "v.json")
    loaded = Vocabulary.load(tmp_path / "v.json")
    assert loaded.apply_merges(["Pitch_60", *pair]) == ["Pitch_60", " ".join(pair)]
    text = (tmp_path / "v.json").read_text()
    begin, end = text.index('"merges": ') + 10, text.index(',\n "tokens"')
    for wrong in ('[["a"]]', '[["a", 1]]', '"ab"', "[1]", "3"):
        (tmp_path / "w.json").write_text(text[:begin] + wrong + text[end:])
        with pytest.raises(InputError):
            Vocabulary.load(tmp_path / "w.json")
