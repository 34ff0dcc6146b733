"""The loop against the same training written by hand in plain PyTorch.

    python benchmarks/loop_overhead.py

The weights at the end must be equal bit for bit, so both do the same work.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from side_by_side import HEADER, compare
from torch import nn

from rcframe.choice import parse_choice
from rcframe.data.digits import Digits
from rcframe.data.glyphs import Glyphs
from rcframe.data.images import Dataset
from rcframe.data.prepare import prepare
from rcframe.seeding import derive, generator
from rcframe.training.context import Run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.settings import Training
from rcframe.training.steps import supervised

EPOCHS = 6
BATCH = 64


def ours(dataset: Dataset, model: str) -> nn.Module:
    """Train through the kernel."""
    run = Run(role="teacher", seed=0, dataset=dataset, model=parse_choice(model, "model"))
    network = run.network("teacher")
    execute(iter([Training(epochs=EPOCHS, batch_size=BATCH).stage(run, network, supervised)]), Monitor())
    return network


def by_hand(dataset: Dataset, model: str) -> nn.Module:
    """Train the way a paper's script would: index, forward, loss, backward, step."""
    run = Run(role="teacher", seed=0, dataset=dataset, model=parse_choice(model, "model"))
    network = run.network("teacher")
    everything = dataset.train.fetch(torch.arange(len(dataset.train)))
    x, y = everything.images, everything.labels
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    order_seed = derive(0, "batches", "teacher/train")
    network.train()
    for epoch in range(EPOCHS):
        right = total = 0.0
        for index in torch.split(torch.randperm(len(x), generator=generator(order_seed, "order", epoch)), BATCH):
            logits = network(x[index])
            loss = F.cross_entropy(logits, y[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item()
            right += (logits.argmax(dim=1) == y[index]).float().mean().item()
    return network


def main(runs: int = 9) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    cases = [
        ("digits, convnet", prepare(Digits(), Path(), 0), "convnet"),
        ("glyphs 32x32, cnn", prepare(Glyphs(train=1024, test=64), Path(), 0), "cnn"),
    ]
    print(HEADER)
    for name, dataset, model in cases:
        same = all(
            torch.equal(a, b)
            for a, b in zip(ours(dataset, model).parameters(), by_hand(dataset, model).parameters(), strict=True)
        )
        assert same, "both must do the same work"
        ratio = compare(f"training, {name}", partial(ours, dataset, model), partial(by_hand, dataset, model), runs)
        print(ratio.row(1.03), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
