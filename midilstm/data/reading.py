"""Read all MIDI files of a folder, from the cache or in processes or on a cluster."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path

from tqdm import tqdm

from midilstm import midi, tokenizers
from midilstm.config import DataConfig
from midilstm.data import cluster, duplicates, files, parsing
from midilstm.data.cache import Cache, default_path
from midilstm.data.files import ParseError, ReadReport
from midilstm.data.parsing import ParsedPiece, ParseResult, Source
from midilstm.fileio import InputError


def read_files(report: ReadReport, config: DataConfig) -> dict[str, ParsedPiece]:
    """Return each different piece, by file name, and fill the report of its folder.

    Raise InputError where no file holds a piece.
    """
    began = time.perf_counter()
    results, cached = parse_files(report, config)
    pieces: dict[str, ParsedPiece] = {}
    originals: dict[tuple[str, ...], Path] = {}  # tokens → the first file that holds them
    for path in report.midi_files:
        result = results[path]
        if isinstance(result, ParsedPiece):
            original = originals.setdefault(result.tokens, path)
            if original != path:
                result = original
            elif result.notes < config.min_notes:
                less = f"{result.notes}, less than --min-notes={config.min_notes}"
                result = ParseError("too few notes", f"too few notes ({less})")
        if isinstance(result, ParseError):
            report.skipped.append((path, result))
        elif isinstance(result, Path):
            report.duplicates.append((path, result))
        else:
            pieces[files.name_of(path, config.data_dir)] = result
            report.from_cache += path in cached
    if not pieces:
        path, error = report.skipped[0]
        raise InputError(
            f"none of the {report.n_found} MIDI files in {config.data_dir} could be used; "
            f"the first, {path.name}: {error.detail}"
        )
    report.seconds = time.perf_counter() - began
    return pieces


def parse_files(
    report: ReadReport, config: DataConfig
) -> tuple[dict[Path, ParseResult | Path], set[Path]]:
    """Parse each different file; return results by file, and the files whose result was cached.

    The result of a file with the same bytes as an earlier one is that file.
    """
    encoding = tokenizers.get(config.encoding)
    pedal = config.pedal and encoding.keeps_rhythm
    versions = f"{encoding.version} {midi.VERSION} {duplicates.VERSION}"
    results: dict[Path, ParseResult | Path] = {}
    cached: set[Path] = set()
    first_paths: dict[str, Path] = {}  # key → the first file that has it
    new: deque[tuple[Path, str]] = deque()  # the files that are being parsed, with their keys

    def new_sources() -> Iterator[Source]:
        """Yield what must be parsed, and note all other results."""
        bar = {"unit": "file", "delay": 1, "leave": False, "disable": None}
        for path in tqdm(report.midi_files, "Reading MIDI", **bar):
            version = report.versions.get(path)  # of a remote file, which is not read here
            data = version.encode() if version else files.read_file(path)
            if isinstance(data, ParseError):
                results[path] = data
                continue
            # All that shapes a result is part of its key.
            key = f"{sha256(data).hexdigest()} {config.encoding} {versions} {pedal}"
            if (first_path := first_paths.setdefault(key, path)) != path:
                results[path] = first_path
            elif known := cache.get(key):
                results[path] = _share_tokens(known)
                cached.add(path)
            else:
                new.append((path, key))
                yield path if version else data

    with Cache(default_path() if config.cache else None) as cache:
        sources = new_sources()
        first = list(islice(sources, 1))  # none where all is cached: no process is started then
        if first:
            config = replace(config, jobs=min(config.jobs, len(report.midi_files)))
            parse = cluster.parse if config.scheduler else parsing.parse
            with closing(parse(chain(first, sources), config)) as parsed:  # ends its processes
                for result in parsed:
                    path, key = new.popleft()
                    results[path] = _share_tokens(result)
                    if isinstance(result, ParsedPiece) or result.is_cacheable:
                        cache.put(key, result)
    return results, cached


def _share_tokens(result: ParseResult) -> ParseResult:
    """Keep one object per different token, which all files share, to save memory."""
    if isinstance(result, ParseError):
        return result
    return replace(result, tokens=tuple(map(sys.intern, result.tokens)))
