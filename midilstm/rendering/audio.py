"""A piece → sound (WAV), by a General MIDI synthesiser."""

import io
import struct
from pathlib import Path

import mido
import pretty_midi
from mido.midifiles.meta import KeySignatureError

from midilstm import midi
from midilstm.fileio import InputError
from midilstm.rendering import MARK
from midilstm.rendering.timeline import MAX_SECONDS, TimedPiece

SOUNDFONT = Path(pretty_midi.__file__).with_name("TimGM6mb.sf2")


def render_audio(piece: TimedPiece, soundfont: Path | None = None) -> bytes:
    """Play a piece's file, 48 kHz stereo 16-bit; raise InputError where it cannot be played."""
    try:
        import midirenderer  # optional: requirements-audio.txt has it
    except ImportError as error:
        cure = "pip install -r requirements-audio.txt"
        raise InputError(f"--audio needs midirenderer: {cure}") from error
    soundfont = soundfont or SOUNDFONT
    if not soundfont.is_file():
        raise InputError(f"{soundfont} is not a file: name a soundfont with --soundfont FILE.sf2.")
    try:
        # Errors from its native code are plain RuntimeErrors with a reason in them.
        sound = midirenderer.render_wave_from(soundfont.read_bytes(), with_release(piece))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{piece.path} cannot be played with {soundfont}: {error}.") from error
    # The mark goes into RIFF's own field for a software's name, of an even number of bytes.
    name = MARK.encode() + b"\0" * (2 - len(MARK) % 2)
    info = b"INFOISFT" + struct.pack("<I", len(name)) + name
    body = sound[8:] + b"LIST" + struct.pack("<I", len(info)) + info
    return b"RIFF" + struct.pack("<I", len(body)) + body


def with_release(piece: TimedPiece) -> bytes:
    """Return the file, volume, pan and bends too, with time at its end for the notes to ring.

    Raise InputError where it goes on in silence.
    """
    data = piece.path.read_bytes()
    try:
        file = mido.MidiFile(file=io.BytesIO(data[data.find(b"MThd") :]), clip=True)
    except (EOFError, OSError, LookupError, ValueError, KeySignatureError):
        # mido reads no damaged files: what midi.py heard in it plays alone.
        file = mido.MidiFile(file=io.BytesIO(midi.to_bytes(piece.song)))
    if file.length > MAX_SECONDS:
        raise InputError(f"{piece.path} goes on in silence for {file.length:,.0f} seconds.")
    # The renderer stops at the last event: three beats later, of half a second each from here on.
    tempo = mido.MetaMessage("set_tempo", time=piece.song.end)
    end = mido.MetaMessage("end_of_track", time=3 * piece.song.ticks_per_quarter)
    file.tracks.append(mido.MidiTrack([tempo, end]))
    file.type = 1
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()
