"""The nasty teacher (Ma et al., 2021)."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import ClassVar, Literal

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe import (
    Architecture,
    Batch,
    RequestError,
    Run,
    Stage,
    Teacher,
    Training,
    WrappingModel,
    accuracy,
    at_least,
    component,
    evaluating,
    freeze,
    kl_divergence,
    model,
    more_than,
    option,
    spelled,
    supervised,
)
from rcframe_nasty.deepened import Deepened, deepen, head_of, start_from
from rcframe_nasty.last import entering
from rcframe_nasty.presets import PRESETS


@component
class Nasty(Training, Teacher):
    """Keeps its top-1 accuracy and pushes its softened outputs away from those of an ordinary network.

    Ma, Chen, Hu, You, Xie, Wang: "Undistillable: Making A Nasty Teacher That CANNOT teach students" (ICLR 2021). First
    an ordinary network, the adversary, is trained and frozen; then the teacher learns from scratch against it.
    `omega` = 0 is ordinary training, bit for bit. The paper's omega is 0.004 for CIFAR-10, 0.005 for CIFAR-100 and 0.01
    for Tiny-ImageNet at temperatures 4, 20 and 20; its released configuration for CIFAR-10 says 0.04.

    Not in the paper: `init_from`, `trainable`, `deepen` and `kl_grad_scope` give the cheaper variants of Bibikar and
    Kelleher, as far as these are known, and `omega_warmup` guards large networks against an early collapse. While only
    the last layer trains, everything before it evaluates, batch norm included.
    """

    omega: float = option(default=0.004, help="Weight of the divergence from the adversary.", check=at_least(0))
    temperature: float = option(default=4.0, help="Temperature of both softmaxes.", check=more_than(0))
    adversary: str = option(default="same", help="Model of the adversary; `same` takes the teacher's.")
    adversary_epochs: int | None = option(
        default=None, help="Epochs of the adversary; none takes the teacher's.", check=at_least(0)
    )
    omega_warmup: int = option(
        default=0, help="Epochs in which omega rises evenly before it has its full weight.", check=at_least(0)
    )
    init_from: str = option(
        default="random", help="Weights that the teacher starts from: random, adversary, or a weights file."
    )
    trainable: Literal["all", "last"] = option(
        default="all", help="What of the teacher trains: all of it, or its last layer alone."
    )
    kl_grad_scope: Literal["all", "last"] = option(
        default="all", help="What of the teacher the divergence pulls on: all of it, or its last layer alone."
    )
    deepen: bool = option(
        default=False,
        help="Whether the teacher has one more linear layer before its last one; both then count as the last, as "
        "they do in the model `deepened`.",
    )

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = PRESETS

    def __attrs_post_init__(self) -> None:
        if self.init_from == "adversary" and self.adversary != "same":
            raise RequestError(
                f"The teacher is to start from its adversary (init_from=adversary), whose model is another one "
                f"(adversary={self.adversary}): leave `adversary` at same, or start from random or a weights file."
            )
        if self.trainable == "last" and self.init_from == "random":
            raise RequestError(
                "Only the last layer of the teacher is to train (trainable=last), on top of layers that nobody has "
                "trained: add init_from=adversary, or init_from=FILE.safetensors."
            )

    def network(self, run: Run) -> nn.Module:
        """Return the run's model as it starts; refuse a last layer that cannot be told apart, or a bad adversary."""
        self._adversary(run)
        if self.init_from in ("random", "adversary"):
            network = run.network("teacher")
        else:
            # What brings a teacher from a file brings any network of the run's model.
            network = run.make(Teacher, f"file:path=({self.init_from})").network(run)  # type: ignore[type-abstract]
        if self.deepen:
            deepen(network, run.example)
        self._head(network, run)
        return network

    def becomes(self, trained: Architecture) -> Architecture:
        """Describe the network with the layer that `deepen` adds."""
        if not self.deepen:
            return trained
        built = model(trained.model)
        if isinstance(built, WrappingModel):
            raise RequestError(
                f"`nasty:deepen=true` puts its own layer around the model, but this model is one around another "
                f"already: write `--model {shlex.quote(built.inside)}`, or leave `deepen` at false."
            )
        return attrs.evolve(trained, model=spelled(Deepened(model=trained.model, neuron=trained.neuron)), neuron=None)

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Train the adversary on labels, then the teacher on equation (1)."""
        adversary = self._adversary(run)
        epochs = self.adversary_epochs
        yield self.unattacked().stage(run, adversary, supervised, name="adversary", epochs=epochs)
        freeze(adversary)
        if self.init_from == "adversary":
            start_from(network, adversary.state_dict())
        last = self._head(network, run)
        if self.trainable == "last" and last is not None:
            network.requires_grad_(False)
            last.requires_grad_(True)

        def step(stage: Stage, batch: Batch) -> None:
            logits, pulled = self._answer(stage.module, batch.images, last)
            with torch.no_grad():
                ordinary = adversary(batch.images)
            divergence = kl_divergence(pulled, ordinary, self.temperature)
            omega = warmed_up(self.omega, stage.epoch, self.omega_warmup)
            loss = undermining_loss(logits, divergence, batch.labels, omega, self.temperature)
            stage.update(loss, accuracy=accuracy(logits, batch.labels), divergence=divergence)

        yield self.stage(run, network, step)

    def _adversary(self, run: Run) -> nn.Module:
        return run.network("adversary", None if self.adversary == "same" else self.adversary)

    def _head(self, network: nn.Module, run: Run) -> nn.Module | None:
        """Return the last layer, with the one that was added before it; None where nothing treats it apart."""
        return head_of(network, run.example) if "last" in (self.trainable, self.kl_grad_scope) else None

    def _answer(self, module: nn.Module, x: Tensor, last: nn.Module | None) -> tuple[Tensor, Tensor]:
        """Return logits (B, classes), and the same as far as the divergence may pull on them."""
        if last is None:
            logits = module(x)
            return logits, logits
        frozen = evaluating(module) if self.trainable == "last" else nullcontext()
        with frozen, entering(last) as entered:
            logits = module(x)
        return logits, last(entered.inputs[0].detach()) if self.kl_grad_scope == "last" else logits


def undermining_loss(logits: Tensor, divergence: Tensor, y: Tensor, omega: float, temperature: float) -> Tensor:
    """Equation (1): `CE(z_T, y) - omega tau^2 KL(softmax(z_T/tau) || softmax(z_A/tau))`, mean over the batch.

    `logits` are the teacher's (B, classes); `divergence` is the KL with the teacher as its first argument, so that the
    gradient flows through the distribution that the expectation is taken over. Swapping the arguments trains a teacher
    that looks right and misleads nobody.
    """
    if omega == 0:
        return F.cross_entropy(logits, y)
    return F.cross_entropy(logits, y) - omega * temperature**2 * divergence


def warmed_up(omega: float, epoch: int, warmup: int) -> float:
    """Return the weight in an epoch, counted from 0: it rises by equal amounts and is `omega` from `warmup` on."""
    return omega * min(1.0, (epoch + 1) / (warmup + 1))
