"""Versions of one tune are known by their lines, and fall on one side of the split."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from midi_bytes import notes, smf

from midilstm import midi
from midilstm.data import duplicates
from midilstm.data.dataset import held_out_names, load_dataset

Line = list[tuple[float, float, int]]
MAJOR = np.array([0, 2, 4, 5, 7, 9, 11])


def tune(seed: int, length: int = 64) -> Line:
    """Return a melody in C major, in two rhythms."""
    rng = np.random.default_rng(seed)
    degrees = np.cumsum(rng.integers(-3, 4, length)) % 14
    times = np.append(0, np.cumsum(rng.choice([0.5, 1], length)))
    pitches = 60 + MAJOR[degrees % 7] + 12 * (degrees // 7)
    return [(times[i], times[i + 1], int(pitch)) for i, pitch in enumerate(pitches)]


def moved(line: Line, semitones: int = 0, quarters: float = 0) -> Line:
    return [(start + quarters, end + quarters, pitch + semitones) for start, end, pitch in line]


def in_another_rhythm(line: Line) -> Line:
    return [(i / 4, (i + 1) / 4, pitch) for i, (_, _, pitch) in enumerate(line)]


def chords(seed: int, quarters: int) -> Line:
    roots = 36 + np.random.default_rng([seed, 1]).integers(0, 12, quarters)
    return [(i, i + 1, int(root) + step) for i, root in enumerate(roots) for step in (0, 4, 7)]


def with_repeated_notes(line: Line) -> Line:
    halves = [((a, (a + b) / 2, pitch), ((a + b) / 2, b, pitch)) for a, b, pitch in line]
    return [note for pair in halves for note in pair]


VERSIONS: dict[str, Callable[[Line], bytes]] = {
    "in another key": lambda line: smf(notes(*moved(line, 5))),
    "an octave lower, on another instrument": lambda line: smf(
        notes(*moved(line, -12), channel=3, start=b"\x00\xc3\x38")
    ),
    "after another introduction": lambda line: smf(
        notes(*tune(99, 24), *moved(line, quarters=30)), notes(*chords(3, 20), channel=1)
    ),
    "with other chords below": lambda line: smf(
        notes(*chords(7, 12), channel=1), notes(*in_another_rhythm(moved(line, 3)))
    ),
    "in one track with its chords": lambda line: smf(notes(*line, *chords(8, 40))),
    "with repeated notes and drums": lambda line: smf(
        notes(*with_repeated_notes(line)), notes(*((i, i + 0.5, 42) for i in range(40)), channel=9)
    ),
    "its second half": lambda line: smf(notes(*moved(line[30:], quarters=-line[30][0]))),
}


def grouped(pieces: dict[str, bytes]) -> list[list[str]]:
    return duplicates.duplicate_groups(
        {name: duplicates.melody_hashes(midi.read(x)) for name, x in pieces.items()}
    )


@pytest.mark.parametrize("how", VERSIONS)
def test_a_version_is_known(how: str) -> None:
    own = smf(notes(*tune(1)), notes(*chords(1, 40), channel=1))
    others = {f"other {seed}": smf(notes(*tune(seed))) for seed in range(2, 8)}
    assert grouped({"own": own, "version": VERSIONS[how](tune(1)), **others}) == [
        ["own", "version"]
    ]


def test_unrelated_tunes_are_not_grouped() -> None:
    pieces = {
        f"{seed}": smf(notes(*tune(seed, 200)), notes(*chords(seed, 100), channel=1))
        for seed in range(60)
    }
    assert grouped(pieces) == []


def test_scales_trills_and_one_drum_make_no_version() -> None:
    def smooth(*steps: int) -> Line:
        pitches = 60 + np.cumsum(np.resize(steps, 60)) % 24
        return [(i, i + 1, int(pitch)) for i, pitch in enumerate(pitches)]

    for steps in ((2, -2), (1,), (2, 2, 1, 2, 2, 2, 1), (4, 3, 5)):
        pieces = {name: smf(notes(*smooth(*steps))) for name in ("a", "b")}
        assert grouped(pieces) == []
    assert grouped({name: smf(notes((0, 1, 38), channel=9)) for name in ("a", "b")}) == []


def test_versions_hang_together_however_many_there_are() -> None:
    line = tune(1)
    pieces = {f"{key:02}": smf(notes(*moved(line, key))) for key in range(-24, 25)}
    pieces["half"] = smf(notes(*moved(line[20:])))
    assert grouped(pieces) == [sorted(pieces)]


@pytest.mark.parametrize("pieces", [50, 100, 200])
def test_comparisons_grow_with_the_number_of_pieces_alone(pieces: int) -> None:
    shared = [np.arange(30, dtype=np.uint32)] * pieces  # the worst: every span in every piece
    assert sum(map(len, duplicates.compared(shared))) <= duplicates.NEAR * 30 * pieces


def test_spans_are_read_back_and_nothing_else_is() -> None:
    packed = duplicates.melody_hashes(midi.read(smf(notes(*tune(1)))))
    assert len(duplicates.unpack_hashes(packed)) > 20
    assert len(duplicates.unpack_hashes("")) == 0
    for text in ("?", packed[:-1], "AAAAA", "♯"):
        with pytest.raises(ValueError):
            duplicates.unpack_hashes(text)


MUSIC = {str(number): f"hash {number}" for number in range(20)}


@pytest.mark.parametrize("seed", range(5))
def test_a_tune_is_held_out_whole_or_not_at_all(seed: int) -> None:
    tunes = [["1", "2", "3"], ["4", "5"], ["6", "7", "8", "9", "10", "11"]]
    held_out = held_out_names(MUSIC, 0.2, seed, tunes)
    assert len(held_out) == 4
    assert all(held_out >= set(tune) or held_out.isdisjoint(tune) for tune in tunes)


def test_where_no_tune_fits_the_smallest_is_held_out_and_never_all() -> None:
    names = list(MUSIC)
    halves = [names[:12], names[12:]]
    assert held_out_names(MUSIC, 0.1, 0, halves) == set(names[12:])
    assert held_out_names(MUSIC, 0.1, 0, [names]) == set()
    assert held_out_names(MUSIC, 0, 0, halves) == set()


def test_a_folder_keeps_versions_together_in_every_encoding_unless_told(tmp_path: Path) -> None:
    for seed in range(6):
        (tmp_path / f"{seed}.mid").write_bytes(smf(notes(*tune(seed))))
    for name, how in VERSIONS.items():
        (tmp_path / f"{name}.mid").write_bytes(how(tune(1)))
    versions_of_1 = sorted(["1.mid", *(f"{name}.mid" for name in VERSIONS)])
    for encoding in ("notes", "remi"):
        for seed in range(3):
            corpus = load_dataset(tmp_path, name=encoding, validation=0.3, seed=seed)
            assert corpus.duplicate_groups == [versions_of_1]
            assert not set(versions_of_1) & set(corpus.held_out)
            assert len(corpus.held_out) == 4
    splits = [
        load_dataset(tmp_path, validation=0.3, seed=seed, group_versions=False) for seed in range(3)
    ]
    assert any(set(versions_of_1) & set(corpus.held_out) for corpus in splits)
    assert not any(corpus.duplicate_groups for corpus in splits)
