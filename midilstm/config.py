"""Every setting of the scripts, with its type, default, range and help text, once.

The command line, settings.json and the JSON file of a piece are made from these dataclasses and
checked against them: a value that is out of range raises ValueError, whichever way it comes.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from midilstm.schema import Config, setting
from midilstm.tokenizers import ENCODINGS

MAX_TOKENS = 1_000_000  # of a piece
DEFAULT_CHARS = 100
LENGTHS = ("chars", "bars", "seconds")

# Ranges that several settings share.
COUNT: dict[str, Any] = {"low": 0, "high": 2**31 - 1}
POSITIVE: dict[str, Any] = {"low": 1, "high": 2**31 - 1}
SIZE: dict[str, Any] = {"low": 1, "high": 65_536}
FRACTION: dict[str, Any] = {"low": 0, "below": 1}
SEED: dict[str, Any] = {"low": 0, "high": 2**63 - 1}
PIECES: dict[str, Any] = {"low": 1, "high": 100_000}
TEMPERATURE: dict[str, Any] = {"low": 0.01, "high": 100, "off": 0}
TOP_P: dict[str, Any] = {"above": 0, "high": 1}

reading = partial(setting, group="reading MIDI files", saved=False)
data = partial(setting, group="training data")
network = partial(setting, group="network")
training = partial(setting, group="training")
run = partial(setting, saved=False)
length = partial(setting, None, group="length, one of these", is_exclusive=True)
drawing = partial(setting, group="sampling")
piece = partial(setting, group="pieces")
unsaved = partial(setting, group="pieces", saved=False)
evaluating = partial(setting, group="pieces to evaluate")


@dataclass(frozen=True, kw_only=True)
class ReadingConfig(Config):
    """Where MIDI files are and how they are read."""

    data_dir: Path = reading(Path("data"), "folder of MIDI files")
    jobs: int = reading(os.cpu_count() or 1, "processes that parse MIDI files", low=1, high=1024)
    max_file_seconds: float = reading(
        20.0, "skip a file that takes longer to parse", low=0.001, high=86_400
    )
    scheduler: str | None = reading(
        None, "address of a Dask scheduler, tcp://HOST:PORT, whose workers parse the files"
    )
    follow_links: bool = reading(False, "also read what links out of the folder lead to")
    cache: bool = reading(True, "keep parsed files in the user's cache folder")


@dataclass(frozen=True, kw_only=True)
class DataConfig(ReadingConfig):
    """What of a folder becomes training data, and how it is split."""

    encoding: str = data(
        "notes",
        "; ".join(f"{name}: {text}" for name, (_, text) in ENCODINGS.items()),
        choices=tuple(ENCODINGS),
    )
    bpe: int = data(0, "byte-pair merges to learn, not for notes (0 = off)", low=0, high=100_000)
    pedal: bool = data(True, "let the sustain pedal lengthen notes")
    min_notes: int = data(0, "skip pieces with fewer notes (0 = keep all)", **COUNT)
    validation: float = data(0.1, "fraction of the pieces held out (0 = none)", **FRACTION)
    group_versions: bool = data(True, "hold out all versions of a tune or none of them")
    transpose: bool = data(True, "train on every piece in a random key each epoch")
    seed: int = data(0, "seed of every random choice", **SEED)


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """The network's sizes and its dropout."""

    embedding_size: int = network(512, "size of a token's embedding", **SIZE)
    units: int = network(256, "units per LSTM layer", **SIZE)
    layers: int = network(2, "stacked LSTM layers", low=1, high=64)
    dropout: float = network(0.3, "dropout after each layer (0 = off)", **FRACTION)
    input_dropout: float = network(0.3, "dropout of the embedding (0 = off)", **FRACTION)


