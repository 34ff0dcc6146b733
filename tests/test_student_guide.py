"""What docs/plugins.md shows of students works."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
import torch

import rcframe as rc
from rcframe.access import Access
from rcframe.api import StudentStrategy
from rcframe.errors import RequestError
from rcframe.evaluation.oracle import ModelOracle
from rcframe.registry import registry
from rcframe.testing import checks_of
from rcframe.testing.toys import some_images, toy_run, trained_network
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from tests.conftest import Announce

GUIDE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")


@contextmanager
def module_of(marker: str) -> Iterator[types.ModuleType]:
    """A module of the block of the guide behind a marker."""
    module = types.ModuleType(f"shown_in_the_guide_{marker.replace(' ', '_')}")
    sys.modules[module.__name__] = module
    text = GUIDE.split(f"<!-- {marker} -->")[1].split("```")[1].partition("\n")[2]
    exec(compile("from __future__ import annotations\n" + text, module.__name__, "exec"), module.__dict__)
    yield module
    del sys.modules[module.__name__]


@pytest.fixture
def shown(announce: Announce) -> Iterator[types.ModuleType]:
    """The first student of the guide, announced as `softened`."""
    with module_of("student") as module:
        announce(module.Softened, "softened")
        yield module


@pytest.fixture
def inner(announce: Announce) -> Iterator[types.ModuleType]:
    """The student of the guide that looks inside its teacher, announced as `alike`."""
    with module_of("inner student") as module:
        announce(module.Alike, "alike")
        yield module


@pytest.mark.parametrize("which", ["shown", "inner"])
def test_the_student_of_the_guide_keeps_the_promises_of_its_kind(which: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(which)
    for check in checks_of("rcframe-tests"):
        # A module that only this test knows cannot be imported by another process.
        if check.name != "entry_module_is_free_of_torch":
            check()


def test_the_student_of_the_guide_learns_and_asks_once(shown: types.ModuleType) -> None:
    strategy = cast(StudentStrategy, registry().make("student", "softened:epochs=8,batch_size=16,lr=0.005"))
    run, oracle = toy_run("student"), ModelOracle(trained_network(), Access.LOGITS)
    student = run.network("student")
    execute(strategy.plan(student, oracle, run), Monitor())
    x, y = some_images()
    assert torch.equal(student(x).argmax(dim=1), y)
    assert oracle.queries.images == len(run.data.train)


def test_the_inner_student_of_the_guide_finds_alike_what_its_teacher_does(inner: types.ModuleType) -> None:
    strategy = cast(StudentStrategy, registry().make("student", "alike:epochs=12,batch_size=16,lr=0.005,tap=net.relu3"))
    teacher = trained_network()
    oracle, run = ModelOracle(teacher, Access.FEATURES | Access.LABEL), toy_run("student")
    student, x = run.network("student"), some_images(24)[0]

    def apart() -> float:
        with (
            torch.no_grad(),
            rc.recording(student, ["net.relu3"]) as own,
            rc.recording(teacher, ["net.relu3"]) as theirs,
        ):
            student(x), teacher(x)
        return float((inner.likeness(own["net.relu3"]) - inner.likeness(theirs["net.relu3"])).square().mean())

    before = apart()
    execute(strategy.plan(student, oracle, run), Monitor())
    assert apart() < before / 2
    assert oracle.queries.images == 12 * len(run.data.train)


def test_the_inner_student_of_the_guide_refuses_layers_that_do_not_exist(inner: types.ModuleType) -> None:
    network = trained_network()
    for options, message in (
        ("tap=net.relu9", "In the option `tap`: the student has no layer `net.relu9`"),
        ("teacher_tap=net.relu9", "In the option `teacher_tap`: the teacher has no layer `net.relu9`"),
    ):
        strategy = cast(StudentStrategy, registry().make("student", f"alike:{options}"))
        with pytest.raises(RequestError, match=message):
            strategy.mismatch(network, trained_network())
    strategy = cast(StudentStrategy, registry().make("student", "alike"))
    assert strategy.mismatch(network, trained_network()) is None
    assert strategy.mismatch(network, torch.nn.Flatten()) == "the teacher names no taps, so name one of its layers"
