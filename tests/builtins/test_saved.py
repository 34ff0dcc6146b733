from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rcframe.api import NeuronModel, Teacher
from rcframe.builtins.saved import FileTeacher, RunTeacher, load_network
from rcframe.choice import parse_choice
from rcframe.data.images import DataInfo
from rcframe.errors import RequestError
from rcframe.library import spelled
from rcframe.networks.weights import Architecture, save_network
from rcframe.options import component, option
from rcframe.testing.toys import CLASSES, MODEL, SHAPE, fingerprint, toy_run, trained_network
from rcframe.wrapping import WrappingModel

if TYPE_CHECKING:
    from tests.conftest import Announce, Command


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


# -- files that name code ---------------------------------------------------------------------------------------------

OWN = """
from pathlib import Path
from torch import nn

Path("imported").touch()

def build(classes, shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))

other = build
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module that leaves a mark when it is imported; the test is in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "marking_net.py").write_text(OWN)
    yield tmp_path
    sys.modules.pop("marking_net", None)


def saved_own(folder: Path) -> tuple[Path, nn.Module]:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES)).eval()
    spec = "python:function=marking_net:build,normalize=false"
    save_network(folder / "student.safetensors", module, Architecture(spec, None, SHAPE, CLASSES))
    return folder / "student.safetensors", module


@pytest.mark.parametrize("model", [MODEL, "marking_net:other", "mlp"])
def test_a_file_that_names_code_is_refused_and_the_code_not_imported(own: Path, model: str) -> None:
    path, _ = saved_own(own)
    run = attrs.evolve(toy_run("teacher"), model=parse_choice(model, "model"))
    with pytest.raises(
        RequestError, match=rf"The network in `{path}` cannot be built: .*`--model python:marking_net:b"
    ):
        load_network(path, run)
    assert not (own / "imported").exists()


@component
class Scripted(NeuronModel):
    """Neurons that somebody describes in a file."""

    rule: str = option(default="", help="The file with the rule.")

    def cell(self) -> nn.Module:
        raise AssertionError("nothing of a refused file may be built")


def test_neurons_that_name_a_file_are_refused_before_anything_is_built(
    network: nn.Module, tmp_path: Path, announce: Announce
) -> None:
    announce(Scripted, "scripted")
    described = Architecture(MODEL, "scripted:rule=rule.py", SHAPE, CLASSES)
    save_network(tmp_path / "student.safetensors", network, described)
    with pytest.raises(RequestError, match=r"asks for the neuron `scripted:rule=rule\.py`, whose `rule` could name"):
        load_network(tmp_path / "student.safetensors", toy_run("teacher"))


def test_a_file_that_names_the_code_of_this_run_is_loaded(own: Path) -> None:
    path, module = saved_own(own)
    run = attrs.evolve(toy_run("teacher"), model=parse_choice("marking_net:build", "model"))
    assert fingerprint(load_network(path, run).eval()) == fingerprint(module)
    assert (own / "imported").exists()


def test_a_run_with_a_network_of_ones_own_is_the_next_teacher_if_it_is_named_again(own: Path, cli: Command) -> None:
    Path("marking_net.py").write_text(OWN)
    tiny = ("--data", "glyphs:size=8,classes=3,train=24,test=9", "--device", "cpu", "--student", "plain:epochs=0")
    named = ("--model", "marking_net:build")
    assert cli("run", *tiny, *named, "--teacher", "plain:epochs=0", "--out", "first").code == 0
    refused = cli("run", *tiny, "--teacher", "run:first")
    assert refused.code == 2
    (advice,) = [word for word in refused.err.split("`") if word.startswith("--model ")]
    assert cli("run", *tiny, *advice.split(), "--teacher", "run:first", "--out", "second").code == 0
    assert cli("run", *tiny, *named, "--teacher", "run:first", "--out", "third").code == 0


# -- a file of a run --------------------------------------------------------------------------------------------------


def test_the_student_of_a_run_that_does_not_fit_is_pointed_to_as_the_run(network: nn.Module, tmp_path: Path) -> None:
    saved = Architecture("convnet:channels=4+4", "lif:steps=2", SHAPE, CLASSES)
    tensors = {f"headed.{name}": value for name, value in network.state_dict().items()}
    headed = nn.Module()
    headed.state_dict = lambda: tensors  # type: ignore[method-assign, assignment]
    save_network(tmp_path / "student.safetensors", headed, saved)
    words = (
        r"does not fit the model: .* The file holds the student of a run, saved as `convnet:channels=4\+4` with "
        rf"`lif:steps=2`: `run:{tmp_path}` builds that network again\.$"
    )
    with pytest.raises(RequestError, match=words):
        FileTeacher(path=str(tmp_path / "student.safetensors")).network(toy_run("teacher"))


@component
class Capped(WrappingModel):
    """A model with one more layer behind it."""

    def wrap(self, network: nn.Module, info: DataInfo) -> nn.Module:
        return nn.Sequential(network, nn.Linear(len(info.classes), len(info.classes)))


def test_a_teacher_that_was_saved_as_another_model_is_refused_with_that_model(
    tmp_path: Path, announce: Announce
) -> None:
    announce(Capped, "capped")
    path, run = tmp_path / "teacher.safetensors", toy_run("teacher")
    model = Capped(model=MODEL)
    saved = Architecture(spelled(model), None, SHAPE, CLASSES)
    save_network(path, model.build(run.info), saved)
    with pytest.raises(RequestError, match=r"It was saved as `capped:\(.*\)`: write `--model '.*'`\.$") as refused:
        FileTeacher(path=str(path)).network(run)
    (advised,) = [words for words in str(refused.value).split("`") if words.startswith("--model ")]
    _, spec = shlex.split(advised)
    FileTeacher(path=str(path)).network(attrs.evolve(run, model=parse_choice(spec, "model")))


def test_neurons_cannot_be_chosen_for_a_file_and_are_not_advised(tmp_path: Path) -> None:
    saved = Architecture("convnet", "lif:steps=2", SHAPE, CLASSES)
    save_network(tmp_path / "teacher.safetensors", nn.Linear(2, 2), saved)
    with pytest.raises(RequestError, match=r"with --model\.$"):
        FileTeacher(path=str(tmp_path / "teacher.safetensors")).network(toy_run("teacher"))


def test_other_files_that_do_not_fit_are_no_runs(network: nn.Module, tmp_path: Path) -> None:
    torch.save({"other": torch.zeros(1)}, tmp_path / "student.pt")
    save_network(tmp_path / "teacher.safetensors", nn.Linear(2, 2), Architecture(MODEL, None, SHAPE, CLASSES))
    save_file({"other": torch.zeros(1)}, tmp_path / "student.safetensors")
    for name in ("student.pt", "teacher.safetensors", "student.safetensors"):
        with pytest.raises(RequestError, match=r"with --model\.$"):
            FileTeacher(path=str(tmp_path / name)).network(toy_run("teacher"))
