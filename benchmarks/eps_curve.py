"""Accuracy at twenty radii in one pass, against measuring each radius alone.

python benchmarks/eps_curve.py [WORDS OF A CASE]

Seconds are those of the process, so that other work on the machine does not count.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rcframe as rc
from rcframe.api import Attack, DataSource, Model
from rcframe.choice import parse_choice
from rcframe.data.images import Dataset
from rcframe.data.prepare import prepare
from rcframe.evaluation.curves import Climber
from rcframe.evaluation.evaluate import Evaluator
from rcframe.evaluation.ladder import Ladder, Start, Way
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.threat import Threat
from rcframe.registry import registry

POINTS = 20


@attrs.frozen
class Case:
    """A network, and what it is attacked by."""

    name: str
    data: str
    model: str
    count: int
    epochs: int
    #: The radius of the images it is trained on, 0 for plain ones.
    hardened: float
    largest: tuple[float, ...]
    attacks: tuple[str, ...]


DIGITS = ("pgd:steps=20", "pgd:steps=50", "pgd:steps=20,early_stop=false", "fgsm")
CASES = (
    Case("digits, convnet", "digits", "convnet", 450, 15, 0.0, (0.1, 0.3), DIGITS),
    Case("digits, convnet, adversarially trained", "digits", "convnet", 450, 15, 0.1, (0.1, 0.3), DIGITS),
    Case("glyphs 32x32, cnn", "glyphs:train=4000,test=512", "cnn", 512, 2, 0.0, (0.1,), ("pgd:steps=20",)),
)
HEADER = (
    "| network, largest eps | attack | points alone, passes per image | passes: of the mean point | of the dearest "
    "| seconds: of the mean point | judgements that differ | largest difference of a point |\n"
    "|---|---|---|---|---|---|---|---|"
)


@attrs.frozen
class Measured:
    """What one way to measure found and took."""

    #: Which images (points, n) are right.
    right: Tensor
    passes: float
    seconds: float


def passes(queries: Queries) -> float:
    """Count passes in units of a forward pass: a gradient takes a forward and, about twice as long, a backward pass."""
    return queries.images + 2 * queries.gradient_images


def alone(judge: Evaluator, network: nn.Module, attack: Attack, eps: float) -> Measured:
    """Measure one radius."""
    tally, started = judge.tally("alone"), time.process_time()
    right = judge.attacked(network, attack, Threat(eps), tally)
    return Measured(right.unsqueeze(0), passes(tally.queries), time.process_time() - started)


def together(
    judge: Evaluator, network: nn.Module, attack: Attack, points: tuple[float, ...], clean: Tensor
) -> Measured:
    """Measure all radii in one pass."""
    tally, started = judge.tally("top"), time.process_time()
    top = judge.attacked(network, attack, Threat(points[-1]), tally)
    way = Way.SEARCH if attack.iterated else Way.ASCENT
    ladder = Ladder("curve", points, Start(clean, top, tally.linf), way, {})
    breaks = Climber(evaluator=judge, module=network, norm="linf").attacked(attack, ladder)
    right = torch.stack([breaks > rung for rung in range(1, len(points) + 1)])
    return Measured(right, passes(tally.queries) + passes(ladder.queries), time.process_time() - started)


def row(judge: Evaluator, name: str, network: nn.Module, spec: str, largest: float) -> str:
    """Return a line of the table."""
    attack = rc.attack(spec)
    points = tuple(largest * number / POINTS for number in range(1, POINTS + 1))
    clean = judge.clean(network)
    each = [alone(judge, network, attack, point) for point in points]
    curve = together(judge, network, attack, points, clean)
    right = torch.cat([one.right for one in each])
    cost = [one.passes for one in each]
    differ = float((curve.right != right).float().mean())
    apart = float((curve.right.float().mean(dim=1) - right.float().mean(dim=1)).abs().max())
    seconds = curve.seconds / statistics.fmean([one.seconds for one in each])
    return (
        f"| {name}, {largest:g} | {spec} | {min(cost) / judge.count:.0f} to {max(cost) / judge.count:.0f} | "
        f"{curve.passes / statistics.fmean(cost):.2f} | {curve.passes / max(cost):.2f} | "
        f"{seconds:.1f} | {differ:.2%} | {100 * apart:.1f} points |"
    )


def trained(model: str, dataset: Dataset, epochs: int, eps: float) -> nn.Module:
    """Return a network that learned plain images, or images attacked within `eps`."""
    torch.manual_seed(0)
    network = cast(Model, registry().make("model", model)).build(dataset.info)
    attack = rc.attack("pgd", steps=5)
    batch = dataset.train.first(len(dataset.train))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(epochs):
        for some in torch.split(torch.randperm(len(batch.labels)), 64):
            x, y = batch.images[some], batch.labels[some]
            x = attack(network, x, y, eps=eps) if eps else x
            optimizer.zero_grad()
            F.cross_entropy(network.train()(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network.eval()


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(HEADER)
    with TemporaryDirectory() as folder:
        for case in (case for case in CASES if all(word in case.name for word in sys.argv[1:])):
            dataset = prepare(
                cast(DataSource, registry().make("data", parse_choice(case.data, "data"))), Path(folder), 0
            )
            judge = Evaluator(images=dataset.test, count=min(case.count, len(dataset.test)))
            network = trained(case.model, dataset, case.epochs, case.hardened)
            for eps in case.largest:
                for spec in case.attacks:
                    print(row(judge, case.name, network, spec, eps), flush=True)


if __name__ == "__main__":
    main()
