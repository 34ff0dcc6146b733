"""The same attack by foolbox (in this environment) and by torchattacks (in one of its own), timed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import attrs
import torch
from plain_networks import Watch
from torch import Tensor, nn


@attrs.frozen(eq=False)
class Case:
    """A network of `plain_networks`, and images (B, C, H, W) with labels (B,) to attack."""

    name: str
    network: str
    model: nn.Module
    x: Tensor
    y: Tensor
    batch: int = 256


@attrs.frozen(eq=False)
class Found:
    """What an attack made of the images of a case, the accuracy there, and how long both took together."""

    images: Tensor
    accuracy: float
    seconds: float


class Peer(Protocol):
    """Another library."""

    def found(self, case: Case, attack: str, options: Mapping[str, float], eps: float) -> Found:
        """Attack all images of a case."""


@attrs.frozen
class Foolbox:
    """Imported here."""

    def found(self, case: Case, attack: str, options: Mapping[str, float], eps: float) -> Found:
        import foolbox
        from foolbox.models.pytorch import PyTorchModel

        model = PyTorchModel(case.model, bounds=(0, 1), device=case.x.device)
        craft = getattr(foolbox.attacks, attack)(**options)
        watch = Watch(case.x.device.type)
        parts = zip(torch.split(case.x, case.batch), torch.split(case.y, case.batch), strict=True)
        made = [craft(model, images, labels, epsilons=eps)[1:] for images, labels in parts]
        broken = torch.cat([success for _, success in made])
        accuracy = 1 - float(broken.float().mean())
        seconds = watch.seconds()
        for parameter in case.model.parameters():
            parameter.grad = None
        return Found(torch.cat([clipped for clipped, _ in made]), accuracy, seconds)


class Torchattacks:
    """Asked through the pipes of a process, since it wants versions of its own of what it stands on."""

    def __init__(self, python: str, folder: Path, threads: int) -> None:
        worker = Path(__file__).with_name("torchattacks_worker.py")
        self._folder = folder
        self._process = subprocess.Popen(
            [python, str(worker), str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def found(self, case: Case, attack: str, options: Mapping[str, float], eps: float) -> Found:
        file = self._folder / f"{case.name.replace(' ', '-')}.pt"
        weights = {name.removeprefix("_orig_mod."): tensor.cpu() for name, tensor in case.model.state_dict().items()}
        torch.save({"weights": weights, "x": case.x.cpu(), "y": case.y.cpu()}, file)
        request = {
            "case": str(file),
            "network": case.network,
            "attack": attack,
            "options": {"eps": eps, **options},
            "device": case.x.device.type,
            "batch": str(case.batch),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the process with torchattacks ended; its message stands above")
        answer = json.loads(line)
        found = torch.load(file.with_suffix(".found"), weights_only=True)
        return Found(found.to(case.x.device), answer["accuracy"], answer["seconds"])

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
