"""The loop: what is fed, where pieces end, and that they do not depend on those beside them."""

import dataclasses
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import numpy as np
import pytest
from fake_network import FakeLanes, FakeNetwork

from midilstm.config import SamplingConfig
from midilstm.generation import generate as loop
from midilstm.repetition.match_model import MatchModel, MatchWeights
from midilstm.tokenizers.grammar import Grammar
from midilstm.tokenizers.vocabulary import END_ID

ENDING, STEERED = (
    SamplingConfig(stop_at_end=True),
    SamplingConfig(temperature=0.8, top_k=5, top_p=0.9, repetition_penalty=1.3, stop_at_end=True),
)
# A toy language: a note (1, 2, 3) and then its length (4, 5, 6); a piece may end between notes.
NOTES, LENGTHS = {1, 2, 3}, {4, 5, 6}


def generate(network: object, *args: Any, **knobs: Any) -> list[list[int]]:
    return loop.generate(cast(Any, network), *args, **knobs)


class Circle:
    """Give surely the next id of 1, 2, 3, 4, 5, 1 ..., or END after `last`."""

    def __init__(self, last: int = 0) -> None:
        self.fed: list[int] = []
        self._last = last

    def initial_state(self, rows: int = 1) -> Self:
        assert rows == 1
        return self

    def select_rows(self, rows: Sequence[int] | np.ndarray) -> Self:  # noqa: ARG002 - it has but one
        return self

    def step(self, ids: np.ndarray) -> np.ndarray:
        self.fed.append(int(ids[0]))
        number = 0 if self._last and ids[0] == self._last else ids[0] % 5 + 1
        with np.errstate(divide="ignore"):
            return np.log(np.eye(6)[[number]])


@pytest.mark.parametrize(
    ("primer", "fed", "piece"),
    [([], [0, 1, 2, 3], [1, 2, 3, 4]), ([5, 5, 2], [0, 5, 5, 2, 3, 4, 5], [3, 4, 5, 1])],
)
def test_end_and_the_primer_are_fed_and_then_each_id(
    primer: list[int], fed: list[int], piece: list[int]
) -> None:
    circle = Circle()
    assert generate(circle, [0], 4, SamplingConfig(), primer) == [piece]
    assert circle.fed == fed


def test_a_piece_stops_where_the_model_ends_it() -> None:
    assert generate(Circle(4), [0], 9, ENDING) == [[1, 2, 3, 4]]
    assert generate(Circle(4), [0], 3, ENDING) == [[1, 2, 3]]
    pieces = generate(FakeNetwork(), range(100), 40, SamplingConfig())
    assert {len(piece) for piece in pieces} == {40}
    assert END_ID not in np.concatenate(pieces)
    assert min(len(piece) for piece in generate(FakeNetwork(), range(100), 40, ENDING)) >= 1


def test_a_piece_is_over_before_the_id_at_which_its_listener_says_so() -> None:
    def stop_at(*places: int) -> Callable[[], Callable[[int], bool]]:
        heard: list[int] = []

        def listen(number: int) -> bool:
            assert number != END_ID
            heard.append(number)
            return len(heard) - 1 in places

        return lambda: listen

    assert generate(Circle(), [0], 9, SamplingConfig(), [5], until=stop_at(4)) == [[1, 2, 3, 4]]
    assert generate(Circle(), [0], 3, SamplingConfig(), until=stop_at(4)) == [[1, 2, 3]]
    assert generate(Circle(3), [0], 9, ENDING, until=stop_at(4)) == [[1, 2, 3]]
    assert generate(Circle(), [0], 9, SamplingConfig(), until=stop_at(0, 1)) == [
        [1]
    ]  # never none at all


def test_each_piece_has_its_own_listener() -> None:
    def begin() -> Callable[[int], bool]:
        heard: list[int] = []

        def listen(number: int) -> bool:
            heard.append(number)
            return sum(heard) > 60

        return listen

    free = generate(FakeNetwork(), range(20), 61, SamplingConfig())
    found = generate(FakeNetwork(), range(20), 61, SamplingConfig(), until=begin)
    assert found == [piece[: int((np.cumsum(piece) <= 60).sum())] for piece in free]
    assert len({len(piece) for piece in found}) > 3


