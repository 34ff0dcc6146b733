"""A report of 50 runs as a whole process: seconds, and the size of the page.

python benchmarks/report_page.py

The runs are copies of a real one, each with another student temperature and teacher, with figures, curves, answers,
radii and adversarial pictures that differ as those of real runs do.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs
import numpy as np
import tomlkit

from rcframe.session.evidence import About, read_evidence, write_evidence
from rcframe.session.layout import RunFiles

RUNS = 50
DATA = ("digits", "glyphs:size=32,classes=10,train=500,test=300")
REAL = [
    "run",
    "--student",
    "kd:epochs=8",
    "--attack",
    "fgsm",
    "--attack",
    "pgd:steps=5",
    "--eval-size",
    "200",
    "--quiet",
]
BAR_SECONDS, BAR_BYTES = 10, 3_000_000


def vary(real: Path, path: Path, number: int) -> None:
    """Write a run that is like the real one, but found something else."""
    path.mkdir(parents=True)
    source, files, chance = RunFiles(real), RunFiles(path), np.random.default_rng(number)
    config = tomlkit.parse(source.config.read_text())
    heat, seed = 1 + number % 25, number // 25
    document = config.unwrap()
    document["seed"] = seed
    document["student"][0]["temperature"] = float(heat)
    document["typed"]["student"] = [f"kd:temperature={heat},epochs=8"]
    files.config.write_text(tomlkit.dumps(document))
    report = json.loads(source.report.read_text()) | {"seed": seed}
    for measured in (report["student"]["clean"], *report["student"]["attacked"].values()):
        measured["accuracy"] = int(chance.integers(100, 180)) / measured["n"]
    files.report.write_text(json.dumps(report))
    lines = [json.loads(line) for line in source.metrics.read_text().splitlines()]
    noisy = [line | {"loss": line["loss"] * chance.uniform(0.5, 2)} for line in lines]
    files.metrics.write_text("".join(json.dumps(line) + "\n" for line in noisy))
    evidence = read_evidence(source.evidence)
    changed = {
        about: (pictures ^ chance.integers(0, 8, pictures.shape, np.uint8))
        for about, pictures in evidence.adversarial.items()
    }
    logits = {role: each + chance.normal(size=each.shape).astype(np.float32) for role, each in evidence.logits.items()}
    radii = {About(role, "convex"): chance.uniform(0, 0.1, 200).astype(np.float32) for role in logits}
    write_evidence(files.evidence, attrs.evolve(evidence, adversarial=changed, logits=logits, radii=radii))


def main(repeats: int = 3) -> None:
    """Print the table."""
    print("| runs | seconds | bar, s | page, bytes | bar, bytes |\n|---|---|---|---|---|")
    for data in DATA:
        measure(data, repeats)


def measure(data: str, repeats: int) -> None:
    """Print the lines of one data set."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = [sys.executable, "-m", "rcframe", *REAL, "--data", data, "--out", str(folder / "real")]
        subprocess.run(real, check=True)
        for number in range(RUNS):
            vary(folder / "real", folder / "runs" / f"{number:02}", number)
        for repeat in range(repeats):
            out = folder / f"report-{repeat}"
            command = [sys.executable, "-m", "rcframe", "report", str(folder / "runs"), "--out", str(out)]
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds, size = time.perf_counter() - started, (out / "report.html").stat().st_size
            print(
                f"| {RUNS} of {data.partition(':')[0]} | {seconds:.1f} | {BAR_SECONDS} | {size:,} | {BAR_BYTES:,} |",
                flush=True,
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
