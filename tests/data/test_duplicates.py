"""Versions of a tune are grouped by their melodies and stay on one side of the split."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from midi_bytes import notes, smf

from midilstm import midi
from midilstm.config import DataConfig
from midilstm.data import duplicates
from midilstm.data.dataset import load_dataset, select_held_out

Melody = list[tuple[float, float, int]]
MAJOR = np.array([0, 2, 4, 5, 7, 9, 11])


def tune(seed: int, length: int = 64) -> Melody:
    """Return a melody in C major, in two rhythms."""
    rng = np.random.default_rng(seed)
    degrees = np.cumsum(rng.integers(-3, 4, length)) % 14
    times = np.append(0, np.cumsum(rng.choice([0.5, 1], length)))
    pitches = 60 + MAJOR[degrees % 7] + 12 * (degrees // 7)
    return [(times[i], times[i + 1], int(pitch)) for i, pitch in enumerate(pitches)]


def move(melody: Melody, semitones: int = 0, quarters: float = 0) -> Melody:
    return [(start + quarters, end + quarters, pitch + semitones) for start, end, pitch in melody]


def in_sixteenths(melody: Melody) -> Melody:
    return [(i / 4, (i + 1) / 4, pitch) for i, (_, _, pitch) in enumerate(melody)]


def chords(seed: int, quarters: int) -> Melody:
    roots = 36 + np.random.default_rng([seed, 1]).integers(0, 12, quarters)
    return [(i, i + 1, int(root) + step) for i, root in enumerate(roots) for step in (0, 4, 7)]


def repeat_notes(melody: Melody) -> Melody:
    halves = [((a, (a + b) / 2, pitch), ((a + b) / 2, b, pitch)) for a, b, pitch in melody]
    return [note for pair in halves for note in pair]


VERSIONS: dict[str, Callable[[Melody], bytes]] = {
    "in another key": lambda melody: smf(notes(*move(melody, 5))),
    "an octave lower, on another instrument": lambda melody: smf(
        notes(*move(melody, -12), channel=3, start=b"\x00\xc3\x38")
    ),
    "after another introduction": lambda melody: smf(
        notes(*tune(99, 24), *move(melody, quarters=30)), notes(*chords(3, 20), channel=1)
    ),
    "with other chords below": lambda melody: smf(
        notes(*chords(7, 12), channel=1), notes(*in_sixteenths(move(melody, 3)))
    ),
    "in one track with its chords": lambda melody: smf(notes(*melody, *chords(8, 40))),
    "with repeated notes and drums": lambda melody: smf(
        notes(*repeat_notes(melody)), notes(*((i, i + 0.5, 42) for i in range(40)), channel=9)
    ),
    "its second half": lambda melody: smf(notes(*move(melody[30:], quarters=-melody[30][0]))),
}


def group(pieces: dict[str, bytes]) -> list[list[str]]:
    hashes = {name: duplicates.melody_hashes(midi.read(data)) for name, data in pieces.items()}
    return duplicates.duplicate_groups(hashes)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_is_grouped_with_its_original(version: str) -> None:
    original = smf(notes(*tune(1)), notes(*chords(1, 40), channel=1))
    others = {f"other {seed}": smf(notes(*tune(seed))) for seed in range(2, 8)}
    pieces = {"original": original, "version": VERSIONS[version](tune(1)), **others}
    assert group(pieces) == [["original", "version"]]


def test_unrelated_tunes_are_not_grouped() -> None:
    pieces = {
        f"{seed}": smf(notes(*tune(seed, 200)), notes(*chords(seed, 100), channel=1))
        for seed in range(60)
    }
    assert group(pieces) == []


@pytest.mark.parametrize("steps", [(2, -2), (1,), (2, 2, 1, 2, 2, 2, 1), (4, 3, 5)])
def test_scales_trills_and_drums_are_not_grouped(steps: tuple[int, ...]) -> None:
    pitches = 60 + np.cumsum(np.resize(steps, 60)) % 24
    data = smf(notes(*((i, i + 1, int(pitch)) for i, pitch in enumerate(pitches))))
    assert group({"a": data, "b": data}) == []
    drum = smf(notes((0, 1, 38), channel=9))
    assert group({"a": drum, "b": drum}) == []


def test_many_versions_are_one_group() -> None:
    pieces = {f"{key:02}": smf(notes(*move(tune(1), key))) for key in range(-24, 25)}
    pieces["half"] = smf(notes(*move(tune(1)[20:])))
    assert group(pieces) == [sorted(pieces)]


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_held_out_whole_or_not_at_all(seed: int) -> None:
    hashes = {str(n): f"hash {n}" for n in range(20)}
    groups = [["1", "2", "3"], ["4", "5"], ["6", "7", "8", "9", "10", "11"]]
    held_out = select_held_out(hashes, 0.2, seed, groups)
    assert len(held_out) == 4
    assert all(held_out >= set(names) or held_out.isdisjoint(names) for names in groups)


@pytest.mark.usefixtures("parsed")
@pytest.mark.parametrize("encoding", ["notes", "remi"])
def test_a_folder_keeps_versions_together_in_each_encoding(tmp_path: Path, encoding: str) -> None:
    for seed in range(6):
        (tmp_path / f"{seed}.mid").write_bytes(smf(notes(*tune(seed))))
    for name, version in VERSIONS.items():
        (tmp_path / f"{name}.mid").write_bytes(version(tune(1)))
    versions = {"1.mid", *(f"{name}.mid" for name in VERSIONS)}
    is_split = []
    for seed in range(3):
        config = DataConfig(data_dir=tmp_path, encoding=encoding, validation=0.3, seed=seed)
        dataset = load_dataset(config)
        assert dataset.duplicate_groups == [sorted(versions)]
        assert versions.isdisjoint(dataset.held_out)
        assert len(dataset.held_out) == 4
        ungrouped = load_dataset(replace(config, group_versions=False))
        assert not ungrouped.duplicate_groups
        is_split.append(not versions.isdisjoint(ungrouped.held_out))
    assert any(is_split)
