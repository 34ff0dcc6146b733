"""Starts rcframe so that it is asked to stop when the process that started it is gone.

A script of its own: `python attended.py PARENT ARGUMENT...`. Without it, the job of an engine that was killed would go
on unseen, beside the one that is given again.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

#: Linux's request for a signal at the death of the parent; other systems know none.
_PR_SET_PDEATHSIG = 1


def attend(parent: int) -> bool:
    """Ask for a signal when the parent dies; return whether it is still there."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == parent


if __name__ == "__main__":
    parent, *arguments = sys.argv[1:]
    if not attend(int(parent)):
        sys.exit("Error: The process that started this job is gone.")
    sys.argv[1:] = arguments
    runpy.run_module("rcframe", run_name="__main__", alter_sys=True)
