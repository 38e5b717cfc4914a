"""Models of pieces of a single instrument each, which `remi` names once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fill_bands import REMI, random_band, random_network, vocabulary

from midilstm import midi
from midilstm.config import DataConfig, SamplingConfig
from midilstm.data.dataset import load_dataset
from midilstm.generation.fill import Filler
from midilstm.generation.opening import Opening, collect_openings
from midilstm.generation.primer import encode_primer
from midilstm.generation.sampler import Sampler
from midilstm.generation.source_piece import open_source
from midilstm.midi import DRUMS, Note, Score
from midilstm.tokenizers.base import split
from midilstm.tokenizers.vocabulary import END, Vocabulary

GUITAR, FLUTE = 25, 73
PROGRAMS = pytest.mark.parametrize("program", [0, GUITAR, DRUMS])
MODELS = pytest.mark.parametrize(("program", "n_merges"), [(0, 0), (GUITAR, 80), (DRUMS, 80)])


def solo(seed: int, program: int) -> Score:
    return random_band(np.random.default_rng([seed, 7]), programs=(program,))


def opening(known: Vocabulary, program: int) -> Opening:
    ids = known.ids_of([*known.apply_merges(REMI.encode(solo(1, program))), END])
    return collect_openings({"a.mid": ids[ids >= 0]}, known)[0]


def is_named_once(tokens: list[str], program: int) -> bool:
    return [x for x in split(tokens) if x.startswith("Program")] == [f"Program_{program}"]


@PROGRAMS
def test_a_folder_decides_how_often_an_instrument_is_named(program: int, tmp_path: Path) -> None:
    scores = {f"{seed}.mid": solo(seed, program) for seed in (0, 1)}
    scores["3.mid"] = solo(3, FLUTE)  # the instruments of two pieces may differ
    for name, score in scores.items():
        (tmp_path / name).write_bytes(midi.to_bytes(score))
    config = DataConfig(data_dir=tmp_path, encoding="remi", jobs=1, bpe=20, transpose=False)
    data = load_dataset(config)
    known, encoding = data.vocabulary, data.vocabulary.encoding
    grammar = known.grammar()
    assert known.is_solo and known.merges and grammar
    known.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json") == known
    for name, ids in (data.training | data.held_out).items():
        tokens = [known.tokens[token_id] for token_id in ids[:-1]]
        assert is_named_once(tokens, FLUTE if name == "3.mid" else program)
        plain = REMI.encode(midi.read(tmp_path / name))
        assert encoding.timed_notes(tokens) == REMI.timed_notes(plain)
        assert REMI.in_order(split(tokens)) == plain
        state = grammar.state_after([])
        for token_id in ids.tolist():
            assert grammar.mask([state], may_end=True)[0, token_id] == 0
            (state,) = grammar.advance([state], [token_id])
    # A vocabulary that was made before, or of other pieces, is read as it is.
    other = load_dataset(config, like=Vocabulary((END,), "remi"))
    assert not other.vocabulary.is_solo and other.n_tokens > data.n_tokens
    (tmp_path / "band.mid").write_bytes(midi.to_bytes(random_band(np.random.default_rng(9))))
    mixed = load_dataset(replace(config, bpe=0))
    assert not mixed.vocabulary.is_solo
    tokens = [mixed.vocabulary.tokens[i] for i in (mixed.training | mixed.held_out)["0.mid"]]
    assert tokens[:-1] == REMI.encode(midi.read(tmp_path / "0.mid"))


@MODELS
@pytest.mark.parametrize("settings", [{}, {"opening": False}, {"instruments": ""}], ids=str)
def test_new_pieces_play_the_instrument(
    program: int, n_merges: int, settings: dict[str, Any]
) -> None:
    known = vocabulary(n_merges, (program,))
    if "instruments" in settings:
        settings = {"instruments": {0: "piano", GUITAR: "guitar", DRUMS: "drums"}[program]}
    config = SamplingConfig(bars=4, **settings)
    network = random_network(1, len(known))
    openings = [opening(known, program)]
    n_bars = 0
    for piece in Sampler(network, known, config, None, (), openings).draw(range(2)):
        assert known.encoding.drop_invalid(piece.tokens) == split(piece.tokens)
        notes = known.encoding.timed_notes(piece.tokens)
        assert {note.program for note in notes} == {program}
        n_bars += len({int(note.start / 2) for note in notes})
    assert n_bars > 3


@MODELS
@pytest.mark.parametrize("others", [(), (FLUTE,), (DRUMS, 0, FLUTE)], ids=str)
def test_a_primer_keeps_its_instruments_and_the_model_goes_on_with_its_own(
    program: int, n_merges: int, others: tuple[int, ...]
) -> None:
    if program == DRUMS and others == (FLUTE,):
        return  # it has nothing that the model knows
    known, encoding = vocabulary(n_merges, (program,)), vocabulary(0, (program,)).encoding
    score = random_band(np.random.default_rng(4), programs=others or (program,))
    primer = REMI.drop_invalid(REMI.encode(score)[:-40])  # it ends inside a bar
    read = [known.tokens[token_id] for token_id in encode_primer(primer, known)]
    assert is_named_once(read, program)
    network, config = random_network(2, len(known)), SamplingConfig(chars=60)
    before = [note[:4] for note in REMI.timed_notes(primer)]
    for piece in Sampler(network, known, config, None, primer).draw(range(4)):
        n_new = sum(x.startswith("Pitch") for x in split(piece.tokens))
        both = encoding.drop_invalid([*primer, *piece.tokens])
        notes = Counter(note[2:] for note in encoding.timed_notes(both))
        notes.subtract(note[2:] for note in before)
        assert {x[1] for x, n in notes.items() if n > 0} == ({program} if n_new else set())
        assert min(notes.values()) >= 0
        alone = encoding.with_header(piece.tokens, primer)
        new = encoding.timed_notes(alone)
        assert {note.program for note in new} <= {program}
        assert len(new) == sum(x.startswith("Duration") for x in encoding.drop_invalid(alone))


@MODELS
@pytest.mark.parametrize("fill", ["2-3,5", "1-2", "4-6"])
def test_bars_are_filled_by_the_instrument(program: int, n_merges: int, fill: str) -> None:
    known, n_drawn = vocabulary(n_merges, (program,)), 0
    filled = {int(x) - 1 for word in fill.split(",") for x in _range(word)}
    for seed in range(5):
        score = solo(seed, program)
        config = SamplingConfig(fill=fill, candidates=2)
        source = open_source(score, config, known)
        length = replace(config, bars=len(source.is_drawn))
        sampler = Sampler(random_network(seed, len(known)), known, length)
        piece = Filler(sampler, source, seed).draw()
        written = midi.read(source.to_midi(piece.notes, config))
        assert {note.program for note in written.notes} == {program}
        fixed, _ = source.fixed_notes
        notes = Counter(Note(*x[:4]) for x in written.notes)
        notes.subtract(Note(*x[:4]) for x in fixed)
        assert min(notes.values()) >= 0
        new = [note for note, n in notes.items() if n > 0]
        assert {source.bar_of(note.start) for note in new} <= filled
        n_drawn += len(new)
    assert n_drawn


@MODELS
def test_fixed_notes_may_come_first_in_the_piece(program: int, n_merges: int) -> None:
    known, score = vocabulary(n_merges, (program,)), solo(1, program)
    source = open_source(score, SamplingConfig(fill="1,3", candidates=2), known)
    network = random_network(1, len(known))
    bars = np.array([token.startswith("Bar") for token in known.tokens])
    network = replace(network, head_bias=np.where(bars, 99, network.head_bias).astype(np.float32))
    config = SamplingConfig(candidates=2, bars=len(source.is_drawn))
    piece = Filler(Sampler(network, known, config), source, 0).draw()
    assert not [note for note in piece.notes if source.bar_of(note.start) == 0]


def _range(word: str) -> range:
    first, _, last = word.partition("-")
    return range(int(first), int(last or first) + 1)
