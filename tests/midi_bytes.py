"""Build MIDI files byte by byte for the tests, sound or broken, without any library."""

from collections.abc import Iterable

END = b"\x00\xff\x2f\x00"
QUARTER = 480  # ticks


def variable_length(number: int) -> bytes:
    """Return a delta time or length as MIDI writes it: seven bits a byte, the last below 128."""
    data = bytes([number & 127])
    while number := number >> 7:
        data = bytes([number & 127 | 128]) + data
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
