from __future__ import annotations

import argparse
import os
import pickle
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rcframe.errors import RequestError
from rcframe.networks.foreign import read_foreign, with_parallel, without_parallel


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


class Quits:
    """Ends the process when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return sys.exit, (0,)


class Net(nn.Module):
    """A network of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.norm = nn.BatchNorm1d(3)


def dump(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


Save = Callable[[object, Path], None]


def same(found: object, state: object) -> bool:
    assert isinstance(found, dict)
    assert isinstance(state, dict)
    return list(found) == list(state) and all(torch.equal(found[name], state[name]) for name in state)


def make(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


# -- what is understood -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("entry", [None, "state_dict", "model_state_dict", "model", "net", "ema"])
def test_weights_are_found_in_a_state_dict_and_in_checkpoints(tmp_path: Path, entry: str | None, trusted: bool) -> None:
    state = make().state_dict()
    torch.save(state if entry is None else {"epoch": 3, "optimizer": {"lr": 0.1}, entry: state}, tmp_path / "a.pt")
    found = read_foreign(tmp_path / "a.pt", trusted)
    assert same(found.tensors, state)
    assert found.entry == entry


def test_of_several_entries_the_customary_one_is_taken(tmp_path: Path) -> None:
    first, second = make(1).state_dict(), make(2).state_dict()
    torch.save({"ema": second, "model": first}, tmp_path / "a.pt")
    assert same(read_foreign(tmp_path / "a.pt").tensors, first)
    torch.save({"net": second, "state_dict": first, "model": "resnet"}, tmp_path / "a.pt")
    assert same(read_foreign(tmp_path / "a.pt").tensors, first)


def test_an_entry_that_is_no_state_dict_is_passed_over(tmp_path: Path) -> None:
    state = make().state_dict()
    torch.save({"state_dict": {"epoch": 1}, "model": "resnet18", "net": state}, tmp_path / "a.pt")
    assert read_foreign(tmp_path / "a.pt").entry == "net"


@pytest.mark.parametrize("save", [torch.save, dump])
@pytest.mark.parametrize("entry", [None, "model"])
def test_a_trusted_module_gives_its_state_dict(tmp_path: Path, save: Save, entry: str | None) -> None:
    module = make()
    save(module if entry is None else {entry: module, "epoch": 1}, tmp_path / "a.pt")
    found = read_foreign(tmp_path / "a.pt", trusted=True)
    assert same(found.tensors, module.state_dict())
    assert not any(tensor.requires_grad for tensor in found.tensors.values())


@pytest.mark.parametrize("trusted", [False, True])
def test_parameters_become_plain_tensors(tmp_path: Path, trusted: bool) -> None:
    torch.save(dict(make().named_parameters()), tmp_path / "a.pt")
    found = read_foreign(tmp_path / "a.pt", trusted).tensors
    assert len(found) == 4
    assert not any(tensor.requires_grad for tensor in found.values())


@pytest.mark.parametrize("protocol", range(6))
def test_tensors_that_were_pickled_without_torch_are_read_when_trusted(tmp_path: Path, protocol: int) -> None:
    state = make().state_dict()
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(state, protocol=protocol))
    assert same(read_foreign(tmp_path / "a.pkl", trusted=True).tensors, state)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")
def test_a_torchscript_archive_holds_code_and_is_read_only_when_trusted(tmp_path: Path) -> None:
    module = nn.Linear(2, 3)
    torch.jit.script(module).save(str(tmp_path / "a.pt"))  # type: ignore[no-untyped-call]  # torch's
    with pytest.raises(RequestError, match=r"wants to run code \(`TorchScript`\)"):
        read_foreign(tmp_path / "a.pt")
    assert same(read_foreign(tmp_path / "a.pt", trusted=True).tensors, dict(module.state_dict()))


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [torch.save, dump])
@pytest.mark.parametrize("deep", [False, True])
def test_code_runs_only_when_the_user_vouches_for_it(tmp_path: Path, save: Save, deep: bool) -> None:
    mark, path = tmp_path / "mark", tmp_path / "evil file.pt"
    save({"state_dict": make().state_dict(), "hook": Bomb(mark)} if deep else Bomb(mark), path)
    with pytest.raises(RequestError) as refused:
        read_foreign(path)
    assert not mark.exists()
    # Tensors that are pickled without torch come first in the file, and want more than tensors may.
    wanted = "torch.storage._load_from_bytes" if deep and save is dump else "posix.mkdir"
    text = str(refused.value)
    assert f"`{path}` wants to run code (`{wanted}`) when it is read, so it was refused." in text
    assert f"`rcframe import-weights --trust '{path}'`" in text
    assert "\n" not in text
    if deep:
        read_foreign(path, trusted=True)
    else:
        with pytest.raises(RequestError, match="holds no state_dict"):
            read_foreign(path, trusted=True)
    assert mark.exists(), "the file must be one that runs code"


