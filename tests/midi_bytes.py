"""Build MIDI files byte by byte for the tests, sound or broken, without any library."""

from collections.abc import Iterable
from operator import itemgetter

END = b"\x00\xff\x2f\x00"
QUARTER = 480  # ticks


def variable_length(value: int) -> bytes:
    """Return a delta time or length as in MIDI: seven bits per byte, the last byte below 128."""
    data = bytes([value & 127])
    while value := value >> 7:
        data = bytes([value & 127 | 128]) + data
    return data


def header(tracks: int, *, kind: int = 1, division: int = QUARTER) -> bytes:
    """Return the 14 bytes of a header chunk."""
    return b"MThd\0\0\0\6" + b"".join(value.to_bytes(2) for value in (kind, tracks, division))


def chunk(events: bytes) -> bytes:
    """Return a track chunk around event bytes."""
    return b"MTrk" + len(events).to_bytes(4) + events


def smf(*tracks: bytes, kind: int = 1, division: int = QUARTER) -> bytes:
    """Return a file of these tracks' event bytes."""
    return header(len(tracks), kind=kind, division=division) + b"".join(map(chunk, tracks))


def notes(
    *played: tuple[float, float, int], channel: int = 0, start: bytes = b"", division: int = QUARTER
) -> bytes:
    """Return one track's event bytes of (start, end, pitch) notes, times in quarter notes.

    Ends come before beginnings at the same tick, unless the note has no length.
    """
    events: list[tuple[int, int, bytes]] = []
    for begin, end, pitch in played:
        first, last = round(begin * division), round(end * division)
        events.append((first, 1, bytes([0x90 | channel, pitch, 64])))
        events.append((last, 0 if last > first else 2, bytes([0x80 | channel, pitch, 0])))
    return start + timed((tick, data) for tick, _, data in sorted(events)) + END


def timed(events: Iterable[tuple[int, bytes]]) -> bytes:
    """Return events of (absolute tick, bytes), in order, each after its delta time."""
    data, now = b"", 0
    for tick, event in events:
        data += variable_length(tick - now) + event
        now = tick
    return data


STATUS = {"off": 0x80, "on": 0x90, "control": 0xB0, "program": 0xC0}
VELOCITIES = {"on": [64], "off": [0]}


def file_of(*tracks: str, division: int = 100) -> bytes:
    """Return a file of tracks such as "0 program 40, 0-100 60", for a note of 100 ticks.

    A track is a list of TICK KIND NUMBERS@CHANNEL and of notes, START-END PITCH@CHANNEL.
    """
    return smf(*map(_events_of, tracks), division=division)


def _events_of(text: str) -> bytes:
    events: list[tuple[int, bytes]] = []
    for item in text.split(", "):
        event, _, channel = item.partition("@")
        time, kind, *numbers = event.split()
        if kind == "f0":
            events.append((int(time), bytes.fromhex(kind + "".join(numbers))))
        elif kind == "port":
            events.append((int(time), bytes([0xFF, 0x21, 1, *map(int, numbers)])))
        elif kind in STATUS:
            data = [*map(int, numbers), *VELOCITIES.get(kind, [])]
            events.append((int(time), bytes([STATUS[kind] | int(channel or 0), *data])))
        else:
            for name, tick in zip(("on", "off"), map(int, time.split("-")), strict=True):
                data = [STATUS[name] | int(channel or 0), int(kind), *VELOCITIES[name]]
                events.append((tick, bytes(data)))
    return timed(sorted(events, key=itemgetter(0))) + END


def signature(beats: int, unit: int) -> bytes:
    """Return the event of a time signature."""
    return bytes([0xFF, 0x58, 4, beats, unit.bit_length() - 1, 24, 8])


def tempo(bpm: float) -> bytes:
    """Return the event of a tempo."""
    return b"\xff\x51\x03" + round(60_000_000 / bpm).to_bytes(3)


def conductor(*events: tuple[float, bytes]) -> bytes:
    """Return one track's event bytes of (quarter, event)."""
    return timed((round(quarter * QUARTER), data) for quarter, data in events) + END


def band(seed: int) -> bytes:
    """Return a file of a melody in two rhythms, a bass and drums, 100 notes in 20 quarters."""
    steps = [0.5 if (i * (seed + 3)) % 7 < 4 else 1.0 for i in range(40)]
    starts = [sum(steps[:i]) for i in range(40)]
    melody = [
        (start, start + step, 60 + (i * seed) % 12)
        for i, (start, step) in enumerate(zip(starts, steps, strict=True))
    ]
    bass = [(i, i + 1, 36 + (i * (seed + 1)) % 12) for i in range(20)]
    drums = [(i / 2, i / 2 + 0.25, 42) for i in range(40)]
    on_bass = b"\x00\xc1\x20"
    return smf(notes(*melody), notes(*bass, channel=1, start=on_bass), notes(*drums, channel=9))
