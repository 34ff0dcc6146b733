"""Tiny problems that every component can work on in a moment."""

from __future__ import annotations

import copy
import functools
import hashlib

import torch
from torch import Tensor, nn

from rcframe.api import Data
from rcframe.choice import Choice
from rcframe.data.images import DataInfo, Dataset, TensorImages
from rcframe.evaluation.oracle import Oracle
from rcframe.evaluation.threat import Threat
from rcframe.training.context import Role, Run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.randomness import seeded
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

#: Channels, height and width of toy images; classes.
SHAPE = (1, 8, 8)
CLASSES = 3
#: A small network that every shipped method supports.
MODEL = "convnet:channels=4+4+8,hidden=16"


def toy_images(count: int, seed: int) -> TensorImages:
    """Return `count` noisy images of bright spots, one place per class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % CLASSES
    x = 0.3 * torch.rand(count, *SHAPE, generator=generator)
    for label, (row, column) in enumerate([(0, 0), (0, 4), (4, 2)]):
        x[y == label, :, row : row + 4, column : column + 4] += 0.6
    return TensorImages(x.clamp(0, 1), y)


def toy_dataset(train: int = 64, test: int = 24, extra: int = 0, validation: int = 0) -> Dataset:
    """Return a data set that a small network learns in a few epochs."""
    info = DataInfo("toy", SHAPE, ("left", "right", "low"), (0.3,), (0.3,))
    return Dataset(
        info,
        toy_images(train, 1),
        toy_images(test, 2),
        extra=toy_images(extra, 4) if extra else None,
        validation=toy_images(validation, 5) if validation else None,
    )


def toy_run(role: Role, level: Data = Data.LABELLED, seed: int = 0, dataset: Dataset | None = None) -> Run:
    """Return a run on the toy data, or on other data."""
    return Run(
        role=role,
        seed=seed,
        dataset=dataset or toy_dataset(),
        model=Choice("convnet", {"channels": "4+4+8", "hidden": "16"}),
        level=level,
    )


def trained_network(name: str = "teacher", epochs: int = 12) -> nn.Module:
    """Return a small network that has learned the toy data, in evaluation mode; it is the caller's own."""
    return copy.deepcopy(_trained(name, epochs))


@functools.cache
def _trained(name: str, epochs: int) -> nn.Module:
    run = toy_run("teacher")
    network = run.network(name)
    with seeded(0, "toy"):
        execute(iter([Training(epochs=epochs, batch_size=16, lr=5e-3).stage(run, network, supervised)]), Monitor())
    network.zero_grad(set_to_none=True)
    return network.eval()


def some_images(count: int = 12) -> tuple[Tensor, Tensor]:
    """Return test images (B, C, H, W) and labels (B,)."""
    batch = toy_images(count, 3).first(count)
    return batch.images, batch.labels


def fingerprint(module: nn.Module) -> str:
    """Return a hash of everything stored in a network, and of every submodule's mode."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    digest.update(bytes(part.training for part in module.modules()))
    return digest.hexdigest()


class StageLog(Monitor):
    """Keeps the stages of a plan, and the fingerprint of each one's target when it ended."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.finished: list[str] = []

    def stage_started(self, stage: Stage) -> None:
        """Keep the stage."""
        self.stages.append(stage)

    def stage_done(self, stage: Stage) -> None:
        """Keep what it ended with."""
        self.finished.append(fingerprint(stage.target))


def sign_ascent(source: Oracle, x: Tensor, y: Tensor, threat: Threat, steps: int = 20) -> Tensor:
    """A plain iterated attack on the margin, to hold certificates against."""
    moved = x
    for _ in range(steps):
        moved = moved.detach().requires_grad_(True)
        logits = source.logits(moved)
        others = logits.scatter(1, y.unsqueeze(1), float("-inf")).amax(dim=1)
        margin = others - logits.gather(1, y.unsqueeze(1)).squeeze(1)
        (gradient,) = torch.autograd.grad(margin.sum(), moved)
        if threat.norm == "l2":
            gradient = gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        else:
            gradient = gradient.sign()
        moved = threat.project(moved.detach() + 2.5 * threat.eps / steps * gradient, x)
    return moved
