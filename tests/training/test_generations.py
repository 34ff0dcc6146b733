from __future__ import annotations

import pytest
from torch import nn

from rcframe.access import Access
from rcframe.evaluation.oracle import ModelOracle, Oracle
from rcframe.testing.toys import StageLog, fingerprint, some_images, toy_run, trained_network
from rcframe.training.generations import generations
from rcframe.training.loop import execute
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised


class School:
    """Trains every pupil on labels, and keeps by whom it was told to be taught."""

    def __init__(self) -> None:
        self.run = toy_run("student")
        self.student = self.run.network("student")
        self.before: list[Oracle | None] = []
        self.log = StageLog()

    def lesson(self, network: nn.Module, before: Oracle | None, name: str) -> Stage:
        self.before.append(before)
        return Training(epochs=1).stage(self.run, network, supervised, name=name)

    def teach(self, *names: str, first: Oracle | None = None) -> nn.Module | None:
        return execute(generations(self.run, self.student, names, self.lesson, first), self.log)


def test_the_last_to_learn_is_the_student_and_the_others_start_afresh_under_their_names() -> None:
    school = School()
    starts = {name: fingerprint(school.run.network(name).train()) for name in ("one", "two")}
    seen: dict[str, str] = {}
    for stage in generations(school.run, school.student, ("one", "two"), school.lesson, None):
        seen[stage.name] = fingerprint(stage.target.train())
    assert seen == {
        "student/one": starts["one"],
        "student/two": starts["two"],
        "student/train": fingerprint(school.student),
    }
    assert len(set(starts.values())) == 2


@pytest.mark.parametrize("names", [(), ("one",), ("one", "two")])
def test_everyone_is_taught_by_the_one_before_as_it_was_when_it_had_learned(names: tuple[str, ...]) -> None:
    school, first = School(), ModelOracle(trained_network(epochs=1), Access.LOGIT)
    assert school.teach(*names, first=first) is school.student
    assert school.before[0] is first
    x, _ = some_images()
    assert len(school.before) == len(school.log.stages) == len(names) + 1
    for stage, state, before in zip(school.log.stages, school.log.finished, school.before[1:], strict=False):
        assert before is not None
        assert before.logits(x).equal(stage.target(x))
        assert fingerprint(stage.target) == state, "a network moved after its own lesson"
        assert not any(parameter.requires_grad for parameter in stage.target.parameters())


def test_without_a_first_teacher_the_first_one_is_told_so() -> None:
    school = School()
    school.teach("one")
    assert school.before[0] is None
    assert school.before[1] is not None
    assert school.before[1].access == Access.LOGIT
