from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from rcframe.errors import RcframeError
from rcframe.session.stopping import Interrupted, Stop, uninterrupted

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_during_work_is_a_request_that_lets_the_batch_be_finished(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    stop, finished = Stop(), False
    with stop.listening(), stop.working():
        signal.raise_signal(number)
        finished = True
    assert finished
    assert stop.requested
    assert capfd.readouterr() == ("", "Stopping after this batch; once more to stop at once.\n")


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_stops_at_once(first: signal.Signals, second: signal.Signals) -> None:
    before, stop = handlers(), Stop()
    with stop.listening(), stop.working():
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(second)
    assert handlers() == before


@pytest.mark.parametrize("number", SIGNALS)
def test_where_nothing_would_be_lost_the_first_signal_stops_at_once(number: signal.Signals) -> None:
    stop = Stop()
    with stop.listening():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert not stop.requested
        with stop.working():
            pass
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_work_that_fails_is_over() -> None:
    stop = Stop()
    with stop.listening():
        with pytest.raises(ZeroDivisionError), stop.working():
            raise ZeroDivisionError
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_afterwards_signals_are_handled_as_before() -> None:
    seen: list[int] = []
    found = [signal.signal(number, lambda number, frame: seen.append(number)) for number in SIGNALS]
    try:
        own, stop = handlers(), Stop()
        with stop.listening():
            assert handlers() != own
        assert handlers() == own
        with pytest.raises(ZeroDivisionError), stop.listening():
            raise ZeroDivisionError
        for number in SIGNALS:
            signal.raise_signal(number)
        assert seen == SIGNALS
        assert not stop.requested
    finally:
        for number, handler in zip(SIGNALS, found, strict=True):
            signal.signal(number, handler)


def test_a_request_stays_and_is_of_this_run_alone() -> None:
    stop, other = Stop(), Stop()
    with stop.listening(), stop.working():
        signal.raise_signal(signal.SIGINT)
    assert stop.requested
    assert not other.requested
    assert not Stop.requested


def test_in_another_thread_signals_are_left_alone() -> None:
    before, during = handlers(), list[list[object]]()

    def listen() -> None:
        with Stop().listening():
            during.append(handlers())

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert during == [before]


def test_an_interrupted_run_ends_like_any_interrupted_program() -> None:
    assert issubclass(Interrupted, RcframeError)
    assert Interrupted("Stopped.").exit_code == 130


@pytest.mark.parametrize(("times", "reached"), [(1, ["asked", "end"]), (2, ["asked", "asked"])])
def test_the_first_ctrl_c_waits_for_the_end_of_what_must_not_be_interrupted(times: int, reached: list[str]) -> None:
    before, found = handlers(), list[str]()

    def work() -> None:
        with uninterrupted():
            for _ in range(times):
                found.append("asked")
                signal.raise_signal(signal.SIGINT)
            found.append("end")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert found == reached
    assert handlers() == before


def test_what_fails_uninterrupted_fails_and_without_ctrl_c_nothing_happens() -> None:
    before = handlers()
    with pytest.raises(ZeroDivisionError), uninterrupted():
        raise ZeroDivisionError
    with uninterrupted():
        pass
    assert handlers() == before


PROGRAM = """
import sys, time
from rcframe.session.stopping import Stop
stop = Stop()
with stop.listening(), stop.working():
    print("ready", flush=True)
    while not stop.requested:
        time.sleep(0.01)
    print("asked", flush=True)
    while True:
        time.sleep(0.01)
"""


def test_a_process_finishes_on_the_first_signal_and_dies_on_the_second() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.stdout.readline() == "asked\n"
        os.kill(process.pid, signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in err
    assert process.returncode != 0


def test_nobody_need_be_left_to_read_what_is_said() -> None:
    stop, (reader, writer) = Stop(), os.pipe()
    kept = os.dup(2)
    os.close(reader)
    os.dup2(writer, 2)
    try:
        with stop.listening(), stop.working():
            signal.raise_signal(signal.SIGTERM)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(writer)
    assert stop.requested