@pytest.mark.parametrize("knobs", [SamplingConfig(), STEERED], ids=str)
@pytest.mark.parametrize("grammar", [False, True])
def test_a_piece_does_not_depend_on_those_beside_it(knobs: SamplingConfig, grammar: bool) -> None:
    def draw(seeds: Sequence[int]) -> list[list[int]]:
        rules = Grammar(toy_follow, 7, "note") if grammar else None
        return generate(FakeNetwork(), seeds, 30, knobs, [3, 4], grammar=rules)

    alone = [draw([seed])[0] for seed in range(40)]
    assert draw(range(40)) == alone
    assert len({tuple(piece) for piece in alone}) > 20


class Watched(FakeNetwork):
    """Be its own only lane, and remember how many pieces stood side by side at first."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.step = self.initial_state().step

    def select_rows(self, rows: Sequence[int]) -> FakeLanes:
        self.counts.append(len(rows))
        return super().initial_state(len(rows))


def test_groups_are_cut_by_the_seeds_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores in (1, 7):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        network = Watched()
        monkeypatch.setattr(network, "initial_state", lambda network=network: network)
        generate(network, range(70), 3, SamplingConfig())
        assert sorted(network.counts) == [6, 32, 32]


def test_progress_counts_the_tokens() -> None:
    told: list[int] = []
    pieces = generate(FakeNetwork(), range(4), 40, ENDING, progress=told.append)
    assert sum(told) == sum(map(len, pieces))


def test_ctrl_c_stops_all_groups() -> None:
    told: list[int] = []

    def interrupt(tokens: int) -> None:
        told.append(tokens)
        if len(told) == 1:
            os.kill(os.getpid(), signal.SIGINT)  # reaches the thread that waits for the groups

    with pytest.raises(KeyboardInterrupt):
        generate(FakeNetwork(), range(40), 80_000, SamplingConfig(), progress=interrupt)
    assert len(told) < 80_000  # not even one of the two groups came to its end


class Echo:
    """Remember each piece's ids, and make the next sure to be the one before the last."""

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows = rows

    def update(self, ids: np.ndarray) -> None:
        for row, token_id in zip(self.rows, ids.tolist(), strict=True):
            row.append(token_id)

    def add_match_bias(self, log_probs: np.ndarray) -> None:
        with np.errstate(divide="ignore"):
            log_probs[:] = np.log(np.eye(log_probs.shape[1])[[row[-2] for row in self.rows]])

    def select_rows(self, rows: Sequence[int] | np.ndarray) -> "Echo":
        return Echo([list(self.rows[row]) for row in rows])


def test_the_match_model_is_fed_all_ids_and_applied_before_the_grammar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def echo(log_probs: np.ndarray, match_model: Echo) -> None:
        match_model.add_match_bias(log_probs)

    monkeypatch.setattr("midilstm.generation.generate.add_match_bias", echo)
    pieces = generate(FakeNetwork(), range(3), 6, SamplingConfig(), [2, 5, 6, 3], memory=Echo([[]]))
    assert pieces == [[6, 3, 6, 3, 6, 3]] * 3
    grammar = Grammar(toy_follow, 7, "note")
    for piece in generate(
        FakeNetwork(),
        range(3),
        6,
        SamplingConfig(),
        [2, 4, 3, 5, 5],
        memory=Echo([[]]),
        grammar=grammar,
    ):
        assert violations(piece) == 0


def remembering() -> MatchModel:
    """Return a memory in which each id takes a quarter of a bar."""
    weights = MatchWeights(1.0, 0.5, -0.5, 1.0, 0.5, 0, 0, -0.5)
    return MatchModel.begin([0.25] * 7, weights)


@pytest.mark.parametrize("knobs", [SamplingConfig(), STEERED], ids=str)
def test_a_piece_with_a_memory_does_not_depend_on_those_beside_it(knobs: SamplingConfig) -> None:
    def draw(seeds: Sequence[int]) -> list[list[int]]:
        return generate(FakeNetwork(), seeds, 60, knobs, [3, 4, 3], memory=remembering())

    alone = [draw([seed])[0] for seed in range(40)]
    assert draw(range(40)) == alone
    assert alone != generate(FakeNetwork(), range(40), 60, knobs, [3, 4, 3])


