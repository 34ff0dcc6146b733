"""A matrix whose runs share one teacher, against the same runs one after the other without the cache.

    python benchmarks/matrix.py            the local engine
    python benchmarks/matrix.py ray        a local Ray instance, one of whose workers is killed on the way

Whole processes, each with the seconds that Python and torch need to start; the cache is empty at the beginning.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # comes with accelerate

MATRIX = """
title = "Twelve students of one teacher"
[run]
teacher = "nasty"
student = "kd"
attack = "pgd"
[vary]
"student.temperature" = [1, 2, 4, 8, 12, 20]
"student.alpha" = [0.5, 0.9]
"""


def rcframe(*arguments: str, cache: Path) -> float:
    """Run a command and return the seconds that it took."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "rcframe", *arguments, "--quiet"],
        check=True,
        env={**os.environ, "RCFRAME_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def numbers(folder: Path) -> object:
    """Return what a run found, without what depends on the clock or on where it was written."""
    report = json.loads((folder / "report.json").read_text())
    return report["teacher"], report["student"], report["queries"]


def one_after_the_other(place: Path, matrix: Path) -> float:
    """Carry out each run of a finished matrix alone; return the seconds of all."""
    total = 0.0
    for config in sorted((matrix / "jobs").glob("*.toml")):
        total += rcframe("run", str(config), "--no-cache", "--out", str(place / config.stem), cache=place / "none")
    return total


def differing(place: Path, matrix: Path) -> int:
    """Count the runs of a matrix that found something else than the same run alone."""
    return sum(numbers(matrix / "runs" / alone.name) != numbers(alone) for alone in place.iterdir())


def local(place: Path, file: Path) -> None:
    """Compare the local engine with one run after the other."""
    together = rcframe("matrix", str(file), "--out", str(place / "matrix"), cache=place / "cache")
    apart = one_after_the_other(place / "apart", place / "matrix")
    different = differing(place / "apart", place / "matrix")
    print(
        "| 12 runs | matrix, s | one after the other, s | ratio | bar | runs that differ |\n|---|---|---|---|---|---|"
    )
    print(f"| local engine | {together:.0f} | {apart:.0f} | {together / apart:.2f} | 0.50 | {different} |")


def reports(matrix: Path) -> dict[str, float]:
    """Return when each finished run of a matrix was finished."""
    return {path.parent.name: path.stat().st_mtime for path in (matrix / "runs").glob("*/report.json")}


def on_ray(place: Path, file: Path) -> None:
    """Kill a worker of a local Ray instance in the middle, and see that nothing finished is lost or done twice."""
    started = time.perf_counter()
    going = subprocess.Popen(
        [sys.executable, "-m", "rcframe", "matrix", str(file), "--engine", "ray", "--out", str(place / "ray")],
        env={**os.environ, "RCFRAME_CACHE": str(place / "cache")},
        stdout=subprocess.DEVNULL,
    )
    while len(reports(place / "ray")) < 4:
        time.sleep(0.2)
    before = reports(place / "ray")
    os.kill(working(going.pid), signal.SIGKILL)
    code = going.wait()
    seconds = time.perf_counter() - started
    after = reports(place / "ray")
    kept = sum(after.get(name) == when for name, when in before.items())
    rcframe("matrix", str(file), "--out", str(place / "local"), cache=place / "other")
    different = sum(
        numbers(place / "ray" / "runs" / name) != numbers(place / "local" / "runs" / name) for name in after
    )
    print("| runs done | seconds | done when a worker was killed | of them done again | runs that differ | exit code |")
    print("|---|---|---|---|---|---|")
    print(f"| {len(after)} of 12 | {seconds:.0f} | {len(before)} | {len(before) - kept} | {different} | {code} |")


def working(pid: int) -> int:
    """Return a worker of Ray that carries out a job for this process now: it is the parent of the job."""
    below = psutil.Process(pid).children(recursive=True)
    return next(int(one.ppid()) for one in below if any("attended.py" in word for word in one.cmdline()))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        file = place / "twelve.toml"
        file.write_text(MATRIX, encoding="utf-8")
        (on_ray if "ray" in sys.argv[1:] else local)(place, file)


if __name__ == "__main__":
    main()
