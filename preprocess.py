"""Read a folder of MIDI files and report what a training run would see of it."""

from __future__ import annotations

import midilstm  # noqa: F401 - the first, for Ctrl-C is its business from then on

# isort: split
import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from midilstm import cli as shared


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    shared.add_data_arguments(parser)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as JSON, too")
    return parser.parse_args(argv)


def report(arguments: argparse.Namespace) -> None:
    """Read the folder, split its pieces, cut them into batches, and print what that gives."""
    from midilstm.data.dataset import load_dataset
    from midilstm.data.report import facts, print_report
    from midilstm.fileio import write_atomically

    corpus = load_dataset(arguments.data_dir, **shared.data_keywords(arguments))
    found = facts(corpus, arguments.batch_size, arguments.seq_length)
    print_report(found)
    if arguments.report:
        write_atomically(arguments.report, json.dumps(found, indent=2) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; return the exit status."""
    arguments = parse_args(argv)
    return shared.run(lambda: report(arguments))


if __name__ == "__main__":
    sys.exit(main())
