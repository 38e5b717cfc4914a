"""The one table of what sample.py can be told; light, so that --help waits for no library.

Flags, the keys of the JSON beside a piece, --reproduce and the names of files all come from it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# How the length of a piece is given, and with how many tokens for one of it a piece is given up.
LENGTHS = {"chars": 1, "bars": 2000, "seconds": 1000}
MOST = 1_000_000  # tokens of a piece, however its length is given
Domain = tuple[str, Callable[[Any], bool]]
NATURAL: Domain = ("a whole number from 0 to 2^31 - 1", lambda x: 0 <= x < 2**31)
SEED: Domain = ("a whole number from 0 to 2^63 - 1", lambda x: 0 <= x < 2**63)
TOKENS: Domain = ("a whole number from 1 to 1000000", lambda x: 1 <= x <= MOST)
BARS: Domain = ("a whole number from 1 to 10000", lambda x: 1 <= x <= 10_000)
COUNT: Domain = ("a whole number from 1 to 100000", lambda x: 1 <= x <= 100_000)
HEAT: Domain = ("0, nor from 0.01 to 100", lambda x: x == 0 or 0.01 <= x <= 100)
SHARE: Domain = ("a share above 0, up to 1", lambda x: 0 < x <= 1)
PENALTY: Domain = ("a number from 1 to 100", lambda x: 1 <= x <= 100)
PULL: Domain = ("a number from 0 to 2", lambda x: 0 <= x <= 2)
FORCE: Domain = ("a number from 0 to 4", lambda x: 0 <= x <= 4)
SHORT: Domain = ("1 to 400 characters", lambda x: 1 <= len(x) <= 400)
TEMPO: Domain = ("a tempo from 4 to 1000", lambda x: 4 <= x <= 1000)
TIME: Domain = ("a number of seconds from 0.001 to 86400", lambda x: 0.001 <= x <= 86_400)


@dataclass(frozen=True)
class Option:
    """A flag, and the JSON's key of the same name; None stands for a flag that is not given."""

    name: str
    kind: type
    default: Any
    help: str
    domain: Domain = ("", lambda _: True)
    word: str = ""  # stands for it in the name of a file, where the value is not the default
    kept: bool = True  # in the JSON

    def read(self, text: str) -> Any:
        """Return a flag's value; raise ArgumentTypeError for one not allowed."""
        what, holds = self.domain
        with suppress(ValueError):
            if holds(value := self.kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"{text} is not {what}")

    def allows(self, value: Any) -> bool:
        """Tell whether a JSON's value is allowed."""
        if value is None or isinstance(value, bool):
            return value is self.default or (self.kind is bool and value is not None)
        kinds = {float: (int, float), Path: (str,)}.get(self.kind, (self.kind,))
        if isinstance(value, str) and (len(value) > 4096 or "\0" in value):
            return False  # no path, and too long to be told
        return type(value) in kinds and self.domain[1](value)


STEERING = (
    Option("strict_grammar", bool, True, "never draw what the encoding's rules forbid"),
    Option("temperature", float, 1.0, "above 1 wilder (0 = always the likeliest)", HEAT),
    Option("top_k", int, 0, "draw from so many likeliest (0 = off)", NATURAL, "top-k"),
    Option("top_p", float, 1.0, "draw from the likeliest of this mass (1.0 = off)", SHARE, "top-p"),
    Option("repetition_penalty", float, 1.0, "against repeats (1.0 = off)", PENALTY, "penalty"),
    Option("memory", float, 1.0, "how strongly its past comes back (0 = off)", PULL, "memory"),
    Option("key", str, None, "such as 'D minor' (auto = its own; none = any)", SHORT, "key"),
    Option("chords", str, None, "one a bar, repeated: 'Dm7 G7' (none = any)", SHORT, "chords"),
    Option("instruments", str, None, "only 'piano, bass' (none = any)", SHORT, "instruments"),
    Option("control_strength", float, 1.0, "of these three (0 = off)", FORCE, "control"),
    Option("primer", Path, None, "MIDI file to go on from", kept=False),
    Option("include_primer", bool, False, "put the primer before the new music in the output"),
    Option(
        "stop_at_end", bool, False, "stop where the model ends the piece, at the length at most"
    ),
)
LENGTH = (
    Option("chars", int, None, "tokens to make (none = 100 if no other)", TOKENS, "chars"),
    Option("bars", int, None, "bars to make (none = --chars)", BARS, "bars"),
    Option("seconds", float, None, "seconds to make, at --bpm (none = --chars)", TIME, "seconds"),
)
PIECES = (
    Option("seed", int, None, "makes the piece repeatable (none = drawn, printed)", SEED),
    Option("count", int, 1, "pieces, with seeds --seed, --seed + 1, ...", COUNT, kept=False),
    Option("best", int, None, "keep so many of --count (none = all)", COUNT, kept=False),
    Option("data_dir", Path, Path("data"), "the model's own music, for --best", kept=False),
    Option("reproduce", Path, None, "JSON of a piece to make again; flags change it", kept=False),
    Option("bpm", float, None, "quarter notes a minute (none = model's)", TEMPO),
    Option("instrument", str, None, "General MIDI name or number (none = model's)"),
    Option("checkpoint", str, None, "latest, best or an epoch (none = best if any)"),
    Option("model_dir", Path, Path("model"), "where the checkpoints are"),
    Option("output_dir", Path, Path("output"), "where the music goes", kept=False),
)
GROUPS = {"length, one of these": LENGTH, "steering": STEERING, "pieces": PIECES}
KEPT = tuple(o for o in (*LENGTH, *STEERING, *PIECES) if o.kept)


def parse(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, like: Mapping[str, Any] | None
) -> argparse.Namespace:
    """Read every flag of the table; what is left out is as in the piece `like`, or the default."""
    for title, options in GROUPS.items():
        group: argparse._ActionsContainer = parser.add_argument_group(title)
        if options is LENGTH:
            group = group.add_mutually_exclusive_group()
        for option in options:
            switch: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
            how = switch if option.kind is bool else {"type": option.read}
            flag = "--" + option.name.replace("_", "-")
            group.add_argument(flag, default=option.default, help=option.help, **how)
    known = {option.name: like[option.name] for option in KEPT} if like else {}
    lengths = {name: known.pop(name) for name in LENGTHS} if like else {"chars": 100}
    parser.set_defaults(**known)
    arguments = parser.parse_args(argv)
    if all(getattr(arguments, name) is None for name in LENGTHS):  # a given one overrides any other
        vars(arguments).update(lengths)
    return arguments


def default_stem(checkpoint: Path, values: Mapping[str, Any]) -> str:
    """Name a piece for how it was made: some values always, others where they are on."""
    words = [checkpoint.stem, f"seed-{values['seed']}", f"temperature-{values['temperature']:g}"]
    for option in (*STEERING, *LENGTH):
        if option.word and (value := values[option.name]) != option.default:
            text = str(value).removesuffix(".0")
            plain = "".join(x if x.isalnum() or x in ".#-" else " " for x in text)
            words.append("-".join([option.word, *plain.split()])[:60])
    return "_".join(words)
