"""Drawing by its frequencies, and pieces that do not depend on their neighbours."""

import os
import signal
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from midilstm.sampling import choose, loop
from midilstm.sampling.choose import Knobs

PROBABILITIES = np.array([0.2, 0.3, 0.25, 0.15, 0.07, 0.03])  # entry 0 is the end of a piece
QUANTILE = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52}  # chi-square 0.999 by freedom


def normal(*weights: float) -> np.ndarray:
    return np.array(weights) / sum(weights)


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        (Knobs(), normal(0, 0.3, 0.25, 0.15, 0.07, 0.03)),
        (Knobs(until_end=True), PROBABILITIES),
        (Knobs(temperature=0.5), normal(0, 0.3**2, 0.25**2, 0.15**2, 0.07**2, 0.03**2)),
        (Knobs(temperature=2), normal(0, *PROBABILITIES[1:] ** 0.5)),
        (Knobs(top_k=3), normal(0, 0.3, 0.25, 0.15, 0, 0)),
        (Knobs(top_k=1), normal(0, 1, 0, 0, 0, 0)),
        (Knobs(top_k=99), normal(0, *PROBABILITIES[1:])),
        # Without the end, the notes have 0.8: the two likeliest 0.69 of it, the three 0.875.
        (Knobs(top_p=0.6), normal(0, 0.3, 0.25, 0, 0, 0)),
        (Knobs(top_p=0.7), normal(0, 0.3, 0.25, 0.15, 0, 0)),
        (Knobs(top_p=0.01), normal(0, 1, 0, 0, 0, 0)),
        # Top-p counts within what top-k leaves: the two likeliest have 0.79 of three.
        (Knobs(top_k=3, top_p=0.75), normal(0, 0.3, 0.25, 0, 0, 0)),
        # Temperature comes first: squared, the likeliest alone has 0.5 of all.
        (Knobs(temperature=0.5, top_p=0.49), normal(0, 1, 0, 0, 0, 0)),
        # Ids 1 and 3 were heard, 1 twice: once is enough.
        (Knobs(repetition_penalty=2), normal(0, 0.3**2, 0.25, 0.15**2, 0.07, 0.03)),
    ],
    ids=str,
)
def test_frequencies_are_those_of_the_steered_distribution(
    knobs: Knobs, expected: np.ndarray
) -> None:
    rng, n = np.random.default_rng(0), 20_000
    drawn = [choose.choose(PROBABILITIES, rng, knobs, recent=[1, 3, 1]) for _ in range(n)]
    counts = np.bincount(drawn, minlength=6)
    possible = expected > 0
    assert counts[~possible].sum() == 0
    wanted = n * expected[possible]
    chi_square = ((counts[possible] - wanted) ** 2 / wanted).sum()
    assert chi_square <= QUANTILE.get(possible.sum() - 1, 0)


def test_temperature_zero_is_the_likeliest_note_whatever_the_other_knobs() -> None:
    rng = np.random.default_rng(0)
    probabilities = np.array([0.9, 0.02, 0.05, 0.03])
    for knobs in (Knobs(temperature=0), Knobs(temperature=0, top_k=3, top_p=0.1)):
        assert {choose.choose(probabilities, rng, knobs) for _ in range(20)} == {2}


def test_only_the_window_is_penalised() -> None:
    rng, knobs = np.random.default_rng(0), Knobs(temperature=0, repetition_penalty=3)
    probabilities = np.array([0, 0.5, 0.4, 0.1])
    filler = [3] * choose.WINDOW
    assert choose.choose(probabilities, rng, knobs, recent=[1, *filler[1:]]) == 2
    assert choose.choose(probabilities, rng, knobs, recent=[1, *filler]) == 1


def test_probabilities_of_zero_are_never_drawn() -> None:
    rng, probabilities = np.random.default_rng(0), np.array([0.0, 1e-30, 0.0, 1.0])
    knobs = Knobs(temperature=50, top_k=3)
    assert {choose.choose(probabilities, rng, knobs) for _ in range(500)} == {1, 3}


