"""The estimate of memory, against what a machine and a container have."""

from pathlib import Path

import pytest

from midilstm.fileio import InputError
from midilstm.training import ram as memory

SIZES = {"vocabulary_size": 400, "embedding_size": 512, "units": 256, "layers": 2}


def test_the_estimate_is_near_what_was_measured() -> None:
    # Peak resident sizes, a checkpoint written, on Linux with TensorFlow 2.21, in GB.
    for changes, lanes, length, feature_matrix in (
        ({}, 16, 64, 0.98),
        ({"units": 1200}, 16, 64, 2.32),
        ({"vocabulary_size": 8000}, 16, 64, 1.60),
        ({}, 64, 256, 1.62),
    ):
        found = memory.bytes_needed(SIZES | changes, lanes, length, ema=0.98) / 1e9
        assert found == pytest.approx(feature_matrix, rel=0.2)


def test_what_a_container_has_left_counts_where_it_is_less(tmp_path: Path) -> None:
    proc = tmp_path / "meminfo"
    assert memory.available(proc, tmp_path) is None
    proc.write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    assert memory.available(proc, tmp_path) == 5000 * 1024
    (tmp_path / "memory.current").write_text("1000\n")
    for limit, left in (("max\n", 5000 * 1024), ("900000\n", 899000)):
        (tmp_path / "memory.max").write_text(limit)
        assert memory.available(proc, tmp_path) == left


def test_too_large_a_network_names_both_numbers_and_the_flags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 2 * 10**9)
    memory.check_ram(SIZES, 16, 64, ema=0.98)
    with pytest.raises(
        InputError, match=r"about .* GB of memory and 2\.0 GB are free: lower --units"
    ):
        memory.check_ram(SIZES | {"units": 20000}, 16, 64, ema=0.98)
