"""What docs/plugins.md shows of students works."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import torch

from rcframe.access import Access
from rcframe.api import StudentStrategy
from rcframe.evaluation.oracle import ModelOracle
from rcframe.registry import registry
from rcframe.testing import checks_of
from rcframe.testing.toys import some_images, toy_run, trained_network
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from tests.conftest import Announce

GUIDE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.fixture
def shown(announce: Announce) -> Iterator[types.ModuleType]:
    """A module of the block of the guide, whose student is announced as `softened`."""
    module = types.ModuleType("shown_in_the_guide")
    sys.modules[module.__name__] = module
    text = GUIDE.split("<!-- student -->")[1].split("```")[1].partition("\n")[2]
    exec(compile("from __future__ import annotations\n" + text, module.__name__, "exec"), module.__dict__)
    announce(module.Softened, "softened")
    yield module
    del sys.modules[module.__name__]


def test_the_student_of_the_guide_keeps_the_promises_of_its_kind(shown: types.ModuleType) -> None:
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
