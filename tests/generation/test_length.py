"""A piece of so many bars or seconds is a file of that length, counted from the first note."""

import io
from typing import Any

import mido
import numpy as np
import pretty_midi
import pytest
from made_pieces import Uniform

from midilstm.config import SamplingConfig
from midilstm.generation.length import PieceLength
from midilstm.generation.sampler import Sampler
from midilstm.tokenizers.vocabulary import END, Vocabulary

NOTE = ("Program_0", "Pitch_60", "Velocity_63", "Duration_2.6.12")
SHIFTS = tuple(f"TimeShift_{beats}.6.12" for beats in range(1, 8))
HEADER = ("Bar_None", "TimeSig_3/4", "Position_0", "Tempo_90.0")
VOCABULARIES = {
    "notes": Vocabulary((END, "C4", "E4")),
    "tsd": Vocabulary((END, *NOTE, *SHIFTS), "tsd"),
    "remi": Vocabulary((END, *HEADER, *NOTE, "TimeSig_6/8", "Position_30"), "remi"),
    "merged": Vocabulary((END, *HEADER, *NOTE, "Position_30", "Bar_None Position_30"), "remi"),
}
AT_0 = (NOTE[0], "Position_0", *NOTE[1:])
AT_30 = (NOTE[0], "Position_30", *NOTE[1:])
PRIMERS = {"notes": ["C4"], "tsd": [*NOTE, *SHIFTS[:1]], "remi": [*HEADER, *AT_0]}
PRIMERS["merged"] = PRIMERS["remi"]


def lengths(content: bytes) -> tuple[set[float], float, float]:
    """Return where the tracks end, the first note begins and the last one ends, in quarters."""
    file, ends, times = mido.MidiFile(file=io.BytesIO(content)), set(), []
    for track in file.tracks:
        ticks = np.cumsum([message.time for message in track]) / file.ticks_per_beat
        ends.add(float(ticks[-1]))
        times += [t for t, m in zip(ticks, track, strict=True) if m.type in ("note_on", "note_off")]
    return ends, float(min(times)), float(max(times))


@pytest.mark.parametrize("name", VOCABULARIES)
@pytest.mark.parametrize("primed", [False, True])
@pytest.mark.parametrize("length", [{"bars": 1}, {"bars": 6}, {"seconds": 3.3}])
def test_a_file_ends_with_its_length(name: str, primed: bool, length: dict[str, Any]) -> None:
    vocabulary, primer = VOCABULARIES[name], PRIMERS[name] if primed else []
    config = SamplingConfig(**length, bpm=90)
    network: Any = Uniform(len(vocabulary))
    sampler = Sampler(network, vocabulary, config, None, primer)
    for piece in sampler.draw(range(20)):
        encoding = vocabulary.encoding
        if primed:
            tokens = encoding.with_header(piece.tokens, primer)
        else:
            tokens = sampler.length.drop_silence(piece.tokens)
        if not encoding.timed_notes(encoding.drop_invalid(tokens)):
            continue
        content, _ = encoding.to_midi(tokens, bpm=90, rest=piece.rest)
        ends, first, last = lengths(content)
        bar = 3 if encoding.name == "remi" else 4
        expected = length["bars"] * bar if "bars" in length else 3.3 * 1.5 + first * primed
        assert list(ends) == pytest.approx([expected], abs=0.05)
        assert first < bar
        assert last <= expected + 0.05
        whole, _ = encoding.to_midi([*primer, *piece.tokens], bpm=90, rest=piece.rest)
        assert max(lengths(whole)[0]) >= expected - 0.05


