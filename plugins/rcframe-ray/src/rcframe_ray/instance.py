"""A connection to Ray: an instance of one's own that nobody else can reach, or a cluster that is there."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rcframe import RequestError

#: Weaker than what the user says, and said before ray is imported.
_MANNERS = {
    # Ray reports its use to its makers unless told not to.
    "RAY_USAGE_STATS_ENABLED": "0",
    # It warns that a job without a GPU will see all of them; the engine hides them itself.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
#: Further for an instance of one's own. Without them it would listen on every network interface of the machine, and
#: carry out whatever anybody sends.
_ALONE = {
    # Its only effect besides its name: the instance listens on the loopback interface.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
}
#: No data goes through Ray's memory, of which it would reserve a third of the machine's.
_OBJECT_STORE_BYTES = 100 * 2**20
#: Seconds for the head of a cluster to answer.
_PATIENCE = 10.0


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to the cluster at `address`, or to an instance of one's own, as long as this lasts.

    Where this process is connected already, that connection is used and left alone.
    """
    _behave(_MANNERS)
    if not address:
        _keep_others_out()
    try:
        import ray
    except ImportError as error:
        raise RequestError(f"Engine `ray` needs Ray, which cannot be imported ({error}): pip install ray.") from error
    _hush()
    if ray.is_initialized():
        yield
    elif address:
        with _cluster(address):
            yield
    else:
        with _own_instance():
            yield


def _keep_others_out() -> None:
    """Have an instance of one's own listen on this machine only, and to this process only."""
    # Ray reads its settings when it is imported.
    if sys.modules.get("ray") is None:
        _behave({**_ALONE, "RAY_AUTH_TOKEN": secrets.token_hex(32)})


def _behave(manners: dict[str, str]) -> None:
    for name, value in manners.items():
        os.environ.setdefault(name, value)


def _hush() -> None:
    """Keep Ray's paragraphs about lost workers off standard output, where results belong; the engine reports them."""
    from ray._private import worker

    worker.print_to_stdstream = lambda *data, **how: None  # there is no setting for it


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    import ray

    _refuse_silent(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        said = str(error).strip().splitlines()
        raise _unusable(address, said[0].rstrip(".") if said else type(error).__name__) from error
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_silent(address: str) -> None:
    """Refuse an address where nobody listens, for which Ray would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _unusable(address, f"nobody answers there ({reason})") from error


def _unusable(address: str, reason: str) -> RequestError:
    return RequestError(
        f"No Ray cluster can be used at `{address}`: {reason}. Name the head as `ray:HOST:6379`; if the cluster asks "
        f"for a token, set RAY_AUTH_MODE=token and the token here too."
    )


@contextmanager
def _own_instance() -> Iterator[None]:
    import ray

    if os.environ.get("RAY_AUTH_MODE") != "token":
        raise RequestError(
            "Engine `ray` cannot start a Ray instance that keeps others out, since Ray was imported here before, or "
            "RAY_AUTH_MODE says otherwise. Set RAY_AUTH_MODE=token, or connect to Ray before."
        )
    # In a folder of its own: the usual one belongs to whoever of a machine's users was first. Its sockets allow no long
    # path.
    folder = tempfile.mkdtemp(prefix="rcframe-ray-", dir="/tmp" if Path("/tmp").is_dir() else None)
    try:
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
        yield
    finally:
        ray.shutdown(wait_for_processes=True)
        shutil.rmtree(folder, ignore_errors=True)
