"""Each promise about defences catches its fault, and a sound defence keeps all of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from rcframe.api import Component
from rcframe.builtins.plain import PlainTeacher
from rcframe.guarding import GuardedTeacher
from rcframe.options import component
from rcframe.testing.guard_promises import (
    check_teacher_guard_lets_out_sound_answers,
    check_teacher_guard_repeats_as_it_says,
)
from rcframe.testing.subject import Subject

UnderCheck = Callable[[type[Component]], Subject]


@component
class Sound(GuardedTeacher):
    """Rules out the least likely class and adds noise that it draws anew."""

    repeatable = False

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        noisy = logits + torch.rand(logits.shape, generator=randomness)
        return noisy.scatter(1, noisy.argmin(dim=1, keepdim=True), -math.inf)


@component
class InPlace(GuardedTeacher):
    """Works on what it was given."""

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        return logits.mul_(2)


@component
class Narrow(GuardedTeacher):
    """Leaves out a class."""

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        return logits[:, 1:]


@component
class Numberless(GuardedTeacher):
    """Returns what is no number."""

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        return logits / 0


@component
class Mute(GuardedTeacher):
    """Rules out everything for some images."""

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        return logits.masked_fill(torch.arange(len(logits)).unsqueeze(1) < 1, -math.inf)


@component
class Careless(GuardedTeacher):
    """Draws from the generator that belongs to everybody."""

    repeatable = False

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        return logits + torch.rand(logits.shape)


@component
class ByPlace(GuardedTeacher):
    """Says that it repeats itself, but adds noise by the place in the batch."""

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        return logits + torch.rand(logits.shape, generator=randomness)


@component
class Forgetful(ByPlace):
    """The same with noise that is drawn anew, which it does not say."""

    def released(self, logits: Tensor, images: Tensor, seed: int, query: int) -> Tensor:
        return self.guard(logits, images, Generator().manual_seed(query))


@pytest.mark.parametrize("cls", [Sound, PlainTeacher])
def test_a_sound_defence_keeps_both_promises_and_other_teachers_have_none_to_keep(
    cls: type[Component], subject: UnderCheck
) -> None:
    one = subject(cls)
    check_teacher_guard_lets_out_sound_answers(one)
    check_teacher_guard_repeats_as_it_says(one)


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (InPlace, "work on a copy"),
        (Narrow, r"returned \(12, 2\) for logits \(12, 3\)"),
        (Numberless, "no number, or"),
        (Mute, "ruled out every class"),
    ],
)
def test_unsound_answers_are_caught(cls: type[Component], words: str, subject: UnderCheck) -> None:
    with pytest.raises(AssertionError, match=words):
        check_teacher_guard_lets_out_sound_answers(subject(cls))


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Careless, "draw from `randomness` only"),
        (ByPlace, "depends on the images beside it"),
        (Forgetful, "answers otherwise when it is asked again"),
    ],
)
def test_chance_that_is_not_declared_is_caught(cls: type[Component], words: str, subject: UnderCheck) -> None:
    with pytest.raises(AssertionError, match=words):
        check_teacher_guard_repeats_as_it_says(subject(cls))
