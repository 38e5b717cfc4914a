"""Read a folder of MIDI files and report what a training run would use of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from midilstm import cli
from midilstm.config import BatchConfig, DataConfig
from midilstm.schema import add_arguments, from_flags


@dataclass(frozen=True)
class ReportConfig:
    """All settings of a report."""

    data: DataConfig
    batch: BatchConfig
    report: Path | None


def parse_args(argv: Sequence[str] | None = None) -> ReportConfig:
    """Read the command line."""
    parser = cli.Parser(__doc__)
    add_arguments(parser, DataConfig, BatchConfig)
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write the report as JSON")
    arguments = parser.parse_args(argv)
    return ReportConfig(
        from_flags(DataConfig, vars(arguments)),
        from_flags(BatchConfig, vars(arguments)),
        arguments.report,
    )


def run(config: ReportConfig) -> None:
    """Read the folder, split its pieces, cut them into batches, and print the result."""
    from midilstm.data.dataset import load_dataset
    from midilstm.data.report import print_report, report_to_json
    from midilstm.fileio import write_atomically

    dataset = load_dataset(config.data)
    batch_shape = config.batch.batch_size, config.batch.seq_length
    print_report(dataset, *batch_shape)
    if config.report:
        report = report_to_json(dataset, *batch_shape)
        write_atomically(config.report, json.dumps(report, indent=2) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; return the exit status."""
    config = parse_args(argv)
    return cli.run_cli(lambda: run(config))


if __name__ == "__main__":
    cli.exit_with(main())
