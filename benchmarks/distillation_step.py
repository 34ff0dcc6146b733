"""Training steps of students against the same steps written by hand, and what asking a teacher once saves.

    python benchmarks/distillation_step.py

Both start from equal networks and see equal batches, and their weights at the end must be equal bit for bit. By hand,
too, the teacher is asked once for all images, as a careful script would. The two go on in turn, an epoch each, so that
what slows the machine for a while slows both; setting up and asking the teacher do not count there. The rows "by hand
against itself" have the hand-written training in both places: what the machine and this way of measuring add.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from time import process_time
from typing import cast

import attrs
import torch
import torch.nn.functional as F
from side_by_side import HEADER, Ratio, compare, in_turn
from torch import Tensor, nn

from rcframe.access import parse_access
from rcframe.api import StudentStrategy
from rcframe.choice import parse_choice
from rcframe.data.digits import Digits
from rcframe.data.glyphs import Glyphs
from rcframe.data.images import Dataset
from rcframe.data.prepare import prepare
from rcframe.evaluation.oracle import ModelOracle
from rcframe.networks.modes import freeze
from rcframe.registry import registry
from rcframe.seeding import derive, generator
from rcframe.training.context import Run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.stage import Stage

EPOCHS = 40
BATCH = 64
ALPHA, BETA, TEMPERATURE = 0.9, 0.3, 4.0

#: Runs all classifiers of a student on images (B, C, H, W); each gives logits (B, classes).
Outputs = Callable[[Tensor], tuple[Tensor, ...]]


def _nothing() -> None:
    """Do nothing when an epoch ends."""


class Epochs(Monitor):
    """Tells when an epoch is over."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended

    def epoch_done(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        """Tell it."""
        self._ended()


@attrs.frozen
class Case:
    """A student on a data set, with a teacher that has only just been initialised: it takes as long to ask."""

    name: str
    dataset: Dataset
    model: str
    student: str

    def run(self) -> Run:
        """Return a fresh run."""
        return Run(role="student", seed=0, dataset=self.dataset, model=parse_choice(self.model, "model"))

    def trained(self, ended: Callable[[], None] = _nothing, repeatable: bool = True) -> nn.Module:
        """Train through the kernel; a teacher that may answer otherwise is asked for every batch."""
        run = self.run()
        strategy = cast(StudentStrategy, registry().make("student", parse_choice(self.student, "student")))
        oracle = ModelOracle(freeze(run.network("teacher")), parse_access("logit"), repeatable=repeatable)
        network = run.network("student")
        execute(strategy.plan(network, oracle, run), Epochs(ended))
        return network

    def by_hand(self) -> Iterator[nn.Module]:
        """Train the way a paper's script would: index, forward, loss, backward, step; yield the network each epoch."""
        run = self.run()
        teacher, network = freeze(run.network("teacher")), run.network("student")
        headed = self.student.startswith("skeptical")
        module, outputs = _headed(network, run) if headed else (network, lambda x: (network(x),))
        loss_of: Callable[..., Tensor] = _skeptical if headed else _kd
        everything = self.dataset.train.fetch(torch.arange(len(self.dataset.train)))
        x, y = everything.images, everything.labels
        with torch.no_grad():
            taught = torch.cat([teacher(some) for some in torch.split(x, 256)])
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
        order_seed = derive(0, "batches", "student/train")
        module.train()
        for epoch in range(EPOCHS):
            right = total = 0.0
            for index in torch.split(torch.randperm(len(x), generator=generator(order_seed, "order", epoch)), BATCH):
                found = outputs(x[index])
                loss = loss_of(*found, taught[index], y[index])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += loss.item()
                # The same figures as ours: of the end and, where there are heads, of the first.
                for logits in found[:2]:
                    right += (logits.detach().argmax(dim=1) == y[index]).float().mean().item()
            yield network


def _kl(p: Tensor, q: Tensor) -> Tensor:
    log_p, log_q = (p / TEMPERATURE).log_softmax(dim=1), (q / TEMPERATURE).log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()


def _kd(logits: Tensor, taught: Tensor, y: Tensor) -> Tensor:
    return (1 - ALPHA) * F.cross_entropy(logits, y) + ALPHA * TEMPERATURE**2 * _kl(taught, logits)


def _skeptical(final: Tensor, shallow: Tensor, deeper: Tensor, taught: Tensor, y: Tensor) -> Tensor:
    to_self = (1 - BETA) * F.cross_entropy(deeper, y) + BETA * _kl(final, deeper)
    return _kd(shallow, taught, y) + to_self + F.cross_entropy(final, y)


def _headed(network: nn.Module, run: Run) -> tuple[nn.Module, Outputs]:
    """Return a student with two heads, and what runs all three classifiers on images."""
    from rcframe_skeptical.headed import with_heads

    from rcframe.networks.taps import taps_of

    layers = taps_of(network)[1:3]
    with run.seeded("heads"):
        module = with_heads(network, layers, "plain", run.example, len(run.info.classes))
    kept: dict[str, Tensor] = {}
    for layer in layers:
        network.get_submodule(layer).register_forward_hook(lambda _m, _x, out, layer=layer: kept.update({layer: out}))
    shallow, deeper = module.heads

    def outputs(x: Tensor) -> tuple[Tensor, ...]:
        final = network(x)
        return final, shallow(kept[layers[0]]), deeper(kept[layers[1]])

    return module, outputs


def stepped(case: Case) -> Ratio:
    """Train both ways in turn and compare the epochs."""
    by_hand = case.by_hand()
    both: list[nn.Module] = []
    ratio = in_turn(case.name, lambda ended: both.append(case.trained(ended)), map(both.append, by_hand))
    theirs, ours = both[-2].state_dict(), both[-1].state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items()), "both must do the same work"
    return ratio


def against_itself(case: Case) -> Ratio:
    """Train by hand in both places."""

    def first(ended: Callable[[], None]) -> None:
        for _ in case.by_hand():
            ended()

    return in_turn(f"{case.name}: by hand against itself", first, case.by_hand())


def main(runs: int = 5) -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    digits = prepare(Digits(), Path(), 0)
    glyphs = prepare(Glyphs(train=1024, test=64), Path(), 0)
    kd = f"kd:epochs={EPOCHS},batch_size={BATCH},alpha={ALPHA},temperature={TEMPERATURE}"
    skeptical = f"skeptical:epochs={EPOCHS},batch_size={BATCH},head=plain,beta={BETA}"
    cases = [
        Case("kd, digits, blocknet", digits, "blocknet", kd),
        Case("skeptical with plain heads, digits, blocknet", digits, "blocknet", skeptical),
        Case("kd, glyphs 32x32, convnet", glyphs, "convnet", kd),
        Case("skeptical with plain heads, glyphs 32x32, blocknet", glyphs, "blocknet", skeptical),
    ]
    print(HEADER)
    for case in cases:
        for measured in (stepped, against_itself):
            parts = [measured(case) for _ in range(runs)]
            ours = [seconds for part in parts for seconds in part.ours]
            theirs = [seconds for part in parts for seconds in part.theirs]
            print(Ratio(parts[0].what, ours, theirs).row(1.03), flush=True)
    print("\n| what | asked once, s | asked every epoch, s | median ratio | ratio of fastest |\n|---|---|---|---|---|")
    for case in cases[:3]:
        ratio = compare(case.name, case.trained, partial(case.trained, repeatable=False), runs, process_time)
        print(ratio.row(1.0).rsplit(" 1.00 |", 1)[0], flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
