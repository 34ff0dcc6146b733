"""Jobs that act as runs do, or worse: they run a script of yours in the place of rcframe.

They show how an engine takes jobs that are killed, stopped, or slow to end, without training anything.
"""

from __future__ import annotations

from pathlib import Path

from rcframe.jobs import Job

#: Runs until it is asked to stop and then takes a moment, as a run does that keeps its state. The files it writes:
#: `begun` at the start, `beats` while it lives, `kept` at the end.
LASTING = """
import signal, sys, time

def stop(number, frame):
    signal.signal(number, signal.SIG_IGN)
    time.sleep(0.3)
    open("kept", "a").write("x")
    sys.exit(130)

signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
open("begun", "w").close()
while True:
    open("beats", "a").write("x")
    time.sleep(0.02)
"""

#: Kills itself as often as its argument says, then ends well. Adds to the file `given` whenever it is given.
KILLED = """
import os, signal, sys

open("given", "a").write("x")
if len(open("given").read()) <= int(sys.argv[1]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def acting(place: Path, name: str, script: str, *arguments: str) -> Job:
    """Return a job that runs `script` with these arguments, in a folder of its own below `place`."""
    folder, stand_in = place / name, place / "stand-ins" / name
    folder.mkdir(parents=True, exist_ok=True)
    stand_in.mkdir(parents=True, exist_ok=True)
    (stand_in / "rcframe.py").write_text(script, encoding="utf-8")
    return Job(name, arguments, place / "logs" / f"{name}.txt", {"PYTHONPATH": str(stand_in)}, folder)