def test_a_memory_of_no_strength_changes_nothing() -> None:
    memory = dataclasses.replace(remembering(), strength=0)
    expected = generate(FakeNetwork(), range(9), 60, SamplingConfig(), [3, 4])
    assert (
        generate(FakeNetwork(), range(9), 60, SamplingConfig(), [3, 4], memory=memory) == expected
    )


def toy_follow(state: str, number: int) -> str | None:
    if state == "note":
        return {0: "end", 1: "length", 2: "length", 3: "length"}.get(number)
    return "note" if state == "length" and number in LENGTHS else None


def violations(piece: Sequence[int], first: int = 0) -> int:
    """Count the ids that stand where the toy language has the other kind."""
    kinds = (NOTES, LENGTHS)
    return sum(number not in kinds[(place + first) % 2] for place, number in enumerate(piece))


@pytest.mark.parametrize(
    "knobs",
    [
        SamplingConfig(),
        SamplingConfig(temperature=0),
        SamplingConfig(temperature=2),
        SamplingConfig(top_k=2),
        SamplingConfig(top_p=0.6),
        ENDING,
        STEERED,
    ],
    ids=str,
)
def test_what_is_forbidden_is_not_drawn(knobs: SamplingConfig) -> None:
    free = generate(FakeNetwork(), range(20), 50, knobs)
    strict = generate(FakeNetwork(), range(20), 50, knobs, grammar=Grammar(toy_follow, 7, "note"))
    assert sum(map(violations, free)) >= 20  # the network itself knows no rules
    assert sum(map(violations, strict)) == 0
    assert all(len(piece) % 2 == 0 for piece in strict)  # one that ends, ends between notes
    assert (min(map(len, strict)) < 50) == knobs.stop_at_end


@pytest.mark.parametrize(
    ("primer", "first"),
    [
        ([1, 4], 0),
        ([1, 4, 2], 1),
        ([4, 5, 6], 0),  # nothing of it fits: as if the piece began
        ([1, 2, 3], 1),  # the first waits for its length; the others do not fit
        ([1, 0, 0, 4], 0),
    ],
)
def test_a_primer_may_break_the_rules(primer: list[int], first: int) -> None:
    grammar = Grammar(toy_follow, 7, "note")
    for piece in generate(FakeNetwork(), range(5), 20, SamplingConfig(), primer, grammar=grammar):
        assert violations(piece, first) == 0


def test_what_is_allowed_keeps_its_proportions() -> None:
    class Constant(FakeNetwork):
        def initial_state(self, rows: int = 1) -> Any:  # noqa: ARG002 - it has no state
            return self

        def select_rows(self, rows: object) -> Self:  # noqa: ARG002
            return self

        def step(self, ids: np.ndarray) -> np.ndarray:
            return np.tile(np.log([0.05, 0.3, 0.1, 0.05, 0.25, 0.15, 0.1]), (len(ids), 1))

    # The two likeliest of all ids are a note and a length; of what may stand there, two each.
    grammar = Grammar(toy_follow, 7, "note")
    (piece,) = generate(Constant(), [0], 8000, SamplingConfig(top_k=2), grammar=grammar)
    counts = np.bincount(piece, minlength=7)
    assert counts.tolist()[:1] + counts.tolist()[3:4] + counts.tolist()[6:] == [0, 0, 0]
    for a, b, share in ((1, 2, 0.75), (4, 5, 0.625)):
        assert counts[a] + counts[b] == 4000
        assert abs(counts[a] - 4000 * share) < 4 * (4000 * share * (1 - share)) ** 0.5


@pytest.mark.parametrize(
    "knobs", [SamplingConfig(), SamplingConfig(temperature=0), STEERED], ids=str
)
def test_where_nothing_is_allowed_the_piece_goes_on_somehow(knobs: SamplingConfig) -> None:
    def next_state(state: int, number: int) -> int | None:
        return number if number == state + 1 <= 4 else None

    for piece in generate(FakeNetwork(), range(9), 30, knobs, grammar=Grammar(next_state, 7, 0)):
        assert piece[:4] == [1, 2, 3, 4]
        assert knobs.stop_at_end or len(piece) == 30
