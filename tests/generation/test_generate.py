"""The loop over tokens: what is fed, where pieces end, and that they do not affect each other."""

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import numpy as np
import pytest
from fake_network import SIZE, FakeNetwork, FakeState

from midilstm.config import SamplingConfig
from midilstm.generation import generate as loop
from midilstm.repetition.match_model import MatchModel, MatchWeights
from midilstm.tokenizers.grammar import Grammar
from midilstm.tokenizers.vocabulary import END_ID

PLAIN, ENDING = SamplingConfig(), SamplingConfig(stop_at_end=True)
STEERED = SamplingConfig(
    temperature=0.8, top_k=5, top_p=0.9, repetition_penalty=1.3, stop_at_end=True
)
GREEDY = SamplingConfig(temperature=0)
WEIGHTS = MatchWeights(1.0, 0.5, -0.5, 1.0, 0.5, 0, 0, -0.5)


def generate(
    network: object, seeds: Sequence[int], max_ids: int, config: SamplingConfig = PLAIN, **rest: Any
) -> list[list[int]]:
    pieces = loop.generate(cast(Any, network), seeds, max_ids, config, **rest)
    return [piece.ids for piece in pieces]


class Cycle:
    """Give the next id of 1, 2, 3, 4, 5, 1 ... for certain, or END after `last`."""

    def __init__(self, last: int = 0) -> None:
        self.fed: list[int] = []
        self._last = last

    def initial_state(self, rows: int = 1) -> Self:
        assert rows == 1
        return self

    def select_rows(self, rows: Sequence[int] | np.ndarray) -> Self:  # noqa: ARG002 - only one
        return self

    def step(self, ids: np.ndarray) -> np.ndarray:
        self.fed.append(int(ids[0]))
        next_id = 0 if self._last and ids[0] == self._last else ids[0] % 5 + 1
        with np.errstate(divide="ignore"):
            return np.log(np.eye(6)[[next_id]])


@pytest.mark.parametrize(
    ("primer", "fed", "piece"),
    [([], [0, 1, 2, 3], [1, 2, 3, 4]), ([5, 5, 2], [0, 5, 5, 2, 3, 4, 5], [3, 4, 5, 1])],
)
def test_the_network_is_fed_end_the_primer_and_each_new_id(
    primer: list[int], fed: list[int], piece: list[int]
) -> None:
    network = Cycle()
    assert generate(network, [0], 4, primer=primer) == [piece]
    assert network.fed == fed


def test_a_piece_stops_where_the_model_ends_it() -> None:
    assert generate(Cycle(4), [0], 9, ENDING) == [[1, 2, 3, 4]]
    pieces = generate(FakeNetwork(), range(100), 40)
    assert {len(piece) for piece in pieces} == {40}
    assert END_ID not in np.concatenate(pieces)
    assert min(len(piece) for piece in generate(FakeNetwork(), range(100), 40, ENDING)) >= 1


def beyond(*positions: int) -> Callable[[], Callable[[int], bool]]:
    """Return the length of a piece that is beyond it at these positions."""

    def begin() -> Callable[[int], bool]:
        ids: list[int] = []

        def is_beyond(token_id: int) -> bool:
            assert token_id != END_ID
            ids.append(token_id)
            return len(ids) - 1 in positions

        return is_beyond

    return begin


@pytest.mark.parametrize(
    ("last", "max_ids", "positions", "piece", "reason"),
    [
        (0, 9, [4], [1, 2, 3, 4], "length"),
        (0, 3, [4], [1, 2, 3], "limit"),
        (3, 9, [4], [1, 2, 3], "end"),
        (0, 9, [0, 1], [1], "length"),  # the first id always stays
    ],
)
def test_the_first_reason_to_stop_is_reported(
    last: int, max_ids: int, positions: list[int], piece: list[int], reason: str
) -> None:
    network: Any = Cycle(last)
    (drawn,) = loop.generate(network, [0], max_ids, ENDING, begin_length=beyond(*positions))
    assert drawn == (piece, reason)


def test_each_piece_counts_its_own_length() -> None:
    def begin() -> Callable[[int], bool]:
        ids: list[int] = []

        def is_beyond(token_id: int) -> bool:
            ids.append(token_id)
            return sum(ids) > 60

        return is_beyond

    free = generate(FakeNetwork(), range(20), 61)
    pieces = generate(FakeNetwork(), range(20), 61, begin_length=begin)
    assert pieces == [piece[: int((np.cumsum(piece) <= 60).sum())] for piece in free]
    assert len({len(piece) for piece in pieces}) > 3


@pytest.mark.parametrize("config", [PLAIN, STEERED], ids=str)
@pytest.mark.parametrize("rule", ["none", "grammar", "match model"])
def test_a_piece_does_not_depend_on_the_others(config: SamplingConfig, rule: str) -> None:
    def draw(seeds: Sequence[int]) -> list[list[int]]:
        rules: dict[str, dict[str, Any]] = {
            "none": {},
            "grammar": {"grammar": Grammar(toy_rules, SIZE, "note")},
            "match model": {"match_model": MatchModel.begin([0.25] * SIZE, WEIGHTS)},
        }
        return generate(FakeNetwork(), seeds, 60, config, primer=[3, 4, 3], **rules[rule])

    alone = [draw([seed])[0] for seed in range(40)]
    assert draw(range(40)) == alone
    assert len({tuple(piece) for piece in alone}) > 20


def test_groups_depend_on_the_seeds_and_not_on_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(FakeNetwork, FakeState):
        def initial_state(self, rows: int = 1) -> Any:  # noqa: ARG002 - always one
            return self

        def select_rows(self, rows: Sequence[int] | np.ndarray) -> FakeState:
            counts.append(len(rows))
            return FakeState(np.zeros(len(rows), int))

    for cores in (1, 7):
        counts: list[int] = []
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        generate(Watched(np.zeros(1, int)), range(70), 3)
        assert sorted(counts) == [6, 32, 32]


