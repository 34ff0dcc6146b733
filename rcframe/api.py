"""The interfaces that plugins implement. Importing this file imports no torch.

A component is a frozen attrs class (`@component`) whose fields are its options. Six kinds are the methods of the
field: teacher, student, pruner, neuron, attack, certifier. Two more bring the material: data and model. An engine
carries out many runs.

Ownership of training is split in three: a method *writes a plan* (a generator of stages, in the order of its paper),
the kernel *walks* it and alone updates weights, and the method's *step* decides how often a batch updates.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from rcframe.access import Access
from rcframe.errors import RequestError
from rcframe.options import at_least, between, component, option

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from rcframe.data.images import DataInfo, Dataset
    from rcframe.evaluation.oracle import Oracle
    from rcframe.evaluation.threat import Threat
    from rcframe.jobs import Ended, Job
    from rcframe.networks.spiking import SpikingNetwork
    from rcframe.networks.surgery import PruningReport
    from rcframe.networks.weights import Architecture
    from rcframe.training.context import Run
    from rcframe.training.stage import Stage

#: Version of the plugin interface: another major number breaks plugins, a higher minor number only adds.
API = (1, 4)

#: The kinds of components, in the order in which a run uses them; last what carries out many runs.
KINDS = ("data", "model", "teacher", "student", "neuron", "pruner", "attack", "certifier", "engine")

#: The norms in which a threat can be measured.
Norm = Literal["linf", "l2"]

#: How numbers are held while a network trains; `bf16` and `fp16` take half the memory.
Precision = Literal["fp32", "bf16", "fp16"]

#: Writes the plan of training a given student; a pruner may call it again for a smaller student.
StudentPlan = Callable[["nn.Module"], "Iterator[Stage]"]


class Data(enum.IntEnum):
    """How much of the training data a student strategy reads."""

    NONE = 0
    INPUTS = 1
    LABELLED = 2


class Component(ABC):
    """Base of everything a plugin announces. Subclasses are decorated with `@component`."""

    kind: ClassVar[str]
    #: Named sets of option values, such as a paper's settings for one data set: `preset=NAME` in a spec string stands
    #: for them, and options given beside it win. Added in API 1.4.
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {}

    def unsupported(self, module: nn.Module) -> str | None:
        """Say why this component cannot work with `module` (naming the layer), or None if it can.

        Asked before anything is trained, so a run that cannot end well is refused at once.
        """
        return None

    def parts(self) -> tuple[Component, ...]:
        """Return the components that this one works with, on whose code its results depend too. Added in API 1.3."""
        return ()


class Teacher(Component):
    """Trains, or brings, the network that a student learns from."""

    kind = "teacher"
    #: Whether the network is trained in the run, so that another seed gives another one. Added in API 1.3.
    trains: ClassVar[bool] = True

    def network(self, run: Run) -> nn.Module:
        """Return the network that `plan` trains: the run's model, freshly initialised, unless overridden."""
        return run.network("teacher")

    def brought(self) -> Architecture | None:
        """Describe the network of `network` where that is not the run's model; None where it is."""
        return None

    def becomes(self, trained: Architecture) -> Architecture:
        """Return what the finished teacher is built from, where it is more than the run's model.

        `trained` is what the run's model is built from. Added in API 1.4.
        """
        return trained

    @abstractmethod
    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Yield the stages of training. The target of the last one becomes the teacher; without any, `network`."""


class StudentStrategy(Component):
    """Trains a student through an oracle of the teacher."""

    kind = "student"
    #: The least the strategy needs from the teacher; a run that grants less is refused. It may use more if granted.
    access: ClassVar[Access] = Access.LOGITS
    #: The part of the training data the strategy reads; the rest is out of its reach.
    data: ClassVar[Data] = Data.LABELLED
    #: Whether a class that the teacher rules out by a logit of -inf adds nothing to what is learned, so that nothing
    #: keeps the student from believing in it. The report says so where it happens. Added in API 1.4.
    ignores_ruled_out: ClassVar[bool] = False

    def mismatch(self, student: nn.Module, teacher: nn.Module) -> str | None:
        """Say why `student` cannot learn from `teacher`, such as a layer that one of them lacks, or None if it can.

        Asked before anything is trained; both are what their roles start from. Added in API 1.4.
        """
        return None

    def becomes(self, trained: Architecture) -> Architecture:
        """Return what the finished student is built from, where `Stage.result` makes more of it than was trained.

        `trained` is what the student was built from before anything pruned it. Added in API 1.4.
        """
        return trained

    @abstractmethod
    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Yield the stages of training; stages whose target is `student` are open to pruners."""


