"""Harmonise a tune with a model of notes and chords: for each onset of it a token is drawn.

A chord is drawn among those that hold the pitch classes of the tune's onset. The tune plays these,
and the others are held below it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import mean
from typing import Any, NamedTuple

import numpy as np

from midilstm import midi
from midilstm.config import SamplingConfig
from midilstm.fileio import InputError
from midilstm.generation.harmony import AUTO, Chord, estimate_key
from midilstm.generation.sampler import Sampler
from midilstm.generation.source_piece import find_kept
from midilstm.generation.token_sampling import gumbel_noise, sample_tokens
from midilstm.midi import DRUMS, Note, Score
from midilstm.midi.bars import EARLY
from midilstm.midi.score_json import score_to_json
from midilstm.repetition.match_model import MatchModel, add_match_bias
from midilstm.tokenizers.notes import onsets_of
from midilstm.tokenizers.vocabulary import END_ID

CENTRE, LOWEST, HIGHEST = 55, 43, 71  # MIDI pitches of chords
LOUDNESS = 0.75  # of chords, as a share of the tune's


class Onset(NamedTuple):
    """An onset of the tune, and where it is in the piece."""

    tick: int
    pitches: Sequence[int]  # sorted
    token_id: int  # of what is most like it
    chord: Chord | None  # of --chords
    begins_chord: bool  # whether it is the first one of that chord
    rest: int | None  # the tick at which silence of a quarter note or longer begins after it

    @property
    def classes(self) -> frozenset[int]:
        """Return the pitch classes."""
        return frozenset(pitch % 12 for pitch in self.pitches)


class Harmonizer:
    """A tune, and the sampler whose network draws chords to it."""

    def __init__(self, sampler: Sampler, score: Score) -> None:
        """Take the notes that --keep names; raise InputError where nothing can be drawn to them."""
        config, vocabulary = sampler.config, sampler.vocabulary
        if config.fill or config.bars:
            raise InputError(
                f"--{'fill' if config.fill else 'bars'} needs a model with bars, which "
                f"{vocabulary.encoding_name} does not have: train one with python train.py "
                "--encoding=remi, or give --keep alone"
            )
        kept = find_kept(config.keep or "", score)
        if all(program == DRUMS for program, _ in kept):
            raise InputError(f"--keep={config.keep} keeps no notes but drums")
        self.score = replace(
            score, notes=tuple(x for x in score.notes if (x.program, x.track) in kept)
        )
        content = vocabulary.encoding.content
        classes = [content(token).pitch_classes for token in vocabulary.tokens[1:]]
        self.classes = np.array([[False] * 12, *([x in y for x in range(12)] for y in classes)])
        self.sizes = self.classes.sum(axis=1)
        if self.sizes.max() < 2:
            raise InputError("the model knows no chord that could be drawn to a tune")
        self.sampler, self.onsets = sampler, [*_find_onsets(self.score, sampler)]

    def describe(self) -> str:
        """Return in words what is drawn."""
        return f"Drawing chords to {', '.join(self.score.instruments)}, {len(self.onsets)} onsets"

    def draw(self, seed: int) -> list[str]:
        """Return a token for each onset."""
        sampler, rng, ids = self.sampler, np.random.default_rng(seed), [END_ID]
        state, match_model, key = sampler.network.initial_state(), None, sampler.config.key
        if key == AUTO:
            classes = [x for onset in self.onsets for x in onset.classes]
            key = estimate_key(np.bincount(classes, minlength=12))
        if sampler.match_weights:
            weights, strength = sampler.match_weights, sampler.config.memory
            match_model = MatchModel.begin(sampler.vocabulary, weights, strength)
        for onset in self.onsets:
            last_id = np.array(ids[-1:])
            log_probs = state.step(last_id)
            if match_model:
                match_model.update(last_id)
                add_match_bias(log_probs, match_model)
            has_chord = rng.random() < self._select_chords(log_probs[0], onset)
            if sampler.constraints:
                log_probs += sampler.constraints.weights(key, onset.chord, True)
            noise = gumbel_noise([rng], len(self.sizes))
            (chord_id,) = sample_tokens(log_probs, noise, sampler.config, [ids]).tolist()
            ids.append(chord_id if has_chord else onset.token_id)
        return [sampler.vocabulary.tokens[token_id] for token_id in ids[1:]]

    def _select_chords(self, log_probs: np.ndarray, onset: Onset) -> float:
        """Exclude all but chords that hold what the tune plays; return how likely a chord is.

        Each of log_probs, float32 [V], is multiplied by the probability that the tune plays these
        of the pitch classes: the encoding does not tell which, and all are equally likely. Where
        --chords changes, a chord is certain if the model knows one.
        """
        n_tune, holds = len(onset.classes), self.classes[:, [*onset.classes]].all(axis=1)
        n_choices = [max(1, math.comb(size, n_tune)) for size in range(13)]
        log_probs -= np.log(n_choices).astype(np.float32)[self.sizes]
        is_chord, weights = holds & (self.sizes > n_tune), np.exp(log_probs)
        if not is_chord.any():
            return 0
        log_probs[~is_chord] = -np.inf
        return 1 if onset.begins_chord else float(weights[is_chord].sum() / weights[holds].sum())

    def chords(self, tokens: Sequence[str]) -> list[tuple[int, int, list[int]]]:
        """Return start, end and pitches of each chord, given a token for each onset.

        A chord is held until a token adds pitch classes that it lacks, until the next of --chords,
        or until a rest.
        """
        chords, sounding = list[tuple[int, int, list[int]]](), frozenset[int]()
        start, pitches = 0, [CENTRE]
        for onset, token in zip(self.onsets, tokens, strict=True):
            classes = self.sampler.vocabulary.encoding.content(token).pitch_classes
            others = classes - onset.classes if onset.classes <= classes else frozenset()
            if others and (onset.begins_chord or not others <= sounding):
                chords.append((start, onset.tick, pitches if sounding else []))
                start, sounding = onset.tick, classes
                pitches = _voice(others, onset.pitches[0], mean(pitches)) or pitches
            if onset.rest is not None:
                chords.append((start, onset.rest, pitches if sounding else []))
                sounding = frozenset()
        return [chord for chord in chords if chord[2] and chord[0] < chord[1]]

    def to_midi(self, tokens: Sequence[str], config: SamplingConfig) -> bytes:
        """Return the tune and its chords, which --instrument or a piano plays, as a MIDI file."""
        notes = self.score.notes
        program = midi.program_of(config.instrument) if config.instrument else 0
        velocity = round(LOUDNESS * mean(note.velocity for note in notes))
        track = 1 + max(note.track for note in notes)
        drawn = [
            Note(start, end - start, pitch, velocity, program, track)
            for start, end, pitches in self.chords(tokens)
            for pitch in pitches
        ]
        score = replace(self.score, notes=tuple(sorted([*notes, *drawn])))
        return midi.to_bytes(midi.with_tempo_and_program(score, bpm=config.bpm), score.end)

    def to_json(self) -> dict[str, Any]:
        """Return what of a piece's JSON is about the tune: no bar of it is drawn anew."""
        kept, source = [*self.score.instruments], score_to_json(self.score)
        return {"source_score": source, "drawn_bars": [], "kept_instruments": kept}


