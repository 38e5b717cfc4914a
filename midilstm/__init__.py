"""Train a music model on a folder of MIDI files, and draw new pieces from it."""

import sys

# The scripts import this package first: an older Python stops here, in words that it can parse.
if sys.version_info < (3, 11):  # noqa: UP036 - people run it with what they have
    sys.stderr.write(
        "This needs Python 3.11 or newer; you are running {}.{}. "
        "Make the virtual environment again with a newer Python.\n".format(*sys.version_info)
    )
    raise SystemExit(2)
