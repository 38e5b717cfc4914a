"""Evaluate a trained model: everything that its folder and the music allow to be measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from midilstm.config import DataConfig, EvaluationConfig, SamplingConfig
from midilstm.data.dataset import Dataset
from midilstm.evaluation import piece_sets, report
from midilstm.evaluation.baseline import PredictionStats, measure_prediction
from midilstm.evaluation.copying import CopyStats, compare_copying, write_copies
from midilstm.evaluation.groove import compare_groove
from midilstm.evaluation.repetition_stats import RepetitionStats, compare_repetition
from midilstm.evaluation.similarity import Similarity, Statistics, compare_music
from midilstm.generation.loaded_model import LoadedModel, open_model
from midilstm.generation.sampler import Sampler
from midilstm.model_dir import load_settings
from midilstm.repetition.match_model import MatchWeights, bars_per_token

MAX_DESCRIBED = 200  # pieces of a set that are described: each is compared with each


@dataclass(frozen=True, kw_only=True)
class EvaluationResult(PredictionStats):
    """What an evaluation measured, as `--json` writes it; None for what could not be measured."""

    checkpoint: str
    encoding: str
    corpus: Mapping[str, str]
    other_corpus: bool
    seed: int
    temperature: float
    top_p: float
    memory: MatchWeights | None
    warnings: tuple[str, ...]
    generated: Mapping[str, float | None] | None = None
    repetition: Mapping[str, RepetitionStats] | None = None
    statistics: Statistics | None = None
    groove: Statistics | None = None
    similarity: Similarity | None = None
    copying: CopyStats | None = None
    summary: str = ""


def evaluate_model(config: EvaluationConfig) -> EvaluationResult:
    """Evaluate a checkpoint on the training run's dataset or on other music, and its new pieces."""
    model = open_model(config.model_dir, config.checkpoint)
    reading = DataConfig(
        **piece_sets.reading_flags(config),
        min_notes=config.min_notes,
        encoding=model.vocabulary.encoding_name,
        pedal=model.pedal,
    )
    settings = None if config.other_corpus else load_settings(config.model_dir)
    dataset, warnings = piece_sets.load_music(reading, settings, model.vocabulary)
    rng = np.random.default_rng([config.seed, 0])
    prediction = measure_prediction(
        model.network, dataset, model.vocabulary, rng, model.match_weights
    )
    result = EvaluationResult(
        checkpoint=str(model.checkpoint_path),
        encoding=model.vocabulary.encoding_name,
        corpus={"folder": str(config.data_dir), "sha256": dataset.fingerprint()},
        other_corpus=config.other_corpus,
        seed=config.seed,
        temperature=config.temperature,
        top_p=config.top_p or model.vocabulary.encoding.default_top_p,
        memory=model.match_weights,
        warnings=tuple(warnings),
        **vars(prediction),
    )
    if config.generated or config.samples:
        result = _compare_generated(result, config, reading, model, dataset)
    return replace(result, summary=report.summarize(result))


def _compare_generated(
    result: EvaluationResult,
    config: EvaluationConfig,
    reading: DataConfig,
    model: LoadedModel,
    dataset: Dataset,
) -> EvaluationResult:
    """Add how generated pieces repeat themselves, and how similar and copied they are."""
    vocabulary, memory = model.vocabulary, None
    if config.generated:
        generated, vocabulary = piece_sets.read_folder(config.generated, reading, vocabulary)
        write_copies(config.generated, generated, dataset, vocabulary)
    else:
        memory = config.memory if model.match_weights else 0.0
        sampling = SamplingConfig(
            chars=config.length or piece_sets.typical_length(dataset),
            temperature=config.temperature,
            top_p=config.top_p,
            memory=config.memory,
        )
        seeds = range(config.seed, config.seed + config.samples)
        weights, openings = model.match_weights, model.openings
        sampler = Sampler(model.network, vocabulary, sampling, weights, openings=openings)
        generated = piece_sets.sample_pieces(sampler, seeds)
    length = config.length or int(np.median([len(ids) for ids in generated.values()]))
    sets = piece_sets.cut_sets(generated, dataset, length)
    rng = np.random.default_rng([config.seed, 1]).spawn(1)[0]
    described = {
        group: piece_sets.subsample(pieces, MAX_DESCRIBED, rng) for group, pieces in sets.items()
    }
    statistics, similarity = compare_music(described, vocabulary, rng)
    return replace(
        result,
        generated={"pieces": len(generated), "length": length, "memory": memory},
        repetition=compare_repetition(described, bars_per_token(vocabulary)),
        statistics=statistics,
        groove=compare_groove(described, vocabulary),
        similarity=similarity,
        copying=compare_copying(dataset, sets, vocabulary) if dataset.training else None,
    )