@pytest.mark.parametrize(
    ("name", "silence", "music", "starts"),
    [
        ("tsd", SHIFTS[5:6], (*NOTE, *SHIFTS[1:2]) * 4, [0, 2.5, 5, 7.5]),
        ("remi", (*HEADER, *["Bar_None"] * 3), (*AT_0, *("Bar_None", *AT_30) * 3), [0, 5.5]),
        ("remi", HEADER, (*AT_30, *("Bar_None", *AT_30) * 3), [2.5, 5.5]),
    ],
)
def test_silence_at_the_beginning_does_not_count(
    name: str, silence: tuple[str, ...], music: tuple[str, ...], starts: list[float]
) -> None:
    vocabulary, piece = VOCABULARIES[name], (*silence, *music)
    length = PieceLength(SamplingConfig(bars=2), vocabulary)
    clock = length.begin()
    kept = [token for token in piece if length.cut(clock, token)]
    begun = vocabulary.encoding.drop_invalid(length.drop_silence(kept))
    assert [note.start for note in vocabulary.encoding.timed_notes(begun)] == starts
    counted = PieceLength(SamplingConfig(chars=9), vocabulary)
    assert counted.drop_silence(kept) == kept


BAND = ("Program_-1", "Program_32", "Program_0", "PitchDrum_36", "PitchDrum_42", *NOTE[1:])
CHANGES = ("Tempo_60.0", "Tempo_200.0", "TimeSig_3/4", "TimeSig_4/4", "Bar_None")
PLACES = tuple(f"Position_{position}" for position in range(0, 48, 6))
MERGED = ("Duration_2.6.12 Bar_None", "Program_-1 Position_6 PitchDrum_36", "Bar_None TimeSig_3/4")


def notes_before(content: bytes, end: float) -> set[tuple[int, int, float]]:
    """Return program, pitch and start of the notes that begin before a time in seconds."""
    return {
        (part.program - part.is_drum, note.pitch, round(note.start, 2))
        for part in pretty_midi.PrettyMIDI(io.BytesIO(content)).instruments
        for note in part.notes
        if note.start < end - 1e-3
    }


@pytest.mark.parametrize("merges", [(), MERGED], ids=["plain", "merged"])
@pytest.mark.parametrize("length", [{"bars": 3}, {"seconds": 4.1}, {"seconds": 7.3}])
def test_every_instrument_plays_until_the_length_is_over(
    merges: tuple[str, ...], length: dict[str, Any]
) -> None:
    """Compare pieces with the beginnings of longer ones; tempos change inside bars, too."""
    vocabulary = Vocabulary((END, *BAND, *CHANGES, *PLACES, *merges), "remi")
    network: Any = Uniform(len(vocabulary))
    ends, programs = set(), set()

    def draw(seed: int, **length: Any) -> tuple[tuple[int, ...], bytes]:
        sampler = Sampler(network, vocabulary, SamplingConfig(**length))
        (piece,) = sampler.draw([seed])
        tokens = sampler.length.drop_silence(piece.tokens)
        return piece.ids, vocabulary.encoding.to_midi(tokens, rest=piece.rest)[0]

    for seed in range(12):
        (ids, content), (long_ids, long) = draw(seed, **length), draw(seed, bars=30)
        assert long_ids[: len(ids)] == ids
        downbeats = pretty_midi.PrettyMIDI(io.BytesIO(long)).get_downbeats()
        end = downbeats[3] if "bars" in length else length["seconds"]
        assert mido.MidiFile(file=io.BytesIO(content)).length == pytest.approx(end, abs=0.02)
        expected = notes_before(long, end)
        assert notes_before(content, end) == expected == notes_before(content, 1e9)
        ends.add(round(end, 2))
        programs |= {program for program, *_ in expected}
    assert programs == {-1, 0, 32}
    assert len(ends) > 1 or "seconds" in length  # tempos and meters differ


def test_a_piece_that_the_model_ends_is_not_filled_up() -> None:
    vocabulary = VOCABULARIES["remi"]
    config = SamplingConfig(bars=50, stop_at_end=True)
    network: Any = Uniform(len(vocabulary))
    pieces = Sampler(network, vocabulary, config).draw(range(20))
    assert [piece.rest for piece in pieces] == [None] * 20
