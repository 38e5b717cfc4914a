"""Where pieces with an ending end, and how their last notes are held."""

import io
from typing import Any

import mido
import numpy as np
import pytest
from made_pieces import Uniform

from midilstm import midi
from midilstm.config import SamplingConfig
from midilstm.generation.sampler import GeneratedPiece, Sampler
from midilstm.midi import DRUMS, Note
from midilstm.tokenizers.vocabulary import END, Vocabulary

HEADER = ("Bar_None", "TimeSig_3/4", "TimeSig_4/4", "Tempo_90.0", "Program_-1", "Program_33")
NOTES = ("PitchDrum_36", *(f"Pitch_{pitch}" for pitch in range(48, 60)), "Velocity_63")
PLACES = tuple(f"Position_{position}" for position in range(0, 36, 6))
TOKENS = (END, *HEADER, "Program_0", *NOTES, *PLACES, "Duration_1.0.12", "Duration_6.0.12")
MERGES = ("Duration_1.0.12 Bar_None", "Bar_None TimeSig_3/4", "Program_-1 Position_0 PitchDrum_36")
REMI = Vocabulary(TOKENS, "remi")
BOTH = pytest.mark.parametrize(
    "vocabulary", [REMI, Vocabulary((*TOKENS, *MERGES), "remi")], ids=["plain", "merged"]
)


class Ends(Uniform):
    """A network that ends a piece with some probability, and bars often."""

    def __init__(self, vocabulary: Vocabulary, end: float) -> None:
        super().__init__(len(vocabulary))
        self.end, self.bars = end, np.array(["Bar" in token for token in vocabulary.tokens])

    def step(self, ids: np.ndarray) -> np.ndarray:
        log_probs = super().step(ids) + 2 * self.bars
        log_probs[:, 0] = np.log(self.end)
        return log_probs


def draw(
    vocabulary: Vocabulary, count: int, end: float = 0.01, **settings: Any
) -> tuple[Sampler, list[GeneratedPiece]]:
    config = SamplingConfig(ending=True, top_p=1.0, **settings)
    network: Any = Ends(vocabulary, end)
    sampler = Sampler(network, vocabulary, config)
    return sampler, sampler.draw(range(count))


def score_of(sampler: Sampler, piece: GeneratedPiece) -> tuple[midi.Score, int]:
    """Return the notes of a piece's file, and the tick at which all of its tracks end."""
    tokens = sampler.length.drop_silence(piece.tokens)
    content, _ = sampler.vocabulary.encoding.to_midi(tokens, rest=piece.rest, holds_end=True)
    tracks = mido.MidiFile(file=io.BytesIO(content)).tracks
    (end,) = {sum(message.time for message in track) for track in tracks}
    return midi.read(content), end


@BOTH
@pytest.mark.parametrize("end", [1e-9, 0.01, 0.5])
def test_a_piece_ends_with_a_bar_within_two_bars_of_its_length(
    vocabulary: Vocabulary, end: float
) -> None:
    sampler, pieces = draw(vocabulary, 25, end, bars=8)
    n_bars = []
    for piece in pieces:
        score, end_tick = score_of(sampler, piece)
        bars = midi.bar_ticks(score, end_tick + 1)
        assert bars[-1] == end_tick  # a bar would begin there
        last = max(note.start for note in score.notes)
        assert bars[-2] <= last < end_tick
        held = {n.program: n.start for n in score.notes if n.program != DRUMS}
        for note in score.notes:
            is_last = held.get(note.program) == note.start >= bars[-2]
            assert note.start + note.length <= end_tick
            assert not is_last or note.start + note.length == end_tick
        n_bars.append(len(bars) - 1)
        if n_bars[-1] == 9:  # a single onset
            assert {note.start for note in score.notes if note.start >= bars[-2]} == {bars[-2]}
    assert {*n_bars} <= {6, 7, 8, 9}
    assert len({*n_bars}) > 1 or end != 0.01
    assert {*n_bars} == {9} or end > 1e-6
    assert np.mean(n_bars) < 7.5 or end < 0.1


@BOTH
@pytest.mark.parametrize(("key", "chord"), [("D minor", (2, 5, 9)), ("F", (5, 9, 0))])
@pytest.mark.parametrize("end", [1e-9, 0.05])
def test_the_lowest_last_note_is_the_tonic(
    vocabulary: Vocabulary, key: str, chord: tuple[int, ...], end: float
) -> None:
    sampler, pieces = draw(vocabulary, 20, end, bars=4, key=key, control_strength=0.1)
    for piece in pieces:
        score, end_tick = score_of(sampler, piece)
        bars = midi.bar_ticks(score, end_tick + 1)
        held = {n.program: n.start for n in score.notes if n.program != DRUMS}
        last = [n for n in score.notes if held.get(n.program) == n.start >= bars[-2]]
        if last or len(held) or len(bars) - 1 < 5:  # where any instrument but drums plays
            assert min(n.pitch for n in last) % 12 == chord[0]
        if len(bars) - 1 == 5:
            assert {n.pitch % 12 for n in last} <= {*chord}


def test_the_last_notes_of_each_instrument_in_the_last_bar_are_held() -> None:
    notes = (
        *(Note(0, 480, 60), Note(960, 100, 62), Note(960, 200, 65)),
        *(Note(0, 480, 40, 90, 33), Note(1200, 60, 36, 90, DRUMS)),
    )
    score = midi.Score(480, tuple(sorted(notes)), {}, {0: (3, 4)})
    assert {(n.start, n.pitch): n.length for n in midi.hold_last_notes(score, 1440).notes} == {
        **{(0, 60): 480, (960, 62): 480, (960, 65): 480, (0, 40): 1440, (1200, 36): 60},
    }


@pytest.mark.parametrize("name", ["notes", "tsd"])
def test_without_bars_an_ending_is_the_length_alone(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = ("C4", "E4") if name == "notes" else ("Program_0", "TimeShift_1.0.12", *NOTES)
    vocabulary = Vocabulary((END, *tokens), name)
    network: Any = Uniform(len(vocabulary))
    pieces = [
        Sampler(network, vocabulary, SamplingConfig(bars=3, ending=ending)).draw([1])[0]
        for ending in (True, False)
    ]
    assert pieces[0] == pieces[1]
    assert f"{name} has no bars, so that --ending changes nothing" in capsys.readouterr().err
