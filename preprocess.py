"""A folder of MIDI files → vocabulary, training and held-out pieces, [B, T] batches; no Keras.

Run alone, it prints a report of what a training run would see.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from midilstm import arguments as shared
from midilstm.files import InputError, write_atomically

if TYPE_CHECKING:
    from midilstm.corpus.corpus import Corpus


def corpus_from(arguments: argparse.Namespace, *, transpose: bool = False) -> Corpus:
    """Load the corpus that the flags of add_corpus_arguments describe."""
    if arguments.bpe and arguments.encoding == "notes":
        raise InputError("--bpe is for --encoding=tsd and remi: in notes a token is a whole chord")
    from midilstm.corpus.corpus import load_corpus

    return load_corpus(
        arguments.data_dir,
        name=arguments.encoding,
        validation=arguments.validation,
        seed=arguments.seed,
        jobs=arguments.jobs,
        max_file_seconds=arguments.max_file_seconds,
        min_notes=arguments.min_notes,
        scheduler=arguments.scheduler,
        transpose=transpose,
        bpe=arguments.bpe,
    )


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Read a folder of MIDI files and report what a training run would see.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    shared.add_corpus_arguments(parser)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as JSON, too")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; return the exit status."""
    arguments = parse_args(argv)

    def work() -> None:
        from midilstm.corpus.report import facts, print_report

        report = facts(corpus_from(arguments), arguments.batch_size, arguments.seq_length)
        print_report(report)
        if arguments.report:
            text = json.dumps(report, indent=2, ensure_ascii=False)
            write_atomically(arguments.report, text + "\n")

    return shared.run(work)


if __name__ == "__main__":
    sys.exit(main())
