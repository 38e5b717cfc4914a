"""The workshop behind the scripts: from a folder of MIDI files to new music."""

from __future__ import annotations

import sys

# Every script imports this package first, so this is said once, and in words old Pythons parse.
if sys.version_info < (3, 11):  # noqa: UP036 - people do run it with what they have
    sys.stderr.write(
        "This needs Python 3.11 or newer; you are running {}.{}. "
        "Make the virtual environment again with a newer Python.\n".format(*sys.version_info)
    )
    raise SystemExit(2)
