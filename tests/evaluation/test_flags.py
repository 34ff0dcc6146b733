from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rcframe.evaluation.flags import Findings, trust_flags


def first(right: int, n: int = 200) -> Tensor:
    """The first `right` of `n` images are right."""
    return torch.arange(n) < right


def test_sound_findings_raise_no_flag() -> None:
    findings = Findings(first(180), attacked={"pgd": first(100)}, certified={"convex": first(50)})
    assert list(trust_flags("student", findings)) == []


@pytest.mark.parametrize(("n", "role", "flagged"), [(99, "student", 1), (100, "student", 0), (99, "teacher", 0)])
def test_few_images_are_mentioned_once(n: int, role: str, flagged: int) -> None:
    flags = list(trust_flags(role, Findings(first(50, n))))
    assert len(flags) == flagged
    assert all(f"only {n} images" in flag for flag in flags)


def test_an_attack_that_helps_is_mentioned() -> None:
    (flag,) = trust_flags("teacher", Findings(first(100), attacked={"pgd": first(101), "fgsm": first(100)}))
    assert flag.startswith("the teacher is more accurate under pgd than on clean images")


def test_a_broken_certificate_is_mentioned_with_the_number_of_images() -> None:
    findings = Findings(
        first(180),
        attacked={"pgd": first(100), "fgsm": first(120)},
        certified={"convex": ~first(80) & first(103), "loose": first(100)},
    )
    assert list(trust_flags("student", findings)) == [
        "pgd broke 3 images of the student that convex certified: one of them is wrong"
    ]


def test_classes_without_a_measured_image_are_told_once() -> None:
    findings = Findings(clean=torch.ones(200, dtype=torch.bool), unseen=("cat", "dog"))
    assert list(trust_flags("teacher", findings)) == []
    (flag,) = trust_flags("student", findings)
    assert flag == "no image of cat, dog was measured; the accuracy is that of the other classes"
