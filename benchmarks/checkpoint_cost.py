"""Training with checkpoints against the same training without.

    python benchmarks/checkpoint_cost.py 5

The weights at the end must be equal bit for bit. Checkpoints are asked for every second, five times as often as by
default; writing is held to a hundredth of the time, and the last lines say what it took. That part is measured inside,
so it tells more than the ratio when the machine is noisy.
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import attrs
import torch
from side_by_side import HEADER, compare
from torch import nn

from rcframe.choice import parse_choice
from rcframe.data.digits import Digits
from rcframe.data.glyphs import Glyphs
from rcframe.data.images import Dataset
from rcframe.data.prepare import prepare
from rcframe.session.keeping import RunKeeper
from rcframe.session.stopping import Stop
from rcframe.session.store import Store
from rcframe.session.worklog import WorkLog
from rcframe.storage.keeper import Keeper, Work
from rcframe.training.compute import Compute
from rcframe.training.context import Run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.settings import Training
from rcframe.training.steps import supervised

EVERY_SECONDS = 1.0


@attrs.define
class Counting(Store):
    """A store that counts its checkpoints and the seconds they take."""

    written: int = 0
    spent: float = 0.0

    def _checkpoint(self, work: Work) -> None:
        started = time.perf_counter()
        super()._checkpoint(work)
        self.written += 1
        self.spent += time.perf_counter() - started


def trained(dataset: Dataset, model: str, epochs: int, keeper: Keeper) -> nn.Module:
    """Train through the kernel with a keeper."""
    run = Run(role="teacher", seed=0, dataset=dataset, model=parse_choice(model, "model"))
    network = run.network("teacher")
    execute(iter([Training(epochs=epochs).stage(run, network, supervised)]), Monitor(), keeper)
    return network


def kept(dataset: Dataset, model: str, epochs: int, notes: list[str]) -> nn.Module:
    """Train with checkpoints in a folder of their own."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        store = Counting(
            progress=Path(folder),
            cache=None,
            log=WorkLog(),
            compute=Compute(),
            every=EVERY_SECONDS,
            say=print,
            stop=Stop(),
        )
        network = trained(dataset, model, epochs, RunKeeper(store, lambda _: {}, chained=True))
    notes.append(f"{store.written} checkpoints took {store.spent / (time.perf_counter() - started):.2%} of the time")
    return network


def main(runs: int) -> None:
    """Compare on small and on larger images."""
    torch.set_num_threads(1)
    print(HEADER)
    cases = [
        ("digits, convnet, 120 epochs", Digits(), "convnet", 120),
        ("glyphs 32x32, resnet20 at half width, 4 epochs", Glyphs(train=1024), "resnet20:width=0.5", 4),
    ]
    lines = []
    for what, source, model, epochs in cases:
        dataset = prepare(source, Path(), 0)
        notes: list[str] = []
        ours = partial(kept, dataset, model, epochs, notes)
        theirs = partial(trained, dataset, model, epochs, Keeper())
        one, other = ours().state_dict(), theirs().state_dict()
        assert all(torch.equal(one[name], other[name]) for name in one)
        print(compare(what, ours, theirs, runs).row(1.02), flush=True)
        lines.append(f"{what}: {notes[-1]}")
    print("\n".join(lines))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
