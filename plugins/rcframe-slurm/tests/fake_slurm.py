"""A Slurm of one machine, as far as submitit uses it: `sbatch`, `srun`, `sacct`, `scancel` and `scontrol requeue`.

One script under all these names. It keeps what it knows in the folder that FAKE_SLURM names: for each job `ID.state`,
`ID.session` (whose processes are those of the job), `ID.requeue` while it is to start again, and every script.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HOME = Path(os.environ.get("FAKE_SLURM", "."))


def state_of(job: str) -> str:
    """Return what `sacct` says of a job."""
    path = HOME / f"{job}.state"
    return path.read_text() if path.exists() else "UNKNOWN"


def become(job: str, state: str) -> None:
    """Write a state whole."""
    (HOME / f"{job}.new").write_text(state)
    (HOME / f"{job}.new").rename(HOME / f"{job}.state")


def signal_all(job: str, number: int) -> None:
    """Send a signal to every process of a job, as Slurm does, whatever process group it is in; not to the script."""
    session = int((HOME / f"{job}.session").read_text())
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and folder.name != str(session):
            try:
                if os.getsid(int(folder.name)) == session:
                    os.kill(int(folder.name), number)
            except OSError:
                continue


def sbatch(file: str) -> None:
    """Take a job or an array of them, and start its controller."""
    if (HOME / "refuses").exists():
        sys.exit("sbatch: error: invalid partition specified: nowhere")
    number = str(100 + len(list(HOME.glob("*.sh"))))
    text = Path(file).read_text()
    (HOME / f"{number}.sh").write_text(text)
    array = re.search(r"--array=0-(\d+)%(\d+)", text)
    jobs = [f"{number}_{index}" for index in range(int(array[1]) + 1)] if array else [number]
    for job in jobs:
        become(job, "PENDING")
    controller = [sys.executable, __file__, "control", number, array[2] if array else "1", *jobs]
    with (HOME / f"{number}.out").open("wb") as out:
        subprocess.Popen(controller, start_new_session=True, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    print(f"Submitted batch job {number}")


def control(number: str, parallel: str, *jobs: str) -> None:
    """Run the jobs of an array, so many at once; those that are to start again do."""
    waiting, running = list(jobs), dict[str, subprocess.Popen[bytes]]()
    while waiting or running:
        for job in list(waiting):
            if state_of(job) != "PENDING":
                waiting.remove(job)
            elif len(running) < int(parallel):
                waiting.remove(job)
                running[job] = start(number, job)
        for job, process in list(running.items()):
            code = process.poll()
            if code is not None:
                del running[job]
                if (HOME / f"{job}.requeue").exists():
                    (HOME / f"{job}.requeue").unlink()
                    become(job, "PENDING")
                    waiting.append(job)
                elif state_of(job) == "RUNNING":
                    become(job, "FAILED" if code else "COMPLETED")
        time.sleep(0.02)


def start(number: str, job: str) -> subprocess.Popen[bytes]:
    """Start one job in a session of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    environment |= {"SLURM_JOB_ID": number, "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0"}
    environment |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    if "_" in job:
        environment |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": job.partition("_")[2]}
    process = subprocess.Popen(["bash", str(HOME / f"{number}.sh")], env=environment, start_new_session=True)
    (HOME / f"{job}.session").write_text(str(process.pid))
    become(job, "RUNNING")
    return process


def srun(*arguments: str) -> None:
    """Run a command with its output where the options say."""
    files, rest = {}, list(arguments)
    while rest[0].startswith("--"):
        option = rest.pop(0)
        if option in ("--output", "--error"):
            files[option] = rest.pop(0)
    number, index = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_ARRAY_TASK_ID", "")
    for option, place in (("--output", 1), ("--error", 2)):
        path = files[option].replace("%j", number).replace("%A", number).replace("%a", index).replace("%t", "0")
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), place)
    os.execvp(rest[0], rest)


def sacct(*arguments: str) -> None:
    """List the states of all jobs."""
    with (HOME / "asked").open("a") as asked:
        asked.write(shlex.join(arguments) + "\n")
    print("JobID|State|NodeList")
    for path in HOME.glob("*.state"):
        print(f"{path.stem}|{path.read_text()}|here")


def scancel(*jobs: str) -> None:
    """Take jobs away."""
    for job in jobs:
        before = state_of(job)
        if before in ("PENDING", "RUNNING"):
            become(job, "CANCELLED by 1000")
        if before == "RUNNING":
            signal_all(job, signal.SIGTERM)


def scontrol(_: str, job: str) -> None:
    """Have a job start again when it has ended."""
    (HOME / f"{job}.requeue").touch()


if __name__ == "__main__":
    name, rest = Path(sys.argv[0]).name, sys.argv[1:]
    if name == Path(__file__).name and rest and rest[0] == "control":
        control(*rest[1:])
    else:
        programs: list[Callable[..., None]] = [sbatch, srun, sacct, scancel, scontrol]
        next(program for program in programs if program.__name__ == name)(*rest)
