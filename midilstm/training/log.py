"""Write and read the log of a run: training.csv and its picture training.png."""

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from midilstm.fileio import atomic_path, open_regular, warn, write_atomically
from midilstm.model_dir import archive_run

MAX_BYTES = 2**26
FILES = ("training.csv", "training.png")


@dataclass(frozen=True)
class LogRow:
    """One epoch in training.csv; losses in nats per token, nan where nothing is held out."""

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


NAMES = tuple(field.name for field in fields(LogRow))


class TrainingLog:
    """The files training.csv and training.png, with one row per epoch."""

    def __init__(self, folder: Path, rows: Iterable[LogRow] = ()) -> None:
        """Write a log of these rows."""
        self._csv, self._png = (folder / name for name in FILES)
        self.rows = list(rows)
        self._write()

    def add(self, row: LogRow) -> None:
        """Add the row of an epoch, in place of an earlier row of that epoch."""
        self.rows = [other for other in self.rows if other.epoch < row.epoch] + [row]
        self._write()

    def _write(self) -> None:
        line = "{},{:.6f},{:.6f},{:.6f},{:.6f},{:.2f}"
        lines = [line.format(*astuple(row)) for row in self.rows]
        write_atomically(self._csv, "\n".join([",".join(NAMES), *lines, ""]))

    def draw(self) -> None:
        """Draw loss and accuracy against epochs into training.png."""
        from matplotlib.figure import Figure  # slow to import; it looks for no display

        figure = Figure(figsize=(9, 3.6), layout="constrained")
        rows, epochs = self.rows, [row.epoch for row in self.rows]
        panels = [
            ("Loss", "nats per token", [(row.loss, row.val_loss) for row in rows]),
            ("Accuracy", "fraction correct", [(row.accuracy, row.val_accuracy) for row in rows]),
        ]
        for axes, (title, unit, pairs) in zip(figure.subplots(1, 2), panels, strict=True):
            curves = zip(("training", "held out"), zip(*pairs, strict=True), strict=True)
            for label, values in curves:
                if not all(map(math.isnan, values)):
                    axes.plot(epochs, values, label=label, marker="." if len(epochs) < 30 else "")
            axes.set(title=title, xlabel="epoch", ylabel=unit)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend(frameon=False)
        with atomic_path(self._png) as partial:
            figure.savefig(partial, dpi=120)


def resume(folder: Path, epoch: int, known: Iterable[Mapping[str, float]] = ()) -> TrainingLog:
    """Return the log of a run up to `epoch`, drawn; later rows belong to lost work.

    `known` are the rows that the run's checkpoints hold; the run's log has one of them, or none.
    Another run's log is moved aside, and one that another program changed: the known rows stand in
    for those that cannot be read.
    """
    saved = [
        LogRow(int(row["epoch"]), *(row.get(name, math.nan) for name in NAMES[1:])) for row in known
    ]
    logged, is_whole = read(folder / FILES[0])
    if not is_whole:
        warn(
            f"{folder / FILES[0]} was changed by another program and is moved aside; rows that "
            "cannot be read come from the checkpoints, or are missing"
        )
    losses = {(row.epoch, f"{row.loss:.6f}") for row in saved}
    is_other = bool(logged) and losses.isdisjoint((x.epoch, f"{x.loss:.6f}") for x in logged)
    if is_other or not is_whole:
        archive_run(folder, FILES)
    rows = {row.epoch: row for row in (*saved, *([] if is_other else logged))}
    log = TrainingLog(folder, [rows[key] for key in sorted(rows) if key <= epoch])
    if log.rows:
        log.draw()  # as that run may have been stopped before it did
    return log


def read(path: Path) -> tuple[list[LogRow], bool]:
    """Read the rows of a training.csv, if there is one, and whether none had to be left out."""
    if not path.exists():
        return [], True
    with open_regular(path) as file:
        header, *lines = file.read(MAX_BYTES).decode("utf-8-sig", "replace").splitlines() or [""]
    if header != ",".join(NAMES):
        return [], False
    lines, rows = [line for line in lines if line], []
    for line in lines:
        with suppress(TypeError, ValueError):
            epoch, *values = line.split(",")
            rows.append(LogRow(int(epoch), *map(float, values)))
    return rows, len(rows) == len(lines)
