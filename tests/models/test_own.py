from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from rcframe.data.images import DataInfo
from rcframe.errors import RequestError
from rcframe.models.own import OwnModel
from rcframe.networks.normalize import Normalized
from rcframe.options import build

if TYPE_CHECKING:
    from pathlib import Path

InfoOf = Callable[[tuple[int, int, int], int], DataInfo]

NETS = """
import torch
from torch import nn

ready = nn.Linear(1, 1)
number = 3
seen = {}

def plain():
    return nn.Flatten()

def sized(classes, shape, hidden=7):
    c, h, w = shape
    return nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, hidden), nn.ReLU(), nn.Linear(hidden, classes))

def informed(*, info):
    seen["info"] = info
    return nn.Identity()

def greedy(**anything):
    seen["anything"] = anything
    return nn.Identity()

def positional(shape, /):
    return nn.Identity()

def demanding(depth):
    return nn.Identity()

def failing(classes):
    raise ValueError("no network today")

def wrong():
    return [nn.Identity()]

def lazily():
    import helper_beside_it
    return helper_beside_it.network()

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.fc = nn.Linear(4, classes)
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Put the user's module into the current directory, under a name of its own; return the name."""
    name = f"nets_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(NETS)
    (tmp_path / "helper_beside_it.py").write_text("from torch import nn\ndef network():\n    return nn.Tanh()\n")
    monkeypatch.chdir(tmp_path)
    yield name
    for module in (name, "helper_beside_it"):
        sys.modules.pop(module, None)


@pytest.fixture
def info(info_of: InfoOf) -> DataInfo:
    return info_of((3, 4, 5), 6)


def test_a_function_gets_what_it_asks_for_by_name(nets: str, info: DataInfo) -> None:
    network = build(OwnModel, {"": f"{nets}:sized"}, "python").build(info)
    assert network(torch.rand(2, 3, 4, 5)).shape == (2, 6)
    OwnModel(function=f"{nets}:informed").build(info)
    assert sys.modules[nets].seen["info"] is info


def test_a_function_that_asks_for_nothing_gets_nothing(nets: str, info: DataInfo) -> None:
    assert isinstance(OwnModel(function=f"{nets}:plain").build(info), nn.Flatten)
    OwnModel(function=f"{nets}:greedy").build(info)
    assert sys.modules[nets].seen["anything"] == {}


def test_a_class_is_a_function_too(nets: str, info: DataInfo) -> None:
    network = OwnModel(function=f"{nets}:Net").build(info)
    assert network.get_parameter("fc.weight").shape == (6, 4)


def test_normalisation_is_added_on_request(nets: str, info: DataInfo) -> None:
    network = OwnModel(function=f"{nets}:plain", normalize=True).build(info)
    assert isinstance(network, Normalized)
    x = torch.rand(2, 3, 4, 5)
    wanted = (x - torch.tensor(info.mean).view(3, 1, 1)) / 0.25
    torch.testing.assert_close(network(x), wanted.flatten(1))


def test_the_current_directory_is_importable_meanwhile_only(nets: str, info: DataInfo, tmp_path: Path) -> None:
    before = list(sys.path)
    assert isinstance(OwnModel(function=f"{nets}:lazily").build(info), nn.Tanh)
    assert sys.path == before
    with pytest.raises(RequestError):
        OwnModel(function=f"{nets}:failing").build(info)
    assert sys.path == before
    assert str(tmp_path) not in sys.path


def test_a_directory_that_was_importable_stays_so(
    nets: str, info: DataInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    before = list(sys.path)
    OwnModel(function=f"{nets}:plain").build(info)
    assert sys.path == before


def test_a_module_in_a_package(nets: str, info: DataInfo, tmp_path: Path) -> None:
    package = tmp_path / f"{nets}_package"
    package.mkdir()
    (package / "deep.py").write_text(NETS)
    assert isinstance(OwnModel(function=f"{package.name}.deep:plain").build(info), nn.Flatten)
    with pytest.raises(RequestError, match=f"No module `{package.name}.shallow`"):
        OwnModel(function=f"{package.name}.shallow:plain").build(info)


@pytest.mark.parametrize("function", ["", "nets", "nets:", ":plain"])
def test_what_names_no_function(function: str, info: DataInfo) -> None:
    with pytest.raises(RequestError, match=r"does not say where .* package\.module:function"):
        OwnModel(function=function).build(info)


def test_a_missing_module(info: DataInfo) -> None:
    with pytest.raises(RequestError, match=r"No module `no_such_module_here` .* `no_such_module_here\.part:f`"):
        OwnModel(function="no_such_module_here.part:f").build(info)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("siezd", r"has no `siezd`, .* Did you mean `sized`\?"),
        ("number", r"is a `int`, but a model is named by a function"),
        ("ready", r"is a `Linear`, .* write a function around it"),
        ("demanding", r"with nothing failed with TypeError: .*depth"),
        ("positional", r"with nothing failed with TypeError: .*shape"),
        ("failing", r"with `classes` failed with ValueError: no network today\."),
        ("wrong", r"returned a `list`, but it must return a torch\.nn\.Module"),
    ],
)
def test_every_mistake_is_a_sentence(nets: str, info: DataInfo, function: str, words: str) -> None:
    with pytest.raises(RequestError, match=words) as raised:
        OwnModel(function=f"{nets}:{function}").build(info)
    assert nets in str(raised.value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_dependency", "failed with ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("def broken(:", "failed with SyntaxError"),
        ("raise RuntimeError('bad luck')", "failed with RuntimeError: bad luck"),
        ("import sys; sys.exit(4)", "failed with SystemExit: 4"),
    ],
)
def test_a_module_that_cannot_be_imported(
    source: str, words: str, info: DataInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"broken_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=f"Importing `{name}` for the model `{name}:f` {words}"):
        OwnModel(function=f"{name}:f").build(info)


def test_a_function_without_a_signature(info: DataInfo) -> None:
    with pytest.raises(RequestError, match=r"`builtins:dict` returned a `dict`"):
        OwnModel(function="builtins:dict").build(info)
