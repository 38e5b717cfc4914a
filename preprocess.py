"""A folder of MIDI files → vocabulary, training and held-out pieces, [B, T] batches; no Keras.

Run alone, it prints a report of what a training run would see.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from midilstm import arguments as shared


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Read a folder of MIDI files and report what a training run would see.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    shared.add_corpus_arguments(parser)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as JSON, too")
    return parser.parse_args(argv)


def report(arguments: argparse.Namespace) -> None:
    """Read the folder, split its pieces, cut them into batches, and print what that gives."""
    from midilstm.corpus.corpus import load_corpus
    from midilstm.corpus.report import facts, print_report
    from midilstm.files import write_atomically

    # Folder → pieces → vocabulary → training and held-out pieces, as ids.
    corpus = load_corpus(arguments.data_dir, **shared.corpus_keywords(arguments))
    # Training pieces → batches of --batch-size lanes of --seq-length ids.
    found = facts(corpus, arguments.batch_size, arguments.seq_length)
    print_report(found)
    if arguments.report:
        text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
        # A file's name that is not UTF-8 becomes an escape, and is read back from it.
        write_atomically(arguments.report, text.encode(errors="backslashreplace"))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; return the exit status."""
    arguments = parse_args(argv)
    return shared.run(lambda: report(arguments))


if __name__ == "__main__":
    sys.exit(main())
