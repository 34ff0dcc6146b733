"""Oracles: a frozen model behind an access level. What is not granted cannot be had, and every query is counted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor, nn

from rcframe.access import Access, describe_access
from rcframe.data.images import check_pixels
from rcframe.errors import AccessDenied, BudgetExceeded
from rcframe.models.check import check_logits
from rcframe.networks.taps import recording, taps_of


@attrs.define
class Queries:
    """What has been asked so far: images forwarded, those of them with input gradients, and calls."""

    images: int = 0
    gradient_images: int = 0
    calls: int = 0

    def state_dict(self) -> dict[str, object]:
        """Return the counts."""
        return attrs.asdict(self)

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from saved counts."""
        for name, value in state.items():
            setattr(self, name, value)


class Answer:
    """The reply to one query. What was not granted is not in it; asking for it raises `AccessDenied`."""

    def __init__(self, granted: Access, evidence: Tensor, features: Mapping[str, Tensor]) -> None:
        self._granted, self._evidence, self._features = granted, evidence, features

    @property
    def labels(self) -> Tensor:
        """Top-1 classes (B,), int64."""
        self._need(Access.LABEL)
        return self._evidence.argmax(dim=1) if self._evidence.dim() == 2 else self._evidence

    @property
    def probabilities(self) -> Tensor:
        """Class probabilities (B, classes)."""
        self._need(Access.PROBS)
        return self._evidence.softmax(dim=1) if Access.LOGITS in self._granted else self._evidence

    @property
    def logits(self) -> Tensor:
        """Logits (B, classes)."""
        self._need(Access.LOGITS)
        return self._evidence

    @property
    def features(self) -> Mapping[str, Tensor]:
        """The activations (B, ...) at the taps that were asked for."""
        self._need(Access.FEATURES)
        return self._features

    def _need(self, capability: Access) -> None:
        if capability not in self._granted:
            raise denied(capability, self._granted)


def _strongest(granted: Access, logits: Tensor) -> Tensor:
    """Reduce logits to what may leave: logits, probabilities, or int64 labels that carry nothing else."""
    if Access.LOGITS in granted:
        return logits
    if Access.PROBS in granted:
        return logits.softmax(dim=1)
    return logits.detach().argmax(dim=1)


class Oracle(ABC):
    """A frozen model that answers queries."""

    access: Access
    queries: Queries

    @abstractmethod
    def query(self, x: Tensor, taps: Sequence[str] = ()) -> Answer:
        """Answer for images `x` (B, C, H, W) in [0, 1], with activations at `taps` if features are granted.

        With input gradients granted and `x.requires_grad`, the answer is differentiable with respect to `x`.
        """

    @property
    def taps(self) -> tuple[str, ...]:
        """The natural taps of the model, shallowest first, where features are granted and the model names any."""
        return ()

    @abstractmethod
    def module(self) -> nn.Module:
        """Return the model itself; needs parameters to be granted."""

    def labels(self, x: Tensor) -> Tensor:
        """Return the top-1 classes (B,) of `x`."""
        self._need(Access.LABEL)
        return self.query(x).labels

    def probabilities(self, x: Tensor) -> Tensor:
        """Return the class probabilities (B, classes) of `x`."""
        self._need(Access.PROBS)
        return self.query(x).probabilities

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits (B, classes) of `x`."""
        self._need(Access.LOGITS)
        return self.query(x).logits

    def _need(self, capability: Access) -> None:
        """Refuse what is not granted, before the model is asked and a query counted."""
        if capability not in self.access:
            raise denied(capability, self.access)


class ModelOracle(Oracle):
    """A network in evaluation mode behind an access level.

    The caller puts the network into evaluation mode, for as long as the oracle is used. Nothing public leads to the
    network unless its parameters are granted.
    """

    def __init__(self, module: nn.Module, access: Access, budget: int | None = None) -> None:
        self.access = access
        self.queries = Queries()
        self.budget = budget
        self.__module = module
        self.__checked = False

    @property
    def remaining(self) -> int | None:
        """Images that may still be asked for, or None without a budget."""
        return None if self.budget is None else self.budget - self.queries.images

    def query(self, x: Tensor, taps: Sequence[str] = ()) -> Answer:
        """Answer for images `x`; refused whole if it asks for more than is granted or left."""
        gradient = x.requires_grad and torch.is_grad_enabled()
        if gradient:
            self._need(Access.INPUT_GRAD)
        if taps:
            self._need(Access.FEATURES)
        first = not self.__checked
        if first:
            check_pixels(x.detach(), "The images sent to the model")
            self.__checked = True
        self._count(len(x), gradient)
        with torch.set_grad_enabled(gradient), recording(self.__module, taps) as features:
            logits: Tensor = self.__module(x)
        if first and Access.LOGITS in self.access:
            check_logits(logits)
        # A model may answer in another precision than it is asked in, which those who ask need not expect.
        wide = logits.dtype == torch.float64 and x.dtype != torch.float64
        return Answer(self.access, _strongest(self.access, logits.to(x.dtype) if wide else logits), dict(features))

    def _count(self, images: int, gradient: bool) -> None:
        if self.budget is not None and self.queries.images + images > self.budget:
            raise BudgetExceeded(
                f"The query budget of {self.budget} images is used up: {self.queries.images} were asked, and the next "
                f"batch has {images}. Raise --budget, or train for fewer epochs."
            )
        self.queries.images += images
        self.queries.gradient_images += images if gradient else 0
        self.queries.calls += 1

    @property
    def taps(self) -> tuple[str, ...]:
        """The natural taps of the network; refused unless features are granted."""
        if Access.FEATURES not in self.access:
            raise denied(Access.FEATURES, self.access)
        return taps_of(self.__module)

    def module(self) -> nn.Module:
        """Return the network; refused unless its parameters are granted."""
        self._need(Access.PARAMS)
        return self.__module


def denied(wanted: Access, granted: Access) -> AccessDenied:
    """Say what was asked for and what is granted."""
    return AccessDenied(f"The model's owner grants {describe_access(granted)}, not {describe_access(wanted)}.")
