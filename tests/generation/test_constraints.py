"""Key and chords of pieces drawn from a network without preferences."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from constrained_pieces import (
    ALL,
    BODY,
    HEADER,
    MAJOR,
    NOTES,
    REMI,
    constraints_of,
    draw,
    notes_of,
    report,
)
from made_pieces import Uniform

from midilstm.config import SamplingConfig
from midilstm.fileio import InputError
from midilstm.generation.constraints import PieceState, parse_constraints
from midilstm.generation.turns import NEVER
from midilstm.tokenizers.base import TimedNote
from midilstm.tokenizers.vocabulary import Vocabulary


@ALL
def test_a_key_keeps_the_notes_in_its_scale(vocabulary: Vocabulary) -> None:
    free, constrained = (
        [n.pitch % 12 for n in notes_of(vocabulary, tokens) if n.program >= 0]
        for tokens in (draw(vocabulary), draw(vocabulary, key="C major", chars=1200))
    )
    assert set(free) == set(range(12))
    assert np.mean([pitch in MAJOR for pitch in constrained]) > 0.97
    assert len({*constrained} & MAJOR) >= 6
    assert Counter(constrained)[0] > Counter(constrained)[11]  # nearer to the tonic


def share_in_chords(notes: list[TimedNote], bar_quarters: int, first_bar: int = 0) -> list[float]:
    """Return the share of pitched notes in the chords C and F# by turns, on beats and off them."""
    tones = ({0, 4, 7}, {6, 10, 1})
    is_in: tuple[list[bool], list[bool]] = ([], [])
    for start, _, pitch, program in notes:
        bar, beat = divmod(start, bar_quarters)
        if program >= 0:
            is_in[beat % 1 > 0].append(pitch % 12 in tones[int(bar - first_bar) % 2])
    assert len(is_in[0]) > 10
    return [float(np.mean(values)) for values in is_in]


@ALL
def test_chords_change_with_the_bar_and_hold_on_beats(vocabulary: Vocabulary) -> None:
    notes = notes_of(vocabulary, draw(vocabulary, chords="C F#"))
    assert max(note.start for note in notes) > 12
    bar_quarters = 3 if vocabulary.encoding_name == "remi" else 4
    on_beats, off_beats = share_in_chords(notes, bar_quarters)
    assert on_beats > 0.97
    assert 0.3 < off_beats < 0.8  # the chord's scale is enough


@ALL
def test_two_chords_have_half_a_bar_each_and_no_chord_leaves_the_notes_free(
    vocabulary: Vocabulary,
) -> None:
    notes = notes_of(vocabulary, draw(vocabulary, chords="C F# | N.C.", chars=3000))
    bar_quarters = 3 if vocabulary.encoding_name == "remi" else 4
    halves = [Counter[int]() for _ in range(4)]
    for start, _, pitch, program in notes:
        if program >= 0 and start % 1 == 0:
            halves[int(start % (2 * bar_quarters) / bar_quarters * 2)][pitch % 12] += 1
    for chord, half in zip(({0, 4, 7}, {6, 10, 1}), halves[:2], strict=True):
        assert sum(half[x] for x in chord) > 0.97 * half.total()
    assert {*halves[2]} | {*halves[3]} == set(range(12))


