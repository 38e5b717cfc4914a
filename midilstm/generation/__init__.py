"""The room of sampling: a trained network → new tokens, without Keras."""

import os


def use_one_thread() -> None:
    """Let NumPy's libraries use one thread a product; call it before NumPy is loaded.

    For matrices of this size two threads wait for each other, and the last bits of a sum must not
    depend on how many cores a machine has.
    """
    for name in ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
