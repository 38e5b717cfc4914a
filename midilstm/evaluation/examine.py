"""New pieces beside people's: form, statistics, similarity, copies. Samples and scores nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from midilstm.data.dataset import Dataset
from midilstm.evaluation import copying, similarity
from midilstm.evaluation import repetition_stats as form
from midilstm.evaluation.piece_sets import Pieces, beginnings
from midilstm.repetition.match_model import bars_per_token
from midilstm.tokenizers.vocabulary import Vocabulary


def compare_to_reference(
    made: Pieces,
    length: int,
    corpus: Dataset,
    vocabulary: Vocabulary,
    rng: np.random.Generator,
    of_form: np.random.Generator,
) -> dict[str, Any]:
    """Return what there is to say of pieces without ends beside people's, all cut to `length`."""
    sets = beginnings(made, corpus, length)
    result = {
        "form": form.compare(sets, bars_per_token(vocabulary), of_form),
        **similarity.compare(sets, vocabulary, rng),
    }
    if corpus.training:
        result["copying"] = copying.copy_report(corpus.training, sets, vocabulary, rng)
    return result
