"""Write and read the log of a run: training.csv and its picture training.png."""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from matplotlib.figure import Figure  # the object interface: no display is looked for

from midilstm.fileio import atomic_path, open_regular, write_atomically
from midilstm.model_dir import archive_run

MAX_BYTES = 2**26
FILES = ("training.csv", "training.png")


@dataclass(frozen=True)
class LogRow:
    """One epoch in logs/training.csv; losses in nats a token, nan where nothing is held out."""

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


class TrainingLog:
    """logs/training.csv and logs/training.png: one row an epoch, cut back when a run resumes."""

    def __init__(self, folder: Path, epoch: int, known: Iterable[Mapping[str, float]] = ()) -> None:
        """Keep the rows up to `epoch`, on disk too; later ones belong to lost work.

        `known` are rows saved elsewhere, which stand in for those that the file has lost.
        """
        self._csv, self._png = (folder / name for name in FILES)
        names = [field.name for field in fields(LogRow)][1:]
        saved = [LogRow(int(row["epoch"]), *(row.get(n, math.nan) for n in names)) for row in known]
        rows = {row.epoch: row for row in (*saved, *read(self._csv)) if row.epoch <= epoch}
        self.rows = [rows[number] for number in sorted(rows)]
        self._write()

    def add(self, row: LogRow) -> None:
        """Add an epoch's row as the epoch ends, in place of one that is there."""
        self.rows = [other for other in self.rows if other.epoch < row.epoch] + [row]
        self._write()

    def _write(self) -> None:
        head = ",".join(field.name for field in fields(LogRow))
        line = "{},{:.6f},{:.6f},{:.6f},{:.6f},{:.2f}"
        lines = [line.format(*astuple(row)) for row in self.rows]
        write_atomically(self._csv, "\n".join([head, *lines, ""]))

    def draw(self) -> None:
        """Draw loss and accuracy against epochs into training.png."""
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        epochs = [row.epoch for row in self.rows]
        for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            for label, field_name in (("training", name), ("held out", f"val_{name}")):
                values = [getattr(row, field_name) for row in self.rows]
                if any(value == value for value in values):  # not all nan
                    axes.plot(epochs, values, label=label, marker="." if len(epochs) < 30 else "")
            unit = "nats a token" if name == "loss" else "share right"
            axes.set(title=name.capitalize(), xlabel="epoch", ylabel=unit)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend(frameon=False)
        with atomic_path(self._png) as partial:
            figure.savefig(partial, dpi=120)


def resume(folder: Path, epoch: int, known: Sequence[Mapping[str, float]]) -> TrainingLog:
    """Return the log of the run of `known` rows, up to `epoch`, drawn; move another run's aside."""
    if not is_of(folder, known):
        archive_run(folder, FILES)
    log = TrainingLog(folder, epoch, known)
    if log.rows:
        log.draw()  # as that run may have been stopped before it did
    return log


def is_of(folder: Path, known: Iterable[Mapping[str, float]]) -> bool:
    """Tell whether a folder's log is of the run of `known` rows: it shares one, or has none."""
    here = {(row.epoch, f"{row.loss:.6f}") for row in read(folder / FILES[0])}
    there = {(int(row["epoch"]), f"{row.get('loss', math.nan):.6f}") for row in known}
    return not here or bool(here & there)


def read(path: Path) -> list[LogRow]:
    """Read the rows of a training.csv that are whole; none where there is no file."""
    text, rows = "", []
    if path.exists():
        with open_regular(path) as file:
            text = file.read(MAX_BYTES).decode(errors="replace")
    for line in text.splitlines():
        with suppress(TypeError, ValueError):  # the header, or a line that someone broke
            epoch, *numbers = line.split(",")
            rows.append(LogRow(int(epoch), *map(float, numbers)))
    return rows
