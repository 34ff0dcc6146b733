from __future__ import annotations

import os
import pickle
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

if TYPE_CHECKING:
    from tests.conftest import Command

NETS = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(192, 4)
        self.out = nn.Linear(4, 3)
"""
#: A run of the network that `weights` fit.
TINY = (
    *("--data", "glyphs:size=8,classes=3,train=24,test=9", "--model", "mlp:hidden=4", "--device", "cpu"),
    *("--student", "plain:epochs=0"),
)


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch executed",)


@pytest.fixture
def networks() -> Iterator[None]:
    """A module of the user's in the folder the test is in."""
    Path("nets_of_user.py").write_text(NETS)
    yield
    sys.modules.pop("nets_of_user", None)


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "net.fc1.weight": torch.randn(4, 192),
        "net.fc1.bias": torch.randn(4),
        "net.fc2.weight": torch.randn(3, 4),
        "net.fc2.bias": torch.randn(3),
    }


def written(path: str) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    return load_file(path)


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_tensors_are_converted_without_trust_and_the_next_command_is_shown(cli: Command) -> None:
    torch.save(weights(), "mine.pt")
    outcome = cli("import-weights", "mine.pt")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "Wrote 4 tensors to mine.safetensors. Next, with the --model they belong to:",
        "    rcframe run --teacher file:mine.safetensors",
    ]
    assert same(written("mine.safetensors"), weights())
    assert sorted(os.listdir()) == ["mine.pt", "mine.safetensors"]


def test_the_command_that_is_shown_runs(cli: Command) -> None:
    torch.save({"model": {f"module.{name.removeprefix('net.')}": value for name, value in weights().items()}}, "a b.pt")
    outcome = cli("import-weights", "a b.pt", "x, y.safetensors")
    assert outcome.out.splitlines()[:2] == [
        "Took the weights from the entry `model`.",
        "Removed `module.` from the start of every name, which DataParallel had put there.",
    ]
    program, *shown = shlex.split(outcome.out.splitlines()[-1])
    assert program == "rcframe"
    done = cli(*shown, *TINY, "--out", "done")
    assert done.code == 0, done.err
    found = load_file("done/teacher.safetensors")
    assert all(torch.equal(found[name], value) for name, value in weights().items())


@pytest.mark.parametrize("plain", [False, True])
def test_code_is_run_with_trust_alone(cli: Command, plain: bool) -> None:
    content = {"hook": Bomb(), "state_dict": weights()}
    if plain:
        Path("evil.pt").write_bytes(pickle.dumps(content))
    else:
        torch.save(content, "evil.pt")
    refused = cli("import-weights", "evil.pt")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"Error: `evil.pt` wants to run code (`{os.name}.system`) when it is read, so it was")
    assert "`rcframe import-weights --trust evil.pt`" in refused.err
    assert os.listdir() == ["evil.pt"]
    trusted = cli("import-weights", "--trust", "evil.pt")
    assert (trusted.code, trusted.err) == (0, "")
    assert sorted(os.listdir()) == ["evil.pt", "evil.safetensors", "executed"]
    assert same(written("evil.safetensors"), weights())


@pytest.mark.parametrize("plain", [False, True])
def test_a_whole_network_of_the_users_folder_is_converted_with_trust(cli: Command, networks: None, plain: bool) -> None:
    sys.path.insert(0, os.getcwd())
    from nets_of_user import Net  # type: ignore[import-not-found]  # written by the fixture

    module = nn.DataParallel(Net())
    if plain:
        Path("net.pth").write_bytes(pickle.dumps(module))
    else:
        torch.save(module, "net.pth")
    sys.path.pop(0)
    del sys.modules["nets_of_user"]
    assert "wants to run code" in cli("import-weights", "net.pth").err
    outcome = cli("import-weights", "net.pth", "out.safetensors", "--trust")
    assert (outcome.code, outcome.err) == (0, "")
    assert "Removed `module.`" in outcome.out
    assert same(written("out.safetensors"), dict(module.module.state_dict()))
    assert os.getcwd() not in sys.path
    Path("nets_of_user.py").unlink()
    sys.modules.pop("nets_of_user", None)
    gone = cli("import-weights", "net.pth", "again.safetensors", "--trust")
    assert gone.code == 2
    assert gone.err.startswith(
        "Error: `net.pth` needs the module `nets_of_user`, which cannot be imported: run rcframe"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["gone.pt"], "'gone.pt' does not exist"),
        (["."], "'.' is a directory"),
        (["done.safetensors"], "Error: `done.safetensors` needs no conversion: use it as `--teacher file:done.safet"),
        (["evil.pt", "out.pt"], "Error: `out.pt` does not end in `.safetensors`"),
        (["evil.pt", "done.safetensors"], "Error: `done.safetensors` exists already: remove it, or name another"),
        (["done.pt"], "Error: `done.safetensors` exists already"),
        (["evil.pt", "link.safetensors"], "Error: `link.safetensors` exists already"),
        (["evil.pt", "no/such/out.safetensors"], "Error: There is no folder `no/such` to write `out.safetensors` into"),
        ([], "Missing argument 'FILE'"),
    ],
)
def test_what_would_come_to_nothing_is_refused_before_any_code_runs(
    cli: Command, arguments: list[str], complaint: str
) -> None:
    torch.save(Bomb(), "evil.pt")
    torch.save(Bomb(), "done.pt")
    save_file({"a": torch.ones(1)}, "done.safetensors")
    Path("link.safetensors").symlink_to("elsewhere.safetensors")
    before = {name: Path(name).lstat().st_mtime_ns for name in os.listdir()}
    outcome = cli("import-weights", "--trust", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert complaint in outcome.err
    assert {name: Path(name).lstat().st_mtime_ns for name in os.listdir()} == before


@pytest.mark.parametrize("trust", [[], ["--trust"]])
def test_a_file_that_is_no_pickle_is_a_sentence(cli: Command, trust: list[str]) -> None:
    Path("text.pt").write_text("not weights\n" * 9)
    outcome = cli("import-weights", "text.pt", *trust)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith("Error: `text.pt` ")
    assert "Traceback" not in outcome.err


def test_help_says_what_trust_means_without_importing_torch(shell: Command) -> None:
    outcome = shell("import-weights", "--help")
    assert (outcome.code, outcome.err) == (0, "without torch\n")
    assert "it may do anything that you may do on this machine" in " ".join(outcome.out.split())
