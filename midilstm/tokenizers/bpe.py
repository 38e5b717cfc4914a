"""Byte-pair encoding: merge frequent runs of tokens into one token, separated by spaces."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby, pairwise

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

Merges = tuple[tuple[str, str], ...]

FIRST = 0x4E00  # the library's words have letters, here one per token: Chinese ones from this on


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

    @cache  # words are repeated
    def merge(word: tuple[str, ...]) -> list[str]:
        merged = list(word)
        while near := [(ranks[x], i) for i, x in enumerate(pairwise(merged)) if x in ranks]:
            index = min(near)[1]
            merged[index : index + 2] = [" ".join(merged[index : index + 2])]
        return merged

    return [token for word in _words(tokens, is_mergeable) for token in merge(word)]


def _words(tokens: Sequence[str], is_mergeable: Callable[[str], bool]) -> Iterator[tuple[str, ...]]:
    """Yield the runs of tokens that may be merged; any other token is a word by itself."""
    for is_joined, run in groupby(tokens, is_mergeable):
        word = tuple(run)
        yield from [word] if is_joined else zip(word)
