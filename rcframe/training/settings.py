"""The options that every trained method has, and the stage they describe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Self, cast

from rcframe.api import Attack, Component, Data, Norm
from rcframe.choice import parse_choice
from rcframe.errors import RequestError
from rcframe.options import at_least, between, build, component, more_than, option, share, values_of
from rcframe.registry import registry
from rcframe.seeding import generator

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from rcframe.data.images import Images
    from rcframe.evaluation.threat import Threat
    from rcframe.training.context import Run
    from rcframe.training.observer import Observer
    from rcframe.training.stage import BatchSource, Preparation, Stage, Stateful, Step


@component
class Optimization:
    """How a network is trained, for methods that choose the images themselves; others inherit `Training`.

    A teacher or student strategy inherits these options and calls `stage`. Added in API 1.3.
    """

    epochs: int = option(default=30, help="Passes over the training data.", check=at_least(0))
    batch_size: int = option(default=64, help="Images per batch.", check=at_least(1))
    optimizer: Literal["adam", "sgd"] = option(default="adam", help="The optimizer.")
    lr: float = option(default=1e-3, help="Learning rate.", check=more_than(0))
    momentum: float = option(default=0.9, help="Momentum of `sgd`.", check=between(0, 1))
    weight_decay: float = option(default=0.0, help="Weight decay on all parameters but scalars.", check=at_least(0))
    schedule: Literal["constant", "steps", "cosine"] = option(
        default="constant", help="How the learning rate changes from epoch to epoch."
    )
    milestones: tuple[int, ...] = option(
        default=(), help="Epochs, counted from 0, before which `steps` lowers the learning rate.", check=at_least(0)
    )
    decay: float = option(default=0.1, help="Factor of each lowering by `steps`.", check=between(0, 1))

    def stage(
        self,
        run: Run,
        target: nn.Module,
        step: Step,
        *,
        name: str = "train",
        module: nn.Module | None = None,
        epochs: int | None = None,
        batches: BatchSource | None = None,
        observers: Sequence[Observer] = (),
        players: dict[str, Stateful] | None = None,
        determined_by: Mapping[str, str] | None = None,
        judged: bool = True,
    ) -> Stage:
        """Return a stage of `run` that trains `target` by `step` with these options.

        `module` is what the step runs if it has training-only parts around the target; `determined_by` names what the
        result depends on besides options, data and code, such as a radius that the data set suggests. A stage after
        which the target does not tell classes apart yet, such as one that trains its first layers, is not `judged`.
        """
        from rcframe.training.stage import Stage

        full_name = run.stage_name(name)
        stage = Stage(
            name=full_name,
            target=target,
            module=target if module is None else module,
            step=step,
            epochs=self.epochs if epochs is None else epochs,
            batches=run.batches(self.batch_size, full_name, self.chosen_images(run)) if batches is None else batches,
            make_optimizer=self._optimizer,
            seed=run.seed,
            observers=[*observers, *(self.watchers(run, players or {}) if judged else ())],
            players=players or {},
            prepare=self.preparation(run, target),
            determined_by=determined_by or {},
        )
        if self.schedule != "constant":
            # Asked for when the stage begins: a pruner may have shortened it by then.
            stage.make_schedule = lambda optimizer: self._schedule(optimizer, stage.epochs)
        return stage

    def preparation(self, run: Run, target: nn.Module) -> Preparation | None:
        """Return what changes every batch of a stage before its step sees it; nothing, unless overridden."""
        return None

    def chosen_images(self, run: Run) -> Images | None:
        """Return the images that a stage trains on, if not all training images."""
        return None

    def watchers(self, run: Run, players: Mapping[str, Stateful]) -> Sequence[Observer]:
        """Return what the options hang on every stage that is judged; nothing, unless overridden."""
        return ()

    def check_run(self, run: Run) -> None:
        """Refuse what a run cannot give, such as images that its data set lacks; asked before anything is trained."""
        self.chosen_images(run)

    def _optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        from torch.optim import SGD, Adam

        # Scalars are thresholds and leaks of neurons, which decay would drag away from where they work.
        scalars = [parameter for parameter in parameters if parameter.dim() == 0]
        weights = [parameter for parameter in parameters if parameter.dim() > 0]
        groups = [{"params": weights, "weight_decay": self.weight_decay}, {"params": scalars, "weight_decay": 0.0}]
        used = [group for group in groups if group["params"]]
        if self.optimizer == "adam":
            return Adam(used, lr=self.lr)
        return SGD(used, lr=self.lr, momentum=self.momentum)

    def _schedule(self, optimizer: Optimizer, epochs: int) -> LRScheduler:
        from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR

        if self.schedule == "cosine":
            return CosineAnnealingLR(optimizer, T_max=max(epochs, 1))
        return MultiStepLR(optimizer, list(self.milestones), gamma=self.decay)


@component
class Training(Optimization):
    """How a network is trained on images, or on what an attack makes of them.

    A teacher or student strategy inherits these options and calls `stage`.
    """

    fraction: float = option(
        default=1.0,
        help="Share of the images to train on, drawn once per seed; a smaller share is part of a larger one.",
        check=share("the images"),
    )
    patience: int = option(
        default=0,
        help="Epochs without a better result on the validation images after which training ends, with the best "
        "weights; 0 for never.",
        check=at_least(0),
    )
    attack: str | None = option(
        default=None, help="Attack on the network in training whose results replace the images, as a spec string."
    )
    attack_eps: float | None = option(
        default=None, help="Radius of `attack` in pixels; none is the data set's customary one.", check=at_least(0)
    )
    attack_norm: Norm = option(default="linf", help="Norm of `attack`.")
    attack_mode: Literal["eval", "train"] = option(
        default="eval", help="Whether batch norm and dropout evaluate or train while `attack` is crafted."
    )

    def unattacked(self) -> Self:
        """Return these options without the attack, for stages that train another network than the method's own."""
        return build(type(self), {**values_of(self), "attack": None}, type(self).__name__)

    def source_images(self, run: Run) -> Images:
        """Return the images to train on, before a fraction of them is taken."""
        return run.data.train

    def chosen_images(self, run: Run) -> Images | None:
        """Return the share of the images that the options ask for; None for a method that reads none."""
        import torch

        if run.level is Data.NONE:
            return None
        images = self.source_images(run)
        count = round(self.fraction * len(images))
        if count == len(images):
            return images
        if count < 2:
            raise RequestError(
                f"A fraction of {self.fraction:g} of {len(images)} images is {count}, but training needs two or more."
            )
        order = torch.randperm(len(images), generator=generator(run.seed, "fraction"))
        return images.subset(order[:count].sort().values)

    def watchers(self, run: Run, players: Mapping[str, Stateful]) -> Sequence[Observer]:
        """Return what ends the stage early, if that is wanted."""
        from rcframe.training.patience import Patience, judge_of

        if not self.patience:
            return ()
        self._check_patience(run)
        return (Patience(self.patience, judge_of(run, players)),)

    def check_run(self, run: Run) -> None:
        """Refuse a fraction that is no images, and patience without images to judge on."""
        super().check_run(run)
        if self.patience:
            self._check_patience(run)

    def _check_patience(self, run: Run) -> None:
        if run.level is Data.NONE:
            raise RequestError(
                f"patience={self.patience} judges every epoch on validation images, but this method reads no images: "
                f"leave out the option `patience`."
            )
        if run.data.validation is None:
            raise RequestError(
                f"patience={self.patience} judges every epoch on validation images, but none are set aside: set the "
                f"option `validation` of the data, as in `--data {run.info.name}:validation=0.1`, or leave out the "
                f"option `patience`."
            )

    def inner_attack(self) -> Attack | None:
        """Return the attack of the options, or None; refuse one that is unknown or cannot be trained on."""
        if self.attack is None:
            return None
        attack = cast(Attack, registry().make("attack", parse_choice(self.attack, "attack")))
        self._check(attack)
        return attack

    def parts(self) -> tuple[Component, ...]:
        """Return the attack of the options, if there is one."""
        attack = self.inner_attack()
        return () if attack is None else (attack, *attack.parts())

    def preparation(self, run: Run, target: nn.Module) -> Preparation | None:
        """Return the attack of the options on `target`, or None without any."""
        from rcframe.training.attacked import InnerAttack

        if self.attack is None:
            return None
        if run.level is Data.NONE:
            raise unattackable(self.attack)
        # Made by the run: what it makes is part of what its results depend on.
        attack = run.make(Attack, self.attack)  # type: ignore[type-abstract]  # any subclass
        self._check(attack)
        return InnerAttack(attack=attack, network=target, threat=self._threat(run.info.eps), mode=self.attack_mode)

    def _check(self, attack: Attack) -> None:
        if self.attack_norm not in attack.norms:
            norms = " and ".join(attack.norms)
            raise RequestError(f"`{self.attack}` works in {norms}, not in {self.attack_norm}: change `attack_norm`.")
        if attack.surrogate is not None:
            raise RequestError(
                f"`{self.attack}` is crafted on another network, but training needs an attack on the network that is "
                f"trained: name the one inside it."
            )
        self._threat(0.0)

    def _threat(self, customary: float) -> Threat:
        """Return the threat of the attack; `customary` is the data set's radius in linf."""
        from rcframe.evaluation.threat import make_threat

        if self.attack_eps is None and self.attack_norm != "linf":
            raise RequestError(
                f"`{self.attack}` has no radius in {self.attack_norm}, since the data set's customary one is for linf: "
                f"set `attack_eps`."
            )
        return make_threat(customary if self.attack_eps is None else self.attack_eps, self.attack_norm)


def unattackable(attack: str) -> RequestError:
    """Refuse to train a method on attacked images that is given no images."""
    return RequestError(
        f"`{attack}` has nothing to attack, since this method trains without images of the data set: leave out the "
        f"option `attack`."
    )
