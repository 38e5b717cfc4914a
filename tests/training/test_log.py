"""The files training.csv and training.png, and rows that they have lost."""

import math
from pathlib import Path

import pytest

from midilstm.training.log import LogRow, TrainingLog

ROWS = [LogRow(1, 2.5, 0.25, 3.5, 0.125, 1.5), LogRow(2, 2.0, 0.5, 3.0, 0.25, 1.5)]
ROWS += [LogRow(3, 1.5, 0.5, 3.25, 0.25, 2.0)]


def write(folder: Path) -> Path:
    log = TrainingLog(folder, 0)
    for row in ROWS:
        log.add(row)
    return folder / "training.csv"


def test_rows_survive_writing_and_reading(tmp_path: Path) -> None:
    lines = write(tmp_path).read_text().splitlines()
    assert lines[0] == "epoch,loss,accuracy,val_loss,val_accuracy,seconds"
    assert lines[1] == "1,2.500000,0.250000,3.500000,0.125000,1.50"
    assert TrainingLog(tmp_path, 3).rows == ROWS


def test_rows_of_lost_work_and_broken_lines_go(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes() + b"2,2.1\n\xff\x00,,\n3,1.5,0.5,3.2")
    assert TrainingLog(tmp_path, 2).rows == ROWS[:2]
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize("content", [None, b"", b"\x80\xff" * 99, b"1,2.5,0.25,3.5,0.125,1.5\n"])
def test_rows_that_the_file_lost_come_from_the_checkpoints(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "training.csv").write_bytes(content)
    alone = {"epoch": 3.0, "loss": 1.5, "accuracy": 0.5, "seconds": 2.0}
    rows = TrainingLog(tmp_path, 3, [vars(ROWS[0]), vars(ROWS[1]), alone]).rows
    assert rows[:2] == ROWS[:2]
    assert (rows[2].epoch, rows[2].loss) == (3, 1.5)
    assert math.isnan(rows[2].val_loss)
    assert [row.epoch for row in TrainingLog(tmp_path, 9).rows] == [1, 2, 3]


def test_a_log_without_held_out_pieces_is_drawn(tmp_path: Path) -> None:
    alone = TrainingLog(tmp_path, 0)
    alone.add(LogRow(1, 2.5, 0.25, math.nan, math.nan, 1.5))
    alone.draw()
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