@pytest.mark.parametrize(
    "knobs",
    [
        *(Knobs(), Knobs(temperature=0), Knobs(temperature=0.3), Knobs(top_k=4)),
        *(Knobs(top_p=0.6), Knobs(0.5, 5, 0.7, 1.5)),
    ],
    ids=str,
)
def test_a_sure_choice_stands_whatever_the_last_digits(knobs: Knobs) -> None:
    rng, slack = np.random.default_rng(0), 0.02  # so large that many choices are in doubt
    scores = np.log(rng.dirichlet(np.ones(12), 4000))
    noise, heard = choose.race(rng, scores.shape), rng.integers(1, 12, (4000, 3))
    ids, sure = choose.choose_rows(scores, noise, knobs, heard, slack=slack)
    assert 0.2 < sure.mean() < 1
    changed = 0
    for _ in range(20):
        other = scores + rng.uniform(-slack, slack, scores.shape)
        others, _ = choose.choose_rows(other, noise, knobs, heard)
        np.testing.assert_array_equal(others[sure], ids[sure])
        changed += (others[~sure] != ids[~sure]).sum()
    assert changed  # some that were not sure really are another


class FakeLanes:
    """Give probabilities that depend on all ids heard, plus a trembling in large groups."""

    def __init__(self, rows: list[list[int]], tremble: float) -> None:
        self.rows, self._tremble, self.exact = rows, tremble, len(rows) == 1

    def step(self, ids: np.ndarray) -> np.ndarray:
        for row, number in zip(self.rows, ids, strict=True):
            row.append(int(number))
        seeds = [hash(tuple(row)) % 2**32 for row in self.rows]
        scores = np.log([np.random.default_rng(seed).dirichlet([0.1, *[1] * 6]) for seed in seeds])
        if not self.exact:
            scores += np.random.default_rng(seeds[0]).uniform(-1, 1, scores.shape) * self._tremble
        return scores

    def take(self, rows: Sequence[int] | np.ndarray) -> "FakeLanes":
        lanes = FakeLanes([list(self.rows[row]) for row in rows], self._tremble)
        lanes.exact = lanes.exact and self.exact
        return lanes

    def put(self, row: int, lane: "FakeLanes") -> None:
        self.rows[row] = list(lane.rows[0])


class FakeNetwork:
    def __init__(self, tremble: float = 0) -> None:
        self.tremble = tremble

    def lanes(self, count: int = 1) -> FakeLanes:
        return FakeLanes([[] for _ in range(count)], self.tremble)


