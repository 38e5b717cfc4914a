"""Grammars as masks over ids, and the grammar of `tsd` and `remi`."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import mido
import numpy as np
import pytest
from band_files import BOTH, NOTE, REMI, TSD, band_file, encode
from hypothesis import given, settings
from hypothesis import strategies as st
from midi_bytes import signature, tempo

from midilstm import tokenizers
from midilstm.tokenizers.grammar import Grammar, State, next_state
from midilstm.tokenizers.miditok import MidiTokEncoding
from midilstm.tokenizers.vocabulary import END, Vocabulary


def count_to(last: int) -> Callable[[int, int], int | None]:
    """Return the grammar in which 1, 2, 3 ... `last` follow each other, and then nothing."""
    return lambda state, token_id: token_id if token_id == state + 1 <= last else None


def allowed(grammar: Grammar[int], state: int, *, may_end: bool = False) -> list[int]:
    return np.flatnonzero(grammar.mask([state], may_end=may_end)[0] == 0).tolist()


def test_a_state_allows_what_may_follow_and_a_dead_end_everything() -> None:
    grammar, state = Grammar(count_to(300), 302, 0), 0
    for token_id in range(1, 301):
        assert allowed(grammar, state) == [token_id]
        (state,) = grammar.advance([state], [token_id])
    assert allowed(grammar, state) == list(range(302))
    assert grammar.advance([state], [5]) == [state]
    assert grammar.state_after(range(1, 301)) == state
    assert grammar.state_after([7, 1, 9, 1, 2]) == grammar.state_after([1, 2])  # 7, 9 are forbidden


def test_a_piece_may_end_where_the_grammar_and_the_caller_allow_it() -> None:
    def next_state(state: int, token_id: int) -> int | None:
        return 9 if (state, token_id) == (4, 0) else count_to(4)(state, token_id)

    grammar = Grammar(next_state, 7, 0)
    end = grammar.state_after([1, 2, 3, 4])
    assert allowed(grammar, end, may_end=True) == [0]
    assert allowed(grammar, end) == list(range(7))  # nothing else is left, and it may not end
    assert allowed(grammar, 0, may_end=True) == [1]


def test_each_piece_has_its_row() -> None:
    grammar = Grammar(count_to(5), 7, 0)
    mask = grammar.mask(grammar.advance([0, 0], [1, 6]), may_end=False)
    assert (mask.dtype, mask.shape) == (np.float32, (2, 7))
    assert [np.flatnonzero(row == 0).tolist() for row in mask] == [[2], [1]]


def test_an_encoding_without_rules_has_no_grammar() -> None:
    assert Vocabulary((END, "C4")).grammar() is None


SINGLE = [
    *("Bar_None", "TimeSig_3/4", "TimeSig_2/2", "TimeSig_6/8", "Tempo_99.0", "TimeShift_1.0.12"),
    *(f"Position_{position}" for position in (0, 6, 35, 40, 47, 71)),
    *("Program_-1", "Program_0", "Program_32", "Pitch_60", "PitchDrum_36", "PitchDrum_42"),
    *("Velocity_79", "Velocity_95", "Duration_1.0.12", "Duration_0.6.12"),
]


def random_walk(
    name: str, tokens: list[str], rng: np.random.Generator, count: int
) -> tuple[list[str], list[object]]:
    """Return a piece of at least `count` tokens that may end, and the state after each of them."""
    encoding = tokenizers.get(name)
    walk, states = list[str](), [encoding.start_state]
    while len(walk) < count or encoding.next_state(states[-1], "") is None:
        pairs = [(token, encoding.next_state(states[-1], token)) for token in tokens]
        pairs = [(token, state) for token, state in pairs if state is not None]
        assert pairs  # something may always follow
        token, state = pairs[rng.integers(len(pairs))]
        walk.append(token)
        states.append(state)
    return walk, states


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_masks_agree_with_the_rules_for_merged_tokens_too(name: str, seed: int) -> None:
    encoding, rng = tokenizers.get(name), np.random.default_rng(seed)
    single = [token for token in SINGLE if encoding.is_token(token)]
    walk, states = random_walk(name, single, rng, 200)
    runs = [walk[i : i + rng.integers(2, 7)] for i in rng.integers(len(walk) - 6, size=150)]
    runs += [rng.choice(single, rng.integers(2, 4)).tolist() for _ in range(150)]
    tokens = (END, *single, *sorted({" ".join(run) for run in runs}))
    grammar, outcomes = Vocabulary(tokens, name).grammar(), set[bool]()
    assert grammar is not None
    grammar_state = grammar.state_after([])
    for token, state in zip(walk, states, strict=False):
        expected = [encoding.next_state(state, token) is not None for token in ("", *tokens[1:])]
        assert (grammar.mask([grammar_state], may_end=True)[0] == 0).tolist() == expected
        outcomes |= set(expected)
        (grammar_state,) = grammar.advance([grammar_state], [tokens.index(token)])
    assert outcomes == {True, False}


BAR = ["Bar_None", "TimeSig_3/4"]


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("remi", [*BAR, "Position_6", "Tempo_99.0", "Program_32", "Position_0"]),
        ("tsd", ["Program_32"]),
    ],
)
@pytest.mark.parametrize("is_merged", [False, True])
def test_a_new_piece_has_the_header_of_every_piece(
    name: str, begin: list[str], is_merged: bool
) -> None:
    single = [token for token in SINGLE if tokenizers.get(name).is_token(token)]
    tokens = (END, *single, *([" ".join(begin[:4])] * is_merged))
    grammar = Vocabulary(tokens, name).grammar()
    assert grammar is not None
    state, kinds, rng = grammar.state_after([]), set[str](), np.random.default_rng(0)
    while "Pitch" not in kinds:
        token_id = int(rng.choice(np.flatnonzero(grammar.mask([state], may_end=False)[0] == 0)))
        kinds |= {part.split("_")[0] for part in tokens[token_id].split(" ")}
        (state,) = grammar.advance([state], [token_id])
    assert kinds >= {token.split("_")[0] for token in begin}
    # After a primer the header may lack tokens, such as its tempo if that is unknown.
    ids = [tokens.index(x) for x in begin if x not in ("Position_6", "Tempo_99.0")]
    is_allowed = grammar.mask([grammar.state_after(ids)], may_end=False)[0] == 0
    assert is_allowed[tokens.index("Pitch_60")]


BAND = band_file((0, signature(4, 4)), (4, tempo(99)))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["tsd", "remi"]), st.integers(0, 2**32 - 1))
def test_whatever_the_grammar_allows_is_valid_for_miditok(name: str, seed: int) -> None:
    encoding = tokenizers.get(name)
    assert isinstance(encoding, MidiTokEncoding)
    vocabulary = {*encode(BAND, name), *(token for token in SINGLE if token[:7] == "TimeSig")}
    tokens = sorted(token for token in vocabulary if encoding.is_token(token))
    walk, _ = random_walk(name, tokens, np.random.default_rng(seed), 200)
    assert encoding.drop_invalid(walk) == walk
    # MidiTok's graph lacks an empty bar and a bar without a time signature.
    graph, kinds = encoding.tokenizer.tokens_types_graph, [token.split("_")[0] for token in walk]
    forbidden = {(a, b) for a, b in pairwise(kinds) if b not in graph[a]}
    assert forbidden <= {("Bar", x) for x in ("Bar", "Position", "Program")} | {("TimeSig", "Bar")}


@BOTH
@pytest.mark.parametrize("seed", range(5))
def test_damaged_tokens_are_repaired_and_the_dropped_are_counted(
    name: str, seed: int, tmp_path: Path
) -> None:
    rng, encoding, tokens = np.random.default_rng(seed), tokenizers.get(name), list[str]()
    original = encode(BAND, name)
    for token in original:
        draw = rng.random()
        tokens += [token] if draw < 0.9 else []  # the others are lost
        tokens += [str(rng.choice(original))] if draw > 0.85 else []
    kept = encoding.drop_invalid(tokens)
    assert encoding.drop_invalid(kept) == kept
    assert tokenizers.write(tokens, tmp_path / "a.mid", name) == len(tokens) - len(kept) > 0
    count = sum(token.startswith("Duration") for token in kept)
    assert len(encoding.timed_notes(tokens)) == count > 0
    messages = [m for track in mido.MidiFile(tmp_path / "a.mid").tracks for m in track]
    assert sum(m.type == "note_on" and m.velocity > 0 for m in messages) == count


START = [*BAR, "Program_0", "Position_30", *NOTE]
HALVES = ["Bar_None", "TimeSig_3/2", "Program_0", "Position_71", *NOTE]
LATER = [*START, "Position_35", *NOTE, "Bar_None", "Program_0", "Position_0", *NOTE]
TEMPO = ["Position_12", "Tempo_99.0"]


@pytest.mark.parametrize(
    ("name", "tokens", "kept"),
    [
        ("tsd", ["Program_0", *NOTE, "Duration_1.0.12"], ["Program_0", *NOTE]),
        ("tsd", ["Program_0", "Pitch_50", *NOTE], ["Program_0", *NOTE]),  # a pitch without a length
        ("tsd", ["Program_0", *NOTE, "Pitch_62", "Velocity_79"], ["Program_0", *NOTE]),  # cut off
        ("tsd", ["Program_0", *NOTE, "Program_7"], ["Program_0", *NOTE]),  # a program without notes
        ("tsd", ["Program_7", "Program_0", *NOTE], ["Program_0", *NOTE]),
        ("tsd", NOTE, NOTE),  # without a program it is for piano
        ("tsd", ["Program_-1", *NOTE], NOTE),  # drums have PitchDrum
        ("tsd", ["Velocity_79", "Duration_1.0.12"], []),
        ("tsd", ["Program_0", *NOTE[1:], *NOTE], ["Program_0", *NOTE]),  # a note without its pitch
        ("remi", [*START, "Position_12", *NOTE], START),  # before the last position
        ("remi", [*START, "Position_36", *NOTE], START),  # behind the bar
        ("remi", [*START, "Position_30", *NOTE], START),  # at the last position
        ("remi", [*START, *NOTE], START),  # struck twice
        ("remi", [*START, "Pitch_59", *NOTE[1:]], START),  # a lower pitch
        ("remi", [*START, "Pitch_61", *NOTE[1:]], [*START, "Pitch_61", *NOTE[1:]]),
        ("remi", [*START, "Program_32", "Position_0", *NOTE], START),  # bass comes first
        ("remi", [*START, "Program_0", "Position_35", *NOTE], [*START, "Position_35", *NOTE]),
        ("remi", [*START, "Bar_None", "Position_0", *NOTE], [*START, "Bar_None"]),  # no program
        ("remi", [*START, "Position_35", "Tempo_99.0"], START),  # a tempo after a program
        ("remi", [*START[:2], *TEMPO, *START[2:]], [*START[:2], *TEMPO, *START[2:]]),
        ("remi", [*START[:2], *TEMPO, *TEMPO], [*START[:2], *TEMPO]),
        ("remi", LATER, LATER),
        ("remi", [*HALVES, "Position_72", *NOTE], HALVES),
    ],
)
def test_each_repair(name: str, tokens: list[str], kept: list[str]) -> None:
    assert {"tsd": TSD, "remi": REMI}[name].drop_invalid(tokens) == kept


def test_an_instrument_that_plays_is_not_named_again_in_its_bar() -> None:
    state = State("Duration", program=0, position=12, pitch=60, carried=0)
    assert next_state(state, "Program_0", "remi") is None  # its notes would begin anew
    assert next_state(state, "Program_73", "remi")
