"""Vocabulary, ids and split of a folder's pieces."""

from collections.abc import Callable
from pathlib import Path

import pytest
from midi_bytes import notes, smf

from midilstm import tokenizers as encodings
from midilstm.data.dataset import held_out_names, load_dataset
from midilstm.fileio import InputError
from midilstm.tokenizers.bpe import learn
from midilstm.tokenizers.vocabulary import END


def test_corpus_holds_the_files_tokens_as_ids(music: Path) -> None:
    corpus = load_dataset(music, validation=0, jobs=1)
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
        return set(load_dataset(music, validation=0.34, **options).held_out)  # type: ignore[arg-type]

    before = held_out()
    assert len(before) == 2
    assert held_out(transpose=True) == before
    encodings.write(["A0", *make_piece(music / "new.mid", seed=50)], music / "new.mid")
    assert len(held_out() - before) <= 1


def test_the_folder_reads_the_same_in_every_encoding(music: Path) -> None:
    split = {name: load_dataset(music, name=name, validation=0.34) for name in ("notes", "remi")}
    assert list(split["notes"].held_out) == list(split["remi"].held_out)
    assert split["notes"].pieces.keys() == split["remi"].pieces.keys()
    assert all(
        (size.notes, size.quarters) == (other.notes, other.quarters)
        for size, other in zip(
            split["notes"].pieces.values(), split["remi"].pieces.values(), strict=True
        )
    )


@pytest.fixture
def bands(tmp_path: Path) -> Path:
    """Return a folder of three pieces of a melody in two rhythms and drums."""
    (tmp_path / "bands").mkdir()
    for seed in (1, 2, 5):
        steps = [0.5 if (i * (seed + 3)) % 7 < 4 else 1.0 for i in range(40)]
        starts = [sum(steps[:i]) for i in range(40)]
        melody = [
            (start, start + step, 60 + i * seed % 12)
            for i, (start, step) in enumerate(zip(starts, steps, strict=True))
        ]
        drums = [(i / 2, i / 2 + 0.25, 42) for i in range(40)]
        data = smf(notes(*melody), notes(*drums, channel=9))
        (tmp_path / "bands" / f"{seed}.mid").write_bytes(data)
    return tmp_path / "bands"


@pytest.mark.parametrize("name", ["tsd", "remi"])
def test_merges_are_learned_from_training_pieces_and_made_in_all(name: str, bands: Path) -> None:
    plain = load_dataset(bands, name=name)
    merged = load_dataset(bands, name=name, bpe=20, transpose=True)
    vocabulary = merged.vocabulary
    assert merged.tokens < plain.tokens
    assert 0 < len(vocabulary.merges) <= 20
    assert {*plain.vocabulary.tokens, *map(" ".join, vocabulary.merges)} <= set(vocabulary.tokens)
    (held_out,) = merged.held_out
    pieces = {}
    for file, ids in (plain.training | plain.held_out).items():
        pieces[file] = [plain.vocabulary.tokens[i] for i in ids[:-1]]
        spelled = [vocabulary.tokens[i] for i in (merged.training | merged.held_out)[file][:-1]]
        assert " ".join(spelled).split() == pieces[file]
        assert vocabulary.apply_merges(pieces[file]) == spelled
    del pieces[held_out]
    assert vocabulary.merges == learn(pieces.values(), 20, vocabulary.encoding.is_mergeable)


def test_given_merges_are_made_and_none_learned(bands: Path) -> None:
    merges = load_dataset(bands, name="tsd", bpe=3).vocabulary.merges
    repeated_mask = load_dataset(bands, name="tsd", bpe=merges, validation=0)
    assert repeated_mask.vocabulary.merges == merges


def test_an_encoding_with_nothing_to_merge_is_refused(music: Path) -> None:
    with pytest.raises(InputError, match="--bpe has nothing to merge in --encoding=notes"):
        load_dataset(music, bpe=10)
