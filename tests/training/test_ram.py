"""The estimate of RAM, compared with what a machine and a container have."""

from dataclasses import replace
from pathlib import Path

import pytest

from midilstm.config import DataConfig, ModelConfig, TrainConfig
from midilstm.fileio import InputError
from midilstm.run_settings import DatasetSummary, RunSettings
from midilstm.training import ram


def settings(*, vocabulary_size: int = 400, units: int = 256, seq_length: int = 64) -> RunSettings:
    return RunSettings(
        model=ModelConfig(units=units),
        data=DataConfig(),
        train=TrainConfig(seq_length=seq_length),
        dataset=DatasetSummary(vocabulary_size=vocabulary_size),
    )


@pytest.mark.parametrize(
    ("run", "rows", "gigabytes"),
    [
        (settings(), 16, 0.98),
        (settings(units=1200), 16, 2.32),
        (settings(vocabulary_size=8000), 16, 1.60),
        (settings(seq_length=256), 64, 1.62),
    ],
)
def test_the_estimate_is_near_the_measured_peak(
    run: RunSettings, rows: int, gigabytes: float
) -> None:
    # Peak resident sizes, a checkpoint written, on Linux with TensorFlow 2.21.
    assert ram.bytes_needed(run, rows) / 1e9 == pytest.approx(gigabytes, rel=0.2)


def test_the_limit_of_a_container_counts_where_it_is_lower(tmp_path: Path) -> None:
    proc = tmp_path / "meminfo"
    assert ram.available(proc, tmp_path) is None
    proc.write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    assert ram.available(proc, tmp_path) == 5000 * 1024
    (tmp_path / "memory.current").write_text("1000\n")
    for limit, free in (("max\n", 5000 * 1024), ("900000\n", 899000)):
        (tmp_path / "memory.max").write_text(limit)
        assert ram.available(proc, tmp_path) == free


def test_too_large_a_network_is_refused_with_both_numbers_and_the_flags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ram, "available", lambda: 2 * 10**9)
    ram.check_ram(settings(), 16)
    large = replace(settings(), model=ModelConfig(units=20000))
    with pytest.raises(InputError, match=r"about .* GB of memory and 2\.0 GB .* lower --units"):
        ram.check_ram(large, 16)
