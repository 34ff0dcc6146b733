"""Instances and clusters in processes of their own: whom they listen to, what they say and leave behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from rcframe_ray.instance import connected

CARRIES_OUT = """
import sys
from pathlib import Path
from rcframe_ray.engine import RayEngine
from rcframe.testing.acting import acting
place, address, script = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
for ended in RayEngine(address=address).carry_out([acting(place, "one", script)], place):
    print(ended.job.name, ended.code, ended.reason)
"""
#: Where the processes of an instance listen; those of others are told apart by its secret, which they do not have.
LISTENS = """
import glob, os, socket
def sockets():
    for line in open("/proc/net/tcp").readlines()[1:] + open("/proc/net/tcp6").readlines()[1:]:
        parts = line.split()
        if parts[3] == "0A":
            yield parts[9], parts[1].split(":")[0]
listening = dict(sockets())
for folder in glob.glob("/proc/[0-9]*"):
    try:
        if os.environ["RAY_AUTH_TOKEN"].encode() not in open(folder + "/environ", "rb").read():
            continue
        links = [os.readlink(link) for link in glob.glob(folder + "/fd/*")]
    except OSError:
        continue
    for link in links:
        if link.startswith("socket:[") and link[8:-1] in listening:
            print(listening[link[8:-1]])
"""
#: 127.0.0.1 as the system writes it, also within IPv6.
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**kept, **environment},
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the system's own lists")
def test_an_instance_of_our_own_listens_here_only_says_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    before = set(Path("/tmp").glob("rcframe-ray-*"))
    done = python(CARRIES_OUT, str(tmp_path), "", LISTENS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "one 0 \n", "")
    listening = (tmp_path / "logs" / "one.txt").read_text().split()
    assert len(listening) > 3
    assert set(listening) <= LOOPBACK
    assert set(Path("/tmp").glob("rcframe-ray-*")) <= before


@pytest.mark.slow
def test_a_lost_worker_is_not_news_on_standard_output(tmp_path: Path) -> None:
    kills = "import os, signal, time; os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)"
    done = python(CARRIES_OUT, str(tmp_path), "", kills)
    assert done.stdout.splitlines() == [
        "one None the machine or process that carried it out was lost: "
        "The worker died unexpectedly while executing this task"
    ]
    assert done.stderr == ""


def test_an_instance_that_could_not_keep_others_out_is_not_started(tmp_path: Path) -> None:
    code = "import ray\n" + CARRIES_OUT
    done = python(code, str(tmp_path), "", "")
    assert done.returncode == 1
    assert "RequestError: Engine `ray` cannot start a Ray instance that keeps others out" in done.stderr


# -- clusters ---------------------------------------------------------------------------------------------------------


@attrs.frozen
class Head:
    """The head of a cluster, for which this machine is all there is."""

    address: str
    #: What those need who use it.
    environment: dict[str, str]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Head]:
    # The first for tests on a machine whose own address may lead nowhere.
    environment = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32}
    port = free_port()
    command = ["start", "--head", "--block", f"--port={port}", "--include-dashboard=false", "--disable-usage-stats"]
    with (tmp_path / "head.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *command, "--num-cpus=1"],
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 60
        while "Ray runtime started" not in (tmp_path / "head.txt").read_text():
            assert time.monotonic() < deadline, (tmp_path / "head.txt").read_text()
            assert process.poll() is None, (tmp_path / "head.txt").read_text()
            time.sleep(0.1)
        yield Head(f"127.0.0.1:{port}", environment)
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_a_cluster_carries_out_jobs_for_those_who_have_its_token(head: Head, tmp_path: Path) -> None:
    done = python(CARRIES_OUT, str(tmp_path), head.address, "print('hello')", **head.environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "one 0 \n", "")
    assert (tmp_path / "logs" / "one.txt").read_text() == "hello\n"
    refused = python(CARRIES_OUT, str(tmp_path), head.address, "", **{**head.environment, "RAY_AUTH_TOKEN": "cd" * 32})
    assert refused.returncode == 1
    assert f"RequestError: No Ray cluster can be used at `{head.address}`: " in refused.stderr


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:9", "nobody answers there"),
        ("ray://127.0.0.1:9", "nobody answers there"),
        ("127.0.0.1:99999999", "nobody answers there"),
        ("here", "Invalid address format: here"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused_at_once(address: str, reason: str) -> None:
    code = f"from rcframe_ray.instance import connected\nwith connected({address!r}): print('in')"
    done = python(code)
    assert done.stdout == ""
    assert f"RequestError: No Ray cluster can be used at `{address}`: {reason}" in done.stderr
    assert "as `ray:HOST:6379`" in done.stderr


@pytest.mark.usefixtures("instance")
def test_a_connection_that_is_there_is_used_whatever_the_address() -> None:
    import ray

    with connected("127.0.0.1:9"):
        assert ray.is_initialized()
    assert ray.is_initialized()


def test_ray_is_not_imported_to_list_names() -> None:
    code = (
        "import sys; from rcframe.registry import registry; registry().announced('engine');"
        "from rcframe_ray.engine import RayEngine; print('ray' in sys.modules)"
    )
    assert python(code).stdout == "False\n"
