"""training.csv: rows come back, lost work's go, and the best is found."""

from pathlib import Path

from midilstm.training.log import Log, Row

ROWS = [Row(1, 2.5, 0.25, 3.5, 0.125, 1.5), Row(2, 2.0, 0.5, 3.0, 0.25, 1.5)]
ROWS += [Row(3, 1.5, 0.5, 3.25, 0.25, 2.0)]
NAN = float("nan")


def write(folder: Path) -> Path:
    log = Log(folder, 0)
    for row in ROWS:
        log.add(row)
    return folder / "training.csv"


def test_rows_survive_writing_and_reading(tmp_path: Path) -> None:
    lines = write(tmp_path).read_text().splitlines()
    assert lines[0] == "epoch,loss,accuracy,val_loss,val_accuracy,seconds"
    assert lines[1] == "1,2.500000,0.250000,3.500000,0.125000,1.50"
    assert Log(tmp_path, 3).rows == ROWS


def test_rows_of_lost_work_and_broken_lines_go(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text() + "2,2.1\n")
    assert Log(tmp_path, 2).rows == ROWS[:2]
    assert len(path.read_text().splitlines()) == 3


def test_the_best_row_has_the_lowest_held_out_loss(tmp_path: Path) -> None:
    write(tmp_path)
    assert Log(tmp_path, 3).best() == ROWS[1]
    alone = Log(tmp_path / "alone", 0)
    alone.add(Row(1, 2.5, 0.25, NAN, NAN, 1.5))
    assert alone.best() is None
    alone.draw()
    assert (tmp_path / "alone" / "training.png").read_bytes().startswith(b"\x89PNG")
