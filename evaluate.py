"""How good a trained model is: held-out score, yardsticks, novelty, musical statistics.

Knows no file formats and no layers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midilstm import arguments as shared
from midilstm import runs
from midilstm.arguments import count
from midilstm.corpus import corpus as corpora
from midilstm.corpus.corpus import Corpus
from midilstm.files import InputError, write_atomically
from midilstm.tokens import vocabulary as vocabularies
from midilstm.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy as np

    from midilstm.evaluation.likelihood import Music, Scored
    from midilstm.evaluation.statistics import Played

BATCH = (16, 64)  # pieces side by side, tokens a step
LISTENED = 200  # pieces of a set whose music is described, at most: each is compared with each

Pieces = dict[str, "np.ndarray"]  # name → ids


@dataclass(frozen=True)
class Run:
    """A checkpoint and all that belongs to it."""

    checkpoint: Path
    settings: dict[str, Any]
    vocabulary: Vocabulary


def find_run(arguments: argparse.Namespace) -> Run:
    """Return the run in the model folder; raise InputError where it does not fit together."""
    folder = arguments.model_dir
    checkpoint = runs.choose(folder, arguments.checkpoint)
    settings = runs.load_settings(folder)
    return Run(checkpoint, settings, vocabularies.vocabulary_of(folder, settings["network"]))


def load_corpus(arguments: argparse.Namespace, run: Run) -> Corpus:
    """Load the pieces with the run's own split; raise InputError where they are others."""
    trained = run.settings["training"]
    corpus = corpora.load_corpus(
        arguments.data_dir,
        name=run.vocabulary.name,
        validation=0 if arguments.other_corpus else trained["validation"],
        seed=trained["seed"],
        jobs=arguments.jobs,
        max_file_seconds=arguments.max_file_seconds,
        min_notes=arguments.min_notes if arguments.other_corpus else trained["min_notes"],
        scheduler=arguments.scheduler,
        transpose=trained["transpose"] and not arguments.other_corpus,
        bpe=run.vocabulary.merges,
    )
    if not arguments.other_corpus and corpus.digest() != run.settings["corpus"]["sha256"]:
        before, now = run.settings["corpus"], len(corpus.training) + len(corpus.held_out)
        raise InputError(
            f"{arguments.data_dir} does not hold the music that {arguments.model_dir} was trained "
            f"on ({before['pieces']:,} pieces with {before['tokens']:,} tokens; here {now:,} with "
            f"{corpus.tokens:,}): give that folder with --data-dir, "
            "or add --other-corpus to take every piece here as held out"
        )
    return corpus


def music_of(corpus: Corpus, pieces: Pieces) -> Music:
    """Put pieces together with how much music each is."""
    import numpy as np

    from midilstm.evaluation.likelihood import Music

    sizes = [corpus.sizes[name] for name in pieces]
    return Music(
        tuple(pieces),
        tuple(pieces.values()),
        np.array([size.notes for size in sizes], int),
        np.array([size.quarters for size in sizes], float),
    )


def in_vocabulary(corpus: Corpus, vocabulary: Vocabulary) -> tuple[Pieces, list[str]]:
    """Return all pieces of another corpus in this vocabulary, and a note on what it lacks."""
    import numpy as np

    known = vocabulary.ids
    table = np.array([known.get(token, -1) for token in corpus.vocabulary.tokens], np.int32)
    pieces = {name: table[ids] for name, ids in (corpus.training | corpus.held_out).items()}
    unknown = [token for token in corpus.vocabulary.tokens if token not in known]
    if not unknown:
        return pieces, []
    missing = sum(int(np.count_nonzero(ids < 0)) for ids in pieces.values())
    note = (
        f"Left out: {missing:,} of {corpus.tokens:,} tokens, of {len(unknown):,} kinds that the "
        f"model does not know ({', '.join(unknown[:10])}{' ...' if len(unknown) > 10 else ''}). "
        "What a note and a quarter cost is too low by what these would have."
    )
    return {name: ids[ids >= 0] for name, ids in pieces.items()}, [note]


class Judge:
    """The checkpoint's network, to be asked for scores."""

    def __init__(self, run: Run) -> None:
        """Build the network that scores."""
        import model  # here, not above: TensorFlow takes seconds, and --help and mistakes need none

        self._model = model
        network = run.settings["network"]
        self._scoring = model.build_model(batch_size=BATCH[0], sequence_length=BATCH[1], **network)
        model.load(self._scoring, run.checkpoint)
        self.each = model.Scorer(self._scoring).each

    def score(self, music: Music, label: str) -> Scored:
        """Predict whole pieces, each from a state of zeros."""
        from midilstm.corpus import batches
        from midilstm.evaluation.likelihood import Scored, progress

        results = batches.score_pieces(music.ids, *BATCH, self.each)
        scored = Scored.collect(len(music.ids), progress(results, label, len(music.ids)))
        self._model.reset_states(self._scoring)
        return scored


