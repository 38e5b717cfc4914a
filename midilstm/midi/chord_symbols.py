"""Parse chord symbols as jazz musicians write them into notes, and bars of them."""

from __future__ import annotations

import re
from typing import NamedTuple

from midilstm.fileio import InputError

MAX_SYMBOLS = 256  # 64 bars of four, with % and / counted
NO_CHORD, REPEATS = "N.C.", ("%", "/")
SIGNS = str.maketrans("♭♯△∆▵^º˚Ø∅–−", "b#ΔΔΔΔ°°øø--")
NATURALS = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True))
# A possessive quantifier (?+) takes what it can: Bb5 is B flat with a fifth, never B with b5.
# A word such as b9 is no chord on B, but an alteration after a space.
NOTE = re.compile(r"(?!b\d)[A-Ga-g][#b]?+")
CHANGE = re.compile(
    r"sus[24]?+|(?i:add)[#b]?(?:11|13|[2469])|(?:no|omit)[35]"
    r"|[#+]11|[b-]13|[#b+-][59]|b6|\#4|\+(?!\d)"
)
SYMBOL = re.compile(
    rf"""(?:(?P<fixed>5|7?alt)
    |(?P<triad>(?i:min|mi|dim|aug|dom(?=\d))|m(?!(?i:a(?!dd)))|[+°ø-]|o(?!m))?+
     (?P<major>(?i:maj|ma(?!dd))|M|Δ|\#(?=7))?+
     (?P<extension>6/?9|11|13|[679])?+)
    (?P<changes>(?:{CHANGE.pattern})*+)
    (?:/(?P<bass>{NOTE.pattern}))?""",
    re.VERBOSE,
)
TRIADS = {
    **dict.fromkeys(("", "dom"), ("3", "5")),
    **dict.fromkeys(("m", "mi", "min", "-"), ("b3", "5")),
    **dict.fromkeys(("dim", "°", "o", "ø"), ("b3", "b5")),
    **dict.fromkeys(("aug", "+"), ("3", "#5")),
}
FIXED = {"5": ("5",), "alt": ("3", "b5", "#5", "b7", "b9", "#9")}
STACKS = {
    **{"": (), "6": ("6",), "69": ("6", "9"), "7": ("7",), "9": ("7", "9")},
    **{"11": ("7", "9", "11"), "13": ("7", "9", "11", "13")},
}


class ChordSymbol(NamedTuple):
    """A chord symbol as typed, its root, and the names of its notes with the bass first."""

    text: str
    root: str
    notes: tuple[str, ...]


def parse_bars(text: str) -> list[list[ChordSymbol | None]]:
    """Return the symbols of each bar, None for N.C.; raise InputError for what is no symbol.

    Without a | each symbol has its own bar. % is the last bar; % or / beside others is the last
    symbol.
    """
    # A symbol has no spaces outside of parentheses; || is one bar line.
    bars = [re.findall(r"(?:\([^()|]*\)|[^\s|])+", bar) for bar in re.split(r"\|+", text)]
    if "|" in text:
        bars = bars[not bars[0] : len(bars) - (not bars[-1])]
    else:
        bars = [[word] for word in bars[0]]
    if not 1 <= sum(map(len, bars)) <= MAX_SYMBOLS:
        raise InputError(
            f"--chords takes 1 to {MAX_SYMBOLS} chord symbols, not {sum(map(len, bars))}"
        )
    parsed: list[list[ChordSymbol | None]] = []
    for words in bars:
        if not words or (words[0] in REPEATS and not parsed):
            raise InputError(
                "a bar in --chords has no chord: write N.C., or % for the bar before it again"
            )
        bar: list[ChordSymbol | None] = []
        for word in words:
            if words == ["%"]:
                bar = parsed[-1]
            elif word in REPEATS and len(words) > 1:
                bar.append((bar or parsed[-1])[-1])
            else:
                is_chord = word.upper().replace(".", "") != "NC"
                bar.append(parse_symbol(word) if is_chord else None)
        parsed.append(bar)
    return parsed


def parse_symbol(text: str) -> ChordSymbol:
    """Return the root and the notes of a chord symbol; raise InputError where it is none."""
    plain = text.translate(SIGNS)
    root = NOTE.match(plain)
    match = SYMBOL.fullmatch(_flatten(plain[root.end() :])) if root else None
    intervals = _intervals(match) if match else []
    if not (root and match and intervals):
        raise InputError(
            f"{text} in --chords is not a known chord symbol: use for example C, Am7, "
            "C-7, Bb7, Cmaj9, F#m7b5, G7(b9), C9sus4, C7alt, C/E or N.C."
        )
    name = root[0].capitalize()
    bass = [match["bass"].capitalize()] if match["bass"] else []
    notes: dict[int, str] = {}  # by pitch class
    for note in [*bass, *(_note_above(name, interval) for interval in intervals)]:
        notes.setdefault(pitch_class(note), note)
    return ChordSymbol(text, name, tuple(notes.values()))


def pitch_class(note: str) -> int:
    """Return the pitch class of a note such as Bb; C is 0."""
    return (NATURALS[note[0].upper()] + note[1:].count("#") - note[1:].count("b")) % 12


def _flatten(text: str) -> str:
    """Return what follows a root without parentheses: add13b9 for (13, b9)."""

    def flat(group: re.Match[str]) -> str:
        parts = re.split("[, ]+", group[1])
        return "".join(f"add{part}" if part[:1].isdigit() else part for part in parts)

    return re.sub(r"\(([^()]+)\)", flat, text)


def _intervals(match: re.Match[str]) -> list[str]:
    """Return a symbol's intervals above its root by degree, such as b3; none if they conflict."""
    triad, major = (match["triad"] or "").lower(), match["major"]
    if match["fixed"]:
        intervals = ["1", *FIXED[match["fixed"].removeprefix("7")]]
    else:
        has_major_seventh = major == "Δ" or bool(major and triad)
        extension = match["extension"] or ("7" if has_major_seventh or triad == "ø" else "")
        if extension.startswith("6") and (has_major_seventh or TRIADS[triad][1] != "5"):
            return []
        seventh = "7" if major else "bb7" if triad in ("dim", "°", "o") else "b7"
        stack = [seventh if x == "7" else x for x in STACKS[extension.replace("/", "")]]
        intervals = ["1", *TRIADS[triad], *stack]
    for change in CHANGE.findall(match["changes"]):
        kind, added = re.findall(r"([a-z]*?)([#b+-]?\d*)$", change.lower())[0]
        added = {"": "4", "+": "#5"}.get(added, added.replace("+", "#").replace("-", "b"))
        degree = added.lstrip("#b")
        removed = {"sus": ("3", "b3"), "add": (), "": (degree,)}.get(
            kind, (degree, f"b{degree}", f"#{degree}")
        )
        intervals = [x for x in intervals if x not in removed]
        if kind not in ("no", "omit"):
            intervals.append(added)
    return sorted(intervals, key=lambda interval: int(interval.lstrip("#b")))


def _note_above(root: str, interval: str) -> str:
    """Return the name of the note at an interval such as b3 above a root."""
    degree = int(interval.lstrip("#b"))
    steps = [*NATURALS]
    letter = steps[(steps.index(root[0]) + degree - 1) % 7]
    semitones = NATURALS[steps[(degree - 1) % 7]] + interval.count("#") - interval.count("b")
    shift = (pitch_class(root) + semitones - NATURALS[letter] + 6) % 12 - 6
    return letter + ("#" * shift or "b" * -shift)