@dataclass(frozen=True, kw_only=True)
class BatchConfig(Config):
    """The shape [B, T] of a training batch."""

    batch_size: int = setting(16, "rows per batch", **POSITIVE, group="training")
    seq_length: int = setting(64, "tokens per step", **POSITIVE, group="training")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(BatchConfig):
    """How a network is trained, for how long, and where its files are."""

    learning_rate: float = training(3e-3, "learning rate of Adam", low=1e-9, high=10)
    ema: float = training(0.98, "momentum of the averaged weights (0 = off)", **FRACTION)
    shuffle: bool = training(True, "train on the pieces in a random order each epoch")
    jit: bool = training(False, "compile the whole step with XLA")
    start_from: Path | None = training(None, "model folder whose weights the run starts from")
    epochs: int = run(100, "passes over the training data", **POSITIVE)
    freq: int = run(10, "epochs between checkpoints", **POSITIVE)
    keep_checkpoints: int = run(0, "numbered checkpoints to keep (0 = all)", **COUNT)
    patience: int = run(0, "epochs to wait for a better held-out loss (0 = for ever)", **COUNT)
    sample: int = run(
        0, "pieces to draw at each numbered checkpoint, into output/", low=0, high=100
    )
    memory: bool = run(True, "fit the match model, which lets new pieces repeat themselves")
    demo: str | None = run(
        None,
        "train on music21's Bach chorales, or on all its scores, instead of --data-dir",
        choices=("chorales", "all"),
        const="chorales",
    )
    fresh: bool = run(False, "move the run in the model folder aside and start a new one")
    force: bool = run(False, "train even if the network seems too large for the free RAM")
    model_dir: Path = run(Path("model"), "folder of the checkpoints")
    log_dir: Path = run(Path("logs"), "folder of training.csv and training.png")


