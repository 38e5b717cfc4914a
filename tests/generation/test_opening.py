"""The opening of a training piece that the network reads before a new piece."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from midilstm.config import SamplingConfig
from midilstm.fileio import InputError
from midilstm.generation.lineup import Lineup
from midilstm.generation.opening import (
    Opening,
    Part,
    choose_opening,
    collect_openings,
    collect_parts,
    read_openings,
    usual_parts,
    write_openings,
)
from midilstm.generation.sampler import Sampler
from midilstm.midi import DRUMS, Note, Score
from midilstm.tokenizers import get
from midilstm.tokenizers.base import TimedNote
from midilstm.tokenizers.vocabulary import END, Vocabulary

REMI = get("remi")


def band(bars: int = 12) -> list[str]:
    """Return a piece in 3/4 at 90 bpm: a bass with single notes, a piano with chords, drums."""
    notes = []
    for beat in range(3 * bars):
        notes.append(Note(beat * 480, 240, 40 + beat % 5, 80, 33))
        if beat < 9:  # in three of the bars
            notes += [Note(beat * 480, 240, pitch, 80, 0) for pitch in (60, 64, 67)]
        notes.append(Note(beat * 480, 120, 36, 80, DRUMS))
    notes.append(Note(0, 240, 72, 80, 73))  # a flute with a single note
    return REMI.encode(Score(480, tuple(sorted(notes)), {0: 90.0}, {0: (3, 4)}))


TOKENS = band()
ALL_TOKENS = (END, *sorted({*TOKENS, "TimeSig_4/4", "PitchDrum_40"}))
VOCABULARY = Vocabulary(ALL_TOKENS, "remi").transposition_closure()
IDS = VOCABULARY.ids_of([*TOKENS, END])
(OPENING,) = collect_openings({"waltz.mid": IDS}, VOCABULARY)


class CountingNetwork:
    """A network whose state is the list of the ids that each row was fed."""

    def __init__(self, rows: int = 1) -> None:
        self.states = np.zeros((1, 1, rows, 1), np.float32)
        self.fed: list[list[int]] = [[] for _ in range(rows)]

    def initial_state(self, rows: int = 1) -> CountingNetwork:
        return CountingNetwork(rows)

    def select_rows(self, rows: Any) -> CountingNetwork:
        other = CountingNetwork(len(rows))
        other.fed = [[*self.fed[row]] for row in rows]
        return other

    def step(self, ids: np.ndarray) -> np.ndarray:
        for fed, token_id in zip(self.fed, ids.tolist(), strict=True):
            fed.append(token_id)
        RECORD.append([[*fed] for fed in self.fed])
        return np.zeros((len(ids), len(VOCABULARY)), np.float32)


RECORD: list[list[list[int]]] = []


def test_an_opening_holds_the_first_eight_bars_and_the_parts_of_the_whole_piece() -> None:
    tokens = [VOCABULARY.tokens[token_id] for token_id in OPENING.ids]
    assert tokens.count("Bar_None") == 8 and tokens == TOKENS[: len(tokens)]
    assert TOKENS[len(tokens)] == "Bar_None"
    assert OPENING.parts == {
        DRUMS: Part(36, 36, False, has_seconds=False, share_of_bars=1.0, kit=(36,)),
        33: Part(40, 44, False, has_seconds=False, share_of_bars=1.0),
        0: Part(60, 67, is_polyphonic=True, has_seconds=False, share_of_bars=0.25),
    }


def test_the_network_reads_the_opening_and_the_piece_does_not_hold_it() -> None:
    RECORD.clear()
    config = SamplingConfig(chars=30)
    openings = [OPENING, Opening("short.mid", OPENING.ids[:20], OPENING.parts)]
    sampler = Sampler(cast(Any, CountingNetwork()), VOCABULARY, config, openings=openings)
    pieces = sampler.draw(range(4))
    assert {len(piece.opening.ids) for piece in pieces if piece.opening} == {20, len(OPENING.ids)}
    for row, piece in enumerate(pieces):
        assert piece.opening and piece.tokens[:4] == [
            *("Bar_None", "TimeSig_3/4", "Position_0", "Tempo_90.0"),
        ]
        assert len(piece.ids) == 30
        fed = RECORD[-1][row]  # padded in front to the longest opening
        assert fed[-29 - len(piece.opening.ids) - 1 :] == [0, *piece.opening.ids, *piece.ids[:-1]]
        programs = {x for token in piece.tokens for x in REMI.content(token).programs}
        assert programs <= set(OPENING.parts)


def test_a_state_does_not_depend_on_the_padding_in_front_of_a_shorter_opening() -> None:
    class Summing(CountingNetwork):
        def initial_state(self, rows: int = 1) -> CountingNetwork:
            return Summing(rows)

        def step(self, ids: np.ndarray) -> np.ndarray:
            self.states[:] += ids.reshape(self.states.shape) + 1
            return super().step(ids)

    sampler = Sampler(cast(Any, Summing()), VOCABULARY, SamplingConfig(), openings=[OPENING])
    state = sampler._read_openings([(5, 6, 7, 8), (3, 4)])
    assert state.states.ravel().tolist() == [1 + 6 + 7 + 8, 1 + 4]


@pytest.mark.parametrize(
    "config", [SamplingConfig(chars=5, opening=False), SamplingConfig(chars=5)]
)
def test_no_opening_and_a_primer_take_its_place(config: SamplingConfig) -> None:
    primer = () if not config.opening else TOKENS[:60]
    sampler = Sampler(
        cast(Any, CountingNetwork()), VOCABULARY, config, None, primer, openings=[OPENING]
    )
    assert sampler.draw([1])[0].opening is None


def test_an_opening_is_chosen_by_the_named_instruments_and_the_key() -> None:
    solo = Opening("solo.mid", OPENING.ids, {0: OPENING.parts[0]})
    rng = np.random.default_rng(0)
    chosen = [
        choose_opening([solo, OPENING], VOCABULARY, rng, [frozenset({33}), frozenset({0})])
        for _ in range(20)
    ]
    assert {opening.piece for opening in chosen} == {"waltz.mid"}
    assert len({opening.semitones for opening in chosen}) > 3
    in_d = np.isin(np.arange(12), [2, 4, 6, 7, 9, 11, 1]).astype(float)
    assert choose_opening([solo], VOCABULARY, rng, (), in_d).semitones in (2, -5)  # from C or G


def test_parts_are_transposed_with_the_opening_but_for_drums() -> None:
    moved = OPENING.transposed(VOCABULARY, 3)
    assert moved and moved.parts[33] == OPENING.parts[33]._replace(lowest=43, highest=47)
    assert moved.parts[DRUMS] == OPENING.parts[DRUMS] and moved.semitones == 3


def adjusted(tokens: list[str], *, is_closed: bool = True) -> dict[str, float]:
    """Return the log probability of each token after these, of which all were equally likely."""
    lineup = Lineup(VOCABULARY, OPENING, is_closed=is_closed, clock=REMI.clock())
    for token in tokens:
        lineup.add_token(token)
    log_probs = np.full(len(VOCABULARY), -np.log(len(VOCABULARY)), np.float32)
    lineup.adjust_logits(log_probs)
    return dict(zip(VOCABULARY.tokens, log_probs.tolist(), strict=True))


def allowed(tokens: list[str], *, is_closed: bool = True) -> set[str]:
    """Return the tokens that the line-up of the opening allows after these."""
    return {token for token, x in adjusted(tokens, is_closed=is_closed).items() if x > -1000}


def test_a_lineup_excludes_other_instruments_and_pitches_out_of_range() -> None:
    header = ["Bar_None", "TimeSig_3/4", "Position_0", "Tempo_90.0"]
    assert "Program_73" not in allowed(header) and "Program_33" in allowed(header)
    assert "Program_73" in allowed(header, is_closed=False)
    bass = allowed([*header, "Program_33", "Position_0"])
    assert {token for token in bass if token.startswith("Pitch_")} == {
        f"Pitch_{pitch}" for pitch in range(40, 45)
    }
    drums = allowed([*header, "Program_-1", "Position_0"])
    assert "PitchDrum_36" in drums and "PitchDrum_40" not in drums  # which the kit lacks
    assert "TimeSig_3/4" in allowed(["Bar_None"]) and "TimeSig_4/4" not in allowed(["Bar_None"])


def test_an_instrument_plays_in_as_many_bars_as_in_its_piece() -> None:
    note = ["Position_0", "Pitch_60", "Velocity_79", "Duration_0.6.12"]
    bar, drums = ["Bar_None", "TimeSig_3/4"], ["Program_-1", "Position_0", "PitchDrum_36"]
    first, second = adjusted(bar), adjusted([*bar, *drums, *note[2:]])
    # Drums and bass play in all bars, the piano in a quarter of them.
    assert first["Program_-1"] > first["Program_33"] + 50
    assert second["Program_33"] > second["Bar_None"] + 50
    third = adjusted([*bar, "Program_33", *note, "Position_12"])
    assert 0 < third["Program_0"] - third["Bar_None"] < 2
    rested = adjusted([*[*bar, "Program_33", *note] * 4, "Position_12"])
    assert rested["Program_0"] > rested["Bar_None"] + 50  # or it would have played in 0 of 4
    named = adjusted(bar, is_closed=False)  # --instruments has shares of its own
    assert named["Program_33"] == named["Bar_None"]


def test_an_instrument_that_never_plays_chords_does_not_begin_to() -> None:
    note = ["Pitch_61", "Velocity_79", "Duration_0.6.12"]
    start = ["Bar_None", "TimeSig_3/4", "Position_0", "Tempo_90.0"]
    assert "Pitch_64" in allowed([*start, "Program_0", "Position_0", *note])
    bass = [*start, "Program_33", "Position_0", "Pitch_40", *note[1:]]
    assert not any(token.startswith("Pitch_") for token in allowed(bass))
    assert "Pitch_41" in allowed([*bass, "Position_12"])


def test_an_instrument_that_never_plays_seconds_does_not_begin_to() -> None:
    loud = ["Velocity_79", "Duration_0.6.12"]
    bar = ["Bar_None", "TimeSig_3/4", "Program_33", "Position_0", "Pitch_63", *loud, "Program_0"]
    beside = {"Pitch_62", "Pitch_64"}  # of the bass's note
    first = allowed([*bar, "Position_0"])
    assert not beside & first and "Pitch_63" in first
    assert beside <= allowed([*bar, "Position_12"])
    assert "Pitch_65" not in allowed([*bar, "Position_12", "Pitch_64", *loud])  # a chord's own
    notes = [TimedNote(beat, 1, pitch, 0) for beat in range(20) for pitch in (60, 64)]
    assert not collect_parts(notes)[0].has_seconds
    both = collect_parts([*notes, *(TimedNote(2 * beat, 1, 63, 33) for beat in range(20))])
    assert both[0].has_seconds and both[33].has_seconds


def test_an_instrument_that_the_opening_lacks_keeps_to_its_usual_range() -> None:
    wide = Opening("wide.mid", OPENING.ids, {33: Part(28, 41, is_polyphonic=True)})
    parts = usual_parts([OPENING, wide])
    assert parts[33] == Part(28, 44, is_polyphonic=True, has_seconds=True)
    assert parts[66] == Part(44, 76, is_polyphonic=False)  # no piece has a tenor saxophone
    lineup = Lineup(VOCABULARY, OPENING, False, REMI.clock(), {73: Part(61, 62, False)})
    for token in ["Bar_None", "TimeSig_3/4", "Program_73", "Position_0"]:
        lineup.add_token(token)
    log_probs = np.zeros(len(VOCABULARY), np.float32)
    lineup.adjust_logits(log_probs)
    possible = {VOCABULARY.tokens[i] for i in np.flatnonzero(log_probs > -1000)}
    assert {x for x in possible if x.startswith("Pitch_")} == {"Pitch_61", "Pitch_62"}


def test_openings_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "openings.json"
    assert read_openings(path, len(VOCABULARY)) == ()
    write_openings(path, [OPENING, OPENING])
    assert read_openings(path, len(VOCABULARY)) == (OPENING, OPENING)


PART = [1, 2, True, False, 1, []]


@pytest.mark.parametrize(
    "body",
    [
        *({}, 7, [7], [["a", [1], {}]], [["a", [], {"0": PART}]]),
        *([["a", [ids], {"0": PART}]] for ids in (0, 10**6, 1.0, True)),
        *([["a", [1], {program: PART}]] for program in ("200", "x")),
        [["a", [1], {"0": [3, 2, *PART[2:]]}]],
        [["a", [1], {"0": [1, 2, True, 3, 1, []]}]],
        [["a", [1], {"0": [1, 2, True, False, 2, []]}]],
        [["a", [1], {"0": [1, 2, True, False, 1, [36, "x"]]}]],
        [["a", [1], {"0": [*PART, []]}]],
        [["a", [1], {"0": PART}]] * 1000,
    ],
)
def test_anything_else_is_refused_in_one_sentence(tmp_path: Path, body: object) -> None:
    path = tmp_path / "openings.json"
    path.write_text(json.dumps(body))
    with pytest.raises(InputError, match=r"does not hold the openings.*writes it again"):
        read_openings(path, len(VOCABULARY))


def test_a_piece_begins_freely_where_the_vocabulary_lacks_the_header() -> None:
    class Smaller(CountingNetwork):
        def initial_state(self, rows: int = 1) -> CountingNetwork:
            return Smaller(rows)

        def step(self, ids: np.ndarray) -> np.ndarray:
            return super().step(ids)[:, 1:]

    tokens = tuple(token for token in VOCABULARY.tokens if token != "Position_0")
    vocabulary = Vocabulary(tokens, "remi")
    ids = vocabulary.ids_of(token for token in TOKENS[:60] if token != "Position_0")
    opening = Opening("waltz.mid", tuple(ids.tolist()), OPENING.parts)
    config = SamplingConfig(chars=5, strict_grammar=False)
    sampler = Sampler(cast(Any, Smaller()), vocabulary, config, openings=[opening])
    (piece,) = sampler.draw([1])
    assert piece.opening and len(piece.ids) == 5
