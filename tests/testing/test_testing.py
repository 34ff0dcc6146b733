from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import pytest
from torch import nn

from rcframe.api import Component, Model
from rcframe.data.images import DataInfo
from rcframe.errors import RequestError
from rcframe.options import component, option
from rcframe.registry import Plugin, registry
from rcframe.testing import Check, checks_of, parametrize_checks
from rcframe.testing.subject import Subject
from rcframe.testing.suite import CHECKS, WATCHER_CHECKS

if TYPE_CHECKING:
    from tests.conftest import Announce


@component
class Small(Model):
    """A model with options that a check would want smaller, and one of its own."""

    epochs: int = option(default=99, help="Passes over the data.")
    units: int = option(default=7, help="Units.")

    def build(self, info: DataInfo) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(len(info.classes)))


def test_checks_are_those_of_any_component_and_of_its_kind(announce: Announce) -> None:
    announce(Small, "small")
    announce(Small, "other")
    names = [function.__name__.removeprefix("check_") for function in (*CHECKS["any"], *CHECKS["model"])]
    assert [(check.title, check.name) for check in checks_of("rcframe-tests")] == [
        (f"model {component}", name) for component in ("small", "other") for name in names
    ]


def test_a_check_reads_well_and_holds_its_subject_to_the_promise(
    announce: Announce, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Subject] = []

    def check_data_is_sound(subject: Subject) -> None:
        seen.append(subject)

    monkeypatch.setitem(CHECKS, "model", (check_data_is_sound,))
    spec = announce(Small, "small")
    *_, check = checks_of("rcframe-tests")
    check()
    assert str(check) == "model small: data is sound"
    assert seen == [Subject("rcframe-tests", Small.__module__, spec)]


def test_a_plugin_that_watches_runs_is_checked_for_that_too(announce: Announce) -> None:
    announce(Small, "small")
    plugin = registry().plugins[-1]
    components = list(checks_of("rcframe-tests"))
    registry().plugins[-1] = attrs.evolve(plugin, hooks=("rcframe_epoch_done",))
    more = list(checks_of("rcframe-tests"))[len(components) :]
    assert [check.title for check in more] == ["watcher rcframe-tests"] * len(WATCHER_CHECKS)
    assert str(more[1]) == "watcher rcframe-tests: watcher follows a run"


def test_components_are_made_cheap_and_otherwise_with_their_defaults(
    subject: Callable[[type[Component]], Subject],
) -> None:
    one = subject(Small)
    assert one.cls is Small
    assert one.make() == Small(epochs=2)


def test_an_unknown_distribution_is_refused_with_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"No plugin `rcframe-atacks` is installed\. Did you mean `rcframe-attacks`"):
        list(checks_of("rcframe-atacks"))


def test_a_plugin_that_failed_to_load_cannot_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Plugin("rcframe-broken", "1", "nowhere", error="ImportError: no luck")
    monkeypatch.setattr(registry(), "plugins", [*registry().plugins, broken])
    with pytest.raises(RequestError, match="`rcframe-broken` failed to load: ImportError: no luck"):
        list(checks_of("rcframe-broken"))


def test_a_test_runs_once_per_check_under_a_readable_name(announce: Announce) -> None:
    announce(Small, "small")

    @parametrize_checks("rcframe-tests", {"model_builds": "a lazy layer has no weights yet"})
    def test(check: Check) -> None:
        check()

    (mark,) = test.pytestmark  # type: ignore[attr-defined]  # set by pytest
    names, cases = mark.args
    assert names == "check"
    by_id = {case.id: case for case in cases}
    assert len(by_id) == len(CHECKS["any"]) + len(CHECKS["model"])
    assert not by_id["model-small-target_resolves"].marks
    (expected,) = by_id["model-small-model_builds"].marks
    assert expected.name == "xfail"
    assert expected.kwargs == {"reason": "a lazy layer has no weights yet", "strict": True}
    assert by_id["model-small-model_builds"].values[0].name == "model_builds"
