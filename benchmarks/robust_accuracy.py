"""Accuracy of 1,000 images under PGD-50: ours, torchattacks and foolbox, in turn.

    python benchmarks/robust_accuracy.py --torchattacks PYTHON [--repeats 5] [--cache FOLDER] [--device cuda]

PYTHON is the interpreter of an environment with torch and torchattacks; without it, foolbox alone is compared. All
start at random points of the same ball, take the same steps in batches of 256, and predict what comes out. On a CPU,
seconds are those its one thread worked, so that other work on the machine does not count. Two networks
are trained on generated 32x32 colour images first, one plainly and one on attacked images; --cache keeps them. With
`--device cuda`, a ResNet18 that knows nothing judges 10,000 random images of that shape instead, and takes every step,
once as it is and once with `torch.compile`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import attrs
import torch
import torch.nn.functional as F
from peers import Case, Foolbox, Found, Torchattacks
from plain_networks import Watch, built
from torch import Tensor, nn

import rcframe as rc
from rcframe import Attack, TensorImages, Threat
from rcframe.data.glyphs import Glyphs
from rcframe.evaluation.evaluate import Evaluator
from rcframe.training.compute import Compute

STEPS = 50
#: The radius of training on attacked images.
EPS = 8 / 255
HEADER = (
    "| network | eps | ours, s | torchattacks, s | foolbox, s | ours / faster of them | bar "
    "| ours, accuracy | torchattacks | foolbox |\n" + "|---" * 10 + "|"
)


@attrs.frozen
class Row:
    """One line of the table: what is attacked, how strongly, and what ratio is asked for."""

    case: Case
    eps: float
    written: str
    bar: float | None

    def shortened(self) -> Row:
        """Return the same with a few images, to warm up."""
        case = self.case
        return attrs.evolve(self, case=attrs.evolve(case, x=case.x[:32], y=case.y[:32]))


def trained(
    x: Tensor, y: Tensor, epochs: int, attack: Attack | None = None, start: nn.Module | None = None
) -> nn.Module:
    """Train the convolutional network on images, or on what an attack makes of them, at a radius that grows to EPS."""
    model = built("convnet")
    if start is not None:
        model.load_state_dict(start.state_dict())
    steps = epochs * (len(x) // 100)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    batches = (rows for _ in range(epochs) for rows in torch.split(torch.randperm(len(x)), 100))
    for number, rows in enumerate(batches):
        eps = EPS * min(1.0, 2 * (number + 1) / steps)
        seen = attack(model, x[rows], y[rows], eps=eps) if attack else x[rows]
        optimizer.zero_grad()
        F.cross_entropy(model(seen), y[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return model.eval()


def kept(file: Path, train: Callable[[], nn.Module]) -> nn.Module:
    """Return the network of a file, trained if there is none."""
    if file.exists():
        model = built("convnet")
        model.load_state_dict(torch.load(file, weights_only=True))
        return model
    model = train()
    torch.save(model.state_dict(), file)
    return model


def rows_on_cpu(folder: Path) -> list[Row]:
    """Train both networks and say where they are attacked."""
    data = Glyphs(train=4000, noise=0.2, rotation=45, neighbours=True).load(folder)
    train, test = (images.fetch(torch.arange(len(images))) for images in (data.train, data.test))
    x, y = train.images, train.labels
    plain = kept(folder / "plain.pt", lambda: trained(x, y, 12))
    training = rc.attack("pgd", steps=4).thorough()
    adversarial = kept(folder / "adversarial.pt", lambda: trained(x, y, 10, training, plain))
    return [
        Row(Case("plain", "convnet", plain, test.images, test.labels), EPS, "8/255", 0.25),
        Row(Case("adversarial", "convnet", adversarial, test.images, test.labels), EPS, "8/255", 0.60),
    ]


def rows_on_gpu() -> Iterator[Row]:
    """Random images labelled as the network sees them, and an eps too small to change that: nothing is dropped."""
    model = built("resnet18").to("cuda")
    x = torch.rand(10_000, 3, 32, 32, device="cuda")
    with torch.no_grad():
        y = torch.cat([model(part).argmax(1) for part in torch.split(x, 1000)])
    for name, network in [("resnet18", model), ("resnet18, compiled", torch.compile(model))]:
        yield Row(Case(name, "resnet18", cast(nn.Module, network), x, y), 1e-6, "1e-6", None)


def ours(row: Row) -> Found:
    """Attack through the kernel, as a run does: predict, attack, project, predict."""
    case = row.case
    attack = rc.attack("pgd", steps=STEPS)
    images = TensorImages(case.x.cpu(), case.y.cpu())
    compute = Compute() if case.x.device.type == "cpu" else Compute(device=case.x.device)
    evaluator = Evaluator(images=images, count=len(images), compute=compute)
    watch = Watch(case.x.device.type)
    right = evaluator.attacked(case.model, attack, Threat(row.eps))
    accuracy = float(right.float().mean())
    return Found(case.x, accuracy, watch.seconds())


def ways_to_attack(row: Row, torchattacks: Torchattacks | None) -> dict[str, Callable[[], Found]]:
    """Say how each library is asked for the same attack."""
    step = 2.5 * row.eps / STEPS
    ways: dict[str, Callable[[], Found]] = {"ours": lambda: ours(row)}
    if torchattacks is not None:
        options = {"alpha": step, "steps": STEPS}
        ways["torchattacks"] = lambda: torchattacks.found(row.case, "PGD", options, row.eps)
    ways["foolbox"] = lambda: Foolbox().found(row.case, "LinfPGD", {"steps": STEPS, "abs_stepsize": step}, row.eps)
    return ways


def line(row: Row, torchattacks: Torchattacks | None, repeats: int) -> str:
    """Time all in turn, after a short run of each that is not counted."""
    ways = ways_to_attack(row, torchattacks)
    for way in ways_to_attack(row.shortened(), torchattacks).values():
        way()
    found: dict[str, list[Found]] = {name: [] for name in ways}
    for number in range(repeats):
        for name in list(ways) if number % 2 else reversed(ways):
            found[name].append(ways[name]())
    seconds = {name: statistics.median(one.seconds for one in them) for name, them in found.items()}
    ratio = seconds["ours"] / min(time for name, time in seconds.items() if name != "ours")
    names = ("ours", "torchattacks", "foolbox")
    times = " | ".join(f"{seconds[name]:.2f}" if name in seconds else "" for name in names)
    right = " | ".join(f"{found[name][-1].accuracy:.1%}" if name in found else "" for name in names)
    bar = "" if row.bar is None else f"{row.bar:.2f}"
    return f"| {row.case.name} | {row.written} | {times} | {ratio:.3f} | {bar} | {right} |"


def main() -> None:
    """Print the table."""
    reader = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    reader.add_argument("--torchattacks", metavar="PYTHON")
    reader.add_argument("--repeats", type=int, default=5)
    reader.add_argument("--cache", type=Path)
    reader.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    reader.add_argument("--threads", type=int, default=1)
    reader.add_argument("--only", metavar="NETWORK", help="a row of the table by its name")
    given = reader.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.cache or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        rows = rows_on_cpu(folder) if given.device == "cpu" else list(rows_on_gpu())
        rows = [row for row in rows if given.only in (None, row.case.name)]
        print(HEADER)
        if given.torchattacks is None:
            for row in rows:
                print(line(row, None, given.repeats), flush=True)
            return
        with closing(Torchattacks(given.torchattacks, Path(scratch), given.threads)) as torchattacks:
            for row in rows:
                print(line(row, torchattacks, given.repeats), flush=True)


if __name__ == "__main__":
    main()
