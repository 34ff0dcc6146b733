from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from rcframe.errors import RunFailed
from rcframe.storage.tensors import write_tensors

WHOLE = torch.arange(6.0)


@pytest.mark.parametrize(
    "tensors",
    [
        {"a": WHOLE, "b": WHOLE},
        {"a": WHOLE[:2], "b": WHOLE[2:], "c": WHOLE},
        {"a": WHOLE.view(2, 3).t(), "b": WHOLE[::2], "c": WHOLE[:1].expand(3)},
        {"a": torch.zeros(0), "b": torch.zeros(0, 2), "c": torch.tensor(True)},
        {"a": torch.ones(2, requires_grad=True).bfloat16()},
        {},
    ],
    ids=[
        "one tensor twice",
        "views of one storage",
        "views of other strides",
        "empty tensors and a single one",
        "a result",
        "nothing",
    ],
)
def test_tensors_are_written_as_they_are_whatever_memory_they_share(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", tensors, {"say": "hello"})
    read = load_file(tmp_path / "a.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(read[name], tensor)
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert file.metadata() == {"say": "hello"}


def test_a_slice_does_not_bring_along_what_it_was_cut_from(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {"a": torch.zeros(100_000)[:2]}, {})
    assert (tmp_path / "a").stat().st_size < 1000


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"Cannot write `.*absent/a`: No such file or directory\."):
        write_tensors(tmp_path / "absent" / "a", {}, {})


#: A process whose files may not grow beyond a size meets the same end as one whose disk is full.
FULL = """
import resource, signal, sys
from pathlib import Path
import torch
from rcframe.errors import RunFailed
from rcframe.files import write_text
from rcframe.networks.weights import save_plain
from rcframe.storage.cache import Cache
from rcframe.storage.identity import Identity
from rcframe.storage.state_file import read_state, write_state

here, large = Path(sys.argv[1]), torch.zeros(100_000)
writers = {
    "state": lambda: write_state(here / "state", {"large": large}, {}),
    "weights": lambda: save_plain(here / "weights", {"large": large}),
    "text": lambda: write_text(here / "text", "long" * 100_000),
    "entry": lambda: Cache(here).write(Identity({}), large),
}
write_state(here / "state", "old", {})
save_plain(here / "weights", {"old": torch.zeros(1)})
write_text(here / "text", "old")
Cache(here).write(Identity({}), "old")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for write in writers.values():
    try:
        write()
    except RunFailed as error:
        print(error.exit_code, error)
assert read_state(here / "state") == Cache(here).read(Identity({})) == "old"
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of file sizes")
def test_a_full_disk_leaves_the_old_files_whole_and_is_said_with_the_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], check=False, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    (entry,) = tmp_path.glob("work/*/*")
    names = [tmp_path / "state", tmp_path / "weights", tmp_path / "text", entry]
    assert done.stdout.splitlines() == [f"1 Cannot write `{name}`: File too large." for name in names]
    assert (tmp_path / "text").read_text() == "old"
    assert load_file(tmp_path / "weights").keys() == {"old"}
    assert sorted(os.listdir(tmp_path)) == ["state", "text", "weights", "work"]
    assert os.listdir(entry.parent) == [entry.name]
