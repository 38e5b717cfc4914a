"""Writing into a piece: what is fixed stays, and candidates are chosen by what follows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from fill_bands import PROGRAMS, random_band, random_network, vocabulary

from midilstm import midi
from midilstm.config import SamplingConfig
from midilstm.fileio import InputError
from midilstm.generation.fill import FilledPiece, Filler
from midilstm.generation.sampler import Sampler
from midilstm.generation.source_piece import SourcePiece, check_flags, open_source
from midilstm.midi import DRUMS, Note, Score
from midilstm.repetition.match_model import MatchWeights
from midilstm.tokenizers.base import split
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
) -> tuple[SourcePiece, FilledPiece]:
    """Return the source, and what a network draws into it."""
    source = open_source(score, config, known)
    network = network or random_network(seed, len(known))
    config = replace(config, bars=len(source.is_drawn))
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


def timed(notes: Iterable[Note], score: Score) -> set[tuple[int, int, int]]:
    """Return the onsets of notes in twelfths of a quarter note, their pitches and programs."""
    quarter = score.ticks_per_quarter
    return {(round(x.start * 12 / quarter), x.pitch, x.program) for x in notes}


@pytest.mark.parametrize("encoding", ["remi", "tsd"])
@pytest.mark.parametrize(
    ("flags", "kept", "filled"),
    [
        ({"fill": "2-3,5"}, set(), {1, 2, 4}),
        ({"fill": "1-5", "instruments": "piano, drums, flute"}, set(), {0, 1, 2, 3, 4}),
        ({"fill": "4-6", "fill_instruments": "piano, drums"}, {33, 73}, {3, 4, 5}),
        ({"keep": "flute", "repetition_penalty": 1.2}, {73}, {*range(6)}),
        ({"keep": "bass, piano", "instruments": "flute", "key": "auto"}, {33, 0}, {*range(6)}),
        ({"keep": "all", "instruments": "piano"}, {*PROGRAMS}, {*range(6)}),
    ],
    ids=str,
)
def test_all_that_is_fixed_stays_note_for_note(
    flags: dict[str, Any], kept: set[int], filled: set[int], encoding: str
) -> None:
    drawn = Counter[int]()
    for seed in range(2):
        known = vocabulary(0 if seed == 1 else 60, encoding_name=encoding)
        score = random_band(np.random.default_rng([seed, 1]))
        config = SamplingConfig(**flags, candidates=2, memory=float(seed % 2))
        source, piece = write_into(score, known, config, seed=seed)
        written = midi.read(source.to_midi(piece.notes, config))
        assert (written.tempos, written.time_signatures) == (score.tempos, score.time_signatures)
        assert written.ticks_per_quarter == score.ticks_per_quarter
        fixed = expected_notes(score, filled, kept)
        notes = Counter(Note(*x[:5]) for x in written.notes)
        assert fixed <= notes
        read = known.encoding.timed_notes(split(piece.tokens))
        end = max(note.start for note in read)  # the network does not read on
        places = {(round(x.start * 12), x.pitch, x.program) for x in read}
        assert {x for x in timed(fixed, score) if x[0] < end} <= places
        ticks = [*midi.bar_ticks(score), score.end]
        for note in notes - fixed:
            bar = sum(tick <= note.start for tick in ticks[:-1]) - 1
            assert bar in filled
            drawn[note.program] += 1
    allowed = {0} if flags.get("keep") == "all" else {*PROGRAMS} - kept
    if "instruments" in flags:
        allowed &= {0, DRUMS, 73}
    if "fill_instruments" in flags:
        allowed &= {0, DRUMS}
    assert set(drawn) <= allowed
    assert drawn


@pytest.mark.parametrize("encoding", ["remi", "tsd"])
def test_the_network_reads_fixed_bars_as_it_does_in_training(encoding: str) -> None:
    known, config = (
        vocabulary(60, encoding_name=encoding),
        SamplingConfig(fill="6", candidates=1, memory=0),
    )
    for seed in range(2):
        score = random_band(np.random.default_rng([seed, 1]))
        exact = {
            (x.program, round(x.start / 120), x.pitch): x._replace(
                start=round(x.start / 120) * 120,
                length=120,
                velocity=x.velocity // 8 * 8 + 7,
            )
            for x in score.notes
        }
        score = replace(score, notes=tuple(sorted(exact.values())), tempos={0: 100.0})
        _, piece = write_into(score, known, config)
        n_before = sum(note.start < midi.bar_ticks(score)[5] for note in score.notes)
        tokens = known.encoding.encode(score)
        ends = [index for index, token in enumerate(tokens) if token.startswith("Duration")]
        before = known.apply_merges(tokens[: ends[n_before - 1] + 1])
        assert piece.tokens[: len(before) - 1] == before[:-1]


@pytest.mark.parametrize("ticks_early", [1, 9, 21])
def test_a_tempo_may_change_just_before_a_bar_line(ticks_early: int) -> None:
    for seed in range(2):
        score = random_band(np.random.default_rng([seed, 1]))
        for end in (int(midi.bar_ticks(score)[3]), score.end):
            late = replace(score, tempos={0: 100.0, end - ticks_early: 80.0})
            config = SamplingConfig(fill="3,6", candidates=1, memory=0)
            source, piece = write_into(late, vocabulary(200), config)
            assert midi.read(source.to_midi(piece.notes, config)).tempos == late.tempos


def test_a_part_of_an_instrument_is_kept_and_the_same_instrument_drawn_around_it() -> None:
    score = random_band(np.random.default_rng(4))
    tracks = [x._replace(program=0, track=x.pitch % 2) for x in score.notes if x.program in (0, 33)]
    two = replace(score, notes=tuple(tracks), track_names={0: "Chords", 1: "Melody"})
    melody = Counter(Note(*x[:5]) for x in tracks if x.track == 1)
    for config in (
        SamplingConfig(keep="melody", instruments="piano", candidates=2),
        SamplingConfig(fill="2-6", fill_instruments="chords", instruments="piano", candidates=2),
    ):
        source, piece = write_into(two, vocabulary(60), config)
        written = midi.read(source.to_midi(piece.notes, config))
        assert melody <= Counter(Note(*x[:5]) for x in written.notes)
        assert {note.program for note in piece.notes} == {0}
        assert source.kept_names == ["Melody"]


NAMES = ("Bar_None", "TimeSig_4/4", "Position_0", "Tempo_120.0", "Velocity_63", "Duration_4.0.12")
TINY = Vocabulary(
    (END, *NAMES, *(f"Pitch_{x}" for x in (60, 62, 70)), *("Program_0", "Program_73")), "remi"
)
LIKELY = {60: 0.8, 62: 0.2}  # of the flute's fixed note, given the piano's drawn one


@cache
def log_probs_after(token: str, share: float, program: int, pitch: int) -> np.ndarray:
    """Return the log probabilities of Follow in one of its states, float64 [V]."""
    rest = (1 - share) * 0.9  # the bar ends
    after = {"Program": {"Position_0": 1.0}, "Velocity": {"Duration_4.0.12": 1.0}}
    after |= {"Tempo": {"Program_0": share, "Bar_None": rest, "Program_73": 1 - share - rest}}
    after |= {"Pitch": {"Velocity_63": 1.0}, "Duration": {"Program_73": 1.0}}
    after["Position"] = {"Pitch_60": 0.5, "Pitch_62": 0.5}
    if program and pitch:
        after["Position"] = {"Pitch_70": LIKELY[pitch], "Pitch_60": 1 - LIKELY[pitch]}
    elif program:
        after["Position"] = {"Pitch_70": 1.0}
    row = np.full(len(TINY), 1e-9)
    for name, probability in after.get(token.partition("_")[0], {}).items():
        row[TINY.token_ids[name]] = probability or 1e-9
    return np.log(row)


class Follow:
    """Draw a note, one of two, or none, after which a fixed note of the flute is more likely."""

    def __init__(self, share: float, rows: int = 1) -> None:
        self.share = share  # of bars in which the piano plays
        self.states = np.zeros((1, 1, rows, 2), int)  # the program, and the piano's pitch

    def initial_state(self, rows: int = 1) -> Follow:
        return Follow(self.share, rows)

    def select_rows(self, rows: Any) -> Follow:
        other = Follow(self.share)
        other.states = self.states[:, :, np.array(rows, int)]
        return other

    def step(self, ids: np.ndarray) -> np.ndarray:
        for state, token_id in zip(self.states[0, 0], ids, strict=True):
            kind, _, value = TINY.tokens[token_id].partition("_")
            if kind in ("Program", "Bar"):
                state[0] = 73 if value == "73" else 0
            if kind == "Pitch" and not state[0]:
                state[1] = int(value)
        rows = zip(ids, self.states[0, 0].tolist(), strict=True)
        return np.array([log_probs_after(TINY.tokens[x], self.share, *state) for x, state in rows])


@pytest.mark.parametrize(("candidates", "share"), [(1, 0.2), (16, 0.2), (16, 1.0)])
def test_candidates_are_chosen_in_proportion_to_the_likelihood_of_what_follows(
    candidates: int, share: float
) -> None:
    score = Score(480, (Note(0, 1920, 70, 64, 73),), {0: 120.0}, {0: (4, 4)})
    config = SamplingConfig(keep="flute", candidates=candidates, memory=0)
    counts = Counter(
        str([note.pitch for note in piece.notes])
        for seed in range(60)
        if (piece := write_into(score, TINY, config, network=Follow(share), seed=seed)[1])
    )
    # With one candidate, a bar that is to end before the flute's note has no note of the piano.
    weights = {60: share / 2, 62: share / 2, None: 1 - share}
    if candidates > 1:
        weights = {
            60: weights[60] * LIKELY[60],
            62: weights[62] * LIKELY[62],
            None: (1 - share) / 10,
        }
    for pitch, weight in weights.items():
        expected = weight / sum(weights.values())
        measured = counts[str([pitch] if pitch else [])] / 60
        assert abs(measured - expected) < 4 * (expected * (1 - expected) / 60) ** 0.5 + 0.02


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


def test_bars_keep_meters_that_the_model_does_not_know() -> None:
    known = vocabulary(60)
    for meter, n_quarters in (((6, 8), 3.0), ((2, 2), 4.0), ((5, 4), 5.0), ((1, 4), 1.0)):
        score = Score(480, (Note(0, 240, 60), Note(int(480 * n_quarters * 4) - 240, 240, 62)))
        score = replace(score, time_signatures={0: meter}, tempos={0: 100.0})
        config = SamplingConfig(fill="2-3", instruments="piano, flute", candidates=2)
        source, piece = write_into(score, known, config)
        assert [*source.ticks] == [int(480 * n_quarters * bar) for bar in range(5)]
        written = midi.read(source.to_midi(piece.notes, config))
        assert written.time_signatures == {0: meter}
        assert {Note(*x[:5]) for x in score.notes} <= {Note(*x[:5]) for x in written.notes}
        assert all(source.ticks[1] <= x.start < source.ticks[3] for x in piece.notes)
        assert all(
            x.start + x.length <= source.ticks[3] for x in source.with_drawn(piece.notes).notes[:-1]
        )


def test_an_instrument_that_the_model_does_not_know_is_kept_as_it_is() -> None:
    known, score = vocabulary(0), random_band(np.random.default_rng(2))
    sitar = replace(
        score,
        notes=tuple(x._replace(program=104 if x.program == 73 else x.program) for x in score.notes),
    )
    for config in (SamplingConfig(keep="sitar"), SamplingConfig(fill="3")):
        config = replace(config, candidates=2)
        source, piece = write_into(sitar, known, config)
        notes = midi.read(source.to_midi(piece.notes, config)).notes
        assert {x.program for x in notes} <= {104, *PROGRAMS} - {73}
        filled, kept = ({2}, set[int]()) if config.fill else ({*range(6)}, {104})
        assert expected_notes(sitar, filled, kept) <= Counter(Note(*x[:5]) for x in notes)
