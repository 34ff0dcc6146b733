"""What a method sees of a run: its seed, device, data (as far as it may read it), networks and stages."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, TypeVar, cast

import attrs
import torch
from torch import Tensor, nn

from rcframe.api import Component, Data, Model, Teacher
from rcframe.choice import Choice, parse_choice
from rcframe.data.batches import Batches, NoData, Shard
from rcframe.data.images import DataInfo, Dataset, Images, Unlabelled
from rcframe.errors import AccessDenied
from rcframe.models.check import check_outputs
from rcframe.registry import registry
from rcframe.seeding import derive
from rcframe.storage.code import code_of
from rcframe.training.compute import Compute
from rcframe.training.randomness import seeded
from rcframe.training.stage import BatchSource

if TYPE_CHECKING:
    from rcframe.networks.surgery import PruningReport

Role = Literal["teacher", "student"]
K = TypeVar("K", bound=Component)


class TrainingData:
    """The data of a run as far as a method may read it."""

    def __init__(self, dataset: Dataset, level: Data) -> None:
        self._dataset, self._level = dataset, level

    @property
    def train(self) -> Images:
        """The training images; without labels for a method that only declared it reads inputs."""
        return self._grant(self._dataset.train)

    @property
    def validation(self) -> Images | None:
        """The validation images, if any were set aside."""
        images = self._dataset.validation
        return None if images is None else self._grant(images)

    @property
    def extra(self) -> Images | None:
        """Further images, never with labels."""
        images = self._dataset.extra
        return None if images is None else Unlabelled(self._grant(images))

    @property
    def augment(self) -> tuple[str, ...]:
        """The changes that training images undergo."""
        return self._dataset.augment

    def _grant(self, images: Images) -> Images:
        if self._level is Data.NONE:
            raise AccessDenied("This method declared `data = Data.NONE`, so it cannot read any images.")
        return images if self._level is Data.LABELLED else Unlabelled(images)


@attrs.frozen(kw_only=True)
class Run:
    """The side of a run that a teacher, student strategy or pruner works with."""

    role: Role
    seed: int
    #: Where training happens.
    compute: Compute = attrs.field(factory=Compute)
    #: Out of reach for methods, which read it through `data`.
    _dataset: Dataset = attrs.field(repr=False)
    #: The network of this role.
    model: Choice
    #: How much of the training data may be read.
    level: Data = Data.LABELLED
    #: What pruners removed so far.
    pruned: list[PruningReport] = attrs.field(factory=list)
    #: Processes that fetch and change images ahead of training.
    workers: int = 0
    _names: set[str] = attrs.field(factory=set)
    _made: dict[str, str] = attrs.field(factory=dict)
    _students: list[nn.Module] = attrs.field(factory=list)

    def reading(self, level: Data) -> Run:
        """Return this run for a method that reads the data at another level."""
        return attrs.evolve(self, level=level)

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.compute.device

    @property
    def made(self) -> Mapping[str, str]:
        """The plugins of the components made so far and their versions, which the results depend on."""
        return dict(self._made)

    @property
    def info(self) -> DataInfo:
        """What a network must know about the data set."""
        return self._dataset.info

    @property
    def data(self) -> TrainingData:
        """The data, as far as it may be read."""
        return TrainingData(self._dataset, self.level)

    def adopt(self, network: nn.Module) -> nn.Module:
        """Take a network as the student from here on: a pruner says so of the smaller one it made."""
        self._students.append(network)
        return network

    def is_student(self, target: nn.Module) -> bool:
        """Say whether a stage's target is the student, or what a pruner made of it."""
        return any(target is student for student in self._students)

    @property
    def example(self) -> Tensor:
        """Two blank images (2, C, H, W), to learn shapes from."""
        return torch.zeros(2, *self.info.shape, device=self.device)

    def network(self, name: str, model: str | None = None) -> nn.Module:
        """Return a freshly initialised network; equal names start from equal weights. `model` is a spec string."""
        choice = self.model if model is None else parse_choice(model, "model")
        builder = self.make(Model, choice)  # type: ignore[type-abstract]  # any subclass
        with seeded(self.seed, "network", name):
            module = builder.build(self.info)
        check_outputs(module, self.info)
        return module.to(self.device)

    def seeded(self, name: str) -> AbstractContextManager[None]:
        """Draw everything inside a `with` block from (seed, name): for parts a plan builds outside its stages."""
        return seeded(self.seed, self.role, name)

    def make(self, base: type[K], choice: Choice | str) -> K:
        """Return the component that a spec string describes; `base` is its interface, such as `Attack`."""
        chosen = parse_choice(choice, base.kind) if isinstance(choice, str) else choice
        found, component = registry().find(base.kind, chosen), registry().make(base.kind, chosen)
        code = code_of([type(component).__module__]) or {}
        self._made[f"uses {base.kind} {chosen.name}"] = " ".join([found.distribution, found.version, *code.values()])
        return cast(K, component)

    def stage_name(self, name: str) -> str:
        """Return a name that no other stage of this run has: the second `train` becomes `train-2`."""
        full, count = f"{self.role}/{name}", 1
        while full in self._names:
            count += 1
            full = f"{self.role}/{name}-{count}"
        self._names.add(full)
        return full

    def apart(self, model: Choice) -> Run:
        """Return this run for another network, with a record of its own of what is made for it. Added in API 1.4."""
        return attrs.evolve(self, model=model, made={})

    def member(self, name: str, model: str | None = None) -> Run:
        """Return this run for one of several networks that are trained alike. Added in API 1.4.

        Everything it draws comes from a seed of its own, first weights and batches alike. `model` is a spec string,
        None the run's own model.
        """
        choice = self.model if model is None else parse_choice(model, "model")
        return attrs.evolve(self, seed=derive(self.seed, "member", name), model=choice)

    def batches(self, size: int, stage: str, images: Images | None = None) -> BatchSource:
        """Return the batches of a stage: shuffled and augmented training images, or empty ones for a data-free method.

        The order is a function of (seed, stage, epoch).
        """
        if self.level is Data.NONE and images is None:
            return NoData(1)
        return Batches(
            self.data.train if images is None else images,
            size,
            derive(self.seed, "batches", stage),
            self.data.augment,
            self.device,
            shard=Shard(self.compute.index, self.compute.count),
            workers=self.workers,
        )


@attrs.frozen
class Owner:
    """Whose stage it is where that is another teacher than the run's, and the side of a run on which it was planned."""

    teacher: Teacher
    run: Run
