"""A trained model, a primer and a length → new tokens. Knows no flags, no output files."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from midilstm import tokenizers as encodings
from midilstm.fileio import InputError, printable
from midilstm.generation.constraints import Constraints
from midilstm.generation.generate import generate
from midilstm.generation.loaded_model import LoadedModel
from midilstm.generation.options import LENGTHS, MOST
from midilstm.generation.sampler import SamplingConfig
from midilstm.midi import MidiError
from midilstm.repetition.match_model import MatchModel, bars_per_token
from midilstm.tokenizers.vocabulary import Vocabulary

MAX_PRIMER = 2**18  # tokens, which are heard one by one


def read_primer(path: Path, trained: LoadedModel) -> list[str]:
    """Return a file's tokens as the model's corpus was read; raise InputError for no music."""
    try:
        tokens = encodings.read(path, trained.vocabulary.encoding_name, pedal=trained.pedal)
    except MidiError as error:
        raise InputError(f"{path} cannot be the primer: {error}") from error
    found = trained.vocabulary.encoding.change_meter(tokens, trained.vocabulary.token_ids)
    if found != tokens:
        warn(f"the model knows not all of the meters of {path}: it hears one in their place")
    return found


def encode_primer(tokens: Sequence[str], vocabulary: Vocabulary) -> list[int]:
    """Return the ids of a primer; name unknown tokens and what the model hears in their place."""
    if len(tokens) > MAX_PRIMER:
        raise InputError(f"the primer has {len(tokens):,} tokens, more than {MAX_PRIMER:,}")
    ids, is_token = vocabulary.token_ids, vocabulary.encoding.is_token
    if strange := [x for x in dict.fromkeys(tokens) if x not in ids and not is_token(x)]:
        raise InputError(
            f"the primer has {strange[0][:60]!a}, no token of {vocabulary.encoding_name}"
        )
    known = [token for token in vocabulary.tokens[1:] if " " not in token]  # others are merged
    unknown = Counter(token for token in tokens if token not in ids)
    heard = {token: vocabulary.encoding.nearest(token, known) for token in unknown}
    likest = (heard.get(token, token) for token in tokens)
    found = vocabulary.encoding.drop_invalid([token for token in likest if token])
    if unknown:
        named = ", ".join(
            f"{token} ({f'heard as {heard[token]}' if heard[token] else 'left out'})"
            for token, _ in unknown.most_common(10)
        )
        more = f" and {len(unknown) - 10} others" if len(unknown) > 10 else ""
        share = _changed(tokens, found, vocabulary)
        print(f"The model has never seen {named}{more}: {share}")
    if tokens and not vocabulary.encoding.timed_notes(found):
        raise InputError("the model knows nothing like the primer: give another --primer")
    return [ids[token] for token in vocabulary.apply_merges(found)]


def _changed(tokens: Sequence[str], heard: Sequence[str], vocabulary: Vocabulary) -> str:
    """Say how many of a primer's notes are not heard, and how many otherwise."""
    encoding = vocabulary.encoding
    # Without rhythm a note's time is its place in a row, which any left out before it moves.
    first = 0 if encoding.keeps_rhythm else 1
    there, here = (Counter(n[first:] for n in encoding.timed_notes(x)) for x in (tokens, heard))
    lost = there.total() - here.total()
    other = there.total() - (there & here).total() - lost
    return f"of the primer's {there.total()} notes it does not hear {lost}, and {other} otherwise"


class Length:
    """How much new music a piece gets: `amount` of one of LENGTHS, after a primer's tokens.

    After a primer the bar of the first new note counts as the first, and seconds begin with it.
    """

    def __init__(
        self, values: Mapping[str, Any], primer: Sequence[str], trained: LoadedModel
    ) -> None:
        """Take the one length among the options' values."""
        self.unit = next(name for name in LENGTHS if values[name] is not None)
        self.amount, self._bpm = values[self.unit], values["bpm"]
        self._primer, self._vocabulary = primer, trained.vocabulary

    def __str__(self) -> str:
        unit = "tokens" if self.unit == "chars" else self.unit
        return f"{self.amount:g} {unit if self.amount != 1 else unit[:-1]}"

    def listener(self) -> Callable[[str], bool]:
        """Return what tells of one token after another whether it stands beyond the length."""
        encoding = self._vocabulary.encoding
        clock = encoding.clock(self._bpm, self._primer)

        def is_over(token: str) -> bool:
            bars, seconds = clock.advance(token)
            return (bars if self.unit == "bars" else seconds) >= self.amount

        return is_over

    def until(self) -> Callable[[int], bool]:
        """Return a piece's listener to ids."""
        is_over = self.listener()
        return lambda number: is_over(self._vocabulary.tokens[number])

    def within(self, ids: Sequence[int]) -> list[str]:
        """Return the tokens of ids, without what the last, if merged, has beyond the length."""
        is_over = (lambda _: False) if self.unit == "chars" else self.listener()
        tokens = [self._vocabulary.tokens[number].split(" ") for number in ids]
        parts = ([part for part in token if not is_over(part)] for token in tokens)
        return [" ".join(kept) for kept in parts if kept]


def draw_pieces(
    trained: LoadedModel,
    seeds: range,
    length: Length,
    primer: Sequence[int],
    values: Mapping[str, Any],
    control: Constraints | None = None,
) -> list[list[str]]:
    """Return the new tokens of each seed's piece, drawn after a primer's ids."""
    most = min(math.ceil(length.amount) * LENGTHS[length.unit], MOST)
    rules: dict[str, Any] = {"until": None if length.unit == "chars" else length.until}
    if trained.match_weights:
        clock = bars_per_token(trained.vocabulary)
        rules["memory"] = MatchModel.begin(clock, trained.match_weights, values["memory"])
    if control:
        primed = [trained.vocabulary.tokens[number] for number in primer]
        rules["control"] = lambda: control.begin(primed)
    rules["grammar"] = trained.vocabulary.grammar() if values["strict_grammar"] else None
    knobs = SamplingConfig(**{field.name: values[field.name] for field in fields(SamplingConfig)})
    total = None if rules["until"] else len(seeds) * most
    with tqdm(total=total, delay=0.5, unit="token", leave=False, disable=None) as bar:
        network = trained.network
        found = generate(network, seeds, most, knobs, primer, progress=bar.update, **rules)
    if rules["until"] and (late := sum(len(ids) == most for ids in found)):
        what = f"{late} of {len(seeds)} pieces were cut off at {most} tokens, before {length}"
        warn(f"{what}: the model does not move on in time")
    return [length.within(ids) for ids in found]


def warn(what: str) -> None:
    """Say on standard error what a person should know, and go on."""
    print(printable(f"sample.py: careful: {what}"), file=sys.stderr)
