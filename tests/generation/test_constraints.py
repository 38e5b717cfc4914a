"""Key, chords and instruments of pieces drawn from a network without preferences."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_pieces import Uniform

from midilstm import tokenizers
from midilstm.config import SamplingConfig
from midilstm.fileio import InputError
from midilstm.generation.constraints import NEVER, Constraints, PieceState, parse_constraints
from midilstm.generation.opening import Opening, Part
from midilstm.generation.sampler import Sampler
from midilstm.tokenizers.base import TimedNote
from midilstm.tokenizers.vocabulary import END, Vocabulary

NOTES = Vocabulary((END, *(tokenizers.get("notes").transpose("C4", n) for n in range(-6, 6))))
PITCHES = [f"Pitch_{pitch}" for pitch in range(55, 67)]
BODY = ("Velocity_63", "Duration_0.6.12", "PitchDrum_36", "PitchDrum_42")
PROGRAMS = ("Program_-1", "Program_0", "Program_33", "Program_32", "Program_65")
TSD = Vocabulary((END, *PROGRAMS, *PITCHES, *BODY, "TimeShift_0.6.12", "TimeShift_1.0.12"), "tsd")
POSITIONS = [f"Position_{position}" for position in range(0, 36, 6)]
HEADER = ("Bar_None", "TimeSig_3/4", "Position_0", "Tempo_120.0")
REMI = Vocabulary((END, *HEADER[:2], HEADER[3], *POSITIONS, *PROGRAMS, *PITCHES, *BODY), "remi")
MERGES = ("Duration_0.6.12 Program_65", "Duration_0.6.12 Bar_None Program_33")
MERGED = Vocabulary((*REMI.tokens, "Program_-1 PitchDrum_36", *MERGES), "remi")
ALL = pytest.mark.parametrize("vocabulary", [NOTES, TSD, REMI, MERGED], ids=["notes", *"trm"])
BANDS = pytest.mark.parametrize("vocabulary", [TSD, REMI, MERGED], ids=[*"trm"])
MAJOR = {0, 2, 4, 5, 7, 9, 11}


def constraints_of(
    vocabulary: Vocabulary, primer: tuple[str, ...] = (), **settings: Any
) -> Constraints:
    config = SamplingConfig(**{"control_strength": 4.0, **settings})
    constraints = parse_constraints(vocabulary, config, primer)
    assert constraints is not None
    return constraints


def draw(
    vocabulary: Vocabulary, primer: tuple[str, ...] = (), network: Any = None, **settings: Any
) -> list[str]:
    """Return the tokens of a piece drawn under constraints."""
    config = SamplingConfig(**{"chars": 400, "control_strength": 4.0, **settings})
    network = network or Uniform(len(vocabulary))
    return Sampler(network, vocabulary, config, None, primer).draw([5])[0].tokens


def report(constraints: Constraints, tokens: Sequence[str]) -> dict[str, str]:
    state = constraints.begin()
    for token in tokens:
        state.add_token(token)
    return state.report()


def notes_of(vocabulary: Vocabulary, tokens: list[str]) -> list[TimedNote]:
    return vocabulary.encoding.timed_notes(tokens)


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


@BANDS
def test_the_named_instruments_play_and_no_others(vocabulary: Vocabulary) -> None:
    assert len({note.program for note in notes_of(vocabulary, draw(vocabulary))}) == 5
    tokens = draw(vocabulary, instruments="bass, drums")
    assert {note.program for note in notes_of(vocabulary, tokens)} == {-1, 33}
    two = draw(vocabulary, instruments="2 bass, drums")
    assert {note.program for note in notes_of(vocabulary, two)} == {-1, 32, 33}
    assert report(constraints_of(vocabulary, instruments="bass, drums"), tokens) == {}


@BANDS
def test_an_instrument_that_the_model_hardly_draws_plays(vocabulary: Vocabulary) -> None:
    rare = [i for i, token in enumerate(vocabulary.tokens) if "Program_65" in token]

    class Reluctant(Uniform):
        def step(self, ids: np.ndarray) -> np.ndarray:
            log_probs = super().step(ids)
            log_probs[:, rare] -= 20
            return log_probs

    network = Reluctant(len(vocabulary))
    settings: dict[str, Any] = {"instruments": "piano, sax", "control_strength": 1.0}
    tokens = draw(vocabulary, (), network, chars=1500, **settings)
    assert {note.program for note in notes_of(vocabulary, tokens)} == {0, 65}


@BANDS
def test_an_instrument_that_rested_takes_its_turn_and_that_of_no_other(
    vocabulary: Vocabulary,
) -> None:
    settings: dict[str, Any] = {"instruments": "drums, piano, sax", "control_strength": 1.0}
    state = constraints_of(vocabulary, **settings).begin()
    drums = ("Program_-1", "PitchDrum_36", *BODY[:2])
    if is_remi := vocabulary.encoding_name == "remi":
        bar = ("Bar_None", *drums[:1], "Position_0", *drums[1:])
        rest = [*HEADER, *bar[1:], *bar * 6, "Bar_None"]
    else:
        rest = [*drums, *("TimeShift_1.0.12", *drums[1:]) * 30]
    for token in rest:
        state.add_token(token)
    row = np.full(len(vocabulary), -np.log(len(vocabulary)), np.float32)
    state.adjust_logits(row)
    log_probs = dict(zip(vocabulary.tokens, row.tolist(), strict=True))
    if is_remi:
        # Drums may play as before; the piano, then the saxophone play where the bar would end.
        assert log_probs["Program_-1"] == pytest.approx(log_probs["TimeSig_3/4"])
        assert log_probs["Program_0"] > log_probs["Program_-1"] > log_probs["Program_65"] + 4
        assert log_probs["Program_65"] > log_probs["Bar_None"] + 4
        several = [x for x in vocabulary.tokens if x.endswith(("_0", "_65")) and "Pro" in x]
        several += [END, "Bar_None"]
        total = sum(np.exp(log_probs[x]) for x in several)
        assert total == pytest.approx(len(several) * np.exp(log_probs["Program_-1"]), rel=1e-4)
    else:
        assert log_probs["Program_0"] == pytest.approx(log_probs["Program_65"])
        assert log_probs["Program_0"] > log_probs["TimeShift_1.0.12"] + 4
    row[:] = -np.log(len(vocabulary))
    names = [i for i, token in enumerate(vocabulary.tokens) if "Program" in token]
    row[names] = -np.inf  # the grammar allows none of them any more
    state.adjust_logits(row)
    assert np.isfinite(np.delete(row, names)).all()


@BANDS
def test_each_named_instrument_plays_in_its_share_of_bars(vocabulary: Vocabulary) -> None:
    rare = [i for i, token in enumerate(vocabulary.tokens) if "Program_" in token]

    class Reluctant(Uniform):
        def step(self, ids: np.ndarray) -> np.ndarray:
            log_probs = super().step(ids)
            log_probs[:, rare] -= 12
            return log_probs

    parts = {33: Part(0, 127, True, 0.8), 66: Part(0, 127, True, 0.3)}
    openings = [Opening("a.mid", (1,), parts), Opening("b.mid", (1,), {33: parts[33]})]
    config = SamplingConfig(bars=40, instruments="sax, bass, piano", opening=False)
    vocabulary = replace(vocabulary, tokens=(*vocabulary.tokens, "Program_66"))
    network: Any = Reluctant(len(vocabulary))
    is_remi = vocabulary.encoding_name == "remi"
    start = (*HEADER, "Program_66", "Position_0") if is_remi else ("Program_66",)
    primer = (*start, "Pitch_60", *BODY[:2])
    tokens = Sampler(network, vocabulary, config, None, primer, openings).draw([3])[0].tokens
    bars: dict[int, set[int]] = {}
    for note in notes_of(vocabulary, vocabulary.encoding.with_header(tokens, primer)):
        bars.setdefault(note.program, set()).add(int(note.start // (3 if is_remi else 4)))
    assert set(bars) == {66, 33, 0}  # the saxophone of the primer
    for program, share in ((66, 0.3), (33, 0.8), (0, 0.5)):
        assert len(bars[program]) > 40 * share - 1


def log_probs_after(vocabulary: Vocabulary, tokens: Sequence[str]) -> dict[str, float]:
    """Return the log probabilities after tokens of a bass, a saxophone and drums."""
    state = constraints_of(vocabulary, instruments="bass, sax, drums").begin()
    for token in tokens:
        state.add_token(token)
    row = np.zeros(len(vocabulary), np.float32)
    state.adjust_logits(row)
    return dict(zip(vocabulary.tokens, row.tolist(), strict=True))


def test_a_merged_token_does_not_take_the_turn_of_an_instrument() -> None:
    note = ("Position_0", "Pitch_60", *BODY[:2])
    drums = ("Program_-1", "Position_0", "PitchDrum_36", *BODY[:2])
    bars = [*HEADER, *drums, *("Bar_None", *drums) * 3]
    log_probs = log_probs_after(MERGED, bars)
    assert log_probs["Program_33"] > log_probs["Duration_0.6.12 Bar_None Program_33"] + 20
    vocabulary = replace(MERGED, tokens=(*MERGED.tokens, "Bar_None Program_65"))
    log_probs = log_probs_after(vocabulary, [*bars, "Program_33", *note, "Program_65", *note])
    assert log_probs["Bar_None"] > log_probs["Bar_None Program_65"] + 20  # the bass is due again


def test_no_merged_token_ends_a_note_and_skips_an_instrument() -> None:
    drums = ("Program_-1", "Position_0", "PitchDrum_36", *BODY[:2])
    skipping = "Velocity_63 Duration_0.6.12 Bar_None"
    vocabulary = replace(MERGED, tokens=(*MERGED.tokens, skipping))
    named = np.array(["Program" in token for token in vocabulary.tokens])
    state = constraints_of(vocabulary, instruments="bass, drums").begin()
    for token in (*HEADER, *drums, *("Bar_None", *drums) * 3)[:-2]:
        state.add_token(token)
    row = np.where(named, -np.inf, 0).astype(np.float32)  # a pitch awaits its velocity
    state.adjust_logits(row)
    log_probs = dict(zip(vocabulary.tokens, row.tolist(), strict=True))
    assert log_probs["Velocity_63"] > log_probs[skipping] + 20
    assert log_probs["Bar_None"] == pytest.approx(log_probs["Velocity_63"])


@BANDS
def test_the_last_instrument_of_a_primer_does_not_play_on(vocabulary: Vocabulary) -> None:
    header = HEADER if vocabulary.encoding_name == "remi" else ()
    primer = (*header, "Program_65", *["Position_0"] * bool(header), "Pitch_60", *BODY[:2])
    tokens = draw(vocabulary, primer, instruments="drums, piano")
    notes = notes_of(vocabulary, [*primer, *tokens])
    assert Counter(note.program for note in notes)[65] == 1


@pytest.mark.parametrize("settings", [{"key": "C major"}, {"key": "auto"}, {"chords": "C"}])
def test_harmony_is_said_to_change_nothing_of_drums(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    drums = [token for token in REMI.tokens if not token.startswith("Pitch_")]
    for tokens, expected in ((REMI.tokens, ""), (drums, "knows drums alone")):
        constraints_of(Vocabulary(tuple(tokens), "remi"), **settings)
        assert expected in (error := capsys.readouterr().err)
        assert bool(expected) == bool(error)


@pytest.mark.parametrize(
    ("vocabulary", "names", "message"),
    [
        (REMI, "piano, tuba", "no instrument 'tuba': it knows Percussion, Acoustic Grand Piano"),
        (REMI, "piano,", "no instrument ''"),
        (REMI, "3 bass", "'3 bass' is not possible: of bass the model knows .*, .*$"),
        (REMI, "0 bass", "'0 bass' is not possible"),
        (NOTES, "piano", "which notes does not: train one with .* --encoding=remi"),
    ],
)
def test_an_unknown_instrument_is_refused(vocabulary: Vocabulary, names: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        constraints_of(vocabulary, instruments=names)


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


def test_the_report_names_silent_instruments() -> None:
    constraints = constraints_of(TSD, instruments="piano, bass, drums")
    tokens = ["Program_0", "Pitch_60", *BODY[:2]]
    assert report(constraints, tokens) == {"silent": "bass, drums"}


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
