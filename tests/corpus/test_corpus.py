"""Vocabulary, ids and split of a folder's pieces."""

from collections.abc import Callable
from pathlib import Path

import pytest

from midilstm import tokens as encodings
from midilstm.corpus.corpus import held_out_names, load_corpus
from midilstm.tokens.vocabulary import END


def test_corpus_holds_the_files_tokens_as_ids(music: Path) -> None:
    corpus = load_corpus(music, validation=0, jobs=1)
    tokens = corpus.vocabulary.tokens
    assert tokens[0] == END
    assert list(tokens[1:]) == sorted(tokens[1:])
    for name, ids in corpus.training.items():
        assert [tokens[i] for i in ids] == [*encodings.read(music / name), END]
    assert list(corpus.training) == [f"piece{number}.mid" for number in range(6)]


@pytest.mark.parametrize(
    ("pieces", "share", "held_out"),
    [(2, 0.1, 0), (3, 0.1, 1), (10, 0.1, 1), (20, 0.25, 5), (20, 0, 0)],
)
def test_split_sizes(pieces: int, share: float, held_out: int) -> None:
    music = {str(number): f"hash {number}" for number in range(pieces)}
    assert len(held_out_names(music, share, seed=0)) == held_out


def test_split_is_by_music_and_seed() -> None:
    music = {str(number): f"hash {number}" for number in range(20)}
    chosen = held_out_names(music, 0.2, seed=0)
    assert chosen == held_out_names(dict(reversed(music.items())), 0.2, seed=0)
    assert chosen != held_out_names(music, 0.2, seed=1)


def test_neither_a_new_file_nor_the_vocabulary_reshuffles_the_split(
    music: Path, make_piece: Callable[..., list[str]]
) -> None:
    def held_out(**options: bool) -> set[str]:
        return set(load_corpus(music, validation=0.34, **options).held_out)  # type: ignore[arg-type]

    before = held_out()
    assert len(before) == 2
    assert held_out(transpose=True) == before
    encodings.write(["A0", *make_piece(music / "new.mid", seed=50)], music / "new.mid")
    assert len(held_out() - before) <= 1


def test_the_folder_reads_the_same_in_every_encoding(music: Path) -> None:
    split = {name: load_corpus(music, name=name, validation=0.34) for name in ("notes", "remi")}
    assert list(split["notes"].held_out) == list(split["remi"].held_out)
    assert split["notes"].sizes.keys() == split["remi"].sizes.keys()
    assert all(
        (size.notes, size.quarters) == (other.notes, other.quarters)
        for size, other in zip(
            split["notes"].sizes.values(), split["remi"].sizes.values(), strict=True
        )
    )
