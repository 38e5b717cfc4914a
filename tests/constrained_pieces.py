"""Vocabularies, and pieces drawn from them under constraints."""

from collections.abc import Sequence
from typing import Any

import pytest
from made_pieces import Uniform

from midilstm import tokenizers
from midilstm.config import SamplingConfig
from midilstm.generation.constraints import Constraints, parse_constraints
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
