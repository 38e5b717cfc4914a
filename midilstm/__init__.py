"""The workshop behind the scripts: from a folder of MIDI files to new music."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found] # this alone, the rest loads slowly
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

# Every script imports this package first, so this is said once, and in words old Pythons parse.
if sys.version_info < (3, 11):  # noqa: UP036 - people do run it with what they have
    sys.stderr.write(
        "This needs Python 3.11 or newer; you are running {}.{}. "
        "Make the virtual environment again with a newer Python.\n".format(*sys.version_info)
    )
    raise SystemExit(2)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; leave at once where an import could swallow it or die of it."""
    while frame and "importlib._bootstrap" not in frame.f_code.co_filename:
        frame = frame.f_back
    if frame is None:
        raise KeyboardInterrupt
    os.write(2, b"Stopped.\n")
    os._exit(128 + number)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    try:  # noqa: SIM105 - contextlib is not yet there
        signal.signal(signal.SIGINT, _interrupt)
    except ValueError:  # in a thread it is for another program to say
        pass