def _voice(classes: Iterable[int], melody: int, centre: float) -> list[int]:
    """Return pitches below a melody note, as near as possible to the centre of the last chord."""
    top = min(melody, HIGHEST + 1)
    near = sorted(range(max(0, min(LOWEST, top - 12)), top), key=lambda x: abs(x - centre))
    return sorted(y for x in classes for y in [y for y in near if y % 12 == x][:1])


def _find_onsets(tune: Score, sampler: Sampler) -> Iterator[Onset]:
    """Yield the onsets of a tune's pitched notes, which the encoding joins to chords."""
    vocabulary, quarter = sampler.vocabulary, tune.ticks_per_quarter
    bars, last = midi.bar_ticks(tune, tune.end + 64 * quarter), None
    notes = [note for note in tune.notes if note.program != DRUMS]
    starts = {midi.quantised(note.start, quarter): note.start for note in notes[::-1]}
    ends = np.maximum.accumulate([note.start + note.length for note in notes]).tolist()
    onsets = sorted(onsets_of(tune).items())
    ticks = [starts[slot] for slot, _ in onsets]
    rows = zip(onsets, vocabulary.encoding.encode(tune), ticks, [*ticks[1:], math.inf], strict=True)
    for (_, pitches), token, tick, next_tick in rows:
        known = token if token in vocabulary.token_ids else None
        nearest = known or vocabulary.encoding.nearest(token, vocabulary.tokens[1:])
        if not nearest:
            raise InputError("the model knows nothing similar to the primer: give another --primer")
        place = float(np.interp(tick + quarter / EARLY, bars, range(len(bars))))
        chord = sampler.constraints.chord_at(place) if sampler.constraints else None
        end = ends[bisect_left(notes, next_tick, key=lambda note: note.start) - 1]
        yield Onset(
            tick,
            sorted(pitches),
            vocabulary.token_ids[nearest],
            chord=chord,
            begins_chord=chord is not None and chord != last,
            rest=end if next_tick - end >= quarter else None,
        )
        last = chord