def test_progress_counts_the_ids() -> None:
    counts: list[int] = []
    pieces = generate(FakeNetwork(), range(4), 40, ENDING, progress=counts.append)
    assert sum(counts) == sum(map(len, pieces))


def test_ctrl_c_stops_all_groups() -> None:
    counts: list[int] = []

    def interrupt(count: int) -> None:
        counts.append(count)
        if len(counts) == 1:
            os.kill(os.getpid(), signal.SIGINT)  # reaches the thread that waits for the groups

    with pytest.raises(KeyboardInterrupt):
        generate(FakeNetwork(), range(40), 80_000, progress=interrupt)
    assert len(counts) < 80_000  # neither of the two groups has come to its end


def test_the_match_model_knows_the_primer_and_the_grammar_has_the_last_word() -> None:
    certain = MatchWeights(0.0, 50, 0, 0, 0, 0, 0, 0)  # repeats what it can

    def draw(primer: list[int], grammar: Grammar[str] | None = None) -> list[int]:
        match_model = MatchModel.begin([0.25] * SIZE, certain)
        rules: dict[str, Any] = {"match_model": match_model, "grammar": grammar, "primer": primer}
        return generate(FakeNetwork(), [0], 3, **rules)[0]

    motif = [1, 5, 3, 4, 2, 6]
    assert draw([*motif, *motif[:3]]) == motif[3:]
    grammar = Grammar(toy_rules, SIZE, "note")
    assert violations(draw([1, 1, 2, 2, 3, 3, 4, 1, 1, 2], grammar), first=1) == 0


def test_a_strength_of_0_changes_nothing() -> None:
    off = MatchModel.begin([0.25] * SIZE, WEIGHTS, 0)
    plain = generate(FakeNetwork(), range(9), 60)
    assert generate(FakeNetwork(), range(9), 60, match_model=off) == plain


def toy_rules(state: str, token_id: int) -> str | None:
    """Follow a language of a note (1, 2, 3) and then its length (4, 5, 6); it ends between both."""
    if state == "note":
        return {0: "end", 1: "length", 2: "length", 3: "length"}.get(token_id)
    return "note" if state == "length" and token_id in (4, 5, 6) else None


def violations(piece: Sequence[int], first: int = 0) -> int:
    """Count the ids that stand where the toy language has the other kind."""
    kinds = ({1, 2, 3}, {4, 5, 6})
    return sum(token_id not in kinds[(i + first) % 2] for i, token_id in enumerate(piece))


@pytest.mark.parametrize(
    "config",
    [PLAIN, GREEDY, SamplingConfig(top_k=2), SamplingConfig(top_p=0.6), ENDING, STEERED],
    ids=str,
)
def test_a_forbidden_id_is_never_drawn(config: SamplingConfig) -> None:
    grammar = Grammar(toy_rules, SIZE, "note")
    free = generate(FakeNetwork(), range(20), 50, config)
    strict = generate(FakeNetwork(), range(20), 50, config, grammar=grammar)
    assert sum(map(violations, free)) >= 20  # the network does not follow the rules by itself
    assert sum(map(violations, strict)) == 0
    assert all(len(piece) % 2 == 0 for piece in strict)  # one that ends, ends between notes
    assert (min(map(len, strict)) < 50) == config.stop_at_end


@pytest.mark.parametrize(
    ("primer", "first"),
    [
        ([1, 4], 0),
        ([1, 4, 2], 1),
        ([4, 5, 6], 0),  # none of it fits: as at the beginning
        ([1, 2, 3], 1),  # the first waits for its length; the others do not fit
        ([1, 0, 0, 4], 0),
    ],
)
def test_a_primer_may_violate_the_grammar(primer: list[int], first: int) -> None:
    grammar = Grammar(toy_rules, SIZE, "note")
    for piece in generate(FakeNetwork(), range(5), 20, primer=primer, grammar=grammar):
        assert violations(piece, first) == 0


def test_allowed_ids_keep_their_proportions() -> None:
    class Constant(FakeNetwork, FakeState):
        def initial_state(self, rows: int = 1) -> Any:  # noqa: ARG002 - it has no state
            return self

        def select_rows(self, rows: object) -> Self:  # noqa: ARG002
            return self

        def step(self, ids: np.ndarray) -> np.ndarray:
            return np.tile(np.log([0.05, 0.3, 0.1, 0.05, 0.25, 0.15, 0.1]), (len(ids), 1))

    # The two most likely of all ids are a note and a length; of those allowed, two of each.
    grammar, config = Grammar(toy_rules, SIZE, "note"), SamplingConfig(top_k=2)
    (piece,) = generate(Constant(np.zeros(1)), [0], 8000, config, grammar=grammar)
    counts = np.bincount(piece, minlength=SIZE)
    assert counts[[0, 3, 6]].tolist() == [0, 0, 0]
    for a, b, share in ((1, 2, 0.75), (4, 5, 0.625)):
        assert counts[a] + counts[b] == 4000
        assert abs(counts[a] - 4000 * share) < 4 * (4000 * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("config", [PLAIN, GREEDY, STEERED], ids=str)
def test_a_piece_continues_where_the_grammar_allows_nothing(config: SamplingConfig) -> None:
    def rules(state: int, token_id: int) -> int | None:
        return token_id if token_id == state + 1 <= 4 else None

    for piece in generate(FakeNetwork(), range(9), 30, config, grammar=Grammar(rules, SIZE, 0)):
        assert piece[:4] == [1, 2, 3, 4]
        assert config.stop_at_end or len(piece) == 30
