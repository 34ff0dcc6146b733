"""`auto` through the library, against the package's own evaluation: accuracy on the same images, and time.

python benchmarks/autoattack.py [images] [repeats]
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Literal

import attrs
import torch
import torch.nn.functional as F
from pyautoattack import AutoAttack
from torch import Tensor, nn

import rcframe as rc
from rcframe.api import DataSource, Model, Norm
from rcframe.data.images import DataInfo
from rcframe.evaluation.crafting import attack_batch
from rcframe.evaluation.evaluate import predict
from rcframe.evaluation.oracle import Queries
from rcframe.registry import registry
from rcframe.training.randomness import seeded

#: The package's own batch size; the kernel's is 256.
BATCH = 250
EPOCHS = 12
#: Radii to train against and to measure at.
_RADII: dict[Norm, float] = {"linf": 0.1, "l2": 0.8}
_THEIRS: dict[Norm, Literal["Linf", "L2"]] = {"linf": "Linf", "l2": "L2"}
_NETWORK = "convnet:channels=16+32+64,hidden=64"


@attrs.frozen
class Problem:
    """A trained network and images (n, 1, 8, 8) with labels (n,)."""

    name: str
    network: nn.Module
    x: Tensor
    y: Tensor


@attrs.frozen
class Measured:
    """Robust accuracy, seconds of this process on one core, images asked for and those of them with gradients."""

    accuracy: float
    seconds: float
    asked: int
    gradients: int


class Counted(nn.Module):
    """A network that counts what it is asked."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.queries = network, Queries()

    def forward(self, x: Tensor) -> Tensor:
        self.queries.images += len(x)
        self.queries.gradient_images += len(x) if x.requires_grad and torch.is_grad_enabled() else 0
        logits: Tensor = self.network(x)
        return logits


def digits(count: int) -> tuple[DataInfo, Tensor, Tensor, Tensor, Tensor]:
    """Return what the handwritten digits of scikit-learn are, training images and labels, test images and labels."""
    source = registry().make("data", "digits")
    assert isinstance(source, DataSource)
    data = source.load(Path("."))
    train, test = data.train.fetch(torch.arange(len(data.train))), data.test.first(count)
    return data.info, train.images, train.labels, test.images, test.labels


def trained(info: DataInfo, x: Tensor, y: Tensor, eps: float, norm: Norm, epochs: int) -> nn.Module:
    """Return a network trained on images attacked by ten projected steps, or on the images themselves at eps 0."""
    model = registry().make("model", _NETWORK)
    assert isinstance(model, Model)
    torch.manual_seed(0)
    network = model.build(info)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    attack = rc.attack("pgd", steps=10).thorough()
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(x)), 64):
            attacked = attack(network, x[rows], y[rows], eps=eps, norm=norm)
            network.train()
            optimizer.zero_grad()
            F.cross_entropy(network(attacked), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network.eval().requires_grad_(False)


def ours(problem: Problem, eps: float, norm: Norm) -> Measured:
    """Measure with the kernel around it, on images that the network has right, as in a run."""
    attack, queries, right = rc.attack("auto"), Queries(), 0
    threat = rc.make_threat(eps, norm)
    started = time.process_time()
    with seeded(0):
        for x, y in zip(torch.split(problem.x, BATCH), torch.split(problem.y, BATCH), strict=True):
            standing = predict(problem.network, x) == y
            x_adv = attack_batch(attack, problem.network, x[standing], y[standing], threat, queries)
            right += int((predict(problem.network, x_adv) == y[standing]).sum())
    seconds = time.process_time() - started
    return Measured(right / len(problem.y), seconds, queries.images, queries.gradient_images)


def theirs(problem: Problem, eps: float, norm: Norm) -> Measured:
    """Measure with the package alone."""
    network = Counted(problem.network)
    started = time.process_time()
    attack = AutoAttack(network, norm=_THEIRS[norm], eps=eps, seed=0)
    x_adv, _ = attack.run_standard_evaluation(problem.x, problem.y, batch_size=BATCH)
    seconds = time.process_time() - started
    accuracy = float((predict(problem.network, x_adv) == problem.y).float().mean())
    return Measured(accuracy, seconds, network.queries.images, network.queries.gradient_images)


def row(problem: Problem, eps: float, norm: Norm, repeats: int) -> str:
    """Measure both in turn and return a line of a Markdown table."""
    mine: list[Measured] = []
    hers: list[Measured] = []
    for number in range(repeats):
        pair = [(ours, mine), (theirs, hers)]
        for function, kept in pair if number % 2 else reversed(pair):
            kept.append(function(problem, eps, norm))
    ratio = statistics.median(a.seconds / b.seconds for a, b in zip(mine, hers, strict=True))
    a, b = mine[0], hers[0]
    clean = float((predict(problem.network, problem.x) == problem.y).float().mean())
    return (
        f"| {problem.name} | {norm} {eps:g} | {100 * clean:.1f} | {100 * a.accuracy:.2f} | {100 * b.accuracy:.2f} "
        f"| {statistics.median(m.seconds for m in mine):.1f} | {statistics.median(m.seconds for m in hers):.1f} "
        f"| {ratio:.2f} | {a.asked / b.asked:.2f} | {a.gradients / b.gradients:.2f} |"
    )


def main(images: int = 250, repeats: int = 1) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    info, x_train, y_train, x, y = digits(images)
    print(
        "| network | threat | clean | ours | package | ours, s | package, s | ratio | images asked | with gradients |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for norm, eps in _RADII.items():
        plain = trained(info, x_train, y_train, 0, norm, EPOCHS)
        hard = trained(info, x_train, y_train, eps, norm, EPOCHS)
        for radius in (eps, 2 * eps):
            for name, network in (("plain", plain), ("adversarially trained", hard)):
                print(row(Problem(name, network, x, y), radius, norm, repeats), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
