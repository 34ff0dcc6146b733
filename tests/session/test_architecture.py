from __future__ import annotations

from pathlib import Path

import pytest

from rcframe.networks.weights import Architecture
from rcframe.session.architecture import architecture_of
from rcframe.session.config import make_config
from rcframe.session.folder import RunFolder
from rcframe.session.session import Session, prepare_session
from rcframe.training.context import Role


def session_of(**settings: object) -> Session:
    tiny = {"data": "glyphs:size=8,classes=3,train=24,test=12", "model": "mlp:hidden=4", "device": "cpu"}
    return prepare_session(make_config({**tiny, **settings}), "a test")


def parsed(architecture: Architecture) -> tuple[str, str | None, tuple[int, int, int], int]:
    """An architecture without the options of its parts."""
    neuron = architecture.neuron and architecture.neuron.partition(":")[0]
    return architecture.model.partition(":")[0], neuron, architecture.shape, architecture.classes


@pytest.mark.parametrize(
    ("settings", "role", "expected"),
    [
        ({}, "teacher", ("mlp", None)),
        ({}, "student", ("mlp", None)),
        ({"student_model": "convnet:channels=2+2"}, "teacher", ("mlp", None)),
        ({"student_model": "convnet:channels=2+2"}, "student", ("convnet", None)),
        ({"neuron": "lif:steps=2"}, "teacher", ("mlp", None)),
        ({"neuron": "lif:steps=2"}, "student", ("mlp", "lif")),
    ],
)
def test_each_role_is_described_by_its_model_and_only_the_student_spikes(
    settings: dict[str, object], role: Role, expected: tuple[str, str | None]
) -> None:
    assert parsed(architecture_of(session_of(**settings), role)) == (*expected, (3, 8, 8), 3)


def test_every_option_is_spelled_out_so_that_later_defaults_change_nothing() -> None:
    found = architecture_of(session_of(neuron="lif:steps=2"), "student")
    assert "hidden=" in found.model
    assert "width=" in found.model
    assert found.neuron is not None
    assert "steps=" in found.neuron
    assert "readout=" in found.neuron


def test_a_brought_teacher_is_described_as_what_it_is(tmp_path: Path) -> None:
    first = session_of(neuron="lif:steps=2", model="mlp:hidden=5")
    described = architecture_of(first, "student")
    RunFolder(tmp_path).save_student(first.assembly.student, described)
    second = session_of(teacher=f"run:{tmp_path}")
    assert architecture_of(second, "teacher") == described
    assert parsed(architecture_of(second, "student")) == ("mlp", None, (3, 8, 8), 3)
