from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from torch import nn

import rcframe as rc
from rcframe.api import Pruner, StudentPlan
from rcframe.errors import RunFailed
from rcframe.options import component
from rcframe.training.context import Run
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

if TYPE_CHECKING:
    from tests.conftest import Announce


@component
class Afterwards(Pruner):
    """Prunes nothing and trains once more at the end."""

    def rewrite(self, plan: StudentPlan, student: nn.Module, run: Run) -> Iterator[Stage]:
        yield from plan(student)
        yield Training(epochs=1).stage(run, student, supervised)


def test_a_student_that_is_not_what_it_says_it_becomes_is_not_saved_as_that(announce: Announce) -> None:
    announce(Afterwards, "afterwards")
    tiny: dict[str, Any] = {"data": "glyphs:size=8,classes=3,train=24,test=9", "model": "convnet:channels=2+2,hidden=4"}
    quick = "epochs=1,head=plain"
    rc.run(**tiny, teacher="plain:epochs=0", student=f"skeptical:{quick}", pruner="afterwards")
    with pytest.raises(RunFailed, match=r"describes what it becomes, but the last stage left something else: `Norm"):
        rc.run(**tiny, teacher="plain:epochs=0", student=f"skeptical-e:{quick}", pruner="afterwards")
