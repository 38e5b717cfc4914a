"""Writing into a piece: what is fixed stays, and candidates are chosen by what follows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fill_bands import PROGRAMS, REMI, random_band, random_network, vocabulary

from midilstm import midi
from midilstm.config import SamplingConfig
from midilstm.fileio import InputError
from midilstm.generation.fill import Filler
from midilstm.generation.sampler import Sampler
from midilstm.generation.source_piece import SourcePiece, check_flags, open_source
from midilstm.midi import DRUMS, Note, Score
from midilstm.repetition.match_model import MatchWeights
from midilstm.tokenizers.vocabulary import END, Vocabulary

WEIGHTS = MatchWeights(0.5, 0.5, -0.5, 1.0, 0.5, 0, 0, -0.5)


def write_into(
    score: Score,
    known: Vocabulary,
    config: SamplingConfig,
    *,
    network: Any = None,
    seed: int = 0,
    min_ess: float = 0.5,
) -> tuple[SourcePiece, list[str]]:
    """Return the source, and what a network draws into it."""
    source = open_source(score, config, known)
    network = network or random_network(seed, len(known))
    config = replace(config, bars=len(source.bars))
    sampler = Sampler(network, known, config, WEIGHTS if config.memory else None)
    return source, Filler(sampler, source, seed, min_ess=min_ess).draw()


def expected_notes(score: Score, filled: set[int], kept: set[int]) -> Counter[Note]:
    """Return the notes that must stay, with the fields that a file keeps."""
    ticks = [*midi.bar_ticks(score), score.end]
    notes = Counter[Note]()
    for note in score.notes:
        bar = sum(tick <= note.start + 20 for tick in ticks[:-1]) - 1
        if note.program not in kept:
            if bar in filled:
                continue
            end = min(int(ticks[x]) for x in {*filled, len(ticks) - 1} if x > bar)
            note = note._replace(length=min(note.length, end - note.start))
        notes[Note(*note[:5])] += 1
    return notes


@pytest.mark.parametrize("n_merges", [0, 60])
@pytest.mark.parametrize(
    ("flags", "kept", "filled"),
    [
        ({"fill": "2-3,5"}, set(), {1, 2, 4}),
        ({"fill": "1-5", "instruments": "piano, drums, flute"}, set(), {0, 1, 2, 3, 4}),
        ({"fill": "4-6", "fill_instruments": "piano, drums"}, {33, 73}, {3, 4, 5}),
        ({"keep": "flute"}, {73}, {*range(6)}),
        ({"keep": "bass, piano", "instruments": "flute", "key": "auto"}, {33, 0}, {*range(6)}),
    ],
    ids=str,
)
def test_all_that_is_fixed_stays_note_for_note(
    flags: dict[str, Any], kept: set[int], filled: set[int], n_merges: int
) -> None:
    drawn = Counter[int]()
    for seed in range(6):
        score = random_band(np.random.default_rng([seed, 1]))
        config = SamplingConfig(**flags, candidates=2, memory=float(seed % 2))
        source, tokens = write_into(score, vocabulary(n_merges), config, seed=seed)
        written = midi.read(source.to_midi(tokens, config, REMI))
        assert (written.tempos, written.time_signatures) == (score.tempos, score.time_signatures)
        assert written.ticks_per_quarter == score.ticks_per_quarter
        notes, fixed = (
            Counter(Note(*x[:5]) for x in written.notes),
            expected_notes(score, filled, kept),
        )
        assert fixed <= notes
        ticks = [*midi.bar_ticks(score), score.end]
        for note in notes - fixed:
            bar = sum(tick <= note.start for tick in ticks[:-1]) - 1
            assert bar in filled
            assert note.program not in kept
            drawn[note.program] += 1
    allowed = {*PROGRAMS} - kept
    if "instruments" in flags:
        allowed &= {73} if "keep" in flags else {0, DRUMS, 73}
    if "fill_instruments" in flags:
        allowed &= {0, DRUMS}
    assert set(drawn) <= allowed
    assert drawn


NAMES = ("Bar_None", "TimeSig_4/4", "Position_0", "Tempo_120.0", "Velocity_63", "Duration_4.0.12")
TINY = Vocabulary(
    (END, *NAMES, *(f"Pitch_{x}" for x in (60, 62, 70)), *("Program_0", "Program_73")), "remi"
)
LIKELY = {60: 0.8, 62: 0.2}  # of the flute's fixed note, given the piano's drawn one


class Follow:
    """Draw one of two notes as likely, after which the note that is fixed is more or less so."""

    def __init__(self, rows: int = 1) -> None:
        self.states = np.zeros((1, 1, rows, 2), int)  # the program, and the piano's pitch

    def initial_state(self, rows: int = 1) -> Follow:
        return Follow(rows)

    def select_rows(self, rows: Any) -> Follow:
        other = Follow()
        other.states = self.states[:, :, np.array(rows, int)]
        return other

    def step(self, ids: np.ndarray) -> np.ndarray:
        table = np.full((len(ids), len(TINY)), 1e-9)
        for row, state, token_id in zip(table, self.states[0, 0], ids, strict=True):
            token = TINY.tokens[token_id]
            kind, _, value = token.partition("_")
            if kind in ("Program", "Bar"):
                state[0] = 73 if value == "73" else 0
            if kind == "Pitch" and not state[0]:
                state[1] = int(value)
            after = {"Program": {"Position_0": 1.0}, "Velocity": {"Duration_4.0.12": 1.0}}
            after |= {"Tempo": {"Program_0": 1.0}, "Duration": {"Program_73": 1.0}}
            after["Pitch"] = {"Velocity_63": 1.0}
            after["Position"] = {"Pitch_60": 0.5, "Pitch_62": 0.5}
            if state[0] and state[1]:
                likely = LIKELY[int(state[1])]
                after["Position"] = {"Pitch_70": likely, "Pitch_60": 1 - likely}
            for name, share in after.get(kind, {}).items():
                row[TINY.token_ids[name]] = share
        return np.log(table)


@pytest.mark.parametrize("candidates", [1, 64])
def test_candidates_are_chosen_in_proportion_to_the_likelihood_of_what_follows(
    candidates: int,
) -> None:
    score = Score(480, (Note(0, 1920, 70, 64, 73),), {0: 120.0}, {0: (4, 4)})
    config = SamplingConfig(keep="flute", candidates=candidates, memory=0)
    counts = Counter(
        token
        for seed in range(300)
        for token in write_into(score, TINY, config, network=Follow(), seed=seed)[1]
        if token.startswith("Pitch")
    )
    assert counts.total() == 300
    share = counts["Pitch_60"] / 300
    expected = 0.5 if candidates == 1 else LIKELY[60]
    assert abs(share - expected) < 4 * (expected * (1 - expected) / 300) ** 0.5


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"fill": "5-9"}, "--fill=5-9: the primer has no bar 9, only 1 to 6"),
        ({"fill": "3-2"}, "--fill='3-2' does not name bars, as 5-8,13 does"),
        ({"fill": "0"}, "--fill='0' does not name bars, as 5-8,13 does"),
        ({"fill": "1-6"}, "--fill=1-6 covers the whole primer: nothing would stay of it"),
        (
            {"keep": "trumpet"},
            "--keep=trumpet: there is no 'trumpet' among Percussion, Acoustic Grand Piano, "
            "Electric Bass (finger), Flute",
        ),
        ({"keep": "all"}, "no instrument is left to draw: the model knows Percussion, "),
        ({"fill_instruments": "piano"}, "--fill-instruments needs --fill, "),
        ({"fill": "2", "include_primer": True}, "--include-primer cannot be used with --fill"),
        ({"keep": "flute", "seconds": 3}, "--seconds cannot be used with --keep"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_a_sentence(flags: dict[str, Any], message: str) -> None:
    config, score = SamplingConfig(**flags), random_band(np.random.default_rng(1))
    with pytest.raises(InputError) as error:
        check_flags(config)
        open_source(score, config, vocabulary(0))
    assert str(error.value).startswith(message)


def test_an_unknown_meter_and_an_encoding_without_bars_are_refused() -> None:
    score, config = random_band(np.random.default_rng(1)), SamplingConfig(fill="2")
    few = tuple(token for token in vocabulary(0).tokens if not token.startswith("TimeSig"))
    with pytest.raises(InputError, match="the primer has bars of "):
        open_source(score, config, Vocabulary((*few, "TimeSig_2/16"), "remi"))
    for name in ("tsd", "notes"):
        with pytest.raises(InputError, match=f"which {name} does not have"):
            open_source(score, config, Vocabulary((END,), name))


def test_an_instrument_that_the_model_does_not_know_is_kept_as_it_is() -> None:
    known, score = vocabulary(0), random_band(np.random.default_rng(2))
    sitar = replace(
        score,
        notes=tuple(x._replace(program=104 if x.program == 73 else x.program) for x in score.notes),
    )
    for config in (SamplingConfig(keep="sitar"), SamplingConfig(fill="3")):
        config = replace(config, candidates=2)
        source, tokens = write_into(sitar, known, config)
        notes = midi.read(source.to_midi(tokens, config, REMI)).notes
        assert {x.program for x in notes} <= {104, *PROGRAMS} - {73}
        filled, kept = ({2}, set[int]()) if config.fill else ({*range(6)}, {104})
        assert expected_notes(sitar, filled, kept) <= Counter(Note(*x[:5]) for x in notes)
