"""What a grammar forbids is not drawn, and nothing else changes."""

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import pytest
from test_drawing import QUANTILE, Circle, FakeNetwork, normal

from midilstm.sampling import choose, loop
from midilstm.sampling.choose import Knobs
from midilstm.tokens.grammar import NOWHERE, Grammar

# A toy language: a note (1, 2, 3) and then its length (4, 5, 6); a piece may end between notes.
NOTES, LENGTHS = {1, 2, 3}, {4, 5, 6}
KNOBS = [
    *(Knobs(), Knobs(temperature=0), Knobs(temperature=2), Knobs(top_k=2), Knobs(top_p=0.6)),
    *(Knobs(0.8, 3, 0.9, 1.3), Knobs(until_end=True), Knobs(0.9, 4, 0.8, 1.2, True)),
]


def toy_follow(state: str, number: int) -> str | None:
    if state == "note":
        return {0: "end", 1: "length", 2: "length", 3: "length"}.get(number)
    return "note" if state == "length" and number in LENGTHS else None


def toy() -> Grammar[str]:
    return Grammar(toy_follow, 7, "note")


def violations(piece: Sequence[int], first: str = "note") -> int:
    """Count the ids that stand where the toy language has the other kind."""
    kinds = [NOTES, LENGTHS] if first == "note" else [LENGTHS, NOTES]
    return sum(number not in kinds[place % 2] for place, number in enumerate(piece))


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
@pytest.mark.parametrize("count", [3, 20])
def test_what_is_forbidden_is_not_drawn(knobs: Knobs, count: int) -> None:
    network = FakeNetwork(0.02 * (count > 3))
    free = loop.generate(network, range(count), 50, knobs)
    strict = loop.generate(network, range(count), 50, knobs, grammar=toy())
    assert sum(map(violations, free)) >= count  # the network itself knows no rules
    assert sum(map(violations, strict)) == 0
    if knobs.until_end:  # a piece that ends by itself ends between notes
        assert all(len(piece) % 2 == 0 for piece in strict)
        assert count == 3 or any(len(piece) < 50 for piece in strict)
    else:
        assert {len(piece) for piece in strict} == {50}


class Constant:
    """Give every id always the same probability."""

    exact = True

    def __init__(self, *probabilities: float) -> None:
        self._scores = np.log(np.array(probabilities))

    def lanes(self, count: int = 1) -> Self:  # noqa: ARG002 - it has no state
        return self

    def take(self, rows: Sequence[int] | np.ndarray) -> Self:  # noqa: ARG002
        return self

    def put(self, row: int, lane: Self) -> None:
        raise AssertionError(row, lane)

    def step(self, ids: np.ndarray) -> np.ndarray:
        return np.tile(self._scores, (len(ids), 1))


CONSTANT = (0.05, 0.3, 0.1, 0.05, 0.25, 0.15, 0.1)  # the end, three notes, three lengths


@pytest.mark.parametrize(
    ("knobs", "notes", "lengths"),
    [
        (Knobs(), (0.3, 0.1, 0.05), (0.25, 0.15, 0.1)),
        (Knobs(temperature=0.5), (0.3**2, 0.1**2, 0.05**2), (0.25**2, 0.15**2, 0.1**2)),
        # The two likeliest of all ids are a note and a length; of what may stand there, two each.
        (Knobs(top_k=2), (0.3, 0.1, 0), (0.25, 0.15, 0)),
        # Of the notes' 0.45 the likeliest has 0.67, of the lengths' 0.5 two have 0.8.
        (Knobs(top_p=0.6), (0.3, 0, 0), (0.25, 0.15, 0)),
        (Knobs(top_k=2, top_p=0.7), (0.3, 0, 0), (0.25, 0.15, 0)),
    ],
    ids=str,
)
def test_the_others_keep_their_proportions(
    knobs: Knobs, notes: tuple[float, ...], lengths: tuple[float, ...]
) -> None:
    (piece,) = loop.generate(Constant(*CONSTANT), [0], 8000, knobs, grammar=toy())
    for drawn, first, shares in ((piece[::2], 1, notes), (piece[1::2], 4, lengths)):
        expected = normal(*shares)
        counts, possible = np.bincount(drawn, minlength=7)[first : first + 3], expected > 0
        assert counts.sum() == 4000
        assert counts[~possible].sum() == 0
        wanted = counts.sum() * expected[possible]
        chi_square = ((counts[possible] - wanted) ** 2 / wanted).sum()
        assert chi_square <= QUANTILE.get(possible.sum() - 1, 0)


