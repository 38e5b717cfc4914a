"""Importing the package changes nothing in the process that imports it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_importing_the_package_leaves_signal_handlers_alone() -> None:
    code = (
        "import signal; before = signal.getsignal(signal.SIGINT); import midilstm.tokenizers; "
        "assert signal.getsignal(signal.SIGINT) is before"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
