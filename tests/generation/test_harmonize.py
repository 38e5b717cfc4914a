"""Chords under a tune: the tune stays, and each chord holds what the tune plays above it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from fill_bands import random_band, random_network

from midilstm import midi
from midilstm.config import SamplingConfig
from midilstm.fileio import InputError
from midilstm.generation.harmonize import Harmonizer
from midilstm.generation.sampler import Sampler
from midilstm.midi import DRUMS, Note, Score
from midilstm.tokenizers.notes import NAMES
from midilstm.tokenizers.vocabulary import END, Vocabulary

FEW = Vocabulary((END, "C4", "D4", "0.4.7", "5.9.0", "7.11.2", "2.7", "0.5"))
MANY = Vocabulary((END, *NAMES[30:90], "0.4.7", "7.10.2")).transposition_closure()


class Uniform:
    """A network to which all ids are equally likely."""

    def initial_state(self) -> Uniform:
        return self

    def step(self, ids: np.ndarray) -> np.ndarray:
        return np.full((len(ids), len(FEW)), -np.log(len(FEW)), np.float32)


def harmonizer(
    score: Score, known: Vocabulary = FEW, network: Any = None, **flags: Any
) -> Harmonizer:
    """Return what draws chords to a score, all of which is kept unless flags say otherwise."""
    config = SamplingConfig(**{"keep": "all", **flags})
    sampler = Sampler(network or cast(Any, Uniform()), known, replace(config, bars=None, chars=1))
    sampler.config = config
    return Harmonizer(sampler, score)


def tune(*notes: tuple[float, float, int]) -> Score:
    """Return a flute's notes: start and length in quarter notes, and pitch."""
    return Score(480, tuple(Note(round(s * 480), round(n * 480), x, 80, 73) for s, n, x in notes))


@pytest.mark.parametrize("keep", ["all", "flute", "flute, drums", "piano, bass"])
def test_the_tune_stays_and_chords_hold_its_notes_above_them(keep: str) -> None:
    kinds = {frozenset(MANY.encoding.content(x).pitch_classes) for x in MANY.tokens[1:]}
    for seed in range(5):
        score, network = random_band(np.random.default_rng(seed)), random_network(seed, len(MANY))
        config = SamplingConfig(keep=keep, instrument="organ")
        writer = harmonizer(score, MANY, network, keep=keep, instrument="organ")
        tokens = writer.draw(seed)
        written = midi.read(writer.to_midi(tokens, config))
        assert (written.tempos, written.time_signatures) == (score.tempos, score.time_signatures)
        names = {"flute": 73, "drums": DRUMS, "piano": 0, "bass": 33}
        kept = {*names.values()} if keep == "all" else {names[x] for x in keep.split(", ")}
        fixed = [note for note in score.notes if note.program in kept]
        drawn = [note for note in written.notes if note.program == midi.program_of("organ")]
        assert drawn
        assert Counter(x[:5] for x in written.notes) - Counter(x[:5] for x in drawn) == Counter(
            x[:5] for x in fixed
        )
        onsets = {onset.tick: onset for onset in writer.onsets}
        for start in {note.start for note in drawn}:
            chord = [note.pitch for note in drawn if note.start == start]
            assert max(chord) < onsets[start].pitches[0]
            assert onsets[start].classes | {pitch % 12 for pitch in chord} in kinds


@pytest.mark.parametrize(
    ("tokens", "flags", "expected"),
    [
        (["C4", "0.4.7", "C4", "0.4.7"], {}, [(1, 4, {4, 7})]),
        (["0.4.7", "2.7", "5.9.0", "C4"], {}, [(0, 2, {4, 7}), (2, 4, {5, 9})]),
        (["C4", "D4", "C4", "C4"], {}, []),
        (["0.4.7", "C4", "0.4.7", "C4"], {"chords": "C C | C F"}, [(0, 4, {4, 7})]),
        (
            ["0.4.7", "C4", "0.4.7", "0.5"],
            {"chords": "C C C7 C7 | C"},
            [(0, 2, {4, 7}), (2, 3, {4, 7}), (3, 4, {5})],
        ),
    ],
    ids=str,
)
def test_a_chord_is_held_until_another_one(
    tokens: list[str], flags: dict[str, Any], expected: list[tuple[int, int, set[int]]]
) -> None:
    writer = harmonizer(tune((0, 1, 72), (1, 1, 60), (2, 1, 72), (3, 1, 84)), **flags)
    chords = [(a // 480, b // 480, {x % 12 for x in y}) for a, b, y in writer.chords(tokens)]
    assert chords == expected


def test_a_rest_ends_a_chord_and_a_short_gap_does_not() -> None:
    writer = harmonizer(tune((0, 0.5, 72), (1, 0.25, 72), (3, 2, 72)))
    assert writer.chords(["0.4.7", "C4", "C4"]) == [(0, 600, [52, 55])]


def test_chords_are_as_frequent_as_in_training_whatever_number_of_notes_they_have() -> None:
    writer = harmonizer(tune(*((beat, 1, 72) for beat in range(800))))
    counts = Counter(writer.draw(1))
    # Of the two thirds of C4's weight that the triads have, each has one third, and 0.5 a half.
    weights = {"C4": 1, "0.4.7": 1 / 3, "5.9.0": 1 / 3, "0.5": 1 / 2}
    assert set(counts) == set(weights)
    for token, weight in weights.items():
        share = weight / sum(weights.values())
        assert abs(counts[token] - 800 * share) < 4 * (800 * share * (1 - share)) ** 0.5


def test_a_chart_gives_a_chord_at_each_change() -> None:
    writer = harmonizer(
        tune(*((beat, 1, 72) for beat in range(64))), chords="C | F", control_strength=4
    )
    tokens = writer.draw(1)
    assert tokens[::8] == ["0.4.7"] * 8
    assert {*tokens[4::8]} <= {"5.9.0", "0.5"}
    assert "C4" in tokens


@pytest.mark.parametrize(
    ("known", "flags", "message"),
    [
        (FEW, {"bars": 4}, "--bars needs a model with bars, which notes does not have"),
        (FEW, {"fill": "1", "keep": None}, "--fill needs a model with bars, which notes does not"),
        (FEW, {"keep": "oboe"}, "--keep=oboe: there is no 'oboe' among Percussion, Flute"),
        (FEW, {"keep": "drums"}, "--keep=drums keeps no notes but drums"),
        (Vocabulary((END, "C4")), {}, "the model knows no chord that could be drawn to a tune"),
        (Vocabulary((END, "0.4")), {}, "the model knows nothing similar to the primer"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(known: Vocabulary, flags: Any, message: str) -> None:
    score = tune((0, 1, 61))
    drums = replace(score, notes=(Note(0, 9, 36, 80, DRUMS), *score.notes))
    with pytest.raises(InputError) as error:
        harmonizer(drums, known, **flags)
    assert str(error.value).startswith(message)
