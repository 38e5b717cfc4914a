"""The settings' dataclasses: ranges, JSON files, flags."""

import argparse
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from midilstm.config import (
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    RenderConfig,
    SamplingConfig,
    TrainConfig,
)
from midilstm.schema import (
    Config,
    add_arguments,
    from_flags,
    from_json,
    specs,
    to_json,
)
from midilstm.tokenizers import get

ALL = (DataConfig, ModelConfig, TrainConfig, SamplingConfig, EvaluationConfig, RenderConfig)


def parse(config_class: type[Config], *flags: str) -> Config:
    parser = argparse.ArgumentParser()
    add_arguments(parser, config_class)
    return from_flags(config_class, vars(parser.parse_args(flags)))


@pytest.mark.parametrize("config_class", ALL)
def test_defaults_are_the_same_from_the_command_line_json_and_python(
    config_class: type[Config],
) -> None:
    assert parse(config_class) == config_class() == from_json(config_class, to_json(config_class()))


@pytest.mark.parametrize("config_class", ALL)
def test_every_setting_has_a_help_text_and_a_default_in_range(config_class: type[Config]) -> None:
    assert all(spec.help for spec, *_ in specs(config_class).values())
    assert {item.name for item in fields(config_class)} == set(specs(config_class))


@pytest.mark.parametrize(
    ("config_class", "values", "message"),
    [
        (SamplingConfig, {"temperature": 0.001}, "expected a number from 0.01 to 100, or 0"),
        (SamplingConfig, {"temperature": math.nan}, "temperature is nan"),
        (SamplingConfig, {"temperature": 10**400}, "temperature is 1000"),
        (SamplingConfig, {"top_p": 0.0}, "expected a number above 0 to 1"),
        (SamplingConfig, {"top_k": True}, "expected a whole number"),
        (SamplingConfig, {"top_k": 1.0}, "expected a whole number"),
        (SamplingConfig, {"bars": 0}, "bars is 0, expected a whole number from 1 to 10000"),
        (SamplingConfig, {"bars": 4, "seconds": 9.0}, "bars and seconds are both given"),
        (SamplingConfig, {"key": ""}, "expected a text of 1 to 400 characters"),
        (SamplingConfig, {"model_dir": Path("a\0b")}, "expected a path"),
        (TrainConfig, {"ema": 1.0}, "expected a number from 0 and below 1"),
        (TrainConfig, {"shuffle": 1}, "expected true or false"),
        (DataConfig, {"encoding": "midi"}, "expected notes or tsd or remi"),
        (ModelConfig, {"layers": 10**8}, "layers is 100000000, expected a whole number from 1"),
    ],
)
def test_a_value_out_of_range_is_refused_wherever_it_comes_from(
    config_class: type[Config], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        config_class(**values)
    saved = {name for name, (spec, *_) in specs(config_class).items() if spec.saved}
    if set(values) <= saved:
        texts = {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}
        lengths: dict[str, Any] = {"bars": 1} if "bars" in values else {}
        with pytest.raises(ValueError, match=f"{min(values)} (is|and)"):
            from_json(config_class, {**to_json(config_class(**lengths)), **texts})


def test_json_holds_what_shapes_a_result_and_not_where_files_are() -> None:
    assert "encoding" in to_json(DataConfig())
    assert "data_dir" not in to_json(DataConfig())
    assert "epochs" not in to_json(TrainConfig())
    assert to_json(SamplingConfig())["model_dir"] == "model"


@pytest.mark.parametrize("values", [[], {"units": 3}, {**to_json(ModelConfig()), "extra": 1}])
def test_json_with_missing_or_unknown_settings_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match="expected the settings of ModelConfig"):
        from_json(ModelConfig, values)


def test_the_length_is_100_tokens_unless_one_is_given() -> None:
    assert SamplingConfig().chars == 100
    assert SamplingConfig(bars=4).chars is None


@pytest.mark.parametrize("flags", [["--top-p=0"], ["--bars=1", "--chars=1"], ["--count=x"]])
def test_a_flag_out_of_range_ends_the_script_with_status_2(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(SamplingConfig, *flags)
    assert "Traceback" not in capsys.readouterr().err


def test_the_help_of_top_p_states_the_default_of_each_encoding() -> None:
    (spec, _, _) = specs(SamplingConfig)["top_p"]
    assert f"none = {get('remi').default_top_p:g} with remi, 1.0 otherwise" in spec.help
    assert get("notes").default_top_p == get("tsd").default_top_p == 1
