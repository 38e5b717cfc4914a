"""The instruments that are named of pieces drawn from a network without preferences."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from constrained_pieces import (
    BANDS,
    BODY,
    HEADER,
    MERGED,
    NOTES,
    REMI,
    TSD,
    constraints_of,
    draw,
    notes_of,
    report,
)
from made_pieces import Uniform

from midilstm.config import SamplingConfig
from midilstm.fileio import InputError
from midilstm.generation.opening import Opening, Part
from midilstm.generation.sampler import Sampler
from midilstm.tokenizers.vocabulary import END, Vocabulary


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

    parts = {33: Part(0, 127, True, True, 0.8), 66: Part(0, 127, True, True, 0.3)}
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


def test_the_report_names_silent_instruments() -> None:
    constraints = constraints_of(TSD, instruments="piano, bass, drums")
    tokens = ["Program_0", "Pitch_60", *BODY[:2]]
    assert report(constraints, tokens) == {"silent": "bass, drums"}