def test_a_checkpoint_with_its_arguments_is_refused_by_their_name(tmp_path: Path) -> None:
    torch.save({"state_dict": make().state_dict(), "args": argparse.Namespace(lr=0.1)}, tmp_path / "a.pt")
    with pytest.raises(RequestError, match=r"wants to run code \(`argparse\.Namespace`\)"):
        read_foreign(tmp_path / "a.pt")
    assert read_foreign(tmp_path / "a.pt", trusted=True).entry == "state_dict"


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_in_a_form_that_the_restricted_loader_does_not_know_are_refused_as_that(
    tmp_path: Path, legacy: bool
) -> None:
    state, path = make().state_dict(), tmp_path / "a.pt"
    torch.save(state, path, pickle_protocol=4, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(RequestError, match=r"is pickled in a form that cannot be read without running"):
        read_foreign(path)
    assert same(read_foreign(path, trusted=True).tensors, state)


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.ones(1)], "it is a `list`"),
        (torch.ones(1), "it is a `Tensor`"),
        ({"epoch": 3, "weight": torch.ones(1)}, "its entries are `epoch`, `weight`"),
        ({"state_dict": 5}, "its entries are `state_dict`"),
        ({}, "its entries are none"),
        ({"model": {}}, "its entries are `model`"),
    ],
)
def test_a_file_without_weights_says_what_it_holds(tmp_path: Path, content: object, words: str, trusted: bool) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(RequestError, match=re.escape(f"holds no state_dict ({words}): save the weights with")):
        read_foreign(tmp_path / "a.pt", trusted)


@pytest.mark.parametrize("save", [torch.save, dump])
def test_a_trusted_file_whose_module_is_missing_says_which(
    tmp_path: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("gone_module")
    exec("class Gone:\n    pass", vars(module))
    module.Gone.__module__ = "gone_module"
    monkeypatch.setitem(sys.modules, "gone_module", module)
    save({"state_dict": make().state_dict(), "args": module.Gone()}, tmp_path / "a.pt")
    monkeypatch.delitem(sys.modules, "gone_module")
    with pytest.raises(RequestError, match=r"needs the module `gone_module`, which cannot be imported: run rcframe in"):
        read_foreign(tmp_path / "a.pt", trusted=True)
    monkeypatch.setitem(sys.modules, "gone_module", types.ModuleType("gone_module"))
    with pytest.raises(RequestError, match=r"saved with code that is not the same here \(Can't get attribute 'Gone'"):
        read_foreign(tmp_path / "a.pt", trusted=True)


@pytest.mark.parametrize("save", [torch.save, dump])
@pytest.mark.parametrize("trusted", [False, True])
def test_a_file_that_ends_the_process_is_refused(tmp_path: Path, save: Save, trusted: bool) -> None:
    save(Quits(), tmp_path / "a.pt")
    words = r"cannot be unpickled: SystemExit: 0" if trusted else r"wants to run code \(`sys\.exit`\)"
    with pytest.raises(RequestError, match=words):
        read_foreign(tmp_path / "a.pt", trusted)


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("kind", ["archive", "old", "plain"])
@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.1, 0.5, 0.75, 0.99])
def test_a_truncated_file_is_refused_wherever_it_ends(
    tmp_path: Path, kind: str, fraction: float, trusted: bool
) -> None:
    path, state = tmp_path / "a.pt", make().state_dict()
    if kind == "plain":
        dump(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "archive")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(RequestError) as refused:
        read_foreign(path, trusted)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("path", ["nowhere.pt", "."])
def test_a_missing_file_is_named(path: str) -> None:
    with pytest.raises(RequestError, match=rf"There is no weights file `{re.escape(path)}`"):
        read_foreign(Path(path), trusted=True)


# -- names ------------------------------------------------------------------------------------------------------------


def named(*names: str) -> dict[str, Tensor]:
    return {name: torch.tensor(float(number)) for number, name in enumerate(names)}


def test_the_prefix_of_dataparallel_goes_if_every_name_has_it() -> None:
    assert list(without_parallel(named("module.a", "module.module.b"))) == ["a", "module.b"]
    assert list(without_parallel(named("module.a", "b"))) == ["module.a", "b"]
    assert without_parallel(named("modulea", "modules.b")) == named("modulea", "modules.b")


def test_the_prefix_is_what_dataparallel_itself_writes() -> None:
    module = make()
    parallel = dict(nn.DataParallel(module).state_dict())
    assert same(without_parallel(parallel), dict(module.state_dict()))
    assert same(with_parallel(module.state_dict()), parallel)
