"""Byte-pair encoding: merge frequent runs of tokens into one token, separated by spaces."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby, pairwise

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

Merges = tuple[tuple[str, str], ...]

FIRST = 0x4E00  # tokens are letters of a word to the library, and these are neither space nor mark


def learn(
    pieces: Iterable[Sequence[str]], count: int, is_mergeable: Callable[[str], bool]
) -> Merges:
    """Return up to `count` merges of tokens that join, the most frequent first (Sennrich 2016)."""
    letters: dict[str, str] = {}
    texts = [
        " ".join(
            "".join(letters.setdefault(token, chr(FIRST + len(letters))) for token in word)
            for word in _words(piece, is_mergeable)
        )
        for piece in pieces
    ]
    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    size = len(letters) + count
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=2, show_progress=False)
    library.train_from_iterator(texts, trainer)
    names = {letter: token for token, letter in letters.items()}
    pairs = json.loads(library.to_str())["model"]["merges"]
    return tuple(
        (" ".join(names[x] for x in first), " ".join(names[x] for x in second))
        for first, second in pairs
    )


def apply(tokens: Sequence[str], merges: Merges, is_mergeable: Callable[[str], bool]) -> list[str]:
    """Return the tokens with every merge made, in the order in which they were learned."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}

    @cache  # words come again and again
    def merged(word: tuple[str, ...]) -> list[str]:
        found = list(word)
        while near := [(ranks[pair], i) for i, pair in enumerate(pairwise(found)) if pair in ranks]:
            place = min(near)[1]
            found[place : place + 2] = [f"{found[place]} {found[place + 1]}"]
        return found

    return [token for word in _words(tokens, is_mergeable) for token in merged(word)]


def _words(tokens: Sequence[str], is_mergeable: Callable[[str], bool]) -> Iterator[tuple[str, ...]]:
    """Yield the runs of tokens that may be merged, and each that may not alone."""
    for is_joined, run in groupby(tokens, is_mergeable):
        word = tuple(run)
        yield from [word] if is_joined else zip(word)
