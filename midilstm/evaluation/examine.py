"""New pieces beside people's: form, statistics, similarity, copies. Samples and scores nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from midilstm.corpus.corpus import Corpus
from midilstm.evaluation import copying, form, similarity
from midilstm.evaluation.pieces import Pieces, beginnings
from midilstm.sampling.fitting import bars_of
from midilstm.tokens.vocabulary import Vocabulary


def examine(
    made: Pieces,
    length: int,
    corpus: Corpus,
    vocabulary: Vocabulary,
    rng: np.random.Generator,
    of_form: np.random.Generator,
) -> dict[str, Any]:
    """Return what there is to say of pieces without ends beside people's, all cut to `length`."""
    sets = beginnings(made, corpus, length)
    result = {
        "form": form.compare(sets, bars_of(vocabulary), of_form),
        **similarity.compare(sets, vocabulary, rng),
    }
    if corpus.training:
        result["copying"] = copying.find_copies(corpus.training, sets, vocabulary, rng)
    return result