class Pruner(Component):
    """Makes a student smaller, before, during or after its training."""

    kind = "pruner"

    @abstractmethod
    def rewrite(self, plan: StudentPlan, student: nn.Module, run: Run) -> Iterator[Stage]:
        """Yield the stages of `plan(student)` with observers or stages of one's own added.

        The target of the last stage is the pruned student. A rewriter adds to a stage and never swaps its parts, and
        it leaves stages alone whose target is not the student (`run.is_student`). Surgery happens between stages only;
        to train a smaller student further, `run.adopt` it and call `plan` again with it.
        """

    def apply(self, module: nn.Module, x: Tensor) -> tuple[nn.Module, PruningReport]:
        """Return a smaller copy of a trained `module` and what was removed; `x` is a batch of inputs (B, C, H, W)."""
        raise RequestError(f"`{type(self).__name__}` prunes during training and cannot be applied to a finished model.")


@component
class OneShotPruner(Pruner):
    """A pruner that works on a trained network and may fine-tune the result with the student's own strategy."""

    finetune: int = option(default=5, help="Epochs of fine-tuning after pruning, 0 for none.", check=at_least(0))

    @abstractmethod
    def apply(self, module: nn.Module, x: Tensor) -> tuple[nn.Module, PruningReport]:
        """Return a smaller copy of `module` and what was removed; `x` is a batch of inputs (B, C, H, W)."""

    def rewrite(self, plan: StudentPlan, student: nn.Module, run: Run) -> Iterator[Stage]:
        """Train as planned, prune once, then train the smaller student as planned for `finetune` epochs."""
        from rcframe.training.pruning import prune_after_training

        return prune_after_training(self, plan, student, run)


@component
class NeuronModel(Component):
    """Replaces the ReLUs of a network by spiking neurons that run for a number of time steps."""

    kind = "neuron"

    steps: int = option(default=4, help="Time steps of one forward pass.", check=at_least(1))
    readout: Literal["sum", "mean"] = option(
        default="sum", help="How the outputs of the time steps become logits: their sum, or their mean."
    )

    def unsupported(self, module: nn.Module) -> str | None:
        """Networks without ReLU modules, or with shared ones, cannot be converted."""
        from rcframe.networks.spiking import unconvertible

        return unconvertible(module)

    @abstractmethod
    def cell(self) -> nn.Module:
        """Return one layer's neurons: `forward(current, state | None) -> (spikes, state)`.

        `current`, `spikes` and `state` have the shape of the layer's activations (B, ...).
        """

    def convert(self, module: nn.Module) -> SpikingNetwork:
        """Return a spiking copy of `module`: every ReLU becomes a layer of these neurons."""
        from rcframe.networks.spiking import convert

        return convert(self, module)


