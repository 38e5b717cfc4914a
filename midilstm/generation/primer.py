"""Read the MIDI file that new music continues, and express it in the tokens of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from midilstm import midi, tokenizers
from midilstm.fileio import InputError, warn
from midilstm.generation.loaded_model import LoadedModel
from midilstm.midi import MidiError
from midilstm.tokenizers.vocabulary import Vocabulary

MAX_TOKENS = 2**18  # of a primer, which is fed to the network one by one


def read_primer(path: Path, model: LoadedModel) -> list[str]:
    """Return a file's tokens, read as the model's training data was; InputError without music."""
    encoding = model.vocabulary.encoding
    try:
        tokens = tokenizers.read(path, encoding.name, pedal=model.pedal)
    except MidiError as error:
        raise InputError(f"{path} cannot be the primer: {error}") from error
    known = encoding.change_meter(tokens, model.vocabulary.token_ids)
    if known != tokens:
        warn(f"the model does not know all meters of {path}, which is rewritten in a known one")
    return known


def read_source(path: Path, model: LoadedModel) -> midi.Score:
    """Return the notes of a file to write into; raise InputError without music."""
    try:
        return midi.read(path, pedal=model.pedal)
    except MidiError as error:
        raise InputError(f"{path} cannot be the primer: {error}") from error


def encode_primer(tokens: Sequence[str], vocabulary: Vocabulary) -> list[int]:
    """Return the ids of a primer; print which unknown tokens are replaced, and by which."""
    known = nearest_tokens(tokens, vocabulary)
    return [vocabulary.token_ids[token] for token in vocabulary.apply_merges(known)]


def nearest_tokens(tokens: Sequence[str], vocabulary: Vocabulary) -> list[str]:
    """Return unmerged tokens of the vocabulary; print which are replaced, and by which."""
    if len(tokens) > MAX_TOKENS:
        raise InputError(f"the primer has {len(tokens):,} tokens, more than {MAX_TOKENS:,}")
    encoding, ids = vocabulary.encoding, vocabulary.token_ids
    unknown = Counter(token for token in tokens if token not in ids)
    if invalid := [token for token in unknown if not encoding.is_token(token)]:
        raise InputError(
            f"the primer has {invalid[0][:60]!a}, which is not a token of {encoding.name}"
        )
    candidates = [token for token in vocabulary.tokens[1:] if " " not in token]  # not merged ones
    nearest = {token: encoding.nearest(token, candidates) for token in unknown}
    replaced = (nearest.get(token, token) for token in tokens)
    # Another instrument or pitch may have another place.
    valid = encoding.drop_invalid(encoding.in_order([token for token in replaced if token]))
    if unknown:
        names = ", ".join(
            f"{token} ({f'replaced by {nearest[token]}' if nearest[token] else 'left out'})"
            for token, _ in unknown.most_common(10)
        )
        more = f" and {len(unknown) - 10} others" if len(unknown) > 10 else ""
        # Without rhythm a note's time is its index, which any token left out before it moves.
        first = 0 if encoding.keeps_rhythm else 1
        old, new = (Counter(x[first:] for x in encoding.timed_notes(y)) for y in (tokens, valid))
        lost = old.total() - new.total()
        changed = old.total() - (old & new).total() - lost
        print(
            f"The model does not know {names}{more}: of the primer's {old.total()} notes "
            f"{lost} are lost and {changed} are changed"
        )
    if tokens and not encoding.timed_notes(valid):
        raise InputError("the model knows nothing similar to the primer: give another --primer")
    return valid
