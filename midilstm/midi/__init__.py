"""Read and write MIDI files: `read(path) -> Score`, `to_bytes(score) -> bytes`."""

from midilstm.midi.bars import bar_ticks as bar_ticks
from midilstm.midi.bars import drop_leading_bars as drop_leading_bars
from midilstm.midi.bars import hold_last_notes as hold_last_notes
from midilstm.midi.instruments import choose_programs as choose_programs
from midilstm.midi.instruments import parse_instruments as parse_instruments
from midilstm.midi.instruments import program_distance as program_distance
from midilstm.midi.instruments import program_of as program_of
from midilstm.midi.instruments import programs_of_channels as programs_of_channels
from midilstm.midi.notes import apply_sustain as apply_sustain
from midilstm.midi.reader import MAX_BYTES as MAX_BYTES
from midilstm.midi.reader import VERSION as VERSION
from midilstm.midi.reader import read as read
from midilstm.midi.score import DEFAULT_BPM as DEFAULT_BPM
from midilstm.midi.score import DRUMS as DRUMS
from midilstm.midi.score import MAX_QUARTERS as MAX_QUARTERS
from midilstm.midi.score import MidiError as MidiError
from midilstm.midi.score import Note as Note
from midilstm.midi.score import Score as Score
from midilstm.midi.score import cut_at_next_onset as cut_at_next_onset
from midilstm.midi.score import instrument_name as instrument_name
from midilstm.midi.score import quantised as quantised
from midilstm.midi.writer import cut_off as cut_off
from midilstm.midi.writer import split_stems as split_stems
from midilstm.midi.writer import to_bytes as to_bytes
from midilstm.midi.writer import with_tempo_and_program as with_tempo_and_program