@dataclass(frozen=True, kw_only=True)
class WorkerConfig(Config):
    """The processes that train one network together, HOST:PORT each, and which one this is."""

    workers: tuple[str, ...] = setting((), "", is_flag=False, saved=False)
    worker: int = setting(0, "", **COUNT, is_flag=False, saved=False)
    worker_timeout: float = setting(
        30.0,
        "seconds to wait for another worker",
        low=1,
        high=86_400,
        saved=False,
        group="several machines",
    )

    def batch_rows(self, batch_size: int) -> int:
        """Return this worker's rows of a batch of all workers."""
        return batch_size // max(1, len(self.workers))


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Config):
    """How pieces are drawn; each default leaves the model's probabilities as they are.

    Tokens among the last 64 have their log probability multiplied by `repetition_penalty` (CTRL:
    Keskar et al. 2019, arXiv 1909.05858); all are divided by `temperature`; the `top_k` most
    likely stay; of these the fewest whose probabilities sum to `top_p` (Holtzman et al. 2020,
    arXiv 1904.09751). Exactly one length is set: `chars` is 100 where none is given.
    """

    chars: int | None = length("tokens to draw (none = 100 if no other)", low=1, high=MAX_TOKENS)
    bars: int | None = length("bars to draw (none = --chars)", low=1, high=10_000)
    seconds: float | None = length(
        "seconds to draw, at --bpm (none = --chars)", low=0.001, high=86_400
    )
    strict_grammar: bool = drawing(True, "never draw a token that the encoding does not allow")
    temperature: float = drawing(
        1.0, "above 1: more random (0 = always the most likely token)", **TEMPERATURE
    )
    top_k: int = drawing(0, "draw from this many most likely tokens (0 = off)", **COUNT)
    top_p: float | None = drawing(
        None,
        "draw from the most likely tokens of this probability mass (1.0 = off; none = 0.96 with "
        "remi, 1.0 otherwise)",
        **TOP_P,
    )
    repetition_penalty: float = drawing(
        1.0, "make recent tokens less likely (1.0 = off)", low=1, high=100
    )
    memory: float = drawing(
        1.0, "how strongly the match model makes a piece repeat itself (0 = off)", low=0, high=2
    )
    key: str | None = drawing(
        None, "key such as D, Dm or 'D dorian' (auto = the piece's own; none = any)", high=400
    )
    chords: str | None = drawing(
        None,
        "chord symbols, one per bar or with bars such as 'Dm7 G7 | C', repeated (none = any)",
        high=2000,
    )
    instruments: str | None = drawing(
        None, "the only instruments, such as 'piano, 2 sax, bass' (none = any)", high=400
    )
    control_strength: float = drawing(
        1.0,
        "how strongly key, chords, instruments and a kept melody are followed (0 = off)",
        low=0,
        high=4,
    )
    opening: bool = drawing(
        True,
        "let the network first read 8 bars of a training piece, which are not written: new pieces "
        "take their instruments from it (remi only, without --primer)",
    )
    primer: Path | None = drawing(None, "MIDI file to continue", saved=False)
    include_primer: bool = drawing(False, "write the primer before the new music")
    fill: str | None = drawing(None, "bars of the primer to draw anew, as in 5-8,13", high=400)
    fill_instruments: str | None = drawing(None, "draw only these in --fill (none = all)", high=400)
    keep: str | None = drawing(
        None, "instruments or tracks of the primer to draw others around, or all", high=400
    )
    candidates: int = drawing(32, "drawn for --fill and --keep, one is chosen", low=1, high=1024)
    stop_at_end: bool = drawing(
        False, "let a piece end where the model ends it, if that is earlier"
    )
    ending: bool = drawing(
        False, "let the model end the piece within two bars of --bars (remi only)"
    )
    seed: int | None = piece(
        None, "seed of the first piece (none = a new one, which is printed)", **SEED
    )
    count: int = unsaved(1, "pieces to draw, with seeds --seed, --seed + 1, ...", **PIECES)
    best: int | None = unsaved(None, "keep this many of --count (none = all)", **PIECES)
    data_dir: Path = unsaved(Path("data"), "folder of the training data, for --best")
    reproduce: Path | None = unsaved(
        None, "JSON file of a piece to draw again; other flags change it"
    )
    bpm: float | None = piece(
        None, "quarter notes per minute (none = the model's)", low=4, high=1000
    )
    instrument: str | None = piece(
        None, "General MIDI name or number for all notes (none = the model's)", high=400
    )
    stems: bool = piece(False, "also write each instrument to a file, in a folder PIECE.stems")
    checkpoint: str | None = piece(
        None, "latest, best or an epoch (none = best if there is one)", high=400
    )
    model_dir: Path = piece(Path("model"), "folder of the checkpoints")
    output_dir: Path = unsaved(Path("output"), "folder that the pieces are written to")

    def __post_init__(self) -> None:
        """Raise ValueError for a value that is not allowed, or for more than one length."""
        given = [name for name in LENGTHS if asdict(self)[name] is not None]
        if not given and not (self.fill or self.keep):
            object.__setattr__(self, "chars", DEFAULT_CHARS)
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both given, expected one length")
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(ReadingConfig):
    """Which model is evaluated, on which pieces."""

    model_dir: Path = setting(Path("model"), "folder of the checkpoints")
    checkpoint: str | None = setting(
        None, "latest, best or an epoch (none = best if there is one)", high=400
    )
    json: Path | None = setting(None, "also write all numbers to this file")
    seed: int = setting(0, "seed of the pieces to draw, and of the choice among very many", **SEED)
    other_corpus: bool = setting(
        False, "the folder holds other music than was trained on: evaluate all of it"
    )
    min_notes: int = setting(0, "skip pieces with fewer notes (0 = keep all)", **COUNT)
    samples: int = evaluating(20, "pieces to draw (0 = none)", low=0, high=100_000)
    generated: Path | None = evaluating(None, "evaluate the MIDI files of this folder instead")
    length: int = evaluating(
        0, "tokens per piece (0 = the median of the held-out pieces)", low=0, high=MAX_TOKENS
    )
    temperature: float = evaluating(1.0, "temperature of the pieces to draw", **TEMPERATURE)
    top_p: float | None = evaluating(
        None, "top-p of the pieces to draw (1.0 = off; none = as sample.py)", **TOP_P
    )
    memory: float = evaluating(
        1.0, "strength of the match model in the pieces to draw (0 = off)", low=0, high=2
    )


@dataclass(frozen=True, kw_only=True)
class RenderConfig(Config):
    """Which outputs render.py writes, and where the page and its pieces are."""

    piano_roll: bool = setting(False, "draw FILE.png")
    self_similarity: bool = setting(
        False, "draw FILE.self-similarity.png: how much of each bar recurs in each"
    )
    audio: bool = setting(False, "play into FILE.wav; needs requirements-audio.txt")
    musicxml: bool = setting(False, "write FILE.musicxml for notation programs")
    page: bool = setting(
        False, "write index.html in --output-dir, which shows and plays all its pieces"
    )
    soundfont: Path | None = setting(
        None, "sounds for --audio (none = the soundfont that comes with pretty_midi)"
    )
    output_dir: Path = setting(Path("output"), "folder of the page and its pieces")


@dataclass(frozen=True, kw_only=True)
class ServerConfig(Config):
    """Where serve.py listens, which model it offers first, and where pieces are."""

    open: bool = setting(False, "open the page in the browser")
    port: int = setting(8765, "port on 127.0.0.1 (0 = any that is free)", low=0, high=65_535)
    model_dir: Path = setting(Path("model"), "model folder that the page offers first")
    output_dir: Path = setting(Path("output"), "folder of the pieces")
