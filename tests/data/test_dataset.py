"""Vocabulary, ids, split and cached files of a folder."""

from pathlib import Path
from typing import Any

import pytest
from midi_bytes import band

from midilstm import midi, tokenizers
from midilstm.config import DataConfig
from midilstm.data.dataset import Dataset, load_dataset, select_held_out
from midilstm.fileio import InputError
from midilstm.tokenizers.bpe import learn
from midilstm.tokenizers.vocabulary import END

pytestmark = pytest.mark.usefixtures("parsed", "user_cache")
HASHES = {str(n): f"hash {n}" for n in range(20)}


def load(folder: Path, **settings: Any) -> Dataset:
    return load_dataset(DataConfig(data_dir=folder, jobs=1, **settings))


def test_pieces_are_the_ids_of_the_files_tokens(music: Path) -> None:
    dataset = load(music, validation=0, transpose=False)
    tokens = dataset.vocabulary.tokens
    assert tokens[0] == END
    assert list(tokens[1:]) == sorted(tokens[1:])
    for name, ids in dataset.training.items():
        assert [tokens[i] for i in ids] == [*tokenizers.read(music / name), END]
    assert sorted(dataset.training) == [f"piece{n}.mid" for n in range(6)]


@pytest.mark.parametrize(
    ("pieces", "fraction", "held_out"),
    [(2, 0.1, 0), (3, 0.1, 1), (10, 0.1, 1), (20, 0.25, 5), (20, 0, 0)],
)
def test_split_sizes(pieces: int, fraction: float, held_out: int) -> None:
    hashes = {name: HASHES[name] for name in list(HASHES)[:pieces]}
    assert len(select_held_out(hashes, fraction, seed=0)) == held_out


def test_the_split_depends_on_music_and_seed_alone_and_a_new_piece_moves_few() -> None:
    held_out = select_held_out(HASHES, 0.2, seed=0)
    assert held_out == select_held_out(dict(reversed(HASHES.items())), 0.2, seed=0)
    assert held_out != select_held_out(HASHES, 0.2, seed=1)
    for n in range(20):
        more = HASHES | {"new": f"new hash {n}"}
        assert len(held_out - select_held_out(more, 0.2, seed=0)) <= 1


def test_the_same_music_under_other_names_is_the_same_dataset(music: Path) -> None:
    before = load(music, encoding="remi", bpe=9)
    (music / "sub").mkdir()
    for index in range(6):
        (music / f"piece{index}.mid").rename(music / "sub" / f"{9 - index}.midi")
    (music / "a copy.mid").write_bytes((music / "sub" / "4.midi").read_bytes())
    after = load(music, encoding="remi", bpe=9)
    assert after.fingerprint() == before.fingerprint()
    assert set(after.hashes) != set(before.hashes)
    assert sorted(after.hashes.values()) == sorted(before.hashes.values())


def test_a_file_that_a_run_skipped_stays_skipped(music: Path) -> None:
    dataset = load_dataset(DataConfig(data_dir=music, jobs=1), skip=("piece3.mid", "other.mid"))
    assert set(dataset.hashes) == {f"piece{index}.mid" for index in (0, 1, 2, 4, 5)}
    ((path, error),) = dataset.report.skipped
    assert (path.name, error.detail) == ("piece3.mid", "was skipped when the run began")


@pytest.fixture
def bands(tmp_path: Path) -> Path:
    """Return a folder of three pieces with drums."""
    (tmp_path / "bands").mkdir()
    for seed in (1, 2, 5):
        (tmp_path / "bands" / f"{seed}.mid").write_bytes(band(seed))
    return tmp_path / "bands"


@pytest.mark.parametrize("encoding", ["tsd", "remi"])
def test_merges_are_learned_from_training_and_applied_to_all(encoding: str, bands: Path) -> None:
    plain = load(bands, encoding=encoding, transpose=False)
    merged = load(bands, encoding=encoding, bpe=20)
    vocabulary = merged.vocabulary
    assert merged.n_tokens < plain.n_tokens
    assert 0 < len(vocabulary.merges) <= 20
    assert {*plain.vocabulary.tokens, *map(" ".join, vocabulary.merges)} <= set(vocabulary.tokens)
    pieces = {}
    for name, ids in (plain.training | plain.held_out).items():
        pieces[name] = [plain.vocabulary.tokens[i] for i in ids[:-1]]
        tokens = [vocabulary.tokens[i] for i in (merged.training | merged.held_out)[name][:-1]]
        assert " ".join(tokens).split() == pieces[name]
        assert vocabulary.apply_merges(pieces[name]) == tokens
    training = [pieces[name] for name in merged.training]
    assert vocabulary.merges == learn(training, 20, vocabulary.encoding.is_mergeable)
    config = DataConfig(data_dir=bands, jobs=1, encoding=encoding, validation=0)
    given = load_dataset(config, like=vocabulary)
    assert given.vocabulary.merges == vocabulary.merges


def test_an_encoding_without_merges_is_refused(music: Path) -> None:
    with pytest.raises(InputError, match="--bpe has nothing to merge in --encoding=notes"):
        load(music, bpe=10)


def test_all_folders_share_a_cache_outside_them(music: Path, user_cache: Path) -> None:
    assert load(music, cache=False).report.from_cache == 0
    assert not list(user_cache.iterdir())
    assert load(music).report.from_cache == 0
    moved = music.rename(music.parent / "other")
    moved.chmod(0o555)
    assert load(moved).report.from_cache == 6
    assert load(moved, cache=False).report.from_cache == 0
    assert sorted(path.suffix for path in moved.iterdir()) == [".mid"] * 6
    assert [path.name for path in user_cache.rglob("*.sqlite")] == ["parsed-1.sqlite"]


def test_a_result_is_stored_under_all_that_shapes_it(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: tuple[dict[str, Any], ...] = (
        {"encoding": "notes"},
        {"encoding": "remi"},
        {"encoding": "tsd"},
        {"encoding": "tsd", "pedal": False},
    )
    for settings in changes:
        assert load(music, **settings).report.from_cache == 0
        assert load(music, **settings).report.from_cache == 6
    assert load(music, pedal=False).report.from_cache == 6  # without rhythm the pedal has no effect
    monkeypatch.setattr(midi, "VERSION", midi.VERSION + 1)
    assert load(music).report.from_cache == 0
