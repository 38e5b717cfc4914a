"""Number the tokens of an encoding: a vocabulary and its file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from midilstm import tokenizers as encodings
from midilstm.fileio import InputError, read_json, write_atomically
from midilstm.tokenizers import bpe
from midilstm.tokenizers.base import Encoding
from midilstm.tokenizers.bpe import Merges
from midilstm.tokenizers.grammar import END_ID as END_ID
from midilstm.tokenizers.grammar import Grammar

KEYS = range(-6, 6)  # semitones: each of the twelve keys once, by the smallest interval
MAX_BYTES, MAX_TOKENS = 64 * 2**20, 2**18  # of a vocabulary file
END = "<end>"  # the token of END_ID, never written to a MIDI file


@dataclass(frozen=True)
class Vocabulary:
    """Tokens ⇄ ids: the id of a token is its place in `tokens`; entry 0 is END."""

    tokens: tuple[str, ...]
    encoding_name: str = "notes"
    merges: Merges = ()  # of byte-pair encoding
    is_solo: bool = False  # whether the encoding is the variant for pieces of one instrument each

    @property
    def encoding(self) -> Encoding:
        """Return the encoding of the tokens."""
        encoding = encodings.get(self.encoding_name)
        return encoding.solo if self.is_solo and encoding.solo else encoding

    @cached_property
    def token_ids(self) -> dict[str, int]:
        """Return the dictionary token → id."""
        return {token: token_id for token_id, token in enumerate(self.tokens)}

    @cached_property
    def _hash(self) -> int:
        return hash((self.tokens, self.encoding_name, self.merges, self.is_solo))

    def __hash__(self) -> int:
        """Return the hash, which is computed once: functions are cached by vocabulary."""
        return self._hash

    def __len__(self) -> int:
        return len(self.tokens)

    def ids_of(self, tokens: Iterable[str], *, missing: int = -1) -> np.ndarray:
        """Return int32 [n]: the id of each token, `missing` where the vocabulary lacks it."""
        return np.array([self.token_ids.get(token, missing) for token in tokens], np.int32)

    def transposition_closure(self) -> Vocabulary:
        """Return the vocabulary that also has every token of this one in every key."""
        transposed = {self.encoding.transpose(token, k) for token in self.tokens[1:] for k in KEYS}
        return replace(self, tokens=(END, *sorted(transposed.union(self.tokens[1:]))))

    def transposed(self, semitones: int) -> np.ndarray:
        """Return int32 [V]: for each id that of its transposed token, V if that has none."""
        moved = (self.encoding.transpose(token, semitones) for token in self.tokens[1:])
        return self.ids_of([END, *moved], missing=len(self))

    def grammar(self) -> Grammar[Any] | None:
        """Return the encoding's grammar of the ids, None if it has none."""
        encoding, tokens = self.encoding, ("", *self.tokens[1:])  # the grammar's end is ""
        if encoding.start_state is None:
            return None
        return Grammar(
            lambda state, token_id: encoding.next_state(state, tokens[token_id]),
            len(tokens),
            encoding.start_state,
            encoding.state_factors,
            encoding.body_state,
        )

    def save(self, path: Path) -> None:
        """Write the vocabulary as indented JSON, in one atomic step."""
        body = {
            "encoding": self.encoding_name,
            "order": self.encoding.order,
            "merges": self.merges,
            "tokens": self.tokens,
        }
        write_atomically(path, json.dumps(body, indent=1, ensure_ascii=False) + "\n")

    @staticmethod
    def load(path: Path) -> Vocabulary:
        """Read a vocabulary back; raise InputError where the file is not one."""
        try:
            body = read_json(path, MAX_BYTES)
            tokens, name = tuple(body["tokens"]), body["encoding"]
            merges = tuple((first, second) for first, second in body.get("merges", ()))
            encoding, order = encodings.get(name), body.get("order", 1)
            is_token, solo = encoding.is_token, encoding.solo
            if not isinstance(body["tokens"], list):
                raise ValueError("its tokens are no list")
            if len(tokens) > MAX_TOKENS:
                raise ValueError(f"{len(tokens):,} tokens, more than {MAX_TOKENS:,}")
            if not all(isinstance(token, str) for token in (*tokens, *chain(*merges))):
                raise ValueError("a token must be a string")
            if tokens[:1] != (END,) or len(set(tokens)) != len(tokens):
                raise ValueError(f"expected different tokens after {END}")
            if invalid := [token for token in tokens[1:] if not is_token(token)]:
                raise ValueError(f"{invalid[0][:100]!a} is not a token of {name}")
            if unknown := {*chain(*merges), *map(" ".join, merges)}.difference(tokens):
                raise ValueError(f"it merges what is no token, {min(unknown)[:100]!a}")
            is_solo = solo is not None and order == solo.order
            if order != encoding.order and not is_solo:
                raise ValueError(f"{name} has another order of tokens now: train again")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is not a readable vocabulary ({error})") from error
        return Vocabulary(tokens, name, merges, is_solo)

    @staticmethod
    def load_for(path: Path, vocabulary_size: int) -> Vocabulary:
        """Read the vocabulary of a network; raise InputError if the network has another size."""
        vocabulary = Vocabulary.load(path)
        if len(vocabulary) != vocabulary_size:
            raise InputError(
                f"{path.parent} mixes two runs: {path.name} has {len(vocabulary)} tokens"
                f" and its settings say {vocabulary_size}"
            )
        return vocabulary

    def apply_merges(self, tokens: Sequence[str]) -> list[str]:
        """Return an encoding's tokens as a model reads them, with the vocabulary's merges made."""
        encoding = self.encoding
        return bpe.apply(encoding.abbreviate(tokens), self.merges, encoding.is_mergeable)
