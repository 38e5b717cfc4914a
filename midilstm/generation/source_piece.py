"""The piece that --fill and --keep write into: its bars, what is fixed, and the new score."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from midilstm import midi
from midilstm.config import SamplingConfig
from midilstm.fileio import InputError
from midilstm.generation.primer import nearest_tokens
from midilstm.midi import MAX_QUARTERS, Note, Score, instrument_name
from midilstm.midi.bars import EARLY
from midilstm.midi.instruments import find_programs
from midilstm.midi.score_json import score_to_json
from midilstm.tokenizers.base import Encoding
from midilstm.tokenizers.order import Bar, split_bars
from midilstm.tokenizers.vocabulary import Vocabulary

ALL = "all"  # of --keep


class FixedBar(NamedTuple):
    """A bar's fixed tokens as the network reads them, and whether notes are drawn in it."""

    header: Sequence[str]
    blocks: Mapping[int, Sequence[str]]  # by program
    is_drawn: bool

    @property
    def tokens(self) -> list[str]:
        """Return all tokens."""
        return [*self.header, *(token for block in self.blocks.values() for token in block)]


@dataclass(frozen=True)
class SourcePiece:
    """A score, the bars in which notes are drawn, and by which instruments.

    `ticks` has the beginning of each bar, and the end of the last one. `kept` are the programs of
    the score that are fixed in all bars, `drawn` those of the vocabulary that are drawn. The
    network reads each program of the score as another one, which `read_as` gives.
    """

    score: Score
    bars: Sequence[FixedBar]
    ticks: Sequence[int]
    kept: frozenset[int]
    drawn: frozenset[int]
    read_as: Mapping[int, int]

    @cached_property
    def run_ends(self) -> list[int]:
        """Return for each bar the tick at which the bars that are drawn, or fixed, as it is end."""
        ends = [self.ticks[-1]]
        for index in range(len(self.bars) - 1, 0, -1):
            is_same = self.bars[index].is_drawn == self.bars[index - 1].is_drawn
            ends.append(ends[-1] if is_same else self.ticks[index])
        return ends[::-1]

    def bar_of(self, tick: int) -> int:
        """Return the index of the bar of a note; one that is early by a hair is in the next bar."""
        last = len(self.bars) - 1
        return min(
            last, max(0, bisect(self.ticks, tick + self.score.ticks_per_quarter // EARLY) - 1)
        )

    def fixed_notes(self) -> tuple[list[Note], int]:
        """Return the score's notes that stay, and how many of them are cut.

        A note that hangs into a bar in which its instrument is drawn ends where that bar begins.
        """
        fixed, n_cut = [], 0
        for note in self.score.notes:
            bar = self.bar_of(note.start)
            rest = self.run_ends[bar] - note.start
            if note.program in self.kept:
                fixed.append(note)
            elif not self.bars[bar].is_drawn:
                fixed.append(note._replace(length=min(note.length, rest)))
                n_cut += note.length > rest
        return fixed, n_cut

    def with_drawn(self, drawn: Score) -> Score:
        """Return the piece with drawn notes, whose bars are those of the piece.

        A drawn note ends with the filled bars, or where a fixed note of its key begins.
        """
        fixed, _ = self.fixed_notes()
        onsets: dict[tuple[int, int], list[int]] = {}
        for note in fixed:
            onsets.setdefault((note.program, note.pitch), []).append(note.start)
        scale = self.score.ticks_per_quarter / drawn.ticks_per_quarter
        originals = {known: program for program, known in self.read_as.items()}
        originals |= {program: program for program in self.read_as}
        tracks = {note.program: note.track for note in self.score.notes}
        new = []
        for note in drawn.notes:
            start, program = round(note.start * scale), originals.get(note.program, note.program)
            end = start + max(1, round(note.length * scale))
            later = (tick for tick in onsets.get((program, note.pitch), ()) if tick >= start)
            end = min(end, self.run_ends[self.bar_of(start)], *later)
            track = tracks.setdefault(program, max(tracks.values()) + 1)
            if start < end:
                new.append(Note(start, end - start, note.pitch, note.velocity, program, track))
        score = replace(self.score, notes=tuple(sorted([*fixed, *new])))
        return midi.cut_off(score, self.ticks[-1])

    def to_midi(self, tokens: Sequence[str], config: SamplingConfig, encoding: Encoding) -> bytes:
        """Return the piece with drawn tokens, which have each bar's header, as a MIDI file."""
        score = self.with_drawn(encoding.decode(encoding.drop_invalid(tokens)))
        program = None if config.instrument is None else midi.program_of(config.instrument)
        score = midi.with_tempo_and_program(score, bpm=config.bpm, instrument=program)
        return midi.to_bytes(score, self.ticks[-1])

    def to_json(self) -> dict[str, Any]:
        """Return what of a piece's JSON is about the score and its fixed notes."""
        return {
            "source_score": score_to_json(self.score),
            "drawn_bars": [number for number, bar in enumerate(self.bars, 1) if bar.is_drawn],
            "kept_instruments": sorted(map(instrument_name, self.kept)),
            "n_cut_notes": self.fixed_notes()[1],
        }

    def describe(self) -> str:
        """Return in words what is drawn, and how many notes are cut."""
        n_drawn, n_cut = sum(bar.is_drawn for bar in self.bars), self.fixed_notes()[1]
        kept = ", ".join(sorted(map(instrument_name, self.kept)))
        around = f" around {kept}" if kept else ""
        cut = f", which cut {n_cut} notes that hang into them" if n_cut else ""
        return f"Drawing {n_drawn} of {len(self.bars)} bars anew{around}{cut}"


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
    if not encoding.keeps_meter:
        raise InputError(
            f"--fill and --keep need a model with bars, which {encoding.name} does not have: train "
            "one with python train.py --encoding=remi"
        )
    bars, ticks = _measure(score, encoding, config.bars)
    filled = parse_bars(config.fill, len(bars)) if config.fill else frozenset(range(len(bars)))
    singles = [token for token in vocabulary.tokens[1:] if " " not in token]
    known = {x for token in singles for x in encoding.content(token).programs}
    read_as = {}
    for program in {note.program for note in score.notes}:
        nearest = encoding.nearest(f"Program_{program}", singles)  # None for drums
        if program in known or nearest:
            read_as[program] = program if program in known else int((nearest or "_").split("_")[1])
    kept, drawn = _choose_instruments(config, read_as, {n.program for n in score.notes}, known)
    if len(filled) == len(bars) and not kept:
        raise InputError(f"--fill={config.fill} covers the whole primer: nothing would stay of it")
    tokens = [
        token
        for index, bar in enumerate(bars)
        for block in (
            bar.header,
            *(x for program, x in bar.blocks.items() if index not in filled or program in kept),
        )
        for token in block
    ]
    _check_meters(tokens, vocabulary)
    read = split_bars(nearest_tokens(tokens, vocabulary))
    fixed = [FixedBar(bar.header, bar.blocks, index in filled) for index, bar in enumerate(read)]
    return SourcePiece(score, fixed, ticks, kept, drawn, read_as)


def _measure(score: Score, encoding: Encoding, n_bars: int | None) -> tuple[list[Bar], list[int]]:
    """Return the bars of a score, or so many, and the ticks of their beginnings and the end."""
    bars, clock, quarters = split_bars(encoding.encode(score)), encoding.clock(), list[float]()
    end = score.quarters - 1 / EARLY
    for count in range(n_bars or MAX_QUARTERS * 4):
        clock.advance("Bar_None")
        quarters.append(clock.quarter)
        if not n_bars and count >= len(bars) and clock.quarter >= end:
            break
        if count >= len(bars):  # a long last note, or more bars than the score has
            bars.append(Bar(bars[-1].header[:2], {}))
        for token in bars[count].header[1:]:
            clock.advance(token)
    else:
        clock.advance("Bar_None")
        quarters.append(clock.quarter)
    ticks = [round(quarter * score.ticks_per_quarter) for quarter in quarters]
    if not n_bars:
        ticks[-1] = max(ticks[-1], score.end)
    return bars[: len(ticks) - 1], ticks


def _choose_instruments(
    config: SamplingConfig, read_as: Mapping[int, int], present: set[int], known: set[int]
) -> tuple[frozenset[int], frozenset[int]]:
    """Return the programs of the score that are kept, and those of the model that are drawn."""
    kept: set[int] = set()
    if config.keep:
        kept = find_kept(config.keep, present)
        drawn = known
    elif config.fill_instruments:
        named = _find("--fill-instruments", config.fill_instruments, present, known)
        kept, drawn = present - named, {read_as.get(program, program) for program in named}
    else:
        drawn = known if config.instruments else {*read_as.values()}
    drawn = (drawn & known) - {read_as[program] for program in kept if program in read_as}
    if not drawn:
        names = ", ".join(map(instrument_name, sorted(known))) or "none"
        raise InputError(f"no instrument is left to draw: the model knows {names}")
    return frozenset(kept), frozenset(drawn)


def find_kept(text: str, present: set[int]) -> set[int]:
    """Return the programs that --keep names; raise InputError for others."""
    return present if text == ALL else _find("--keep", text, present, set())


def _find(flag: str, text: str, present: set[int], others: set[int]) -> set[int]:
    """Return what comma-separated names stand for: programs that are present, or else others."""
    programs: set[int] = set()
    for name in text.split(","):
        candidates = {*find_programs(name)[0]}
        named = candidates & present or candidates & others
        if not named:
            names = ", ".join(map(instrument_name, sorted(present | others)))
            raise InputError(f"{flag}={text}: there is no {name.strip()!r} among {names}")
        programs |= named
    return programs


def _check_meters(tokens: Sequence[str], vocabulary: Vocabulary) -> None:
    """Raise InputError for a time signature that the model does not know."""
    meters = {token for token in tokens if token.startswith("TimeSig_")}
    if unknown := meters.difference(vocabulary.token_ids):
        names = ", ".join(sorted(token.partition("_")[2] for token in unknown))
        raise InputError(f"the primer has bars of {names}, and the model was trained on none")


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
