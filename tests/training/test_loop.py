"""The training loop's note on overfitting, and the signals that stop it."""

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
def test_overfitting_is_noted(losses: list[float], held_out: list[float], expected: bool) -> None:
    rows = [LogRow(0, loss, 0, val, 0, 0) for loss, val in zip(losses, held_out, strict=True)]
    assert ("overfitting" in loop.overfitting_note(rows)) is expected


@pytest.mark.parametrize("handled", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_once_and_a_second_ends_the_process(handled: signal.Signals) -> None:
    # Whoever runs the tests may have it ignored, as nohup does.
    before = signal.signal(handled, signal.default_int_handler)
    try:
        with loop.interruptible():
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(handled)
            assert signal.getsignal(handled) == signal.SIG_DFL
        assert signal.getsignal(handled) is signal.default_int_handler
    finally:
        signal.signal(handled, before)


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with loop.interruptible():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
