"""A piece → sound (WAV), by a General MIDI synthesiser."""

import struct
from dataclasses import replace
from pathlib import Path

import pretty_midi

from midilstm import midi
from midilstm.files import InputError
from midilstm.rendering import MARK
from midilstm.rendering.piece import TimedPiece

SOUNDFONT = Path(pretty_midi.__file__).with_name("TimGM6mb.sf2")


def render_audio(piece: TimedPiece, soundfont: Path | None = None) -> bytes:
    """Play a piece's notes, 48 kHz stereo 16-bit; raise InputError where it cannot be played."""
    try:
        import midirenderer  # optional: requirements-audio.txt has it
    except ImportError as error:
        cure = "pip install -r requirements-audio.txt"
        raise InputError(f"--audio needs midirenderer: {cure}") from error
    # It stops at the last event: a tempo three beats later, of half a second each, lets notes ring.
    song, beats = piece.song, 3 * piece.song.ticks_per_quarter
    ringing = {song.end: midi.BPM, song.end + beats: midi.BPM}
    data = midi.to_bytes(replace(song, tempos={**song.tempos, **ringing}))
    soundfont = soundfont or SOUNDFONT
    try:
        # Errors from its native code are plain RuntimeErrors with a reason in them.
        sound = midirenderer.render_wave_from(soundfont.read_bytes(), data)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{piece.path} cannot be played with {soundfont}: {error}.") from error
    # The mark goes into RIFF's own field for a software's name, of an even number of bytes.
    name = MARK.encode() + b"\0" * (2 - len(MARK) % 2)
    info = b"INFOISFT" + struct.pack("<I", len(name)) + name
    body = sound[8:] + b"LIST" + struct.pack("<I", len(info)) + info
    return b"RIFF" + struct.pack("<I", len(body)) + body
