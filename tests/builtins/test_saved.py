from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from rcframe.api import Teacher
from rcframe.builtins.saved import FileTeacher, RunTeacher
from rcframe.errors import RequestError
from rcframe.networks.weights import Architecture, save_network
from rcframe.testing.toys import CLASSES, MODEL, SHAPE, fingerprint, toy_run, trained_network


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained_network(epochs=1)


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        (FileTeacher(), r"Teacher `file` needs a path: write `file:weights\.safetensors`"),
        (RunTeacher(), r"Teacher `run` needs a folder: write `run:"),
        (FileTeacher(path="nowhere.pt"), r"There is no weights file `nowhere\.pt`"),
        (RunTeacher(path="nowhere"), r"`nowhere` is not the folder of a finished run: it has no `student"),
    ],
)
def test_what_is_missing_is_said(teacher: Teacher, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        teacher.network(toy_run("teacher"))


def test_a_file_gives_the_runs_network_its_weights(network: nn.Module, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    found = FileTeacher(path=str(tmp_path / "weights.pt")).network(toy_run("teacher", seed=5))
    assert fingerprint(found.eval()) == fingerprint(network)


def test_a_folder_gives_the_student_of_its_run(network: nn.Module, tmp_path: Path) -> None:
    save_network(tmp_path / "student.safetensors", network, Architecture(MODEL, None, SHAPE, CLASSES))
    save_network(
        tmp_path / "teacher.safetensors", toy_run("teacher").network("other"), Architecture(MODEL, None, SHAPE, CLASSES)
    )
    found = RunTeacher(path=str(tmp_path)).network(toy_run("teacher", seed=5))
    assert fingerprint(found.eval()) == fingerprint(network)


@pytest.mark.parametrize("teacher", [FileTeacher(path="x"), RunTeacher(path="x")])
def test_saved_teachers_are_not_trained(teacher: Teacher, network: nn.Module) -> None:
    assert list(teacher.plan(network, toy_run("teacher"))) == []
