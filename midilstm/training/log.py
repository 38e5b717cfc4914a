"""What a log folder holds: training.csv and its picture. Knows no network and no music."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from pathlib import Path

from midilstm.files import write_atomically

FILES = ("training.csv", "training.png")


@dataclass(frozen=True)
class Row:
    """One epoch in logs/training.csv; losses in nats a token, nan where nothing is held out."""

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


class Log:
    """logs/training.csv and logs/training.png: one row an epoch, cut back when a run resumes."""

    def __init__(self, folder: Path) -> None:
        """Use the log files of `folder`."""
        self._csv, self._png = (folder / name for name in FILES)
        self.rows: list[Row] = []

    def begin(self, epoch: int) -> None:
        """Keep the rows up to `epoch`, on disk too; later ones belong to lost work."""
        self.rows = [row for row in self._read() if row.epoch <= epoch]
        lines = [",".join(field.name for field in fields(Row)), *map(_csv_line, self.rows)]
        write_atomically(self._csv, "\n".join(lines) + "\n")

    def _read(self) -> list[Row]:
        if not self._csv.exists():
            return []
        rows = []
        with self._csv.open(encoding="utf-8", newline="") as file:
            for values in csv.DictReader(file):
                try:
                    numbers = {name: float(values[name]) for name in values if name != "epoch"}
                    rows.append(Row(epoch=int(values["epoch"]), **numbers))
                except (TypeError, ValueError):  # a line that a crash left half written
                    continue
        return rows

    def add(self, row: Row) -> None:
        """Append an epoch's row as the epoch ends."""
        self.rows.append(row)
        with self._csv.open("a", encoding="utf-8") as file:
            file.write(_csv_line(row) + "\n")

    def best(self) -> Row | None:
        """Return the row with the lowest held-out loss; None where nothing is held out."""
        held_out = [row for row in self.rows if row.val_loss == row.val_loss]  # not nan
        return min(held_out, key=lambda row: row.val_loss, default=None)

    def draw(self) -> None:
        """Draw loss and accuracy against epochs into training.png."""
        # The object interface: no display is looked for, no global state.
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3.6), layout="constrained")
        epochs = [row.epoch for row in self.rows]
        panels = zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True)
        for axes, name in panels:
            for label, field_name in (("training", name), ("held out", f"val_{name}")):
                values = [getattr(row, field_name) for row in self.rows]
                if any(value == value for value in values):  # not all nan
                    axes.plot(epochs, values, label=label, marker="." if len(epochs) < 30 else "")
            axes.set(xlabel="epoch", ylabel="nats a token" if name == "loss" else "share right")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_title(name.capitalize(), loc="left")
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(alpha=0.3)
            axes.legend(frameon=False)
        partial = self._png.with_name(f".partial-{self._png.name}")
        figure.savefig(partial, dpi=120)
        partial.replace(self._png)


def _csv_line(row: Row) -> str:
    return (
        f"{row.epoch},{row.loss:.6f},{row.accuracy:.6f},"
        f"{row.val_loss:.6f},{row.val_accuracy:.6f},{row.seconds:.2f}"
    )
