"""Train the network with Keras: the fast LSTM layer, the loop, weights and logs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Hold back what TensorFlow's libraries write to standard error as they load.

    No log level silences it: it comes before logging is set up.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    screen = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(screen, 2)
        os.close(screen)