def test_chords_begin_in_the_bar_of_the_first_note_after_a_primer() -> None:
    note = BODY[:2]
    piano = ("Program_0", "Position_0")
    primer = (*HEADER, *piano, "Pitch_55", *note, "Bar_None", *piano, "Pitch_56", *note)
    tokens = draw(REMI, primer, chars=1200, chords="C F#")
    notes = notes_of(REMI, [*primer, *tokens])[2:]
    assert notes[0].start // 3 >= 1
    assert share_in_chords(notes, 3, int(notes[0].start // 3))[0] > 0.97


@pytest.mark.parametrize("settings", [{"key": "C major"}, {"key": "auto"}, {"chords": "C"}])
def test_harmony_is_said_to_change_nothing_of_drums(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    drums = [token for token in REMI.tokens if not token.startswith("Pitch_")]
    for tokens, expected in ((REMI.tokens, ""), (drums, "knows drums alone")):
        constraints_of(Vocabulary(tuple(tokens), "remi"), **settings)
        assert expected in (error := capsys.readouterr().err)
        assert bool(expected) == bool(error)


@ALL
def test_adjusted_rows_stay_distributions(vocabulary: Vocabulary) -> None:
    instruments: dict[str, Any] = {} if vocabulary is NOTES else {"instruments": "piano"}
    state = constraints_of(vocabulary, key="C major", chords="C F", **instruments).begin()
    for token_id in (3, 7, 9):
        state.add_token(vocabulary.tokens[token_id])
        row = Uniform(len(vocabulary)).step(np.zeros(1))[0]
        state.adjust_logits(row)
        assert np.exp(row.astype(float)).sum() == pytest.approx(1, abs=1e-5)
        assert np.isfinite(row).all()
        assert row.min() > -2 * NEVER


def test_auto_takes_the_key_of_the_primer_or_of_the_first_notes() -> None:
    constraints = constraints_of(NOTES, key="auto")
    scale = ("D4", "E4", "F#4", "G4", "A4", "B4", "C#4", "D4", "A4", "D4")
    assert constraints_of(NOTES, scale, key="auto").begin().key == "D major"
    assert report(constraints, (scale * 4)[:31]) == {"key": "not known yet"}
    assert report(constraints, (scale * 4)[:32]) == {"key": "D major"}


def test_without_settings_or_strength_there_are_no_constraints() -> None:
    assert parse_constraints(NOTES, SamplingConfig()) is None
    assert parse_constraints(NOTES, SamplingConfig(key="C major", control_strength=0)) is None
    with pytest.raises(InputError):
        parse_constraints(NOTES, SamplingConfig(key="C mayor", control_strength=0))


# For each bar of a chart, the pitch class of the lowest note of each chord by position in 3/4
CHARTS: dict[str, list[dict[int, int]]] = {
    "C": [{0: 0}],
    "C7 | % | F7 | C7": [{0: 0}, {0: 0}, {0: 5}, {0: 0}],
    "Dm7 G7 | CΔ7 | N.C. | %": [{0: 2, 18: 7}, {0: 0}, {}, {}],
    "Am / D7 / | G/B": [{0: 9, 18: 2}, {0: 11}],
}


def pitch_classes_drawn(state: PieceState) -> set[int]:
    """Return the pitch classes that are not practically impossible."""
    row = np.zeros(len(REMI), np.float32)
    state.adjust_logits(row)
    tokens = [x for x, nats in zip(REMI.tokens, row, strict=True) if nats > -100]
    return {int(x.removeprefix("Pitch_")) % 12 for x in tokens if x.startswith("Pitch_")}


@pytest.mark.parametrize(("text", "chart"), CHARTS.items())
def test_the_bass_plays_the_roots_of_a_chart_that_repeats(
    text: str, chart: list[dict[int, int]]
) -> None:
    state = constraints_of(REMI, chords=text).begin(7)
    is_root: list[bool] = []
    for bar in range(200):
        roots = chart[bar % len(chart)]
        for token in ("Bar_None", *HEADER[1:2], "Program_33"):
            state.add_token(token)
        for position in range(0, 36, 6):
            state.add_token(f"Position_{position}")
            drawn = pitch_classes_drawn(state)
            if position in roots:
                is_root.append(drawn == {roots[position]})
            assert drawn in (set(range(12)), {roots.get(position, 12)})
            state.add_token("Pitch_60")
        state.add_token("Program_65")
        state.add_token("Position_0")
        assert len(pitch_classes_drawn(state)) == 12
    assert len(is_root) >= 100
    assert 0.7 < np.mean(is_root) < 0.9
