"""Dataclasses as the schema of settings: checked values, JSON files and command-line flags."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

MAX_TEXT = 4096  # characters of a setting that is a text or a path

C = TypeVar("C", bound="Config")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is known of a field beside its type and default; a limit of None is no limit."""

    help: str
    low: float | None = None  # the value may equal it
    above: float | None = None  # the value must be larger
    high: float | None = None  # the value may equal it; of a text, the number of characters
    below: float | None = None  # the value must be smaller
    off: float | None = None  # also allowed
    choices: tuple[str, ...] = ()
    group: str | None = None  # title in --help
    saved: bool = True  # whether JSON files hold it
    is_flag: bool = True  # whether `add_arguments` adds it to a command line
    is_exclusive: bool = False  # whether it excludes the other settings of its group
    const: str | None = None  # the value of a flag that is given without one

    def describe(self, kind: type) -> str:
        """Return the allowed values in words, for error messages."""
        if self.choices:
            return " or ".join(self.choices)
        if kind in (bool, Path, tuple):
            return {bool: "true or false", Path: "a path", tuple: "a list of texts"}[kind]
        if kind is str:
            return f"a text of 1 to {self.high or MAX_TEXT:g} characters"
        words = ["a whole number" if kind is int else "a number"]
        words += [] if self.low is None else [f"from {self.low:.15g}"]
        words += [] if self.above is None else [f"above {self.above:.15g}"]
        words += [] if self.high is None else [f"to {self.high:.15g}"]
        words += [] if self.below is None else [f"and below {self.below:.15g}"]
        return " ".join(words) + ("" if self.off is None else f", or {self.off:g}")

    def allows(self, value: object, kind: type) -> bool:
        """Tell whether a value, of whatever type, is of this kind and in range."""
        if isinstance(value, str | Path) and kind in (str, Path):
            text = str(value)
            if self.choices and text not in self.choices:
                return False
            return 1 <= len(text) <= (self.high or MAX_TEXT) and "\0" not in text
        if kind is tuple and isinstance(value, tuple):
            return all(isinstance(x, str) and len(x) <= MAX_TEXT for x in value)
        if kind is bool or isinstance(value, bool):
            return kind is type(value)
        if not isinstance(value, int if kind is int else (int, float)):
            return False
        return value == self.off or (
            (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
            and (self.below is None or value < self.below)
            and value == value  # not NaN
        )


def setting(default: Any, help_text: str, **limits: Any) -> Any:
    """Return a dataclass field with a default and a `Setting`."""
    return field(default=default, metadata={"setting": Setting(help=help_text, **limits)})


@dataclass(frozen=True, kw_only=True)
class Config:
    """A group of settings that checks its values when it is made."""

    def __post_init__(self) -> None:
        """Raise ValueError for the first value that is not allowed."""
        known = specs(type(self))
        for name, value in asdict(self).items():
            spec, kind, is_optional = known[name]
            if not (spec.allows(value, kind) or (value is None and is_optional)):
                expected = spec.describe(kind)
                shown = repr(str(value) if isinstance(value, Path) else value)[:60]
                raise ValueError(f"{name} is {shown}, expected {expected}")


def specs(config_class: type[Config]) -> dict[str, tuple[Setting, type, bool]]:
    """Return by field name its `Setting`, its type, and whether it may be None."""
    hints = get_type_hints(config_class)
    result = {}
    for item in fields(config_class):
        hint = hints[item.name]
        kinds = get_args(hint) if isinstance(hint, UnionType) else (get_origin(hint) or hint,)
        kind = next(kind for kind in kinds if kind is not NoneType)
        result[item.name] = (item.metadata["setting"], kind, NoneType in kinds)
    return result


def to_json(config: Config) -> dict[str, Any]:
    """Return the saved settings as JSON values; the mirror of `from_json`."""
    saved = {name for name, (spec, *_) in specs(type(config)).items() if spec.saved}
    values = {name: value for name, value in asdict(config).items() if name in saved}
    texts = {name: str(value) for name, value in values.items() if isinstance(value, Path)}
    return {**values, **texts}


def from_json(config_class: type[C], values: object) -> C:
    """Return a config with these saved settings; raise ValueError for missing or wrong ones."""
    known = {name: spec for name, spec in specs(config_class).items() if spec[0].saved}
    if not isinstance(values, Mapping) or set(values) != set(known):
        difference = sorted(set(known) ^ set(values)) if isinstance(values, Mapping) else known
        names = ", ".join(str(name)[:40] for name in list(difference)[:3])
        raise ValueError(f"expected the settings of {config_class.__name__}, which differ: {names}")
    paths = {
        name: Path(value)
        for name, value in values.items()
        if known[name][1] is Path and isinstance(value, str) and value
    }
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return config_class(**{**values, **paths, **lists})


def add_arguments(parser: argparse.ArgumentParser, *config_classes: type[Config]) -> None:
    """Add a flag for each setting; those of an exclusive group exclude each other."""
    groups: dict[str | None, argparse._ActionsContainer] = {None: parser}
    for config_class in config_classes:
        known = specs(config_class)
        for item in fields(config_class):
            spec, kind, _ = known[item.name]
            if not spec.is_flag:
                continue
            if spec.group not in groups:
                group = parser.add_argument_group(spec.group)
                is_exclusive = spec.is_exclusive
                groups[spec.group] = group.add_mutually_exclusive_group() if is_exclusive else group
            options: dict[str, Any] = {"default": item.default, "help": spec.help}
            if kind is bool:
                options["action"] = argparse.BooleanOptionalAction
            else:
                options["type"] = _reader(spec, kind)
                options["metavar"] = "{" + ",".join(spec.choices) + "}" if spec.choices else None
            if spec.const:
                options |= {"nargs": "?", "const": spec.const}
            groups[spec.group].add_argument("--" + item.name.replace("_", "-"), **options)


def _reader(spec: Setting, kind: type) -> Callable[[str], Any]:
    """Return a function from a flag's text to its value, for argparse."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if not spec.allows(value, kind):
            raise argparse.ArgumentTypeError(f"{text} is not {spec.describe(kind)}")
        return value

    return read


def from_flags(config_class: type[C], flags: Mapping[str, object]) -> C:
    """Return the config of a parsed command line, name → value, which has all its flags."""
    return config_class(**{x.name: flags[x.name] for x in fields(config_class) if x.name in flags})


def to_flags(config: Config) -> list[str]:
    """Return the flags of all settings that are not the default; the mirror of `from_flags`."""
    flags = []
    for item in fields(config):
        value = getattr(config, item.name)
        if specs(type(config))[item.name][0].is_flag and value != item.default:
            name = item.name.replace("_", "-")
            is_bool = isinstance(value, bool)
            flags.append(f"--{'' if value else 'no-'}{name}" if is_bool else f"--{name}={value}")
    return flags
