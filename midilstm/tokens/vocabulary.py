"""Tokens ⇄ ids: a vocabulary and its file. Knows no MIDI and no networks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from midilstm import tokens as encodings
from midilstm.files import InputError, write_atomically
from midilstm.tokens import bpe
from midilstm.tokens.bpe import Merges
from midilstm.tokens.encoding import Encoding
from midilstm.tokens.grammar import Grammar
from midilstm.tokens.rules import State

KEYS = range(-6, 6)  # semitones: each of the twelve keys once, as near as it can be
END = "<end>"  # the vocabulary's entry 0: the end of a piece, never written as a note
VOCABULARY = "vocabulary.json"


@dataclass(frozen=True)
class Vocabulary:
    """Tokens ⇄ ids: the id of a token is its place in `tokens`; entry 0 is END."""

    tokens: tuple[str, ...]
    name: str = "notes"  # of the encoding
    merges: Merges = ()  # of byte-pair encoding

    @property
    def encoding(self) -> Encoding:
        """Return the encoding of the tokens."""
        return encodings.get(self.name)

    @property
    def ids(self) -> dict[str, int]:
        """Return the dictionary token → id."""
        return {token: number for number, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def closed(self) -> Vocabulary:
        """Return the vocabulary that also has every token of this one in every key."""
        notes = self.tokens[1:]
        every = {self.encoding.transpose(token, k) for token in notes for k in KEYS}
        return Vocabulary((END, *sorted(every.union(notes))), self.name, self.merges)

    def transposed(self, semitones: int) -> np.ndarray:
        """Return int32 [V]: for each id the id of its token transposed, V where that has none."""
        ids = self.ids
        notes = (self.encoding.transpose(token, semitones) for token in self.tokens[1:])
        return np.array([0, *(ids.get(token, len(ids)) for token in notes)], np.int32)

    def grammar(self) -> Grammar[State] | None:
        """Return what the encoding's rules say of the ids, None where they forbid nothing."""
        tokens = ("", *self.tokens[1:])  # the grammar's word for the end is the empty one
        allowed = self.encoding.allowed(tokens)
        if allowed is None:
            return None

        def follow(state: State, number: int) -> State | None:
            return self.encoding.follow(state, tokens[number])

        return Grammar(follow, len(tokens), State(), allowed)

    def save(self, path: Path) -> None:
        """Write the vocabulary as indented JSON, in one atomic step."""
        body = {"encoding": self.name, "merges": self.merges, "tokens": self.tokens}
        write_atomically(path, json.dumps(body, indent=1, ensure_ascii=False) + "\n")

    @staticmethod
    def load(path: Path) -> Vocabulary:
        """Read a vocabulary back; raise InputError where the file is not one."""
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            tokens, name = tuple(body["tokens"]), body["encoding"]
            pairs = tuple((first, second) for first, second in body.get("merges", ()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a readable vocabulary ({error})") from error
        if (
            not all(isinstance(token, str) for token in (*tokens, *chain.from_iterable(pairs)))
            or len(set(tokens)) != len(tokens)
            or tokens[:1] != (END,)
            or name not in encodings.ENCODINGS
            or not all(encodings.get(name).is_token(token) for token in tokens[1:])
        ):
            raise InputError(
                f"{path} is not a vocabulary: expected different tokens of one encoding after {END}"
            )
        return Vocabulary(tokens, name, pairs)

    def spelled(self, tokens: Sequence[str]) -> list[str]:
        """Return an encoding's tokens with the vocabulary's merges made."""
        if not self.merges:
            return list(tokens)
        return bpe.apply(tokens, self.merges, self.encoding.joins)


def vocabulary_of(model_dir: Path, network: dict[str, Any]) -> Vocabulary:
    """Read a model folder's vocabulary; raise InputError where its network is of another size."""
    vocabulary, size = Vocabulary.load(model_dir / VOCABULARY), network.get("vocabulary_size")
    if len(vocabulary) != size:
        raise InputError(
            f"{model_dir} mixes two runs: {VOCABULARY} has {len(vocabulary)} tokens "
            f"and its settings say {size}"
        )
    return vocabulary
