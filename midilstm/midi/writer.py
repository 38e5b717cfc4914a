"""Write a score as a MIDI file: a conductor track, then one track per program."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO
from itertools import groupby
from operator import attrgetter, itemgetter

import mido

from midilstm.midi.score import DEFAULT_BPM, DRUMS, Note, Score, instrument_name

DRUM_CHANNEL = 9
CHANNELS = [channel for channel in range(16) if channel != DRUM_CHANNEL]


def with_tempo_and_program(
    score: Score, *, bpm: float | None = None, instrument: int | None = None
) -> Score:
    """Return the score with one tempo and one program for all notes but drums, where given.

    A score without a tempo gets DEFAULT_BPM.
    """
    if bpm is not None or not score.tempos:
        score = replace(score, tempos={0: DEFAULT_BPM if bpm is None else bpm})
    if instrument is None:
        return score
    notes = (n if n.program == DRUMS else n._replace(program=instrument) for n in score.notes)
    return replace(score, notes=tuple(notes))


def cut_off(score: Score, end: int) -> Score:
    """Return what begins before a tick, which ends the notes that are longer."""
    notes = (n._replace(length=min(n.length, end - n.start)) for n in score.notes if n.start < end)
    return replace(
        score,
        notes=tuple(notes),
        tempos={tick: bpm for tick, bpm in score.tempos.items() if tick < end},
        time_signatures={tick: s for tick, s in score.time_signatures.items() if tick < end},
    )


def to_bytes(score: Score, end: int = 0) -> bytes:
    """Return the MIDI file of a score; `reader.read` gives its notes back.

    No track ends before the tick `end`.
    """
    file = mido.MidiFile(ticks_per_beat=score.ticks_per_quarter)
    meta: list[tuple[int, int, mido.MetaMessage]] = []
    for tick, (beats, unit) in score.time_signatures.items():
        signature = mido.MetaMessage("time_signature", numerator=beats, denominator=unit)
        meta.append((tick, 0, signature))
    for tick, bpm in score.tempos.items():
        meta.append((tick, 0, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm))))
    file.tracks.append(_track(meta, end))
    by_program = attrgetter("program")
    groups = groupby(sorted(score.notes, key=by_program), by_program)
    layers = [(program, _layers(notes)) for program, notes in groups]
    spare = iter(CHANNELS[len(layers) :])
    for index, (program, lists) in enumerate(layers):
        channel = DRUM_CHANNEL if program == DRUMS else CHANNELS[index % len(CHANNELS)]
        for number, notes in enumerate(lists):
            own = next(spare, channel) if number and program != DRUMS else channel
            messages = _messages(program, notes, own)
            last = max(tick for tick, *_ in messages)
            file.tracks.append(_track(messages, end or last + 1))
    return _saved(file)


def _layers(notes: Iterable[Note]) -> list[list[Note]]:
    """Return notes, given by start, in lists in which none begins while its pitch sounds.

    There is one list, unless a score was read from several tracks of one instrument.
    """
    layers: list[list[Note]] = []
    ends: list[dict[int, int]] = []  # of each list, by pitch
    for note in notes:
        free = (i for i, x in enumerate(ends) if x.get(note.pitch, 0) <= note.start)
        index = next(free, len(layers))
        if index == len(layers):
            layers.append([])
            ends.append({})
        layers[index].append(note)
        ends[index][note.pitch] = note.start + note.length
    return layers


def _messages(
    program: int, notes: Iterable[Note], channel: int
) -> list[tuple[int, int, mido.Message]]:
    """Return the messages of a track as (tick, order at that tick, message)."""
    change = mido.Message("program_change", channel=channel, program=max(0, program))
    name = mido.MetaMessage("track_name", name=instrument_name(program))
    messages: list[tuple[int, int, mido.Message]] = [(0, 0, name), (0, 0, change)]
    for note in notes:
        # A note is in range, and checking it again takes a fifth of the time of writing.
        key = {"channel": channel, "note": note.pitch, "velocity": note.velocity}
        key["skip_checks"] = True
        messages.append((note.start, 1, mido.Message("note_on", **key)))
        # At one tick, other notes end before the next ones begin.
        order, tick = 0 if note.length else 1, note.start + note.length
        messages.append((tick, order, mido.Message("note_off", **key)))
    return messages


def split_stems(content: bytes) -> dict[str, bytes]:
    """Return by the name of its instrument a file for its tracks of a file of `to_bytes`.

    All have the tempos and time signatures of that file, and its length.
    """
    file = mido.MidiFile(file=BytesIO(content))
    end = max(sum(message.time for message in track) for track in file.tracks)
    for track in file.tracks:
        track[-1].time += end - sum(message.time for message in track)
    stems: dict[str, mido.MidiFile] = {}
    for track in file.tracks[1:]:
        stem = stems.setdefault(track.name, mido.MidiFile(ticks_per_beat=file.ticks_per_beat))
        stem.tracks += [track] if stem.tracks else [file.tracks[0], track]
    return {name: _saved(stem) for name, stem in stems.items()}


def _saved(file: mido.MidiFile) -> bytes:
    content = BytesIO()
    file.save(file=content)
    return content.getvalue()


def _track(messages: list[tuple[int, int, mido.Message]], end: int) -> mido.MidiTrack:
    """Return a track of (tick, order at that tick, message) that ends at `end` or after them."""
    track, now = mido.MidiTrack(), 0
    for tick, _, message in sorted(messages, key=itemgetter(0, 1)):
        message.time, now = tick - now, tick
        track.append(message)
    track.append(mido.MetaMessage("end_of_track", time=max(0, end - now)))
    return track
