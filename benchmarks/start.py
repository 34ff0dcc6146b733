"""How quickly the command line starts, beside `import torch`, with 30 generated plugins on top of ours.

python benchmarks/start.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = (["--help"], ["plugins"], ["run", "--help"])
PLUGINS = 30


def write_plugins(folder: Path) -> None:
    """Write distributions that a running Python finds on its path."""
    for number in range(PLUGINS):
        module = f"generated_{number:02}"
        (folder / f"{module}.py").write_text(
            "from rcframe import Spec, hookimpl\n\n@hookimpl\ndef rcframe_components():\n"
            f"    return [Spec(kind='attack', name='generated-{number}', target='{module}:A', summary='Nothing.')]\n"
        )
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: generated-{number:02}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[rcframe]\n{module} = {module}\n")


def seconds(arguments: list[str], environment: dict[str, str]) -> float:
    """Time one process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main(runs: int = 9) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        write_plugins(Path(folder))
        environment = os.environ | {"PYTHONPATH": folder}
        times: dict[str, list[float]] = {"import torch": []}
        for _ in range(runs):
            times["import torch"].append(seconds(["-c", "import torch"], environment))
            for command in COMMANDS:
                times.setdefault(f"rcframe {' '.join(command)}", []).append(
                    seconds(["-m", "rcframe", *command], environment)
                )
        print(
            f"| command, {PLUGINS} generated plugins installed | median, s | of import torch | bar |\n|---|---|---|---|"
        )
        for name, values in times.items():
            ratio = statistics.median(a / b for a, b in zip(values, times["import torch"], strict=True))
            print(f"| {name} | {statistics.median(values):.3f} | {ratio:.3f} | {'' if 'torch' in name else '0.200'} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
