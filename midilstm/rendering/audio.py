"""Play a piece through a General MIDI synthesiser into a WAV file."""

import io
from pathlib import Path

import mido
import pretty_midi
from mido.midifiles.meta import KeySignatureError

from midilstm import midi
from midilstm.copies import MAX_SECONDS
from midilstm.fileio import InputError
from midilstm.rendering import MARK
from midilstm.rendering.timeline import TimedPiece

SOUNDFONT = Path(pretty_midi.__file__).with_name("TimGM6mb.sf2")


def render_audio(piece: TimedPiece, soundfont: Path | None = None) -> bytes:
    """Return a WAV of 48 kHz, stereo, 16 bits; raise InputError if the piece cannot be played."""
    try:
        import midirenderer  # optional: requirements-audio.txt installs it
    except ImportError as error:
        message = "--audio needs midirenderer: pip install -r requirements-audio.txt"
        raise InputError(message) from error
    soundfont = soundfont or SOUNDFONT
    if not soundfont.is_file():
        raise InputError(f"{soundfont} is not a file: name a soundfont with --soundfont FILE.sf2.")
    try:
        wav = midirenderer.render_wave_from(soundfont.read_bytes(), with_release(piece))
    except (RuntimeError, ValueError) as error:  # of midirenderer and of mido
        raise InputError(f"{piece.path} cannot be played with {soundfont}: {error}.") from error
    # The mark is RIFF's field for a software's name, padded to an even number of bytes.
    name = MARK.encode() + b"\0" * (2 - len(MARK) % 2)
    info = b"INFOISFT" + len(name).to_bytes(4, "little") + name
    body = wav[8:] + b"LIST" + len(info).to_bytes(4, "little") + info
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def with_release(piece: TimedPiece) -> bytes:
    """Return the file with silence added for the last notes; raise InputError if it is too long."""
    data = piece.path.read_bytes()
    try:
        file = mido.MidiFile(file=io.BytesIO(data[data.find(b"MThd") :]), clip=True)
    except (EOFError, OSError, LookupError, ValueError, KeySignatureError):
        # mido refuses damaged files that midi.read accepts: play the notes alone.
        file = mido.MidiFile(file=io.BytesIO(midi.to_bytes(piece.score)))
    if file.length > MAX_SECONDS:
        raise InputError(f"{piece.path} lasts {file.length:,.0f} seconds, silence included.")
    # The renderer stops at the last event, so one is added three quarters (of 0.5 s) later.
    tempo = mido.MetaMessage("set_tempo", time=piece.score.end)
    end = mido.MetaMessage("end_of_track", time=3 * piece.score.ticks_per_quarter)
    file.tracks.append(mido.MidiTrack([tempo, end]))
    file.type = 1
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()
