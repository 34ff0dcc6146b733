"""The same adversarial images as foolbox and torchattacks make?

    python benchmarks/agreement.py [--torchattacks PYTHON]

PYTHON is the interpreter of an environment with torch and torchattacks. Random starts and early stopping are off, and
numbers have 64 bits: with 32, an order of summation decides the sign of a gradient that is all but 0, and that pixel
moves by a whole step. The table shows the largest difference of a pixel, over all images; `differs` is written where
the definitions do, as the README of rcframe-attacks says.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import attrs
import torch
from peers import Case, Foolbox, Peer, Torchattacks
from plain_networks import built
from torch import Tensor

import rcframe as rc
from rcframe import Attack
from rcframe.api import Norm

STEPS, STEP = 10, 0.01
EPS: dict[Norm, float] = {"linf": 0.05, "l2": 0.5}


@attrs.frozen
class Theirs:
    """What another library calls an attack, and how it wants it set."""

    name: str
    options: Mapping[str, float]
    same: bool = True


@attrs.frozen
class Pair:
    """An attack of ours, and what corresponds to it elsewhere."""

    ours: str
    norm: Norm
    foolbox: Theirs
    torchattacks: Theirs | None

    @property
    def attack(self) -> Attack:
        """Build ours, with every step taken."""
        return rc.attack(self.ours).thorough()


def pairs() -> list[Pair]:
    """List what is compared."""
    ours = f"steps={STEPS},step_size={STEP}"
    fool: dict[str, float] = {"steps": STEPS, "abs_stepsize": STEP, "random_start": False}
    torches: dict[str, float] = {"steps": STEPS, "alpha": STEP}
    still = {**torches, "random_start": False}
    return [
        Pair("fgsm", "linf", Theirs("LinfFastGradientAttack", {}), Theirs("FGSM", {})),
        Pair("fgm", "l2", Theirs("L2FastGradientAttack", {}), None),
        Pair(f"bim:{ours}", "linf", Theirs("LinfBasicIterativeAttack", fool), Theirs("BIM", torches)),
        Pair(f"bim:{ours}", "l2", Theirs("L2BasicIterativeAttack", fool), None),
        Pair(f"pgd:{ours},random_start=false", "linf", Theirs("LinfPGD", fool), Theirs("PGD", still)),
        Pair(f"pgd:{ours},random_start=false", "l2", Theirs("L2PGD", fool), Theirs("PGDL2", still)),
        Pair(
            f"mim:{ours}",
            "linf",
            Theirs("LinfMomentumIterativeFastGradientMethod", fool, same=False),
            Theirs("MIFGSM", {**torches, "decay": 1.0}),
        ),
    ]


def cell(case: Case, theirs: Theirs | None, peer: Peer | None, pair: Pair, ours: Tensor) -> str:
    """Write the largest difference to what a library finds."""
    if theirs is None or peer is None:
        return ""
    found = peer.found(case, theirs.name, theirs.options, EPS[pair.norm]).images
    largest = float((found - ours).abs().max())
    return f"{largest:.1e}" + ("" if theirs.same else " (differs)")


def table(torchattacks: Torchattacks | None) -> None:
    """Print a line per network and attack."""
    print("| network | attack | norm | foolbox | torchattacks |\n|---|---|---|---|---|")
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(32, 3, 32, 32, dtype=torch.float64, generator=generator)
    for network in ("mlp", "convnet", "small resnet"):
        model = built(network).double()
        with torch.no_grad():
            y = model(x).argmax(1)
        case = Case(f"agreement of {network}", network, model, x, y)
        for pair in pairs():
            ours = pair.attack(model, x, y, eps=EPS[pair.norm], norm=pair.norm)
            cells = (
                cell(case, pair.foolbox, Foolbox(), pair, ours),
                cell(case, pair.torchattacks, torchattacks, pair, ours),
            )
            print(f"| {network} | {pair.ours.partition(':')[0]} | {pair.norm} | {cells[0]} | {cells[1]} |", flush=True)


def main() -> None:
    """Print the table."""
    reader = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    reader.add_argument("--torchattacks", metavar="PYTHON")
    given = reader.parse_args()
    torch.set_num_threads(1)
    if given.torchattacks is None:
        table(None)
        return
    with tempfile.TemporaryDirectory() as folder, closing(Torchattacks(given.torchattacks, Path(folder), 1)) as other:
        table(other)


if __name__ == "__main__":
    main()
