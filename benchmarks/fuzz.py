"""Fuzz the readers of untrusted files, guided by coverage, with atheris (pip install atheris).

    python benchmarks/fuzz.py midi --minutes 10
    python benchmarks/fuzz.py --check-seeds

An input that a reader neither reads nor refuses, with an InputError, MidiError or OSError, is a
crash. Each kind of crash is printed once, and one such input is kept under --out. libFuzzer bounds
memory and time per input, and prints counts of executions and coverage at the end.
`--check-seeds` needs no atheris: it checks that the readers accept their seeds, and read or refuse
some random inputs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

if TYPE_CHECKING:
    from benchmarks.fuzz_targets import Target

NAMES = (
    "midi",
    "vocabulary",
    "settings",
    "metadata",
    "match-model",
    "copies",
    "openings",
    "reference",
    "keras",
)
SECONDS, MEGABYTES = 20, 2048  # limits of one input
WORDS = ("[", "]", "{", "}", ",", ":", "null", "true", "-1", "1e999", "NaN", "0.5", "[[[[", '""')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", nargs="?", choices=NAMES, help="reader to fuzz")
    parser.add_argument("--minutes", type=float, default=10, help="duration (10)")
    parser.add_argument("--out", type=Path, default=Path("logs/fuzz"), help="crashes and seeds")
    parser.add_argument("--check-seeds", action="store_true", help="check seeds, fuzz nothing")
    args = parser.parse_args(argv)
    if not args.target and not args.check_seeds:
        parser.error("give a target or --check-seeds")
    return args


def check_seeds() -> int:
    """Print what each reader does with its seeds and with random inputs; return 1 for a crash."""
    import numpy as np

    from benchmarks.fuzz_targets import TARGETS, crash_kind

    crashes = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, target in TARGETS.items():
            seeds = target.seeds(Path(scratch))
            for seed in seeds:
                target.run(seed, Path(scratch))
            rng = np.random.default_rng(0)
            inputs = [rng.bytes(64) for _ in range(100)]
            kinds = {crash_kind(target, data, Path(scratch)) for data in inputs} - {None}
            crashes += [f"{name}: {kind}" for kind in kinds]
            print(f"{name}: seeds accepted: {len(seeds)}, random inputs: {len(inputs)}")
    print(*crashes, sep="\n", end="\n" if crashes else "")
    return 1 if crashes else 0


def fuzz(name: str, minutes: float, out: Path) -> None:
    """Fuzz a reader until the time is over."""
    try:
        import atheris
    except ImportError:
        sys.exit("benchmarks/fuzz.py needs atheris: pip install atheris")
    modules = ["midilstm", "benchmarks.fuzz_targets"]
    modules += ["music21.midi"] if name == "midi" else []  # its import takes long
    with atheris.instrument_imports(include=modules):
        from benchmarks.fuzz_targets import TARGETS, crash_kind

    target: Target = TARGETS[name]
    (out / "seeds").mkdir(parents=True, exist_ok=True)
    in_memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=in_memory if in_memory.is_dir() else None))
    for index, seed in enumerate([*target.seeds(folder), bytes(64), bytes(range(255, 0, -1))]):
        (out / "seeds" / f"{index}").write_bytes(seed)
    (out / "words").write_text("".join(f"{json.dumps(word)}\n" for word in WORDS))
    kinds: set[str] = set()

    def test_one_input(data: bytes) -> None:
        kind = crash_kind(target, data, folder)
        if kind and kind not in kinds:
            kinds.add(kind)
            (out / f"crash-{len(kinds)}").write_bytes(data)
            print(f"CRASH {len(kinds)}: {kind}: {data[:2000]!r}", flush=True)

    flags = [f"-max_total_time={minutes * 60:.0f}", f"-timeout={SECONDS}"]
    flags += [f"-rss_limit_mb={MEGABYTES}", f"-max_len={2**15}", f"-artifact_prefix={out}/"]
    flags += ["-print_final_stats=1", f"-dict={out / 'words'}", str(out / "seeds")]
    atheris.Setup([sys.argv[0], *flags], test_one_input)
    atheris.Fuzz()


def main(argv: Sequence[str] | None = None) -> int:
    """Check the seeds, or fuzz a reader."""
    args = parse_args(argv)
    if args.check_seeds:
        return check_seeds()
    fuzz(args.target, args.minutes, args.out / args.target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
