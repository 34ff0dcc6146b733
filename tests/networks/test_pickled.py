from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from rcframe.networks.pickled import is_plain_pickle, wanted_by

PROTOCOLS = range(6)


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


class Rich:
    """Uses every way in which a pickle fills an object."""

    def __reduce__(self) -> tuple[object, ...]:
        return OrderedDict, (), {"attribute": 1}, iter([1, 2]), iter([("a", 1)])


def written(path: Path, content: object, how: str, protocol: int) -> Path:
    if how == "plain":
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    else:
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=how == "archive")
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("how", ["plain", "archive"])
@pytest.mark.parametrize("nested", [False, True])
def test_what_a_pickle_would_run_is_named_and_not_run(tmp_path: Path, how: str, protocol: int, nested: bool) -> None:
    mark = tmp_path / "mark"
    content = {"weight": torch.ones(2) if how == "archive" else 1, "more": [Bomb(mark)]} if nested else Bomb(mark)
    path = written(tmp_path / "bomb", content, how, protocol)
    assert wanted_by(path) == f"{os.name}.system"
    assert not mark.exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_older_files_of_torch_are_followed_to_the_object(tmp_path: Path, protocol: int) -> None:
    path = written(tmp_path / "bomb", {"weight": torch.ones(2), "more": Bomb(tmp_path / "mark")}, "old", protocol)
    assert wanted_by(path) == f"{os.name}.system"
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("how", ["archive", "old"])
def test_tensors_want_nothing(tmp_path: Path, how: str, protocol: int) -> None:
    state = nn.BatchNorm2d(3).state_dict()
    assert wanted_by(written(tmp_path / "weights", {"state_dict": state, "epoch": 3}, how, protocol)) is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tensors_pickled_plainly_want_the_loader_that_would_run_anything(tmp_path: Path, protocol: int) -> None:
    path = written(tmp_path / "weights", {"weight": torch.ones(2)}, "plain", protocol)
    assert wanted_by(path) == "torch.storage._load_from_bytes"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_stand_ins_take_whatever_a_pickle_does_to_them(tmp_path: Path, protocol: int) -> None:
    assert (
        wanted_by(written(tmp_path / "rich", [Rich(), Bomb(tmp_path / "mark")], "plain", protocol))
        == f"{os.name}.system"
    )


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"ctorch\nload\n(S'x'\ntR.", "torch.load"),
        (b"\x80\x04\x8c\x05torch\x8c\x17serialization.os.system\x93.", "torch.serialization.os.system"),
        (b"\x80\x04\x8c\x0ctorch._utils\x8c\x11_rebuild_x.system\x93.", "torch._utils._rebuild_x.system"),
        (b"cos\nsystem\n.", "os.system"),
    ],
)
def test_only_the_parts_of_tensors_pass(tmp_path: Path, code: bytes, wanted: str) -> None:
    (tmp_path / "code").write_bytes(code)
    assert wanted_by(tmp_path / "code") == wanted


@pytest.mark.parametrize(("how", "plain"), [("plain", True), ("archive", False), ("old", False)])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_files_of_pickle_and_of_torch_are_told_apart(tmp_path: Path, how: str, plain: bool, protocol: int) -> None:
    assert is_plain_pickle(written(tmp_path / "file", {"a": torch.ones(1)}, how, protocol)) is plain
