"""What may follow what: rules as masks over ids, and the rules of the bands' encodings."""

from collections.abc import Callable

import numpy as np
import pytest

from midilstm import tokenizers as encodings
from midilstm.tokenizers.grammar import Grammar
from midilstm.tokenizers.vocabulary import END, Vocabulary


def count_to(last: int) -> Callable[[int, int], int | None]:
    """Return rules by which 1, 2, 3 ... `last` follow each other, and then nothing."""
    return lambda state, number: number if number == state + 1 <= last else None


def allowed(grammar: Grammar[int], state: int, *, may_end: bool = False) -> list[int]:
    return np.flatnonzero(grammar.mask([state], may_end=may_end)[0] == 0).tolist()


def test_each_state_allows_what_may_follow_it_and_the_last_state_everything() -> None:
    grammar, state = Grammar(count_to(300), 302, 0), 0
    for number in range(1, 301):
        assert allowed(grammar, state) == [number]
        (state,) = grammar.advance([state], [number])
    assert allowed(grammar, state) == list(range(302))
    assert grammar.advance([state], [5]) == [state]
    assert grammar.state_after(range(1, 301)) == state
    assert grammar.state_after([7, 1, 9, 1, 2]) == grammar.state_after(
        [1, 2]
    )  # misfits change nothing


def test_a_piece_may_end_where_the_rules_say_and_the_caller_does() -> None:
    def next_state(state: int, number: int) -> int | None:
        return 9 if (state, number) == (4, 0) else count_to(4)(state, number)

    grammar = Grammar(next_state, 7, 0)
    end = grammar.state_after([1, 2, 3, 4])
    assert allowed(grammar, end, may_end=True) == [0]
    assert allowed(grammar, end) == list(range(7))  # nothing else is left, and it may not end
    assert allowed(grammar, 0, may_end=True) == [1]


def test_pieces_side_by_side_have_a_row_each() -> None:
    grammar = Grammar(count_to(5), 7, 0)
    states = grammar.advance([0, 0], [1, 6])
    mask = grammar.mask(states, may_end=False)
    assert (mask.dtype, mask.shape) == (np.float32, (2, 7))
    assert [np.flatnonzero(row == 0).tolist() for row in mask] == [[2], [1]]


SINGLE = [
    *("Bar_None", "TimeSig_3/4", "TimeSig_2/2", "TimeSig_6/8", "Tempo_99.0", "TimeShift_1.0.12"),
    *(f"Position_{place}" for place in (0, 6, 35, 40, 47, 71)),
    *("Program_-1", "Program_0", "Program_32", "Pitch_60", "PitchDrum_36", "PitchDrum_42"),
    *("Velocity_79", "Velocity_95", "Duration_1.0.12", "Duration_0.6.12"),
]


@pytest.mark.parametrize("name", ["tsd", "remi"])
@pytest.mark.parametrize("seed", range(3))
def test_masks_say_of_merged_tokens_too_what_the_rules_say_of_each(name: str, seed: int) -> None:
    encoding, rng = encodings.get(name), np.random.default_rng(seed)
    single = [token for token in SINGLE if encoding.is_token(token)]
    walk, state = list[str](), encoding.start_state
    while len(walk) < 200:  # runs that may stand somewhere; and such as may not
        token = str(rng.choice(single))
        if (after := encoding.next_state(state, token)) is not None:
            walk.append(token)
            state = after
    runs = [walk[i : i + rng.integers(2, 7)] for i in rng.integers(len(walk) - 6, size=150)]
    runs += [rng.choice(single, rng.integers(2, 4)).tolist() for _ in range(150)]
    tokens = (END, *single, *sorted({" ".join(run) for run in runs}))
    grammar, found = Vocabulary(tokens, name).grammar(), set[bool]()
    assert grammar is not None
    for start in range(0, 180, 3):
        after = encoding.start_state
        for token in walk[:start]:
            after = encoding.next_state(after, token)
        number = grammar.state_after([])
        for token in walk[:start]:
            (number,) = grammar.advance([number], [tokens.index(token)])
        says = [encoding.next_state(after, token) is not None for token in ("", *tokens[1:])]
        assert (grammar.mask([number], may_end=True)[0] == 0).tolist() == says
        found |= set(says)
    assert found == {True, False}


def test_positions_may_not_run_back_or_out_of_their_bar() -> None:
    remi, note = encodings.get("remi"), ["Pitch_60", "Velocity_79", "Duration_1.0.12"]
    begin = ["Bar_None", "TimeSig_3/4", "Position_30", "Program_0", *note]
    assert remi.drop_invalid([*begin, "Position_12", *note]) == [*begin, *note]
    assert remi.drop_invalid([*begin, "Position_36", *note]) == [*begin, *note]
    later = [*begin, "Position_35", *note, "Bar_None", "Position_0", *note]
    assert remi.drop_invalid(later) == later
    halves = ["Bar_None", "TimeSig_3/2", "Position_71", "Program_0", *note]
    assert remi.drop_invalid([*halves, "Position_72", *note]) == [*halves, *note]


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("remi", ["Bar_None", "TimeSig_3/4", "Position_6", "Tempo_99.0", "Program_32"]),
        ("tsd", ["Program_32"]),
    ],
)
def test_a_new_piece_states_what_every_piece_that_is_read_states(
    name: str, begin: list[str]
) -> None:
    encoding = encodings.get(name)
    for merged in (False, True):
        singles = [token for token in SINGLE if encoding.is_token(token)]
        tokens = (END, *singles, *([" ".join(begin[:4])] * merged))
        grammar = Vocabulary(tokens, name).grammar()
        assert grammar is not None
        state, said = grammar.state_after([]), set[str]()
        rng = np.random.default_rng(0)
        while "Pitch" not in said:
            ways = np.flatnonzero(grammar.mask([state], may_end=False)[0] == 0)
            number = int(rng.choice(ways))
            said |= {part.split("_")[0] for part in tokens[number].split(" ")}
            (state,) = grammar.advance([state], [number])
        assert said >= {token.split("_")[0] for token in begin}
        # What goes on from a primer need not, not even where the primer's tempo is unknown.
        heard = [tokens.index(token) for token in begin if not token.startswith("Tempo")]
        follows = grammar.mask([grammar.state_after(heard)], may_end=False)[0] == 0
        assert follows[tokens.index("Pitch_60")]


def test_an_encoding_without_rules_has_no_grammar() -> None:
    assert Vocabulary((END, "C4")).grammar() is None