def generate(arguments: argparse.Namespace, run: Run, length: int) -> Pieces:
    """Draw new pieces, each repeatable with sample.py by its seed."""
    import numpy as np
    from tqdm import tqdm

    from midilstm.sampling import loop, network

    loaded = network.load(run.checkpoint, run.settings["network"])
    seeds = range(arguments.seed, arguments.seed + arguments.samples)
    knobs = loop.Knobs(temperature=arguments.temperature, top_p=arguments.top_p)
    total = len(seeds) * length
    with tqdm(
        total=total, desc="Sampling", unit="token", delay=2, leave=False, disable=None
    ) as bar:
        grammar = run.vocabulary.grammar()
        pieces = loop.generate(loaded, seeds, length, knobs, grammar=grammar, progress=bar.update)
    named = zip(seeds, pieces, strict=True)
    return {f"generated piece of seed {seed}": np.array(ids, np.int32) for seed, ids in named}


def read_generated(arguments: argparse.Namespace, run: Run) -> tuple[Pieces, Vocabulary]:
    """Read the files of --generated; return them and a vocabulary that has all their tokens."""
    import numpy as np

    corpus = corpora.load_corpus(
        arguments.generated,
        name=run.vocabulary.name,
        validation=0,
        jobs=arguments.jobs,
        bpe=run.vocabulary.merges,
    )
    known = run.vocabulary.ids
    new = [token for token in corpus.vocabulary.tokens if token not in known]
    larger = replace(run.vocabulary, tokens=(*run.vocabulary.tokens, *new))
    ids_of = larger.ids
    table = np.array([ids_of[token] for token in corpus.vocabulary.tokens], np.int32)
    return {name: table[ids[:-1]] for name, ids in corpus.training.items()}, larger


def keeps_rhythm(vocabulary: Vocabulary) -> bool:
    """Tell whether tokens say how long notes are and who plays them."""
    return vocabulary.encoding.keeps_rhythm


def listen(
    pieces: Pieces, vocabulary: Vocabulary, rng: np.random.Generator
) -> list[tuple[Played, np.ndarray]]:
    """Return what each piece sounds like and its ids; of very many, some are drawn."""
    from midilstm.evaluation.statistics import Played

    tokens, played = vocabulary.tokens, vocabulary.encoding.played
    chosen = list(pieces.values())
    if len(chosen) > LISTENED:
        drawn = rng.choice(len(chosen), LISTENED, replace=False)
        chosen = [chosen[i] for i in sorted(drawn.tolist())]
    return [(Played.of(played([tokens[i] for i in ids])), ids) for ids in chosen]


def describe(
    sets: dict[str, Pieces], vocabulary: Vocabulary, rng: np.random.Generator
) -> dict[str, Any]:
    """Return musical statistics of each set, and how alike generated pieces are to people's."""
    from midilstm.evaluation import overlaps, similarity, statistics

    (other,) = rng.spawn(1)  # its own, so that what is drawn from it changes no other interval
    rhythm = keeps_rhythm(vocabulary)
    heard = {name: listen(pieces, vocabulary, other) for name, pieces in sets.items()}
    found = {name: statistics.measured(pieces, rhythm=rhythm) for name, pieces in heard.items()}
    result: dict[str, Any] = {
        "statistics": {
            "pieces": {name: len(pieces) for name, pieces in heard.items()},
            "resamples": statistics.RESAMPLES,
            "measures": overlaps.comparison(found.pop("generated"), found, rng),
        }
    }
    if found:
        played = {name: [piece for piece, _ in pieces] for name, pieces in heard.items()}
        result["resemblance"] = similarity.compare(played, other, rhythm=rhythm)
    return result


def score_all(
    arguments: argparse.Namespace, run: Run, judge: Judge, training: Music, held_out: Music
) -> dict[str, Any]:
    """Return the model's scores and, where there is something to count, the yardsticks'."""
    import numpy as np

    from midilstm.evaluation import likelihood

    rng = np.random.default_rng([arguments.seed % 2**63, 0])
    result: dict[str, Any] = {"scores": {}, "notes": []}
    some = training.some(arguments.training_pieces, rng)
    if 0 < len(some.names) < len(training.names):
        result["notes"] += [
            f"The training score is of {len(some.names):,} of {len(training.names):,} training "
            "pieces, drawn; --training-pieces takes more."
        ]
    if some.names:
        scored = judge.score(some, "Scoring training pieces")
        result["scores"]["training"] = likelihood.summary(scored, some, rng)
    if held_out.names:
        scored = judge.score(held_out, "Scoring held-out pieces")
        result["scores"]["held_out"] = likelihood.summary(scored, held_out, rng)
        if training.names:
            tables = {shift: run.vocabulary.transposed(shift) for shift in vocabularies.KEYS}
            result["yardsticks"] = likelihood.against_yardsticks(
                scored, training, held_out, tables, rng
            )
    return result


