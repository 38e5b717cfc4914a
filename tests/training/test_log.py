"""The files training.csv and training.png, and rows that they have lost."""

import math
from pathlib import Path

import pytest

from midilstm.training import log
from midilstm.training.log import LogRow

ROWS = [LogRow(1, 2.5, 0.25, 3.5, 0.125, 1.5), LogRow(2, 2.0, 0.5, 3.0, 0.25, 1.5)]
ROWS += [LogRow(3, 1.5, 0.5, 3.25, 0.25, 2.0)]


def write(folder: Path) -> Path:
    log.TrainingLog(folder, ROWS)
    return folder / "training.csv"


def test_rows_survive_writing_and_reading(tmp_path: Path) -> None:
    path = write(tmp_path)
    lines = path.read_text().splitlines()
    assert lines[0] == "epoch,loss,accuracy,val_loss,val_accuracy,seconds"
    assert lines[1] == "1,2.500000,0.250000,3.500000,0.125000,1.50"
    assert log.resume(tmp_path, 3, [vars(ROWS[2])]).rows == ROWS
    assert log.resume(tmp_path, 2, [vars(ROWS[1])]).rows == ROWS[:2]  # the third is of lost work
    assert len(path.read_text().splitlines()) == 3


HEADER, SECOND = ",".join(log.NAMES), "2,2.0,0.5,3.0,0.25,1.5"


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("content", "n_read"),
    [
        (None, 0),
        (f"\ufeff{HEADER}\r\n{SECOND}\r\n\r\n".encode(), 1),
        (f"{HEADER}\n{SECOND}\n3,1.5,0.5,3.2".encode(), 1),
        (f"{HEADER}\n{SECOND}\n\xff\x00,,\n".encode("latin-1"), 1),
        (f"{HEADER}\n{SECOND}\n".replace(",", ";").replace(".", ",").encode(), 0),
        (b"loss,epoch,accuracy,val_loss,val_accuracy,seconds\n9.0,2,0.5,3.0,0.25,1.5\n", 0),
        (b"", 0),
    ],
    ids=["none", "with CRLF", "cut", "damaged", "with ;", "columns swapped", "empty"],
)
def test_rows_that_cannot_be_read_come_from_the_checkpoints_and_the_file_is_kept(
    tmp_path: Path, content: bytes | None, n_read: int, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "training.csv").write_bytes(content)
    saved = {"epoch": 3.0, "loss": 1.5, "accuracy": 0.5, "seconds": 2.0}
    first = {"epoch": 2.0, "loss": 2.0} if n_read else vars(ROWS[1])
    rows = log.resume(tmp_path, 3, [vars(ROWS[0]), first, saved]).rows
    assert rows[:2] == ROWS[:2]
    assert (rows[2].epoch, rows[2].loss) == (3, 1.5)
    assert math.isnan(rows[2].val_loss)
    kept = [path.read_bytes() for path in tmp_path.glob("before-*/training.csv")]
    is_whole = content is None or content.startswith(b"\xef\xbb\xbf")
    assert kept == ([] if is_whole else [content])
    assert ("was changed by another program" in capsys.readouterr().err) is not is_whole


def test_a_log_without_held_out_pieces_is_drawn(tmp_path: Path) -> None:
    alone = log.TrainingLog(tmp_path)
    alone.add(LogRow(1, 2.5, 0.25, math.nan, math.nan, 1.5))
    alone.draw()
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
