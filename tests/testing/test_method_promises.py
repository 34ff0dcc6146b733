"""Each check catches its fault: a sound component passes all of its kind, and each broken one fails where it must."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.api import Attack, Certifier, Component, NeuronModel, OneShotPruner, Pruner, StudentPlan
from rcframe.evaluation.oracle import Oracle
from rcframe.evaluation.threat import Threat
from rcframe.networks.surgery import PruningReport, select, set_layer
from rcframe.options import component
from rcframe.training.context import Run
from rcframe.training.masks import Masks, keep_largest, prunable
from rcframe.training.stage import Stage

Broken = Callable[[type[Component]], set[str]]


def check(broken_promises: Broken, cls: type[Component], expected: set[str]) -> None:
    assert broken_promises(cls) == expected


# -- attacks


@component
class Honest(Attack):
    """One step up the loss."""

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return x + self.step(source, x, y) * threat.eps

    def step(self, source: Oracle, x: Tensor, y: Tensor) -> Tensor:
        x = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(source.logits(x), y), x)
        return gradient.sign()


@component
class Wanders(Honest):
    """Leaves the ball and the pixel range by far."""

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return x + 50 * self.step(source, x, y)


@component
class Helps(Honest):
    """Has its sign the wrong way round."""

    def step(self, source: Oracle, x: Tensor, y: Tensor) -> Tensor:
        return -super().step(source, x, y)


@component
class Overwrites(Honest):
    """Works on the images it was given."""

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return x.add_(self.step(source, x, y) * threat.eps)


@component
class Relabels(Honest):
    """Overwrites the labels it was given."""

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        moved = super().craft(source, x, y, threat)
        y.zero_()
        return moved


@component
class Unrepeatable(Honest):
    """Draws from a generator of its own that goes on from attack to attack."""

    own: ClassVar[torch.Generator] = torch.Generator()

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return x + self.step(source, x, y) * threat.eps * torch.rand(x.shape, generator=self.own)


@component
class Overreaches(Honest):
    """Asks for probabilities, which it did not declare."""

    def step(self, source: Oracle, x: Tensor, y: Tensor) -> Tensor:
        return super().step(source, x, y) * source.probabilities(x)[:, :1, None, None]


@component
class Overdeclares(Honest):
    """Declares features that it never asks for."""

    access = Access.LOGITS | Access.INPUT_GRAD | Access.FEATURES


@component
class CallsBackward(Honest):
    """Lets gradients flow wherever they want."""

    def step(self, source: Oracle, x: Tensor, y: Tensor) -> Tensor:
        x = x.clone().requires_grad_(True)
        F.cross_entropy(source.logits(x), y).backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None
        return x.grad.sign()


@component
class Insider(Honest):
    """Is granted the model and puts it into training mode, for good."""

    access = Access.LOGITS | Access.INPUT_GRAD | Access.PARAMS

    def step(self, source: Oracle, x: Tensor, y: Tensor) -> Tensor:
        self.meddle(source.module(), x)
        return super().step(source, x, y)

    def meddle(self, model: nn.Module, x: Tensor) -> None:
        model.train()


@component
class LeavesGradients(Insider):
    """Turns gradients to the parameters on and leaves some there."""

    def meddle(self, model: nn.Module, x: Tensor) -> None:
        model.requires_grad_(True)
        model(x).sum().backward()


@component
class FreezesModel(Insider):
    """Replaces a parameter of the model by one that takes no gradients."""

    def meddle(self, model: nn.Module, x: Tensor) -> None:
        last = model.get_submodule("net.fc2")
        last.register_parameter("bias", nn.Parameter(model.get_parameter("net.fc2.bias"), requires_grad=False))


@component
class ShiftsWeights(Insider):
    """Changes the weights a little."""

    def meddle(self, model: nn.Module, x: Tensor) -> None:
        with torch.no_grad():
            model.get_parameter("net.fc2.bias").mul_(0.999)


@component
class Crops(Honest):
    """Returns images of another size."""

    def step(self, source: Oracle, x: Tensor, y: Tensor) -> Tensor:
        return super().step(source, x, y)[:, :, :1, :1]

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return super().craft(source, x, y, threat)[:, :, :4]


@component
class NoNumbers(Honest):
    """Divides by zero."""

    def step(self, source: Oracle, x: Tensor, y: Tensor) -> Tensor:
        return super().step(source, x, y) / 0 * 0


RUNS_AT_ALL = {
    "attack_stays_inside_the_threat",
    "attack_leaves_the_model_alone",
    "attack_repeats",
    "attack_does_harm",
}


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (Honest, set()),
        (Helps, {"attack_does_harm"}),
        (Overwrites, {"attack_leaves_its_input_alone"}),
        (Relabels, {"attack_leaves_its_input_alone"}),
        (Unrepeatable, {"attack_repeats"}),
        (Overreaches, {*RUNS_AT_ALL, "attack_leaves_its_input_alone"}),
        (Overdeclares, {"attack_needs_what_it_declares"}),
        (LeavesGradients, {"attack_leaves_the_model_alone"}),
        (FreezesModel, {"attack_leaves_the_model_alone"}),
        (ShiftsWeights, {"attack_leaves_the_model_alone"}),
        (Crops, RUNS_AT_ALL),
        (NoNumbers, {"attack_stays_inside_the_threat"}),
    ],
)
def test_attacks_are_caught(attack: type[Attack], expected: set[str], broken_promises: Broken) -> None:
    check(broken_promises, attack, expected)


@pytest.mark.parametrize("attack", [Wanders, CallsBackward, Insider])
def test_what_the_kernel_makes_good_is_no_broken_promise(attack: type[Attack], broken_promises: Broken) -> None:
    """Leaving the ball, calling `backward` and training mode do no harm: images are projected, models restored."""
    check(broken_promises, attack, set())


# -- certifiers


@component
class Intervals(Certifier):
    """Bounds every layer by centre and radius; sound for convolutions, ReLUs, linear layers and normalisation."""

    def unsupported(self, module: nn.Module) -> str | None:
        known = (nn.Conv2d, nn.Linear, nn.ReLU, nn.Flatten)
        strange = [type(part).__name__ for part in module.modules() if not list(part.children())]
        return next((name for name in strange if name not in {cls.__name__ for cls in known} | {"Normalize"}), None)

    def margins(self, module: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        low, high = self.box(module, x, threat.eps)
        own = y.unsqueeze(1)
        # z_y - z_j, each at its worst; computed in one difference at radius 0.
        return (low.gather(1, own) - high).scatter(1, own, 0.0)

    def box(self, module: nn.Module, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        centre, radius = x, torch.full_like(x, eps)
        for layer in (part for part in module.modules() if not list(part.children())):
            if isinstance(layer, nn.Conv2d):
                radius = F.conv2d(radius, layer.weight.abs(), None, layer.stride, layer.padding)
            elif isinstance(layer, nn.Linear):
                radius = F.linear(radius, layer.weight.abs())
            elif isinstance(layer, nn.ReLU):
                low, high = (centre - radius).relu(), (centre + radius).relu()
                centre, radius = (low + high) / 2, (high - low) / 2
                continue
            elif not isinstance(layer, nn.Flatten):
                radius = radius / layer.get_buffer("std")
            else:
                radius = radius.flatten(1)
            centre = layer(centre)
        return centre - radius, centre + radius


@component
class Optimist(Intervals):
    """Forgets the radius."""

    def box(self, module: nn.Module, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        return super().box(module, x, 0.0)


@component
class TooNarrow(Intervals):
    """Carries the radius through layers with the signs of the weights, as if it were a point."""

    def box(self, module: nn.Module, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        low, high = super().box(module, x, eps)
        centre, radius = (low + high) / 2, (high - low) / 2
        return centre - 0.001 * radius, centre + 0.001 * radius


@component
class Generous(Intervals):
    """Adds to every margin."""

    def margins(self, module: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return super().margins(module, x, y, threat) + 0.5 * (torch.arange(3) != y.unsqueeze(1))


@component
class ClaimsOwnColumn(Intervals):
    """Leaves the distance from top to bottom in the label's own column."""

    def margins(self, module: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return super().margins(module, x, y, threat) + 1e-5 * (torch.arange(3) == y.unsqueeze(1))


@component
class WrongWay(Intervals):
    """Returns z_j - z_y."""

    def margins(self, module: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return -super().margins(module, x, y, threat)


@component
class Takes(Intervals):
    """Takes every network for one it knows."""

    def unsupported(self, module: nn.Module) -> str | None:
        return None


@component
class Refuses(Intervals):
    """Knows nothing."""

    def unsupported(self, module: nn.Module) -> str | None:
        return "layer `net` is unknown"


@component
class Folds(Intervals):
    """Takes the network apart and does not put it together again."""

    def margins(self, module: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        margins = super().margins(module, x, y, threat)
        with torch.no_grad():
            module.get_parameter("net.fc2.bias").mul_(1.00001)
        return margins


@pytest.mark.parametrize(
    ("certifier", "expected"),
    [
        (Intervals, set()),
        (Optimist, {"certifier_is_never_broken", "certifier_loosens_with_eps"}),
        (TooNarrow, {"certifier_is_never_broken"}),
        (Generous, {"certifier_is_exact_at_eps_zero"}),
        (ClaimsOwnColumn, {"certifier_is_exact_at_eps_zero"}),
        (WrongWay, {"certifier_is_exact_at_eps_zero", "certifier_is_never_broken", "certifier_loosens_with_eps"}),
        (Takes, {"certifier_refuses_unknown_layers"}),
        (Folds, {"certifier_leaves_the_model_alone"}),
    ],
)
def test_certifiers_are_caught(certifier: type[Certifier], expected: set[str], broken_promises: Broken) -> None:
    check(broken_promises, certifier, expected)


def test_a_certifier_must_know_the_plainest_networks(broken_promises: Broken) -> None:
    assert "certifier_is_exact_at_eps_zero" in broken_promises(Refuses)


# -- pruners


@component
class Sparse(Pruner):
    """Keeps the largest half of the weights of every stage of the student."""

    def rewrite(self, plan: StudentPlan, student: nn.Module, run: Run) -> Iterator[Stage]:
        masks = Masks(keep_largest(prunable(student), 0.5))
        for stage in plan(student):
            if self.concerns(stage, student):
                stage.observers.append(masks)
            yield stage

    def concerns(self, stage: Stage, student: nn.Module) -> bool:
        return stage.target is student


@component
class Everywhere(Sparse):
    """Hangs its masks on every stage."""

    def concerns(self, stage: Stage, student: nn.Module) -> bool:
        return True


@component
class Idle(Sparse):
    """Prunes nothing."""

    def concerns(self, stage: Stage, student: nn.Module) -> bool:
        return False


@component
class Regrows(Sparse):
    """Zeroes weights before training and lets training bring them back."""

    def rewrite(self, plan: StudentPlan, student: nn.Module, run: Run) -> Iterator[Stage]:
        Masks(keep_largest(prunable(student), 0.5)).apply(student)
        yield from plan(student)


@component
class Drops(Sparse):
    """Skips the stages of other networks."""

    def rewrite(self, plan: StudentPlan, student: nn.Module, run: Run) -> Iterator[Stage]:
        return (stage for stage in super().rewrite(plan, student, run) if stage.target is student)


@component
class Half(OneShotPruner):
    """Keeps the first half of the hidden units."""

    def apply(self, module: nn.Module, x: Tensor) -> tuple[nn.Module, PruningReport]:
        small = copy.deepcopy(module)
        self.cut(small)
        return small, PruningReport.of(module, small, {"net.fc1": tuple(range(8))})

    def cut(self, small: nn.Module) -> None:
        hidden, last, keep = small.get_submodule("net.fc1"), small.get_submodule("net.fc2"), torch.arange(8)
        assert isinstance(hidden, nn.Linear)
        assert isinstance(last, nn.Linear)
        set_layer(small, "net.fc1", select(hidden, keep, None))
        set_layer(small, "net.fc2", select(last, None, keep))


@component
class CutsOriginal(Half):
    """Works on the network it was given."""

    def apply(self, module: nn.Module, x: Tensor) -> tuple[nn.Module, PruningReport]:
        before = copy.deepcopy(module)
        self.cut(module)
        return module, PruningReport.of(before, module, {})


@component
class Shares(Half):
    """Returns another network around the same weights."""

    def apply(self, module: nn.Module, x: Tensor) -> tuple[nn.Module, PruningReport]:
        small = copy.copy(module)
        small._modules = {**module._modules, "net": copy.copy(module.get_submodule("net"))}
        small.get_submodule("net")._modules = {**module.get_submodule("net")._modules}
        self.cut(small)
        return small, PruningReport.of(module, small, {})


@component
class Misreports(Half):
    """Reports what it was given as what it returns."""

    def apply(self, module: nn.Module, x: Tensor) -> tuple[nn.Module, PruningReport]:
        small, _ = super().apply(module, x)
        return small, PruningReport.of(module, module, {})


@component
class LosesClass(Half):
    """Cuts the outputs instead of the hidden units."""

    def cut(self, small: nn.Module) -> None:
        last = small.get_submodule("net.fc2")
        assert isinstance(last, nn.Linear)
        set_layer(small, "net.fc2", select(last, torch.arange(2), None))


@pytest.mark.parametrize(
    ("pruner", "expected"),
    [
        (Sparse, set()),
        (Half, set()),
        (Everywhere, {"pruner_leaves_other_stages_alone"}),
        (Idle, {"pruner_removes_something"}),
        (Regrows, {"pruner_removes_something"}),
        (Drops, {"pruner_leaves_other_stages_alone"}),
        (CutsOriginal, {"one_shot_pruner_keeps_the_original", "pruner_removes_something"}),
        (Shares, {"one_shot_pruner_keeps_the_original"}),
        (Misreports, {"one_shot_pruner_keeps_the_original"}),
        (LosesClass, {"pruner_removes_something", "pruner_leaves_other_stages_alone", "pruner_resumes"}),
    ],
)
def test_pruners_are_caught(pruner: type[Pruner], expected: set[str], broken_promises: Broken) -> None:
    check(broken_promises, pruner, expected)


# -- neurons


class Fire(torch.autograd.Function):
    """A step at one, with the gradient of a triangle around it."""

    @staticmethod
    def forward(ctx: Any, membrane: Tensor) -> Tensor:
        ctx.save_for_backward(membrane)
        return (membrane >= 1).to(membrane.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (membrane,) = ctx.saved_tensors
        slope: Tensor = (1 - (membrane - 1).abs() / 4).clamp_min(0)
        return gradient * slope


class Cell(nn.Module):
    """Adds up its input and subtracts one for every spike."""

    def forward(self, current: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        membrane = current if state is None else state + current
        spikes = self.fire(membrane)
        return spikes, membrane - spikes

    def fire(self, membrane: Tensor) -> Tensor:
        spikes: Tensor = Fire.apply(membrane)
        return spikes


class HiddenState(Cell):
    """Remembers in itself, beyond the forward pass."""

    memory: Tensor | None = None

    def forward(self, current: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        kept = self.memory if self.memory is not None and self.memory.shape == current.shape else None
        spikes, self.memory = super().forward(current, kept)
        assert self.memory is not None
        self.memory = self.memory.detach()
        return spikes, self.memory


class Forgets(Cell):
    """Never returns its state."""

    def forward(self, current: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return super().forward(current, state)[0], None


class Graded(Cell):
    """Emits values between zero and one."""

    def fire(self, membrane: Tensor) -> Tensor:
        return membrane.sigmoid()


class Silent(Cell):
    """Never spikes."""

    def fire(self, membrane: Tensor) -> Tensor:
        return super().fire(membrane - 1000)


class NoSurrogate(Cell):
    """Cuts the gradient off."""

    def fire(self, membrane: Tensor) -> Tensor:
        return (membrane >= 1).to(membrane.dtype)


class MixesImages(Cell):
    """Fires relative to the mean of the batch."""

    def fire(self, membrane: Tensor) -> Tensor:
        return super().fire(membrane - membrane.mean(dim=0, keepdim=True) + 0.5)


@component
class Integrates(NeuronModel):
    """Neurons made of one of the cells above."""

    make: ClassVar[type[Cell]] = Cell

    def cell(self) -> nn.Module:
        return self.make()


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (Cell, set()),
        (HiddenState, {"neuron_state_is_explicit"}),
        (Forgets, {"neuron_spikes_are_binary"}),
        (Graded, {"neuron_spikes_are_binary"}),
        (Silent, {"neuron_spikes_are_binary", "neuron_lets_gradients_through"}),
        (NoSurrogate, {"neuron_lets_gradients_through"}),
        (MixesImages, {"neuron_state_is_explicit"}),
    ],
)
def test_neurons_are_caught(
    cell: type[Cell], expected: set[str], broken_promises: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Integrates, "make", cell)
    check(broken_promises, Integrates, expected)
