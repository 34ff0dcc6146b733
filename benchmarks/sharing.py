"""What the cache saves: a second run that changes only the attack, and two equal runs started at once.

    python benchmarks/sharing.py

Whole processes, each with the seconds that Python and torch need to start; the cache is empty at the beginning.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

METHODS = ["--teacher", "nasty", "--student", "skeptical"]
LONGER = ["--teacher", "nasty:epochs=250", "--student", "skeptical:epochs=250"]


def command(*arguments: str) -> list[str]:
    """Return the command line of a run."""
    return [sys.executable, "-m", "rcframe", "run", "--quiet", *arguments]


def seconds(arguments: list[str], environment: dict[str, str]) -> float:
    """Run once and return how long the process took."""
    started = time.perf_counter()
    subprocess.run(command(*arguments), check=True, env=environment)
    return time.perf_counter() - started


def outcomes(folder: Path) -> Counter[tuple[str, str]]:
    """Count what became of the stages of a run."""
    work = json.loads((folder / "work.json").read_text())["work"]
    return Counter((entry["determined_by"]["name"], entry["outcome"]) for entry in work)


def numbers(folder: Path, attack: str) -> tuple[object, ...]:
    """Return what a report says about the clean accuracy and an attack."""
    report = json.loads((folder / "report.json").read_text())
    return tuple(report[role][part] for role in ("teacher", "student") for part in ("clean",)) + tuple(
        report[role]["attacked"][attack] for role in ("teacher", "student")
    )


def other_attack(place: Path, methods: list[str], what: str) -> None:
    """Time a run, the same with another attack, and that one again without the cache."""
    environment = {**os.environ, "RCFRAME_CACHE": str(place / "cache")}
    first = seconds([*methods, "--attack", "pgd", "--out", str(place / "first")], environment)
    second = seconds([*methods, "--attack", "fgsm", "--out", str(place / "second")], environment)
    seconds([*methods, "--attack", "fgsm", "--no-cache", "--out", str(place / "alone")], environment)
    same = numbers(place / "second", "fgsm") == numbers(place / "alone", "fgsm")
    print(f"| {what} | {first:.1f} | {second:.1f} | {first / second:.1f} | {'yes' if same else 'NO'} |", flush=True)


def in_one_process(place: Path) -> None:
    """Time the main command and another attack as a library would run them, without the start of Python and torch."""
    import rcframe as rc

    os.environ["RCFRAME_CACHE"] = str(place)
    # What is imported on the way counts for neither.
    rc.run(teacher="plain:epochs=1", student="plain:epochs=1", attack="fgsm", cache=False)
    times = []
    for attack in ("pgd", "fgsm"):
        started = time.perf_counter()
        rc.run(teacher="nasty", student="skeptical", attack=attack)
        times.append(time.perf_counter() - started)
    first, second = times
    print(f"in one process: {first:.1f} s, then {second:.2f} s, ratio {first / second:.0f}")


def at_once(place: Path) -> None:
    """Start two equal runs at once and count who computed what."""
    environment = {**os.environ, "RCFRAME_CACHE": str(place / "cache")}
    folders = [place / "a", place / "b"]
    arguments = [*METHODS, "--attack", "pgd"]
    running = [subprocess.Popen(command(*arguments, "--out", str(f)), env=environment) for f in folders]
    assert [process.wait() for process in running] == [0, 0]
    total = sum((outcomes(folder) for folder in folders), Counter[tuple[str, str]]())
    for (name, outcome), count in sorted(total.items()):
        print(f"{name}: {outcome} {count}")


def main() -> None:
    """Print both tables."""
    print(
        "| run | first, s | only the attack changed, s | ratio | same numbers as without the cache |\n"
        "|---|---|---|---|---|"
    )
    for what, methods in (("main command, 30 epochs", METHODS), ("the same with 250 epochs", LONGER)):
        with tempfile.TemporaryDirectory() as folder:
            other_attack(Path(folder), methods, what)
    with tempfile.TemporaryDirectory() as folder:
        in_one_process(Path(folder))
    print("\ntwo equal runs at once:")
    with tempfile.TemporaryDirectory() as folder:
        at_once(Path(folder))


if __name__ == "__main__":
    main()
