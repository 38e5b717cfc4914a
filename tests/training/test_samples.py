"""`train.py --sample` draws pieces while a network learns."""

from pathlib import Path

import pytest
from run_files import read_bits

import train


@pytest.mark.usefixtures("undrawn")
def test_pieces_are_drawn_at_each_numbered_checkpoint_and_the_weights_stay_the_same(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(music.parent)
    flags = ["--embedding-size=8", "--units=6", "--layers=1", "--batch-size=4", "--seq-length=8"]
    run = [*flags, "--jobs=1", "--epochs=2", "--freq=1", "--no-memory"]
    assert train.main([*run, "--sample=2"]) == 0
    names = [f"epoch-000{epoch}_seed-{seed}" for epoch in (1, 2) for seed in (0, 1)]
    pieces = sorted(path.name for path in Path("output").glob("*.mid"))
    assert pieces == [f"{name}_temperature-1_chars-100.mid" for name in names]
    bits = [read_bits(path) for path in sorted(Path("model").glob("epoch-*.keras"))]
    assert train.main([*run, "--fresh"]) == 0
    assert [read_bits(path) for path in sorted(Path("model").glob("epoch-*.keras"))] == bits
