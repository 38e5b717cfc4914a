"""The piece that --fill and --keep write into: its bars, what is fixed, and the new score."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from midilstm import midi
from midilstm.config import SamplingConfig
from midilstm.fileio import InputError
from midilstm.midi import Note, Score, instrument_name
from midilstm.midi.bars import EARLY
from midilstm.midi.instruments import find_programs
from midilstm.midi.score_json import score_to_json
from midilstm.tokenizers.meter import Signature, align_meters, parts
from midilstm.tokenizers.vocabulary import Vocabulary

ALL = "all"  # of --keep
Part = tuple[int, int]  # program and track


def parts_of(score: Score) -> set[Part]:
    """Return the parts of a score."""
    return {(note.program, note.track) for note in score.notes}


@dataclass(frozen=True)
class SourcePiece:
    """A score, the bars in which notes are drawn, and by which instruments.

    `ticks` has the beginning of each bar, and the end of the last one. `kept` are the parts of the
    score that are fixed in all bars, `drawn` the programs of the vocabulary that are drawn. The
    network reads each program of the score as another one, which `read_as` gives.
    """

    score: Score
    ticks: Sequence[int]
    signatures: Sequence[Signature]  # of bars
    is_drawn: Sequence[bool]  # of bars
    kept: frozenset[Part]
    drawn: frozenset[int]
    read_as: Mapping[int, int]

    @cached_property
    def run_ends(self) -> list[int]:
        """Return for each bar the tick at which the bars that are drawn, or fixed, as it is end."""
        ends = [self.ticks[-1]]
        for index in range(len(self.is_drawn) - 1, 0, -1):
            is_same = self.is_drawn[index] == self.is_drawn[index - 1]
            ends.append(ends[-1] if is_same else self.ticks[index])
        return ends[::-1]

    def bar_of(self, tick: int) -> int:
        """Return the index of the bar of a note; one that is early by a hair is in the next bar."""
        last, early = len(self.is_drawn) - 1, self.score.ticks_per_quarter // EARLY
        return min(last, max(0, bisect(self.ticks, tick + early) - 1))

    @cached_property
    def fixed_notes(self) -> tuple[list[Note], int]:
        """Return the score's notes that stay, and how many of them are cut.

        A note that hangs into a bar in which its instrument is drawn ends where that bar begins.
        """
        fixed, n_cut = [], 0
        for note in midi.cut_off(self.score, self.ticks[-1]).notes:
            bar = self.bar_of(note.start)
            rest = self.run_ends[bar] - note.start
            if (note.program, note.track) in self.kept:
                fixed.append(note)
            elif not self.is_drawn[bar]:
                fixed.append(note._replace(length=min(note.length, rest)))
                n_cut += note.length > rest
        return fixed, n_cut

    def with_drawn(self, drawn: Iterable[Note]) -> Score:
        """Return the piece with drawn notes.

        A drawn note ends with the filled bars, or where another note of its key begins.
        """
        originals = {known: program for program, known in self.read_as.items()}
        originals |= {program: program for program in self.read_as}
        fixed, _ = self.fixed_notes
        onsets: dict[tuple[int, int], dict[int, Note | None]] = {}
        for note in fixed:
            onsets.setdefault((note.program, note.pitch), {})[note.start] = None
        for note in drawn:
            note = note._replace(program=originals.get(note.program, note.program))
            onsets.setdefault((note.program, note.pitch), {}).setdefault(note.start, note)
        new = []
        for of_key in onsets.values():
            for note in filter(None, of_key.values()):
                end = min(note.start + note.length, self.run_ends[self.bar_of(note.start)])
                end = min(end, *(tick for tick in of_key if tick > note.start), end)
                new.append(note._replace(length=end - note.start))
        return replace(self.score, notes=tuple(sorted([*fixed, *new])))

    def to_midi(self, drawn: Iterable[Note], config: SamplingConfig) -> bytes:
        """Return the piece with drawn notes as a MIDI file."""
        score = midi.cut_off(self.with_drawn(drawn), self.ticks[-1])
        program = None if config.instrument is None else midi.program_of(config.instrument)
        score = midi.with_tempo_and_program(score, bpm=config.bpm, instrument=program)
        return midi.to_bytes(score, self.ticks[-1])

    def to_json(self) -> dict[str, Any]:
        """Return what of a piece's JSON is about the score and its fixed notes."""
        return {
            "source_score": score_to_json(self.score),
            "drawn_bars": [number for number, drawn in enumerate(self.is_drawn, 1) if drawn],
            "kept_instruments": self.kept_names,
            "n_cut_notes": self.fixed_notes[1],
        }

    @property
    def kept_names(self) -> list[str]:
        """Return the names of instruments that are kept, or of tracks, if not all of theirs are."""
        others = {program for program, _ in parts_of(self.score) - self.kept}
        tracks = {track for program, track in self.kept if program in others}
        instruments = {
            instrument_name(program) for program, _ in self.kept if program not in others
        }
        return sorted(instruments.union(self.score.track_names.get(x, "") for x in tracks))

    def describe(self) -> str:
        """Return in words what is drawn, and how many notes are cut."""
        n_drawn, n_cut = sum(self.is_drawn), self.fixed_notes[1]
        around = f" around {', '.join(self.kept_names)}" if self.kept else ""
        cut = f", which cut {n_cut} notes that hang into them" if n_cut else ""
        return f"Drawing {n_drawn} of {len(self.is_drawn)} bars anew{around}{cut}"