@pytest.mark.parametrize("knobs", [Knobs(), Knobs(0.7, 5, 0.8, 1.3, True)], ids=str)
@pytest.mark.parametrize("primer", [[], [3, 1, 4]])
def test_a_piece_does_not_depend_on_those_beside_it(
    knobs: Knobs, primer: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SLACK", 0.02)
    alone = [loop.generate(FakeNetwork(), [seed], 40, knobs, primer)[0] for seed in range(20)]
    together = loop.generate(FakeNetwork(0.02), range(20), 40, knobs, primer)
    assert together == alone
    assert len({tuple(piece) for piece in alone}) > 10
    monkeypatch.setattr(loop, "SLACK", 1e-9)  # the trembling is real: unguarded, it shows
    assert loop.generate(FakeNetwork(0.02), range(20), 40, knobs, primer) != alone


class Circle:
    """Give surely the next id of 1, 2, 3, 4, 5, 1 ..., or END after `last`."""

    exact = True

    def __init__(self, last: int = 0) -> None:
        self.fed: list[int] = []
        self._last = last

    def lanes(self, count: int = 1) -> "Circle":
        assert count == 1
        return self

    def take(self, rows: Sequence[int] | np.ndarray) -> "Circle":
        assert list(rows) == [0]
        return self

    def put(self, row: int, lane: "Circle") -> None:
        raise AssertionError(row, lane)

    def step(self, ids: np.ndarray) -> np.ndarray:
        self.fed.append(int(ids[0]))
        number = 0 if self._last and ids[0] == self._last else ids[0] % 5 + 1
        with np.errstate(divide="ignore"):
            return np.log(np.eye(6)[[number]])


def test_each_id_is_fed_back_beginning_at_the_end_token() -> None:
    circle = Circle()
    assert loop.generate(circle, [0], 7, Knobs()) == [[1, 2, 3, 4, 5, 1, 2]]
    assert circle.fed == [0, 1, 2, 3, 4, 5, 1]


def test_the_primer_is_fed_first() -> None:
    circle = Circle()
    assert loop.generate(circle, [0], 3, Knobs(), [5, 5, 2]) == [[3, 4, 5]]
    assert circle.fed == [0, 5, 5, 2, 3, 4]


def test_a_piece_stops_where_the_model_ends_it() -> None:
    assert loop.generate(Circle(4), [0], 9, Knobs(until_end=True)) == [[1, 2, 3, 4]]
    assert loop.generate(Circle(4), [0], 3, Knobs(until_end=True)) == [[1, 2, 3]]


def test_progress_counts_the_tokens() -> None:
    told: list[int] = []
    length = 3 * loop.CHUNK
    loop.generate(FakeNetwork(), range(2), length, Knobs(), progress=told.append)
    assert sum(told) == 2 * length


def test_ctrl_c_stops_all_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop.os, "cpu_count", lambda: 2)
    told: list[int] = []

    def interrupt(tokens: int) -> None:
        told.append(tokens)
        if len(told) == 1:
            os.kill(os.getpid(), signal.SIGINT)  # reaches the thread that waits for the groups

    length = 500 * loop.CHUNK
    with pytest.raises(KeyboardInterrupt):
        loop.generate(FakeNetwork(), range(40), length, Knobs(), progress=interrupt)
    assert len(told) < 500  # not even one of the two groups came to its end


def stop_at(*times: int) -> loop.Until:
    """Return listeners that each say so at ids drawn at these places, and remember nothing else."""

    def begin() -> Callable[[int], bool]:
        heard: list[int] = []

        def listen(number: int) -> bool:
            assert number != loop.END
            heard.append(number)
            return len(heard) - 1 in times

        return listen

    return begin


def test_a_piece_is_over_before_the_id_at_which_its_listener_says_so() -> None:
    assert loop.generate(Circle(), [0], 9, Knobs(), [5], until=stop_at(4)) == [[1, 2, 3, 4]]
    assert loop.generate(Circle(), [0], 3, Knobs(), until=stop_at(4)) == [[1, 2, 3]]
    ends = Knobs(until_end=True)
    assert loop.generate(Circle(3), [0], 9, ends, until=stop_at(4)) == [[1, 2, 3]]


def test_a_piece_has_an_id_whatever_its_listener_says() -> None:
    assert loop.generate(Circle(), [0], 9, Knobs(), until=stop_at(0, 1)) == [[1]]


def test_each_piece_has_its_own_listener() -> None:
    def begin() -> Callable[[int], bool]:
        total = 0

        def listen(number: int) -> bool:
            nonlocal total
            total += number
            return total > 60

        return listen

    free = loop.generate(FakeNetwork(), range(20), 61, Knobs())
    found = loop.generate(FakeNetwork(), range(20), 61, Knobs(), until=begin)
    wanted = [piece[: int((np.cumsum(piece) <= 60).sum())] for piece in free]
    assert found == wanted
    assert len({len(piece) for piece in found}) > 3


def test_a_long_piece_finds_room() -> None:
    length = 2 * loop.ROOM + 5
    (piece,) = loop.generate(Circle(), [0], 10 * length, Knobs(), [5, 5], until=stop_at(length))
    assert piece == [place % 5 + 1 for place in range(length)]
