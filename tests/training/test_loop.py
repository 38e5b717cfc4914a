"""What the loop says of a run that learns its pieces by heart, and signals that stop it."""

import os
import signal

import pytest

from midilstm.training import loop
from midilstm.training.log import LogRow

FALLING = [5, 4, 3, 2, 1, 0.9, 0.8, 0.7, 0.6, 0.5]


@pytest.mark.parametrize(
    ("losses", "held_out", "expected"),
    [
        (FALLING, [3, 2, 2, 2, 2, 2.5, 3, 3, 3, 3], True),
        (FALLING, [5, 4, 4, 4, 4, 3, 3, 3, 3, 3], False),
        ([1, 1, 1, 1, 1, 2, 2, 2, 2, 2], [3, 2, 2, 2, 2, 3, 3, 3, 3, 3], False),
        (FALLING, [9, 2, 2, 2, 2, 3, 3, 3, 3, 1.9], False),
        ([5, 4, 3], [2, 3, 4], False),
    ],
)
def test_memorising_is_said_in_words(
    losses: list[float], held_out: list[float], expected: bool
) -> None:
    both = enumerate(zip(losses, held_out, strict=True), 1)
    said = loop.overfitting_note([LogRow(i, loss, 0, val, 0, 0) for i, (loss, val) in both])
    assert ("memorising" in said) is expected


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_interrupts_once_and_a_second_ends_the_process(name: str) -> None:
    number = getattr(signal, name)
    # Whoever runs the tests may have it ignored, as nohup does.
    before = signal.signal(number, signal.default_int_handler)
    try:
        with loop.interruptible():
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
            assert signal.getsignal(number) == signal.SIG_DFL
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_a_run_that_outlives_its_terminal_goes_on_doing_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with loop.interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