class Attack(Component):
    """Changes inputs within a threat so that a model errs. Calling an attack crafts, projects and verifies."""

    kind = "attack"
    #: What the attack needs from the model it crafts on; nothing for noise.
    access: ClassVar[Access] = Access.LOGITS | Access.INPUT_GRAD
    #: The norms the attack can respect.
    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")
    #: Whether the attack looks at the model again after it moved an image. One that does not, such as a single step or
    #: noise, should never find what an iterated one misses. Added in API 1.3.
    iterated: ClassVar[bool] = True
    #: Whether the attack looks for the nearest misclassified image wherever it is, instead of one within eps. Those it
    #: finds further away do not count, and asking once is enough for every radius. Added in API 1.3.
    nearest: ClassVar[bool] = False

    @property
    def surrogate(self) -> str | None:
        """Say on which other network the attack is crafted, or None for the attacked one itself. Added in API 1.3.

        `teacher`, `student`, `twin` (the attacked network, trained again with another seed), `twin:SEED`,
        `run:FOLDER` or `file:PATH`.
        """
        return None

    @abstractmethod
    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Propose adversarial inputs (B, C, H, W) for `x` in [0, 1] with labels `y` (B,).

        The kernel projects the proposal into the threat and recomputes every prediction.
        """

    def stronger(self) -> Attack | None:
        """Return this attack with clearly more effort, such as twice the steps; None if more would change nothing.

        The kernel tries it on some images that withstood: if they fall, the attack was not done. Added in API 1.3.
        """
        return None

    def thorough(self) -> Attack:
        """Return this attack without shortcuts: it goes on after a misclassification. Added in API 1.3.

        Evaluation may stop where an image is broken; whoever trains on attacked images wants their loss as high as
        the attack can get it.
        """
        return self

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        eps: float | str | None = None,
        norm: Norm = "linf",
        source: nn.Module | None = None,
    ) -> Tensor:
        """Return adversarial inputs for `model`, inside the threat, leaving the model exactly as it was.

        They are crafted on `source` where that is given: a transfer attack.
        """
        from rcframe.evaluation.crafting import attack_batch, check_model
        from rcframe.evaluation.threat import make_threat

        for network in filter(None, (model, source)):
            check_model(network, x, y)
        if self.surrogate is not None and source is None:
            raise RequestError(
                f"`{type(self).__name__}` is crafted on another network, which only a run has: pass yours as `source=`."
            )
        return attack_batch(self, model, x, y, make_threat(eps, norm), source=source)


class Certifier(Component):
    """Proves lower bounds on margins for every input within a threat."""

    kind = "certifier"
    #: Whether `margins` carries gradients to the parameters, so that it can be trained on.
    differentiable: ClassVar[bool] = False
    #: The norms the certificate covers.
    norms: ClassVar[tuple[Norm, ...]] = ("linf",)

    @abstractmethod
    def unsupported(self, module: nn.Module) -> str | None:
        """Say which layer of `module` cannot be certified and why, or None."""

    @abstractmethod
    def margins(self, module: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return lower bounds (B, classes) on z_y - z_j over the threat; the column j = y is 0."""

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, eps: float | str | None = None, norm: Norm = "linf"
    ) -> Tensor:
        """Return `margins` of `model` in evaluation mode, leaving the model exactly as it was."""
        from rcframe.evaluation.crafting import certify_batch
        from rcframe.evaluation.threat import make_threat

        return certify_batch(self, model, x, y, make_threat(eps, norm))


@component
class DataSource(Component):
    """Brings a data set."""

    kind = "data"

    augment: tuple[Literal["flip", "crop", "rotate"], ...] = option(
        default=(), help="Random changes to training images: mirror, shift by an eighth, rotate by up to 20 degrees."
    )
    validation: float = option(
        default=0.0, help="Fraction of the training images set aside for validation.", check=between(0, 0.9)
    )

    @abstractmethod
    def load(self, root: Path) -> Dataset:
        """Return the data set; files belong below `root`. Augmentation and validation are the kernel's work."""

    def lacking(self, root: Path) -> str | None:
        """Say which files `load` would not find below `root`, and what to do about it; None if it finds all.

        Asked before many runs start, so that not each of them fails for the same reason. Added in API 1.4.
        """
        return None


class Model(Component):
    """Builds a network for a data set."""

    kind = "model"

    @abstractmethod
    def build(self, info: DataInfo) -> nn.Module:
        """Return a freshly initialised network that maps pixels in [0, 1] (B, C, H, W) to logits (B, classes).

        Normalisation is part of the network. The kernel has seeded the random generators.
        """


class Engine(Component):
    """Carries out jobs: where they run, how many at once, and what happens when a machine is lost. Added in API 1.2."""

    kind = "engine"

    @abstractmethod
    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        """Carry out every job and yield each when it ended, in any order; `place` is a folder for what this needs.

        `rcframe.run_job` carries out one. A job that was lost with its machine, or killed, may be given again: it goes
        on where it was. One that failed for a reason of its own is not. When the iterator is closed early, every job
        that still runs must be asked to stop, and none may go on when `close` returns.
        """
