"""The loop over tokens: what is fed, where pieces end, and that they do not affect each other."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import numpy as np
import pytest
from fake_network import SIZE, VOCABULARY, FakeNetwork, FakeState

from midilstm.config import SamplingConfig
from midilstm.generation.sampler import Sampler
from midilstm.repetition.match_model import MatchWeights
from midilstm.tokenizers.grammar import Grammar
from midilstm.tokenizers.vocabulary import END, END_ID, Vocabulary

PLAIN, ENDING = SamplingConfig(), SamplingConfig(stop_at_end=True)
STEERED = SamplingConfig(
    temperature=0.8, top_k=5, top_p=0.9, repetition_penalty=1.3, stop_at_end=True
)
GREEDY = SamplingConfig(temperature=0)
WEIGHTS = MatchWeights(0.5, 0.5, -0.5, 1.0, 0.5, 0, 0, -0.5)
NOTE = ("Pitch_60", "Velocity_63", "Duration_1.0.12")
TIMED = Vocabulary((END, *NOTE, *(f"TimeShift_{i}.0.12" for i in (1, 2, 3))), "tsd")


@dataclass(frozen=True)
class RuledVocabulary(Vocabulary):
    """A vocabulary with a grammar of the test's own."""

    rules: Grammar[Any] | None = None

    def grammar(self) -> Grammar[Any] | None:
        return self.rules


def draw(
    seeds: Sequence[int],
    length: int,
    config: SamplingConfig = PLAIN,
    *,
    network: object = None,
    primer: Sequence[int] = (),
    weights: MatchWeights | None = None,
    rules: Grammar[Any] | None = None,
    progress: Any = None,
) -> list[list[int]]:
    """Return the ids of pieces of at most `length` ids."""
    vocabulary = RuledVocabulary(VOCABULARY.tokens, rules=rules)
    tokens = [vocabulary.tokens[token_id] for token_id in primer]
    config = replace(config, chars=length)
    sampler = Sampler(cast(Any, network or FakeNetwork()), vocabulary, config, weights, tokens)
    return [list(piece.ids) for piece in sampler.draw(seeds, progress)]


class Cycle:
    """Give the next id of 1, 2, 3, 4, 5, 1 ... for certain, or END after `last`."""

    def __init__(self, last: int = 0) -> None:
        self.fed: list[int] = []
        self._last = last

    def initial_state(self) -> Self:
        return self

    def select_rows(self, _rows: Sequence[int] | np.ndarray) -> Self:
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
    assert draw([0], 4, network=network, primer=primer) == [piece]
    assert network.fed == fed


def test_a_piece_stops_where_the_model_ends_it() -> None:
    assert draw([0], 9, ENDING, network=Cycle(4)) == [[1, 2, 3, 4]]
    pieces = draw(range(100), 40)
    assert {len(piece) for piece in pieces} == {40}
    assert END_ID not in np.concatenate(pieces)
    assert min(len(piece) for piece in draw(range(100), 40, ENDING)) >= 1


@pytest.mark.parametrize(
    ("last", "seconds", "piece"),
    [(0, 1, [1, 2, 3, 4]), (3, 1, [1, 2, 3]), (0, 0.001, [1])],  # the first id always stays
)
def test_a_piece_stops_at_its_length_or_its_end(last: int, seconds: int, piece: list[int]) -> None:
    config = SamplingConfig(seconds=seconds, stop_at_end=True)
    (drawn,) = Sampler(cast(Any, Cycle(last)), VOCABULARY, config).draw([0])
    assert list(drawn.ids) == piece


def test_each_piece_counts_its_own_length() -> None:
    network, config = cast(Any, FakeNetwork()), SamplingConfig(chars=300, strict_grammar=False)
    free = Sampler(network, TIMED, config).draw(range(20))
    pieces = Sampler(network, TIMED, replace(config, chars=None, bars=10)).draw(range(20))
    for piece, longer in zip(pieces, free, strict=True):
        first = longer.tokens.index("Pitch_60")  # silence before it does not count
        bars = np.cumsum([TIMED.encoding.bars(x) for x in longer.tokens])
        bars -= bars[first]
        assert piece.ids == longer.ids[: int((bars < 10).sum())]
    assert len({len(piece.ids) for piece in pieces}) > 3


