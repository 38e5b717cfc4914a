"""Key, chords and instruments of pieces drawn from a network that likes everything alike."""

from collections import Counter
from typing import Any, Self

import numpy as np
import pytest

from midilstm import tokenizers as encodings
from midilstm.config import SamplingConfig
from midilstm.fileio import InputError
from midilstm.generation.constraints import NEVER, parse_constraints
from midilstm.generation.generate import generate
from midilstm.tokenizers.base import TimedNote
from midilstm.tokenizers.vocabulary import END, Vocabulary

NOTES = Vocabulary((END, *(encodings.get("notes").transpose("C4", n) for n in range(-6, 6))))
PITCHES = [f"Pitch_{pitch}" for pitch in range(55, 67)]
BODY = ("Velocity_63", "Duration_0.6.12", "PitchDrum_36", "PitchDrum_42")
PROGRAMS = ("Program_-1", "Program_0", "Program_33", "Program_32", "Program_65")
TSD = Vocabulary((END, *PROGRAMS, *PITCHES, *BODY, "TimeShift_0.6.12", "TimeShift_1.0.12"), "tsd")
PLACES = [f"Position_{place}" for place in range(0, 36, 6)]
STATED = ("Bar_None", "TimeSig_3/4", "Tempo_120.0")
REMI = Vocabulary((END, *STATED, *PLACES, *PROGRAMS, *PITCHES, *BODY), "remi")
MERGED = Vocabulary((*REMI.tokens, "Program_-1 PitchDrum_36", "Duration_0.6.12 Program_65"), "remi")
EVERY = pytest.mark.parametrize("vocabulary", [NOTES, TSD, REMI, MERGED], ids=["notes", *"trm"])
BANDS = pytest.mark.parametrize("vocabulary", [TSD, REMI, MERGED], ids=[*"trm"])
MAJOR = {0, 2, 4, 5, 7, 9, 11}


class Indifferent:
    """Give every id of a vocabulary the same probability."""

    def __init__(self, size: int) -> None:
        self.size = size

    def initial_state(self, rows: int = 1) -> Self:  # noqa: ARG002 - it is the same for all
        return self

    def select_rows(self, rows: Any) -> Self:  # noqa: ARG002
        return self

    def step(self, ids: np.ndarray) -> np.ndarray:
        return np.full((len(ids), self.size), -np.log(self.size), np.float32)


def settings(**constraints: Any) -> SamplingConfig:
    return SamplingConfig(**{"control_strength": 4.0, **constraints})


def drawn(
    vocabulary: Vocabulary, primer: tuple[str, ...] = (), length: int = 400, **constraints: Any
) -> list[str]:
    """Return the tokens of a piece drawn with constraints."""
    control = parse_constraints(vocabulary, settings(**constraints))
    network: Any = Indifferent(len(vocabulary))
    rules: dict[str, Any] = {"grammar": vocabulary.grammar()}
    if control:
        rules["control"] = lambda: control.begin(primer)
    ids = [vocabulary.token_ids[token] for token in primer]
    (piece,) = generate(network, [5], length, SamplingConfig(), ids, **rules)
    return [vocabulary.tokens[number] for number in piece]


def heard(vocabulary: Vocabulary, tokens: list[str]) -> list[TimedNote]:
    return vocabulary.encoding.timed_notes(tokens)


@EVERY
def test_in_a_key_no_note_is_foreign(vocabulary: Vocabulary) -> None:
    free = {note.pitch % 12 for note in heard(vocabulary, drawn(vocabulary)) if note.program >= 0}
    assert free == set(range(12))
    made = heard(vocabulary, drawn(vocabulary, key="C major"))
    pitched = [note.pitch % 12 for note in made if note.program >= 0]
    assert np.mean([pitch in MAJOR for pitch in pitched]) > 0.97
    assert len({*pitched} & MAJOR) >= 6
    assert Counter(pitched)[0] > Counter(pitched)[11]  # nearer home


@EVERY
def test_chords_change_with_the_bar_and_hold_on_beats(vocabulary: Vocabulary) -> None:
    three = vocabulary.encoding_name == "remi"  # in 3/4, which every piece states
    made = heard(vocabulary, drawn(vocabulary, chords="C F#"))
    assert max(note.start for note in made) > 12
    on: list[bool] = []
    off: list[bool] = []
    for start, _, pitch, program in made:
        bar, beat = divmod(start, 3 if three else 4)
        tones = {0, 4, 7} if bar % 2 == 0 else {6, 10, 1}
        if program >= 0:
            (off if beat % 1 else on).append(pitch % 12 in tones)
    assert np.mean(on) > 0.97
    assert 0.3 < np.mean(off) < 0.8  # the chord's scale will do


