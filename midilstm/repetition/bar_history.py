"""Find what an instrument played at the same place some bars earlier.

The place of the next id is that after the latest one in its bar: by instrument, position and pitch
(tokenizers/order.py). A candidate is the longest id that begins what followed there.
"""

from __future__ import annotations

import copy
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from midilstm.tokenizers.grammar import FOLLOWING
from midilstm.tokenizers.meter import parts
from midilstm.tokenizers.order import Place, Rank, next_place
from midilstm.tokenizers.vocabulary import Vocabulary

LAGS = (1, 2, 4, 8)  # bars
DECAY = 0.9  # of the counts of hits and misses, with each further one


@dataclass
class Node:
    """A node of the trie of all tokens: its id, 0 for none, and the nodes after the next part."""

    token_id: int = 0
    after: dict[str, Node] = field(default_factory=dict)


@dataclass(frozen=True)
class BarTable:
    """The tokens of a vocabulary by their parts, which byte-pair encoding merged."""

    parts: Sequence[Sequence[str]]  # by id
    max_parts: int  # of a token
    root: Node
    following: dict[str, set[str]]  # the kinds of part that may follow each kind


@cache
def bar_table(vocabulary: Vocabulary) -> BarTable | None:
    """Return the table of a vocabulary, None where the tokens of its encoding have no place."""
    if not vocabulary.encoding.has_places:
        return None
    tokens, root = [(), *(tuple(token.split(" ")) for token in vocabulary.tokens[1:])], Node()
    for token_id, token in enumerate(tokens):
        node = root
        for part in token:
            node = node.after.setdefault(part, Node())
        node.token_id = token_id
    return BarTable(tokens, max(map(len, tokens)), root, FOLLOWING[vocabulary.encoding_name])


class BarHistory:
    """The parts of one piece by their places, and the candidates for its next id.

    `candidates` has for each id at how many lags it stood at the same place, and the sum of the log
    odds with which the candidates of each of these lags were right, earlier in the piece and after
    the same kind of token of the same instrument.
    """

    def __init__(self, table: BarTable) -> None:
        """Begin a piece."""
        self._table = table
        self._parts: list[str] = []
        self._places: list[Place] = []
        self._bars: list[int] = []  # where in `_parts` each bar begins
        self._place, self._kind = Place(), ""
        self._found: dict[int, int] = {}  # by lag, its candidate
        self._hits: dict[tuple[int, Rank, str], tuple[float, float]] = {}  # by lag; and the misses
        self.candidates: dict[int, tuple[int, float]] = {}

    def update(self, token_id: int) -> None:
        """Append the piece's next id."""
        for lag, candidate in self._found.items():
            context, is_hit = (lag, self._place.rank, self._kind), candidate == token_id
            hits, misses = self._hits.get(context, (0.0, 0.0))
            self._hits[context] = DECAY * hits + is_hit, DECAY * misses + (not is_hit)
        for part in self._table.parts[token_id]:
            self._kind, value = parts(part)
            if self._kind == "Bar":
                self._bars.append(len(self._parts))
            self._place = next_place(self._place, self._kind, value)
            self._parts.append(part)
            self._places.append(self._place)
        self._found, self.candidates = {}, {}
        for lag in LAGS:
            if lag < len(self._bars) and (candidate := self._find(lag)):
                self._found[lag] = candidate
                hits, misses = self._hits.get((lag, self._place.rank, self._kind), (0.0, 0.0))
                n_bars, log_odds = self.candidates.get(candidate, (0, 0.0))
                log_odds += math.log((1 + hits) / (1 + misses))
                self.candidates[candidate] = n_bars + 1, log_odds

    def _find(self, lag: int) -> int:
        """Return the id that stood at this place so many bars earlier, 0 for none."""
        start, place = self._bars[-1 - lag], self._place
        index = bisect_right(self._places, place, start, self._bars[-lag])
        following = self._table.following.get(self._kind, ())
        # A note that was not there is as loud and long as the one before it was.
        while parts(self._parts[index])[0] not in following:
            index -= 1
            if index <= start or self._places[index].rank != place.rank:
                return 0
        node, token_id = self._table.root, 0
        for part in self._parts[index : index + self._table.max_parts]:
            if part not in node.after:
                break
            node = node.after[part]
            token_id = node.token_id or token_id
        return token_id

    def copy(self) -> BarHistory:
        """Return an independent copy."""
        other = copy.copy(self)
        other._parts, other._places = self._parts[:], self._places[:]
        other._bars, other._hits = self._bars[:], {**self._hits}
        return other
