"""There is one reader of MIDI, music21, whatever the encoding and wherever a folder is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from music21.midi import MidiEvent

from midilstm import tokenizers as tokens
from midilstm.data import parsing as reading
from midilstm.data.dataset import load_dataset


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what music21 reads from here on; files are parsed in this process."""
    found: list[Any] = []
    read = MidiEvent.read

    def listen(event: MidiEvent, data: Any) -> Any:
        rest = read(event, data)
        found.append(event.type)
        return rest

    @contextmanager
    def here(parse: reading.Parse, *_: Any) -> Iterator[reading.Submit]:
        yield lambda _path, _key, data: lambda: parse(data or b"")

    monkeypatch.setattr(MidiEvent, "read", listen)
    monkeypatch.setattr(reading, "local_pool", here)
    return found


@pytest.mark.parametrize("name", tokens.ENCODINGS)
def test_a_folder_is_read_through_music21(name: str, music: Path, events: list[Any]) -> None:
    corpus = load_dataset(music, name=name, jobs=1)
    notes = sum(corpus.pieces[file].notes for file in corpus.pieces)
    assert corpus.report.from_cache == 0
    assert len(events) >= 2 * notes  # a beginning and an end each


@pytest.mark.parametrize("name", tokens.ENCODINGS)
def test_without_music21_nothing_is_read(
    name: str, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("music21 was asked")

    monkeypatch.setattr(MidiEvent, "read", refuse)
    with pytest.raises(RuntimeError, match="music21 was asked"):
        tokens.read(music / "piece0.mid", name)
