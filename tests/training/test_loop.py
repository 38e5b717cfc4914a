"""The training loop's note on overfitting, and the signals that stop it."""

import math
import signal

import pytest

from midilstm.training import loop
from midilstm.training.log import LogRow


@pytest.mark.parametrize(
    ("held_out", "noted"),
    [
        ([3, 2, *[2.5] * 30], [12]),
        ([3, 2, *[2.5] * 12, 1, *[2] * 20], [12]),
        ([3, 2, *[2.5] * 9, 1, *[2] * 9], []),
        ([math.nan] * 30, []),
    ],
    ids=["once", "not again after a better epoch", "not before ten epochs", "nothing held out"],
)
def test_overfitting_is_noted_once(held_out: list[float], noted: list[int]) -> None:
    rows = [LogRow(epoch, 0, 0, loss, 0, 0) for epoch, loss in enumerate(held_out, 1)]
    notes = {epoch: loop.overfitting_note(rows[:epoch]) for epoch in range(1, len(rows) + 1)}
    assert [epoch for epoch, note in notes.items() if note] == noted
    assert all("best.keras keeps epoch 2: stop" in notes[epoch] for epoch in noted)


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
