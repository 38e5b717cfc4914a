"""The order of `remi`: bar by bar and, inside a bar, instrument by instrument."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from band_files import NOTE, PARTS, REMI, band_file, bundled, encode
from midi_bytes import band, conductor, notes, signature, smf, tempo

from midilstm import midi, tokenizers
from midilstm.tokenizers import bpe
from midilstm.tokenizers.miditok import MidiTokEncoding
from midilstm.tokenizers.order import by_instrument
from midilstm.tokenizers.vocabulary import END, Vocabulary

Place = tuple[int, int, int, int]  # bar, place of the program, position, pitch
TWO_TEMPOS = band_file((0, signature(3, 4)), (0, tempo(90)), (4.5, tempo(150)))


def places(tokens: list[str]) -> list[Place]:
    """Return the place of each note, with programs in the order that the encoding promises."""
    order = [midi.DRUMS, *range(32, 40), *range(32), *range(40, 128)]
    bar, program, position = -1, -9, -9
    result = []
    for kind, _, value in (token.partition("_") for token in tokens):
        if kind == "Bar":
            bar, program, position = bar + 1, -9, -9
        elif kind == "Program":
            program, position = order.index(int(value)), -9
        elif kind == "Position":
            position = int(value)
        elif kind.startswith("Pitch"):
            result.append((bar, program, position, int(value)))
    return result


def miditok_order(data: bytes) -> list[str]:
    """Return the tokens in MidiTok's order, in which the instruments of a bar alternate."""

    class Unordered(MidiTokEncoding):
        def in_order(self, tokens: object) -> list[str]:
            assert isinstance(tokens, list)
            return tokens

    return Unordered("remi").encode(midi.read(data))


@pytest.mark.parametrize("data", [TWO_TEMPOS, band(1), band(5)], ids=["tempos", "1", "5"])
def test_each_bar_gives_its_instruments_one_after_the_other(data: bytes) -> None:
    tokens, interleaved = encode(data, "remi"), miditok_order(data)
    order = places(tokens)
    assert all(a < b for a, b in pairwise(order))
    assert all(program >= 0 and position >= 0 for _, program, position, _ in order)
    assert by_instrument(interleaved) == tokens != interleaved
    assert by_instrument(tokens) == tokens
    score, expected = REMI.decode(tokens), REMI.decode(interleaved)
    assert (score.tempos, score.time_signatures) == (expected.tempos, expected.time_signatures)
    assert [n._replace(track=0) for n in score.notes] == [
        n._replace(track=0) for n in expected.notes
    ]
    assert REMI.drop_invalid(tokens) == tokens


def test_the_tempos_of_a_bar_stand_before_its_instruments() -> None:
    tokens = encode(TWO_TEMPOS, "remi")
    bars = "\n".join(tokens).split("Bar_None\n")[1:]
    assert bars[0].startswith("TimeSig_3/4\nPosition_0\nTempo_90.0\nProgram_-1\nPosition_0\nPitch")
    assert bars[1].startswith(
        "TimeSig_3/4\nPosition_18\nTempo_150.0\nProgram_-1\nPosition_0\nPitch"
    )
    assert bars[2].startswith("TimeSig_3/4\nProgram_-1\nPosition_0\nPitch")


def test_one_instrument_has_miditoks_tokens_and_its_name_in_each_bar() -> None:
    data = smf(conductor((0, signature(3, 4))), notes(*PARTS[0], channel=2))
    new, old = encode(data, "remi"), miditok_order(data)
    assert [token for token in new if token != "Program_0"] == [
        token for token in old if token != "Program_0"
    ]
    assert new.count("Program_0") == len({bar for bar, *_ in places(new)})


def test_of_notes_struck_twice_the_longest_is_kept() -> None:
    data = smf(notes((0, 1, 60), (1, 2, 62)), notes((0, 3, 60), (1, 1.5, 62), channel=1))
    assert [(n.start, n.pitch, n.length) for n in REMI.timed_notes(encode(data, "remi"))] == [
        *((0, 60, 3), (1, 62, 1)),
    ]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([*NOTE[:2], "Bar_None", *NOTE[1:]], ["Bar_None"]),  # a note over a bar line is lost
        (["Bar_None", "Position_3", *NOTE], ["Bar_None", "Program_0", "Position_3", *NOTE]),
        ([], []),
    ],
)
def test_damaged_tokens_have_an_order(tokens: list[str], expected: list[str]) -> None:
    assert by_instrument(tokens) == expected


@pytest.fixture(scope="module")
def merged() -> Callable[[list[str]], list[str]]:
    """Return a function that makes the merges learned from made bands and real pieces."""
    pieces = [encode(band(seed), "remi") for seed in range(6)]
    pieces += [tokenizers.read(path, "remi") for path in bundled()[:4]] + [
        encode(TWO_TEMPOS, "remi")
    ]
    merges = bpe.learn(pieces, 200, REMI.is_mergeable)
    names = {*map(" ".join, merges)}.union(*pieces)
    return Vocabulary((END, *sorted(names)), "remi", merges).apply_merges


SOURCES = [*bundled(), TWO_TEMPOS, band(2), band(9)]


@pytest.mark.parametrize("source", SOURCES, ids=[str(n) for n in range(len(SOURCES))])
def test_each_token_of_a_piece_is_allowed_merged_or_not(
    source: Path | bytes, merged: Callable[[list[str]], list[str]]
) -> None:
    score = midi.drop_leading_bars(midi.read(source))
    plain = REMI.encode(score)
    assert len(merged(plain)) <= len(plain)
    for tokens in (plain, merged(plain)):
        vocabulary = Vocabulary((END, *sorted(set(tokens))), "remi")
        grammar = vocabulary.grammar()
        assert grammar is not None
        state = grammar.state_after([])
        for token_id in vocabulary.ids_of([*tokens, END]).tolist():
            assert grammar.mask([state], may_end=True)[0, token_id] == 0
            (state,) = grammar.advance([state], [token_id])
    starts = {(n.program, n.start, n.pitch) for n in REMI.decode(plain).notes}
    assert len(starts) == len(REMI.decode(plain).notes) == len(places(plain))
