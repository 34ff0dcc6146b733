"""Networks, attacks and certifiers that are functions of the tests."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.api import Attack, Certifier, Norm
from rcframe.evaluation.oracle import Oracle
from rcframe.evaluation.threat import Threat
from rcframe.testing.toys import fingerprint

THREAT = Threat(0.1)


class Brightness(nn.Module):
    """Class 1 if an image is brighter than one half on average; batch norm and dropout wait for training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm2d(1), nn.Dropout(0.9)
        self.weight = nn.Parameter(torch.tensor(10.0))
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        brightness = self.dropout(self.norm(x)).mean(dim=(1, 2, 3)) - 0.5
        return self.weight * torch.stack([-brightness, brightness], dim=1)


def pictures(*brightness: float) -> Tensor:
    return torch.tensor(brightness).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()


X = pictures(0.2, 0.8, 0.55)
Y = torch.tensor([0, 1, 1])


class Does(Attack):
    """An attack that is a function of the test's."""

    access = Access.LOGITS | Access.INPUT_GRAD

    def __init__(self, craft: Callable[[Oracle, Tensor, Tensor, Threat], Tensor], *norms: Norm) -> None:
        self._craft = craft
        self.norms = norms or ("linf", "l2")  # type: ignore[misc]  # a class variable elsewhere

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return self._craft(source, x, y, threat)


class Bounds(Certifier):
    """A certifier that is a function of the test's."""

    def __init__(self, margins: Callable[[nn.Module, Tensor], Tensor], reason: str | None = None) -> None:
        self._margins, self._reason = margins, reason

    def unsupported(self, module: nn.Module) -> str | None:
        return self._reason

    def margins(self, module: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return self._margins(module, x)


def darken(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    return x - 100 * threat.eps


def mixed() -> Brightness:
    network = Brightness()
    network.norm.train()
    network.dropout.eval()
    network.norm.weight.requires_grad_(False)
    network.weight.grad = torch.tensor(3.0)
    return network


def state(network: Brightness) -> tuple[object, ...]:
    return (
        fingerprint(network),
        [parameter.requires_grad for parameter in network.parameters()],
        [None if parameter.grad is None else float(parameter.grad) for parameter in network.parameters()],
    )


def backward(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    x.requires_grad_(True)
    source.logits(x).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return x + x.grad


def fail(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    backward(source, x, y, threat)
    raise ZeroDivisionError