def check_flags(config: SamplingConfig) -> None:
    """Raise InputError for flags that --fill and --keep exclude."""
    if config.fill_instruments and not config.fill:
        raise InputError("--fill-instruments needs --fill, the bars in which they are drawn")
    excluded = {
        "--fill-instruments": config.keep and config.fill_instruments,
        "--bars": config.fill and config.bars,
        "--chars": config.chars,
        "--seconds": config.seconds,
        "--include-primer": config.include_primer,
        "--stop-at-end": config.stop_at_end,
        "--ending": config.ending,
        "--best": config.best,
        "--no-strict-grammar": not config.strict_grammar,
    }
    for flag, is_given in excluded.items():
        if is_given:
            raise InputError(f"{flag} cannot be used with {'--keep' if config.keep else '--fill'}")


def open_source(score: Score, config: SamplingConfig, vocabulary: Vocabulary) -> SourcePiece:
    """Return a score as --fill and --keep ask for; raise InputError where that is impossible."""
    encoding = vocabulary.encoding
    ticks, signatures = _measure(score, config.bars)
    n_bars = len(signatures)
    filled = parse_bars(config.fill, n_bars) if config.fill else frozenset(range(n_bars))
    singles = [token for token in vocabulary.tokens[1:] if " " not in token]
    known = {x for token in singles for x in encoding.content(token).programs}
    read_as = {}
    for program in {note.program for note in score.notes}:
        nearest = encoding.nearest(f"Program_{program}", singles)  # None for drums
        if program in known or nearest:
            read_as[program] = program if program in known else int(parts(nearest or "")[1])
    kept, drawn = _choose_parts(config, score, read_as, known)
    if len(filled) == n_bars and not kept:
        raise InputError(f"--fill={config.fill} covers the whole primer: nothing would stay of it")
    is_drawn = [bar in filled for bar in range(n_bars)]
    return SourcePiece(score, ticks, signatures, is_drawn, kept, drawn, read_as)


def _measure(score: Score, n_bars: int | None) -> tuple[list[int], list[Signature]]:
    """Return the ticks of the beginnings of a score's bars, or of so many, and of the end.

    Also return the time signature of each bar.
    """
    changes = {tick: x for tick, x in score.time_signatures.items() if tick < score.end}
    meters, _ = align_meters(changes, score.ticks_per_quarter)
    quarters, signatures, signature = [0.0], list[Signature](), meters[0]
    end = score.quarters - 1 / EARLY
    while len(signatures) < (n_bars or 1) or (not n_bars and quarters[-1] < end):
        signature = meters.get(quarters[-1], signature)
        signatures.append(signature)
        quarters.append(quarters[-1] + 4 * signature[0] / signature[1])
    ticks = [round(quarter * score.ticks_per_quarter) for quarter in quarters]
    if not n_bars:
        ticks[-1] = max(ticks[-1], score.end)
    return ticks, signatures


def _choose_parts(
    config: SamplingConfig, score: Score, read_as: Mapping[int, int], known: set[int]
) -> tuple[frozenset[Part], frozenset[int]]:
    """Return the parts of the score that are kept, and the programs of the model that are drawn.

    A program that is kept is drawn, too, where --instruments names it, another part of it is not
    kept, or the model knows no other.
    """
    played = parts_of(score)
    kept: set[Part] = set()
    if config.keep:
        kept = find_kept(config.keep, score)
        others = {read_as.get(program) for program, _ in played - kept}
        alone = {read_as.get(program) for program, _ in kept} - others
        drawn = known - alone if known - alone and not config.instruments else known
    elif config.fill_instruments:
        named, new = _find("--fill-instruments", config.fill_instruments, score, known)
        kept, drawn = played - named, {read_as[x] for x, _ in named if x in read_as} | new
    else:
        drawn = known if config.instruments else {*read_as.values()}
    if not drawn:
        names = ", ".join(map(instrument_name, sorted(known))) or "none"
        raise InputError(f"no instrument is left to draw: the model knows {names}")
    return frozenset(kept), frozenset(drawn)


def find_kept(text: str, score: Score) -> set[Part]:
    """Return the parts that --keep names; raise InputError for others."""
    return parts_of(score) if text == ALL else _find("--keep", text, score, set())[0]


def _find(flag: str, text: str, score: Score, others: set[int]) -> tuple[set[Part], set[int]]:
    """Return the parts of instruments or tracks that comma-separated names stand for.

    Also return the programs, of `others`, of names that fit no part.
    """
    found, programs, names = set[Part](), set[int](), score.track_names
    for name in (word.strip().lower() for word in text.split(",")):
        candidates = {*find_programs(name)[0]}
        named = {part for part in parts_of(score) if part[0] in candidates} or {
            part for part in parts_of(score) if names.get(part[1], "").lower() == name
        }
        found |= named
        programs |= set() if named else candidates & others
        if not named and not candidates & others:
            instruments = sorted(others.union(program for program, _ in parts_of(score)))
            tracks = sorted({names[track] for _, track in parts_of(score) if names.get(track)})
            options = ", ".join([*map(instrument_name, instruments), *tracks])
            raise InputError(f"{flag}={text}: there is no {name!r} among {options}")
    return found, programs


def parse_bars(text: str, n_bars: int) -> frozenset[int]:
    """Return the indices of bars such as 5-8,13, counted from 1; raise InputError for others."""
    bars: set[int] = set()
    for word in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last:
            raise InputError(f"--fill={text!a} does not name bars, as 5-8,13 does")
        if last > n_bars:
            raise InputError(f"--fill={text}: the primer has no bar {last}, only 1 to {n_bars}")
        bars.update(range(first - 1, last))
    return frozenset(bars)
