"""Pitches drawn beside a melody suit it as in the openings of the training pieces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fill_bands import random_band, random_network, vocabulary

from midilstm.config import SamplingConfig
from midilstm.generation.consonance import (
    LATER,
    NOW,
    WHOLE,
    Consonance,
    IntervalWeights,
    fit_intervals,
    melody_features,
    split_melody,
)
from midilstm.generation.fill import Filler
from midilstm.generation.fixed_mask import PITCH, FixedMask
from midilstm.generation.fixed_notes import FixedNotes
from midilstm.generation.opening import Opening, collect_openings
from midilstm.generation.sampler import Sampler
from midilstm.generation.source_piece import open_source
from midilstm.midi import Note, Score
from midilstm.tokenizers.vocabulary import END, END_ID, Vocabulary

PIANO, FLUTE, BASS = 0, 73, 33


def piece_of(interval: int, seed: int, lag: int) -> np.ndarray:
    """Return a random line and, `lag` steps earlier, notes an interval below it."""
    pitches = np.random.default_rng(seed).integers(60, 84, 40).tolist()
    notes = [(24 * beat, 24 * beat + 24, pitch) for beat, pitch in enumerate(pitches)]
    notes += [(start - lag, end - lag, pitch - interval) for start, end, pitch in notes[1:]]
    return np.array([(*note, PIANO) for note in notes])


@pytest.mark.parametrize(("lag", "feature"), [(0, NOW), (6, LATER)])
@pytest.mark.parametrize("interval", [4, 15])
def test_the_weights_are_those_of_the_intervals_played(
    lag: int, feature: int, interval: int
) -> None:
    pieces = [piece_of(interval, seed, lag) for seed in range(4)]
    above = fit_intervals(pieces, 1)[feature]
    assert above.argmax() == interval % 12
    assert above.max() > 1 + np.sort(above)[-2]
    mirrored = [notes * [1, 1, -1, 1] + [0, 0, 127, 0] for notes in pieces]
    below = fit_intervals(mirrored, -1)[feature]
    assert below == pytest.approx(above[-np.arange(12)], abs=1e-6)


def test_the_features_of_a_melody() -> None:
    notes = [(0, 12, 60), (12, 18, 64), (24, 36, 60), (24, 36, 67)]
    melody = np.array([(*note, PIANO) for note in notes])
    features = melody_features(melody, 40)
    sounding = [{*np.flatnonzero(row).tolist()} for row in features[:, NOW]]
    assert [sounding[x] for x in (0, 11, 12, 18, 24, 36)] == [{0}, {0}, {4}, set(), {0, 7}, set()]
    expected = np.zeros(12)
    expected[[0, 4, 7]] = np.exp(-2), np.exp(-1), np.exp(-2)
    assert features[0, LATER] == pytest.approx(expected)
    assert not features[24, LATER].any()
    assert features[5, WHOLE, [0, 4, 7]] == pytest.approx([2.5, 1.25, 1.25])


def test_a_melody_is_the_outer_notes_of_the_outer_instrument() -> None:
    notes = [(0, 48, 50), (0, 12, 70), (6, 9, 72), (12, 24, 65), (12, 24, 45)]
    piano = np.array([(*note, PIANO) for note in notes])
    melody, rest = split_melody(piano, 1)
    assert melody[:, 2].tolist() == [70, 72, 65] and rest[:, 2].tolist() == [50, 45]
    melody, rest = split_melody(piano, -1)
    assert melody[:, 2].tolist() == [50, 45] and rest[:, 2].tolist() == [70, 72, 65]
    both = np.concatenate([piano, [(0, 12, 71, FLUTE), (0, 24, 69, FLUTE)]])
    melody, rest = split_melody(both, 1)
    assert melody[:, 2].tolist() == [71] and rest.tolist() == piano.tolist()


def thirds(seed: int, n_bars: int = 8) -> Score:
    """Return a flute's quarter notes, and the piano's a major third below."""
    pitches = np.random.default_rng(seed).integers(52, 56, 4 * n_bars).tolist()
    notes = [
        Note(480 * beat, 480, pitch - below, 63, program)
        for beat, pitch in enumerate(pitches)
        for below, program in ((4, PIANO), (0, FLUTE))
    ]
    return Score(480, tuple(sorted(notes)), {0: 100.0}, {0: (4, 4)})


def openings_of(known: Vocabulary) -> list[Opening]:
    pieces = {}
    for seed in range(6):
        ids = known.ids_of([*known.apply_merges(known.encoding.encode(thirds(seed))), END])
        assert (ids[:-1] > END_ID).all()
        pieces[str(seed)] = ids
    return collect_openings(pieces, known)


@pytest.mark.parametrize("n_merges", [0, 60])
def test_what_is_drawn_to_a_melody_suits_it_as_the_openings_do(n_merges: int) -> None:
    known = vocabulary(n_merges)
    melody = [note for note in thirds(9).notes if note.program == FLUTE]
    score, network = replace(thirds(9), notes=tuple(melody)), random_network(1, len(known))
    shares = []
    for strength in (1.0, 0.0):
        config = SamplingConfig(
            keep="flute", instruments="piano", bars=8, candidates=1, control_strength=strength
        )
        config = replace(config, opening=False)  # of a new piece: this one has a primer
        source = open_source(score, config, known)
        sampler = Sampler(network, known, config, None, (), openings_of(known))
        drawn = Filler(sampler, source, 0).draw().notes
        fits = [(melody[x.start // 480].pitch - x.pitch) % 12 == 4 for x in drawn]
        assert len(fits) > 10
        shares.append(sum(fits) / len(fits))
    assert shares[0] > 0.6 > 0.3 > shares[1]


def test_each_note_of_an_id_is_weighed_where_it_would_begin() -> None:
    known, rng = vocabulary(200), np.random.default_rng(0)
    weights, n_notes = IntervalWeights(openings_of(vocabulary(0)), vocabulary(0)), 0
    for _ in range(3):
        source = open_source(random_band(rng), SamplingConfig(keep="flute"), known)
        fixed = FixedNotes(source, known)
        mask = FixedMask(fixed, known, {PIANO, BASS})
        consonance = Consonance(fixed, known, weights, 1.0)
        for bar, position in rng.integers((0, 1), (6, 30), (20, 2)):
            place = np.array([bar, 2, position, 0, len(fixed.keys) - 2, len(fixed.codes), 0])
            ids = np.arange(len(known))
            places, expected = np.repeat(place[:, None], len(ids), axis=1), np.zeros(len(ids))
            is_known = np.ones(len(ids), bool)
            for part in mask.walk(places, ids):
                for row in part.rows[part.kinds == PITCH]:
                    start = fixed.note_at(places[:4, row].tolist(), 64, 1.0).start
                    pitch_class = (places[PITCH, row] - 1) % 12
                    expected[row] += consonance.table[start // 40, pitch_class]
                is_known[part.rows[~part.is_allowed]] = False
            logits = rng.normal(size=(1, len(known))).astype(np.float32)
            changed = logits.copy()
            consonance.adjust_logits(changed, place[:, None])
            is_pitch = np.zeros(len(ids), bool)
            is_pitch[consonance.ids] = True
            assert (changed == logits)[0, ~is_pitch].all()
            before, after = (np.exp(x[0, is_pitch]).sum() for x in (logits, changed))
            assert after == pytest.approx(before, rel=1e-4)
            chosen = np.flatnonzero(is_pitch & is_known)
            n_notes += len(chosen)
            nats = (changed - logits)[0, chosen] - expected[chosen]
            assert nats == pytest.approx(nats.mean() if len(nats) else 0, abs=1e-3)
    assert n_notes > 100


@pytest.mark.parametrize(("pitch", "sign", "n_merges"), [(52, 1, 60), (51, -1, 0)])
def test_an_instrument_does_not_cross_the_melody_that_it_plays(
    pitch: int, sign: int, n_merges: int
) -> None:
    known, network = vocabulary(n_merges), random_network(1, len(vocabulary(n_merges)))
    notes = tuple(Note(480 * beat, 240, pitch, 63, PIANO) for beat in range(32))
    score = Score(480, notes, {0: 100.0}, {0: (4, 4)})
    n_crossing = []
    for openings in (openings_of(known), []):
        for chords in (None, "C | G"):
            config = SamplingConfig(
                keep="all", instruments="piano", bars=8, chords=chords, candidates=2
            )
            source = open_source(score, config, known)
            sampler = Sampler(network, known, config, None, (), openings)
            drawn = Filler(sampler, source, 0).draw().notes
            beside = [note.pitch for note in drawn if note.start % 480 < 240]
            assert len(beside) > 10
            n_crossing.append(sum(sign * (x - pitch) > 0 for x in beside))
    assert n_crossing[:2] == [0, 0] and min(n_crossing[2:]) > 0


def test_a_melody_of_drums_alone_changes_nothing() -> None:
    known = vocabulary(0)
    source = open_source(random_band(np.random.default_rng(1)), SamplingConfig(keep="drums"), known)
    weights = IntervalWeights(openings_of(known), known)
    assert not Consonance(FixedNotes(source, known), known, weights, 1.0).table.any()
