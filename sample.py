"""Make new music with the model that train.py trained."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from midilstm import cli
from midilstm.config import LENGTHS, SamplingConfig
from midilstm.fileio import printable, warn
from midilstm.schema import add_arguments, from_flags, to_json

if TYPE_CHECKING:
    from midilstm.generation.generate import Rank
    from midilstm.generation.loaded_model import LoadedModel
    from midilstm.generation.sampler import GeneratedPiece


def parse_args(
    argv: Sequence[str] | None = None, recorded: SamplingConfig | None = None
) -> SamplingConfig:
    """Read the command line; the defaults are the settings of the piece `recorded`, if any."""
    parser = cli.Parser(__doc__)
    add_arguments(parser, SamplingConfig)
    arguments = parser.parse_args(argv)
    if recorded:
        has_length = any(vars(arguments)[name] for name in LENGTHS)
        excluded = LENGTHS if has_length else ()
        saved = {name: x for name, x in to_json(recorded).items() if name not in excluded}
        parser.set_defaults(**saved)
        arguments = parser.parse_args(argv)
    config = from_flags(SamplingConfig, vars(arguments))
    if config.temperature == 0 and config.count > 1:
        parser.error("--temperature=0 makes all pieces the same: leave out --count")
    if config.ending and config.bars is None:
        parser.error("--ending needs a length in --bars")
    if (config.best or 0) > config.count:
        parser.error(f"--best={config.best} needs a larger --count")
    return config


def sample(config: SamplingConfig, argv: Sequence[str]) -> None:
    """Open the model, draw the pieces, select the best, and write them."""
    cli.use_one_thread()  # before NumPy is imported
    from midilstm.generation.generate import generate
    from midilstm.generation.loaded_model import open_model
    from midilstm.generation.metadata import check_reproducible, read_metadata

    recorded = read_metadata(config.reproduce) if config.reproduce else None
    if recorded:
        config = parse_args(argv, recorded.config)
    model = open_model(config.model_dir, config.checkpoint)
    if recorded:
        check_reproducible(config, model, recorded)
    rank = make_ranker(config, model) if config.best else None
    generate(config, model, shlex.join(["python", "sample.py", *argv]), recorded, rank)
    folder = config.output_dir
    flags = [] if folder == SamplingConfig().output_dir else [f"--output-dir={folder}"]
    print(printable(f"Listen: {shlex.join(['python', 'render.py', '--page', *flags])}"))


def make_ranker(config: SamplingConfig, model: LoadedModel) -> Rank:
    """Return a function that ranks pieces by seed and prints why it leaves some out, for --best."""
    import numpy as np

    from midilstm.evaluation import copying, ranking

    dataset = copying.load_training_music(config.data_dir, model)
    ranges = ranking.reference_for(model, dataset)
    if not dataset:
        warn(
            f"--best cannot find copies, because {config.data_dir} does not hold the music that "
            "the model was trained on (--data-dir)"
        )

    def rank(pieces: Mapping[int, GeneratedPiece]) -> dict[int, dict[str, Any]]:
        ids = {seed: np.array(piece.ids, int) for seed, piece in pieces.items()}
        copied = copying.copied_lengths(dataset, model.vocabulary, list(ids.values()))
        rankings = ranking.rank_pieces(ids, model, ranges, copied)
        best = ranking.select_best(rankings, config.best or 1)
        return {seed: item.to_json() for seed, item in best.items()}

    return rank


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pieces; return the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    config = parse_args(argv)
    return cli.run_cli(lambda: sample(config, argv))


if __name__ == "__main__":
    cli.exit_with(main())