def test_the_penalty_counts_within_what_is_allowed() -> None:
    n, knobs = 20_000, Knobs(repetition_penalty=2, top_k=2)
    scores = np.tile(np.log(CONSTANT), (n, 1))
    mask = np.array([[0, -np.inf, 0, 0, -np.inf, 0, 0]])
    noise = choose.race(np.random.default_rng(0), scores.shape)
    ids, _ = choose.choose_rows(scores, noise, knobs, np.full((n, 2), [1, 5]), mask=mask)
    # 5 was heard: 0.15 becomes 0.0225, and the two likeliest left are 2 and 6, both 0.1.
    counts = np.bincount(ids, minlength=7)
    assert counts[2] + counts[6] == n
    assert (counts[2] - n / 2) ** 2 / (n / 4) <= QUANTILE[1]


@pytest.mark.parametrize("knobs", [*KNOBS[:1], *KNOBS[3:6], KNOBS[7]], ids=str)
def test_a_piece_does_not_depend_on_those_beside_it(
    knobs: Knobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SLACK", 0.02)
    monkeypatch.setattr(loop.os, "cpu_count", lambda: 2)  # 40 pieces: two groups, two threads
    alone = [
        loop.generate(FakeNetwork(), [seed], 40, knobs, [1, 4], grammar=toy())[0]
        for seed in range(40)
    ]
    shared = toy()
    for _ in range(2):  # with nothing known of the grammar, and with all
        args = (FakeNetwork(0.02), range(40), 40, knobs, [1, 4])
        assert loop.generate(*args, grammar=shared) == alone
    assert len({tuple(piece) for piece in alone}) > 20
    monkeypatch.setattr(loop, "SLACK", 1e-9)  # the trembling is real: unguarded, it shows
    assert loop.generate(*args, grammar=shared) != alone


def count_to(last: int) -> Callable[[int, int], int | None]:
    """Return rules by which 1, 2, 3 ... `last` follow each other, and then nothing."""
    return lambda state, number: number if number == state + 1 <= last else None


@pytest.mark.parametrize("knobs", [*KNOBS[:2], *KNOBS[3:]], ids=str)
def test_where_nothing_is_allowed_the_piece_goes_on_somehow(knobs: Knobs) -> None:
    for count in (1, 20):
        grammar = Grammar(count_to(4), 7, 0)
        pieces = loop.generate(FakeNetwork(), range(count), 30, knobs, grammar=grammar)
        assert all(piece[:4] == [1, 2, 3, 4] for piece in pieces)
        if not knobs.until_end:
            assert all(len(piece) == 30 and min(piece) > 0 for piece in pieces)


@pytest.mark.parametrize("knobs", [Knobs(until_end=True), Knobs(0.9, 4, 0.8, 1.2, True)], ids=str)
def test_where_only_the_end_is_allowed_the_piece_ends(knobs: Knobs) -> None:
    def follow(state: int, number: int) -> int | None:
        return 9 if (state, number) == (4, 0) else count_to(4)(state, number)

    pieces = loop.generate(FakeNetwork(), range(5), 30, knobs, grammar=Grammar(follow, 7, 0))
    assert pieces == [[1, 2, 3, 4]] * 5
    without = Knobs(knobs.temperature, knobs.top_k, knobs.top_p)
    pieces = loop.generate(FakeNetwork(), range(5), 30, without, grammar=Grammar(follow, 7, 0))
    assert {len(piece) for piece in pieces} == {30}
    # A piece that has not begun cannot end.
    (piece,) = loop.generate(
        FakeNetwork(), [0], 30, knobs, [1, 2, 3, 4], grammar=Grammar(follow, 7, 0)
    )
    assert len(piece) >= 1


@pytest.mark.parametrize(
    ("primer", "first"),
    [
        ([1, 4], "note"),
        ([1, 4, 2], "length"),
        ([4, 5, 6], "note"),  # nothing of it fits: as if the piece began
        ([1, 2, 3], "length"),  # the first waits for its length; the others do not fit
        ([1, 0, 0, 4], "note"),
    ],
)
def test_a_primer_may_break_the_rules(primer: list[int], first: str) -> None:
    for piece in loop.generate(FakeNetwork(), range(5), 20, Knobs(), primer, grammar=toy()):
        assert violations(piece, first) == 0


def test_a_network_that_keeps_the_rules_costs_no_row() -> None:
    asked: list[tuple[int, int]] = []

    def follow(state: int, number: int) -> int | None:
        asked.append((state, number))
        return number if number == state % 5 + 1 else None

    grammar = Grammar(follow, 6, 0)
    assert loop.generate(Circle(), [0], 20, Knobs(), grammar=grammar) == [[1, 2, 3, 4, 5] * 4]
    assert asked == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 1)]


def test_states_are_kept_however_many_there_are() -> None:
    grammar = Grammar(count_to(300), 302, 0)
    state = 0
    for number in range(1, 301):
        (state,) = grammar.go([state], [number])
        grammar.learn([state])
        mask = grammar.mask([state], may_end=False)[0]
        allowed = [number + 1] if number < 300 else list(range(302))
        assert np.flatnonzero(mask == 0).tolist() == allowed
    assert grammar.after([state], [5]) == [NOWHERE]
    assert grammar.go([state], [5]) == [state]
    assert grammar.listen(range(1, 301)) == state
