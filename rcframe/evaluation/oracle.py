"""Oracles: a frozen model behind an access level. What is not granted cannot be had, and every query is counted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

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


#: What an owner lets out in the place of logits (B, classes), given them, the images (B, C, H, W) that were asked for,
#: and the number of the query.
Release = Callable[[Tensor, Tensor, int], Tensor]


class Oracle(ABC):
    """A frozen model that answers queries."""

    access: Access
    queries: Queries
    #: Whether the same image gets the same answer whenever it is asked for. Added in API 1.4.
    repeatable: bool = True

    @abstractmethod
    def query(self, x: Tensor, taps: Sequence[str] = ()) -> Answer:
        """Answer for images `x` (B, C, H, W) in [0, 1], with activations at `taps` if features are granted.

        With input gradients granted and `x.requires_grad`, the answer is differentiable with respect to `x`.
        """

    def query_again(self, x: Tensor) -> Answer:
        """Answer for images `x` that were asked for and counted before the run was stopped. Added in API 1.4."""
        return self.query(x)

    @property
    def remaining(self) -> int | None:
        """Images that may still be asked for, or None without a budget."""
        return None

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
    network unless its parameters are granted. `release` is the owner's defence, if there is one: it changes what the
    network says before anything leaves.
    """

    def __init__(
        self,
        module: nn.Module,
        access: Access,
        budget: int | None = None,
        release: Release | None = None,
        repeatable: bool = True,
    ) -> None:
        self.access = access
        self.queries = Queries()
        self.budget = budget
        self.repeatable = repeatable
        self.__module, self.__release = module, release
        self.__asked = self.__answered = False

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
        self._check(x)
        self._count(len(x), gradient)
        return self._answer(x, taps, gradient)

    def query_again(self, x: Tensor) -> Answer:
        """Answer for images `x` without counting them a second time."""
        self._check(x)
        return self._answer(x)

    def _check(self, x: Tensor) -> None:
        """Refuse what is no image, once: whoever sends pixels in the wrong range does so from the start."""
        if not self.__asked:
            check_pixels(x.detach(), "The images sent to the model")
        self.__asked = True

    def _answer(self, x: Tensor, taps: Sequence[str] = (), gradient: bool = False) -> Answer:
        """Answer without counting."""
        with torch.set_grad_enabled(gradient), recording(self.__module, taps) as features:
            logits: Tensor = self.__module(x)
            if not self.__answered and Access.LOGITS in self.access:
                check_logits(logits)
            self.__answered = True
            if self.__release is not None:
                logits = self.__release(logits, x, self.queries.calls)
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