@pytest.mark.parametrize("config", [PLAIN, STEERED], ids=str)
@pytest.mark.parametrize("with_rules", [False, True])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_piece_does_not_depend_on_the_others(
    config: SamplingConfig, with_rules: bool, weights: MatchWeights | None
) -> None:
    rules = Grammar(toy_rules, SIZE, "note") if with_rules else None
    options: dict[str, Any] = {"primer": [3, 4, 3], "rules": rules, "weights": weights}
    alone = [draw([seed], 60, config, **options)[0] for seed in range(40)]
    assert draw(range(40), 60, config, **options) == alone
    assert len({tuple(piece) for piece in alone}) > 20


class Watched(FakeNetwork, FakeState):
    """Count the rows that are selected."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def initial_state(self, _rows: int = 1) -> Any:
        return self

    def select_rows(self, rows: Sequence[int] | np.ndarray) -> FakeState:
        self.counts.append(len(rows))
        return FakeState(np.zeros(len(rows), int))


def test_groups_depend_on_the_seeds_and_not_on_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores in (1, 7):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        network = Watched()
        draw(range(70), 3, network=network)
        assert sorted(network.counts) == [6, 32, 32]


def test_progress_counts_the_ids() -> None:
    counts: list[int] = []
    pieces = draw(range(4), 40, ENDING, progress=counts.append)
    assert sum(counts) == sum(map(len, pieces))


def test_ctrl_c_stops_all_groups() -> None:
    counts: list[int] = []

    def interrupt(count: int) -> None:
        counts.append(count)
        if len(counts) == 1:
            os.kill(os.getpid(), signal.SIGINT)  # reaches the thread that waits for the groups

    with pytest.raises(KeyboardInterrupt):
        draw(range(40), 80_000, progress=interrupt)
    assert len(counts) < 80_000  # neither of the two groups has come to its end


def test_the_match_model_knows_the_primer_and_the_grammar_has_the_last_word() -> None:
    certain, motif = MatchWeights(0.0, bias=50), [1, 5, 3, 4, 2, 6]  # it repeats what it can
    assert draw([0], 3, primer=[*motif, *motif[:3]], weights=certain) == [motif[3:]]
    primer, rules = [1, 1, 2, 2, 3, 3, 4, 1, 1, 2], Grammar(toy_rules, SIZE, "note")
    (piece,) = draw([0], 3, primer=primer, weights=certain, rules=rules)
    assert violations(piece, first=1) == 0


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
    free = draw(range(20), 50, config)
    strict = draw(range(20), 50, config, rules=Grammar(toy_rules, SIZE, "note"))
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
    ],
)
def test_a_primer_may_violate_the_grammar(primer: list[int], first: int) -> None:
    for piece in draw(range(5), 20, primer=primer, rules=Grammar(toy_rules, SIZE, "note")):
        assert violations(piece, first) == 0


def test_allowed_ids_keep_their_proportions() -> None:
    class Constant(Cycle):
        def step(self, ids: np.ndarray) -> np.ndarray:
            return np.tile(np.log([0.05, 0.3, 0.1, 0.05, 0.25, 0.15, 0.1]), (len(ids), 1))

    # The two most likely of all ids are a note and a length; of those allowed, two of each.
    rules, config = Grammar(toy_rules, SIZE, "note"), SamplingConfig(top_k=2)
    (piece,) = draw([0], 8000, config, network=Constant(), rules=rules)
    counts = np.bincount(piece, minlength=SIZE)
    assert counts[[0, 3, 6]].tolist() == [0, 0, 0]
    for a, b, share in ((1, 2, 0.75), (4, 5, 0.625)):
        assert counts[a] + counts[b] == 4000
        assert abs(counts[a] - 4000 * share) < 4 * (4000 * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("config", [PLAIN, GREEDY, STEERED], ids=str)
def test_a_piece_continues_where_the_grammar_allows_nothing(config: SamplingConfig) -> None:
    def follow(state: int, token_id: int) -> int | None:
        return token_id if token_id == state + 1 <= 4 else None

    for piece in draw(range(9), 30, config, rules=Grammar(follow, SIZE, 0)):
        assert piece[:4] == [1, 2, 3, 4]
        assert config.stop_at_end or len(piece) == 30