def made_pieces(
    arguments: argparse.Namespace, run: Run, human: Music
) -> tuple[Pieces, Vocabulary, int]:
    """Read or draw the pieces to examine; return them, their vocabulary and the common length."""
    import numpy as np

    if arguments.generated:
        made, vocabulary = read_generated(arguments, run)
        length = arguments.length or int(np.median([len(ids) for ids in made.values()]))
        return {name: ids[:length] for name, ids in made.items()}, vocabulary, length
    length = arguments.length or max(1, int(np.median(human.tokens)) - 1)
    made = generate(arguments, run, length)
    return made, run.vocabulary, length


def compare_music(
    arguments: argparse.Namespace, run: Run, training: Music, held_out: Music
) -> dict[str, Any]:
    """Return what generated pieces sound like and copy, beside the same of people's."""
    import numpy as np

    from midilstm.evaluation import copying

    human = held_out if held_out.names else training
    made, vocabulary, length = made_pieces(arguments, run, human)
    sets = {"generated": made}
    for name, music in (("held_out", held_out), ("training", training)):
        if beginnings := {of: ids[:length] for of, ids in music.bodies().items() if len(ids)}:
            sets[name] = beginnings
    rng = np.random.default_rng([arguments.seed % 2**63, 1])
    result: dict[str, Any] = {"generated": {"pieces": len(made), "length": length}}
    result |= describe(sets, vocabulary, rng)
    if sets.pop("training", None):
        none = len(vocabulary)
        tables = {by: np.append(vocabulary.transposed(by), none) for by in copying.SHIFTS}
        result["novelty"] = copying.compare(training.bodies(), sets, tables, rng)
    return result


def evaluate(arguments: argparse.Namespace) -> None:
    """Measure all that the folders allow, print it, and write it where --json says."""
    from midilstm.evaluation import report

    run = find_run(arguments)
    corpus = load_corpus(arguments, run)
    notes: list[str] = []
    training, held_out = corpus.training, corpus.held_out
    if arguments.other_corpus:
        training, (held_out, notes) = {}, in_vocabulary(corpus, run.vocabulary)
    music = music_of(corpus, training), music_of(corpus, held_out)
    print(f"Evaluating {run.checkpoint}: starting TensorFlow ...", flush=True)
    judge = Judge(run)
    result: dict[str, Any] = {
        "checkpoint": str(run.checkpoint),
        "encoding": run.vocabulary.name,
        "corpus": {"folder": str(arguments.data_dir), "sha256": corpus.digest()},
        "other_corpus": arguments.other_corpus,
        "seed": arguments.seed,
        "temperature": arguments.temperature,
        "top_p": arguments.top_p,
    }
    result |= score_all(arguments, run, judge, *music)
    if arguments.samples or arguments.generated:
        result |= compare_music(arguments, run, *music)
    result["notes"] += notes
    result["verdict"] = report.verdict(result)
    report.show(result)
    if arguments.json:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(arguments.json, text + "\n")
        print(f"Wrote {arguments.json}")


def add_piece_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which generated pieces are examined."""
    group = parser.add_argument_group("pieces to examine")
    group.add_argument(
        "--samples", type=count, default=20, help="pieces to generate and examine (0 = none)"
    )
    group.add_argument(
        "--generated",
        type=Path,
        metavar="FOLDER",
        help="examine the MIDI files of this folder instead (none = generate)",
    )
    group.add_argument(
        "--length", type=count, default=0, help="tokens of each piece examined (0 = as is typical)"
    )
    group.add_argument(
        "--temperature",
        type=shared.temperature,
        default=1.0,
        help="of the pieces to generate",
    )
    group.add_argument(
        "--top-p", type=shared.mass, default=1.0, help="of the pieces to generate (1.0 = off)"
    )


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Say how well a trained model predicts music it has never seen, how much of "
        "what it writes is copied, and how far its music lies from people's. "
        "The pieces are split as they were for training.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model-dir", type=Path, default=Path("model"), help="checkpoints")
    parser.add_argument(
        "--checkpoint",
        help="latest, best, or the number of an epoch (none = best where there is one)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers here, too")
    parser.add_argument("--seed", type=int, default=0, help="fixes sampling and intervals")
    parser.add_argument(
        "--training-pieces",
        type=count,
        default=100,
        help="training pieces scored at most (0 = none)",
    )
    parser.add_argument(
        "--other-corpus",
        action="store_true",
        help="the folder holds other music than was trained on: take every piece as held out",
    )
    add_piece_arguments(parser)
    shared.add_reading_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the evaluation; return the exit status."""
    arguments = parse_args(argv)
    return shared.run(lambda: evaluate(arguments))


if __name__ == "__main__":
    sys.exit(main())
