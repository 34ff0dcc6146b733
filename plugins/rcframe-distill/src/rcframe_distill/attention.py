"""Attention transfer (Zagoruyko and Komodakis, 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from rcframe import (
    Access,
    Batch,
    Data,
    Distillation,
    Oracle,
    RequestError,
    Run,
    Stage,
    accuracy,
    at_least,
    between,
    component,
    more_than,
    option,
    recording,
    taps_of,
)
from rcframe_distill.depths import Layer, Pair, obstacle, spread, student_layers, teacher_layers
from rcframe_distill.kd import distillation_loss
from rcframe_distill.schedules import CIFAR100, Presets


@component
class Attention(Distillation):
    """Learns where the teacher's layers respond strongly, besides its softened outputs and the labels.

    Zagoruyko, Komodakis: "Paying More Attention to Attention: Improving the Performance of Convolutional Neural
    Networks via Attention Transfer" (ICLR 2017), from activations. A map says how strongly all channels together
    respond at a place, so the two networks may differ in their channels. A spiking student shows the mean over its time
    steps. Maps are not remembered: the teacher is asked for every batch.
    """

    taps: tuple[str, ...] = option(
        default=(), help="Layers of the student, shallowest first; none are its taps, matched by depth."
    )
    teacher_taps: tuple[str, ...] = option(
        default=(), help="As many layers of the teacher; none are its taps, matched by depth."
    )
    beta: float = option(default=1000.0, help="Weight of the attention maps.", check=at_least(0))
    alpha: float = option(default=0.9, help="Weight of the teacher's outputs against the labels.", check=between(0, 1))
    temperature: float = option(default=4.0, help="Temperature of both softmaxes.", check=more_than(0))

    access = Access.LOGITS | Access.FEATURES
    data = Data.LABELLED
    presets: ClassVar[Presets] = {"cifar10": CIFAR100, "cifar100": CIFAR100}

    def __attrs_post_init__(self) -> None:
        """Refuse layers that cannot be matched."""
        super().__attrs_post_init__()
        if self.taps and self.teacher_taps and len(self.taps) != len(self.teacher_taps):
            raise RequestError(
                f"`attention` was given {len(self.taps)} taps of the student and {len(self.teacher_taps)} of the "
                f"teacher, but each learns from one: name as many."
            )

    def mismatch(self, student: nn.Module, teacher: nn.Module) -> str | None:
        """Both networks must have the layers that are named, and taps where none are."""
        for network, role, chosen_by, named, others in (
            (student, "student", "taps", self.taps, self.teacher_taps),
            (teacher, "teacher", "teacher_taps", self.teacher_taps, self.taps),
        ):
            if not any(isinstance(part, nn.Conv2d) for part in network.modules()):
                return f"the {role} has no convolution, so none of its layers puts out maps (C, H, W)"
            if reason := obstacle(network, role, chosen_by, named):
                return reason
            if not named and len(taps_of(network)) < len(others):
                count = len(taps_of(network))
                return (
                    f"the {role} names {count} taps, and {len(others)} are needed: choose with the option `{chosen_by}`"
                )
        return None

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train once on equation (6)."""
        pairs = self.pairs(student, teacher, run)
        taps, teacher_taps = [pair.student.name for pair in pairs], [pair.teacher.name for pair in pairs]

        def step(stage: Stage, batch: Batch) -> None:
            tell_of_sizes(stage, pairs)
            with recording(stage.module, taps) as features:
                logits = stage.module(batch.images)
            answer = teacher.query(batch.images, teacher_taps)
            y = answer.labels if batch.y is None else batch.y
            maps = [(features[own], answer.features[theirs]) for own, theirs in zip(taps, teacher_taps, strict=True)]
            apart = attention_loss(maps)
            loss = distillation_loss(logits, answer.logits, y, self.alpha, self.temperature) + self.beta * apart
            stage.update(loss, accuracy=accuracy(logits, y), attention=apart.detach())

        # Nothing is asked of these answers but by whoever judges epochs.
        yield self.stage(run, student, step, players={"answers": self.answers(run, teacher)})

    def pairs(self, student: nn.Module, teacher: Oracle, run: Run) -> tuple[Pair, ...]:
        """Return which layer learns from which: those named, or the taps of both, matched by depth."""
        own = with_maps(student_layers(student, self.taps or taps_of(student), run), self.taps, "student")
        theirs = with_maps(
            teacher_layers(teacher, self.teacher_taps or teacher.taps, run), self.teacher_taps, "teacher"
        )
        count = len(self.taps) or len(self.teacher_taps) or min(len(own), len(theirs))
        if min(len(own), len(theirs)) < count:
            raise RequestError(
                f"`attention` needs {count} layers with maps (C, H, W) of each network, but the taps of the student "
                f"have {len(own)} and those of the teacher {len(theirs)}: name others with `taps` and `teacher_taps`."
            )
        return tuple(map(Pair, spread(own, count), spread(theirs, count)))


def with_maps(layers: Sequence[Layer], named: Sequence[str], role: str) -> tuple[Layer, ...]:
    """Return those layers that put out maps; refuse where one of the others was named, or none is left."""
    flat = [layer for layer in layers if not layer.has_maps]
    if flat and (named or len(flat) == len(layers)):
        raise RequestError(
            f"`attention` compares maps (C, H, W), but `{flat[0].name}` of the {role} puts out {flat[0].shape} for an "
            f"image: choose convolutional layers with `taps` and `teacher_taps`."
        )
    return tuple(layer for layer in layers if layer.has_maps)


def tell_of_sizes(stage: Stage, pairs: Sequence[Pair]) -> None:
    """Say once whose maps are resized before they are compared."""
    unequal = [str(pair) for pair in pairs if not pair.of_one_size]
    if unequal and stage.epoch == 0 and stage.batch == 0:
        stage.say(f"Stage `{stage.name}` resizes maps of the teacher to the student's size: {', '.join(unequal)}.")


def attention_loss(maps: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Equation (6), second term: `sum over layers of mean over images and places of (A_S - A_T)^2`.

    `maps` are the features (B, C, H, W) of student and teacher, layer by layer; the teacher's are resized where needed.
    """
    losses = []
    for own, theirs in maps:
        size = (own.shape[2], own.shape[3])
        losses.append((attention_map(own, size) - attention_map(theirs.detach(), size)).square().mean())
    return sum(losses[1:], losses[0])


def attention_map(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Equation: `A = flatten(mean_c F^2) / |flatten(mean_c F^2)|_2` for every image.

    `features` are (B, C, H', W'), resized to `size` = (H, W) where that differs; the result is (B, H W).
    """
    energy = features.square().mean(dim=1, keepdim=True)
    if tuple(energy.shape[2:]) != size:
        energy = F.interpolate(energy, size, mode="bilinear", align_corners=False)
    return F.normalize(energy.flatten(1), dim=1)