@BANDS
def test_only_the_instruments_asked_for_play_and_each_does(vocabulary: Vocabulary) -> None:
    assert len({note.program for note in heard(vocabulary, drawn(vocabulary))}) == 5
    tokens = drawn(vocabulary, instruments="bass, drums")
    programs = Counter(note.program for note in heard(vocabulary, tokens))
    assert {*programs} == {-1, 32, 33}
    control = parse_constraints(vocabulary, settings(instruments="bass, drums"))
    assert control is not None
    assert control.report(tokens) == {}


@BANDS
def test_an_instrument_that_the_model_hardly_draws_is_waited_for_in_vain_no_longer(
    vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = [number for number, x in enumerate(vocabulary.tokens) if "Program_65" in x]
    plain = Indifferent.step

    def step(self: Indifferent, ids: np.ndarray) -> np.ndarray:
        scores = plain(self, ids)
        scores[:, rare] -= 20
        return scores

    monkeypatch.setattr(Indifferent, "step", step)
    tokens = drawn(vocabulary, length=1500, instruments="piano, sax", control_strength=1.0)
    made = heard(vocabulary, tokens)
    assert {note.program for note in made} == {0, 65}


@BANDS
def test_what_a_primer_played_last_does_not_play_on(vocabulary: Vocabulary) -> None:
    body_state = ("Bar_None", "TimeSig_3/4", "Position_0", "Tempo_120.0")
    primer = (
        *(body_state if vocabulary.encoding_name == "remi" else ()),
        "Program_65",
        "Pitch_60",
        *BODY[:2],
    )
    tokens = drawn(vocabulary, primer, instruments="drums, piano")
    made = heard(vocabulary, [*primer, *tokens])
    assert Counter(note.program for note in made)[65] == 1


@pytest.mark.parametrize(
    ("vocabulary", "names", "told"),
    [
        (REMI, "piano, tuba", "no instrument 'tuba': it knows Percussion, Acoustic Grand Piano"),
        (REMI, "piano,", "no instrument ''"),
        (NOTES, "piano", "it knows no instruments"),
    ],
)
def test_an_instrument_that_the_model_does_not_know_is_refused(
    vocabulary: Vocabulary, names: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        parse_constraints(vocabulary, settings(instruments=names))


@EVERY
def test_adjusted_rows_stay_distributions(vocabulary: Vocabulary) -> None:
    constraints = {"key": "C major", "chords": "C F"}
    if vocabulary is not NOTES:
        constraints["instruments"] = "piano"
    control = parse_constraints(vocabulary, settings(**constraints))
    assert control is not None
    state, row = control.begin(), np.full(len(vocabulary), -np.log(len(vocabulary)), np.float32)
    for number in (3, 7, 9):
        state.update(number)
        adjusted = row.copy()
        state.adjust_logits(adjusted)
        assert np.exp(adjusted.astype(float)).sum() == pytest.approx(1, abs=1e-5)
        assert np.isfinite(adjusted).all()
        assert adjusted.min() > -2 * NEVER


def test_auto_is_the_primers_key_or_after_some_notes_the_pieces_own() -> None:
    control = parse_constraints(NOTES, settings(key="auto"))
    assert control is not None
    scale = ("D4", "E4", "F#4", "G4", "A4", "B4", "C#4", "D4", "A4", "D4")
    assert control.begin(scale).key == "D major"
    state = control.begin()
    for token in (scale * 4)[:31]:
        state.add_token(token)
    assert state.key is None
    state.add_token("D4")
    assert state.key == "D major"
    assert control.report(scale * 4) == {"key": "D major"}
    assert control.report(scale) == {"key": "not known yet"}


def test_of_a_piece_too_short_for_all_it_says_who_is_silent() -> None:
    control = parse_constraints(TSD, settings(instruments="piano, bass, drums"))
    assert control is not None
    tokens = ["Program_0", "Pitch_60", *BODY[:2]]
    assert control.report(tokens) == {"silent": "bass, drums"}


def test_no_constraint_or_no_strength_gives_none_but_nonsense_is_refused() -> None:
    assert parse_constraints(NOTES, settings()) is None
    assert parse_constraints(NOTES, settings(key="C major", control_strength=0)) is None
    with pytest.raises(InputError):
        parse_constraints(NOTES, settings(key="C mayor", control_strength=0))


def test_after_a_primer_chords_begin_in_the_bar_of_the_first_new_note() -> None:
    body_state = ("Bar_None", "TimeSig_3/4", "Position_0", "Tempo_120.0", "Program_0")
    primer = (*body_state, "Pitch_55", *BODY[:2], "Bar_None", "Position_0", "Pitch_56", *BODY[:2])
    tokens = drawn(REMI, primer, length=1200, chords="C F#")
    made = heard(REMI, [*primer, *tokens])[2:]
    first, tones = made[0].start // 3, ({0, 4, 7}, {6, 10, 1})
    assert first >= 1
    found = [
        note.pitch % 12 in tones[int(note.start // 3 - first) % 2]
        for note in made
        if note.program >= 0 and note.start % 1 == 0
    ]
    assert len(found) > 20
    assert np.mean(found) > 0.97
