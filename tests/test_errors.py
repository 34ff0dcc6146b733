from __future__ import annotations

import pytest

from rcframe import errors
from rcframe.errors import RcframeError, listed, nearest


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("RcframeError", 1),
        ("RunFailed", 1),
        ("AccessDenied", 1),
        ("BudgetExceeded", 1),
        ("RequestError", 2),
        ("PluginError", 2),
        ("CheckFailed", 3),
    ],
)
def test_exit_codes_say_what_kind_of_failure_it_was(name: str, code: int) -> None:
    assert getattr(errors, name).exit_code == code


def test_every_error_is_shown_as_a_plain_message() -> None:
    found = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)]
    assert len(found) == 8
    assert all(issubclass(cls, RcframeError) and cls.__doc__ for cls in found)


@pytest.mark.parametrize(
    ("wanted", "suggested"),
    [("pdg", "pgd"), ("fgms", "fgsm"), ("pgd", "pgd"), ("skeptic", "skeptical"), ("SKEPTICAL", None), ("zzz", None)],
)
def test_the_nearest_name_is_suggested_if_there_is_one(wanted: str, suggested: str | None) -> None:
    known = (name for name in ("fgsm", "pgd", "skeptical"))
    assert nearest(wanted, known) == (f" Did you mean `{suggested}`?" if suggested else "")


def test_the_closest_of_several_near_names_wins() -> None:
    assert nearest("resnet2", ["resnet12", "resnet20", "vgg"]) in (
        " Did you mean `resnet12`?",
        " Did you mean `resnet20`?",
    )
    assert nearest("resnet20x", ["resnet12", "resnet20", "resnet18"]) == " Did you mean `resnet20`?"


def test_names_are_listed_in_the_order_given() -> None:
    assert listed(["b", "a"]) == "b, a"
    assert listed(iter([])) == "none"
