"""Promises of teachers that change what they answer; other teachers keep them by having nothing to change."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from rcframe.access import Access
from rcframe.api import Teacher
from rcframe.evaluation.oracle import ModelOracle
from rcframe.guarding import GuardedTeacher, guarded_oracle
from rcframe.testing.subject import Subject
from rcframe.testing.toys import some_images, trained_network
from rcframe.training.compute import Compute

#: So alike are two answers to one image that was asked for among others: numbers are rounded otherwise there.
_ROUNDING = 1e-4


def check_teacher_guard_lets_out_sound_answers(subject: Subject) -> None:
    """What leaves in the place of logits has their shape, is finite or -inf, leaves a class possible, and is a copy."""
    teacher = subject.make()
    if not isinstance(teacher, GuardedTeacher):
        return
    network, (x, _) = trained_network(), some_images()
    with torch.no_grad():
        logits = network(x)
    before = logits.clone()
    left = teacher.guard(logits, x, torch.Generator().manual_seed(0))
    assert torch.equal(logits, before), "it changed the logits it was given: work on a copy"
    assert left.shape == logits.shape, f"it returned {tuple(left.shape)} for logits {tuple(logits.shape)}"
    assert not bool((left.isnan() | left.isposinf()).any()), "it returned what is no number, or +inf"
    assert bool(left.isfinite().any(dim=1).all()), "it ruled out every class of an image"


def check_teacher_guard_repeats_as_it_says(subject: Subject) -> None:
    """Equal seeds give equal answers; with `repeatable`, an image gets the same one whenever it is asked for."""
    teacher = cast(Teacher, subject.make())
    if not isinstance(teacher, GuardedTeacher):
        return
    x, _ = some_images()
    first, second = ([oracle.logits(x), oracle.logits(x)] for oracle in (_oracle(teacher), _oracle(teacher)))
    assert all(map(_alike, first, second)), "two runs with one seed get different answers: draw from `randomness` only"
    if not teacher.repeats():
        return
    assert _alike(*first), "it answers otherwise when it is asked again: declare `repeatable = False`"
    apart = torch.cat([_oracle(teacher).logits(x[start : start + 5]) for start in range(0, len(x), 5)])
    assert _alike(apart, first[0]), (
        "what an image is answered depends on the images beside it: declare `repeatable = False`, or draw what is "
        "added to an answer from the image"
    )


def _oracle(teacher: Teacher) -> ModelOracle:
    return guarded_oracle(teacher, trained_network(), Access.LOGIT, 0, Compute())


def _alike(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=_ROUNDING)
