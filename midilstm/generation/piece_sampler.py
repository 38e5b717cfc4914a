"""Assemble everything that draws pieces from a trained model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from midilstm.config import SamplingConfig
from midilstm.fileio import warn
from midilstm.generation.constraints import Constraints, parse_constraints
from midilstm.generation.generate import StopReason, generate
from midilstm.generation.length import PieceLength
from midilstm.generation.loaded_model import LoadedModel
from midilstm.generation.network import Network
from midilstm.repetition.match_model import MatchModel, MatchWeights, bars_per_token
from midilstm.tokenizers.vocabulary import Vocabulary


@dataclass(frozen=True)
class GeneratedPiece:
    """New music: the ids as drawn, their tokens up to the length, and what stopped the piece.

    It is "limit" where the length in bars or seconds was not reached in a sensible number of ids.
    """

    ids: tuple[int, ...]
    tokens: list[str]
    stop_reason: StopReason


@dataclass(frozen=True)
class Sampler:
    """A network and all that changes its probabilities; a match model is optional."""

    network: Network
    vocabulary: Vocabulary
    config: SamplingConfig
    match_weights: MatchWeights | None = None
    constraints: Constraints | None = None

    def draw(
        self,
        seeds: Sequence[int],
        length: PieceLength,
        primer_ids: Sequence[int] = (),
        progress: Callable[[int], object] | None = None,
    ) -> list[GeneratedPiece]:
        """Draw a piece for each seed, after a primer's ids.

        `progress` is called with the number of tokens drawn since the last call; without it a
        progress bar is shown.
        """
        max_tokens, constraints = length.max_tokens, self.constraints
        match_model = None
        if self.match_weights:
            bars = bars_per_token(self.vocabulary)
            match_model = MatchModel.begin(bars, self.match_weights, self.config.memory)
        primer = [self.vocabulary.tokens[token_id] for token_id in primer_ids]
        total = len(seeds) * max_tokens if length.is_exact else None
        hidden = True if progress else None  # None: hidden where nothing can be drawn
        with tqdm(total=total, delay=0.5, unit="token", leave=False, disable=hidden) as bar:
            drawn = generate(
                self.network,
                seeds,
                max_tokens,
                self.config,
                primer_ids,
                match_model=match_model,
                grammar=self.vocabulary.grammar() if self.config.strict_grammar else None,
                begin_constraints=(lambda: constraints.begin(primer)) if constraints else None,
                begin_length=None if length.is_exact else length.id_counter,
                progress=progress or bar.update,
            )
        reasons = ["length" if length.is_exact and x == "limit" else x for _, x in drawn]
        if n_cut := reasons.count("limit"):
            warn(
                f"{n_cut} of {len(seeds)} pieces were cut off at {max_tokens} tokens, before "
                f"{length}: the model does not advance in time"
            )
        pieces = zip(drawn, reasons, strict=True)
        return [GeneratedPiece(tuple(ids), length.cut(ids), reason) for (ids, _), reason in pieces]


def make_sampler(model: LoadedModel, config: SamplingConfig) -> Sampler:
    """Return the sampler of a model; raise InputError for constraints that it cannot follow."""
    constraints = parse_constraints(model.vocabulary, config)
    match_weights = model.match_weights if config.memory else None
    return Sampler(model.network, model.vocabulary, config, match_weights, constraints)
