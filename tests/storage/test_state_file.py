from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn, optim
from torch.optim import Optimizer, lr_scheduler as schedules
from torch.optim.lr_scheduler import LRScheduler

from rcframe.errors import RunFailed
from rcframe.storage.state_file import DamagedState, digest_state, read_about, read_state, write_state
from rcframe.training.randomness import Generators, generator_states, restore_generators, seed_everything

ABOUT = {"name": "train", "seed": "0"}
SMALL = {"weights": torch.arange(3.0), "mask": torch.tensor([True, False]), "epoch": 2, "lr": [0.5, None]}

# -- any tree ---------------------------------------------------------------------------------------------------------

DTYPES = (torch.bool, torch.uint8, torch.uint32, torch.int64, torch.float16, torch.bfloat16, torch.float64)


@st.composite
def tensors(draw: st.DrawFn, dtypes: tuple[torch.dtype, ...] = DTYPES) -> Tensor:
    """Tensors of any bits, many of them views of a larger storage."""
    dtype, shape = draw(st.sampled_from(dtypes)), draw(st.lists(st.integers(0, 3), max_size=3))
    count = math.prod(shape)
    bits = draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
    plain = torch.tensor(list(bits), dtype=torch.uint8)
    plain = plain.bool() if dtype is torch.bool else plain.view(dtype)
    changes: list[Callable[[Tensor], Tensor]] = [
        lambda tensor: tensor,
        lambda tensor: tensor.mT if tensor.ndim > 1 else tensor,
        lambda tensor: tensor[..., ::2] if tensor.ndim else tensor,
        lambda tensor: tensor[1:] if tensor.ndim else tensor,
        lambda tensor: tensor.unsqueeze(0).expand(2, *tensor.shape),
    ]
    return draw(st.sampled_from(changes))(plain.reshape(shape))


def arrays() -> st.SearchStrategy[object]:
    return tensors((torch.bool, torch.uint32, torch.int64, torch.float64)).map(lambda tensor: tensor.numpy())


LEAVES: st.SearchStrategy[object] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), tensors(), arrays()
)
KEYS = st.one_of(st.integers(), st.text(max_size=3), st.none(), st.booleans(), st.tuples(st.integers(), st.text()))


def inside(node: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    lists = st.lists(node, max_size=3)
    return st.one_of(
        lists,
        lists.map(tuple),
        # One object at two places, as a module that is also a part of another.
        lists.map(lambda items: [items, items]),
        st.dictionaries(st.text(max_size=3), node, max_size=3),
        st.dictionaries(KEYS, node, max_size=3),
        st.dictionaries(st.integers(), st.integers(), max_size=3).map(Counter),
    )


TREES = st.recursive(LEAVES, inside, max_leaves=8)


def same(one: object, other: object) -> bool:
    """Whether two trees are equal in types, order and every bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and bits_of(one) == bits_of(other)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = zip(one.items(), other.items(), strict=False)
        return len(one) == len(other) and all(same(mine, theirs) for mine, theirs in pairs)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(same(mine, theirs) for mine, theirs in zip(one, other, strict=True))
    return repr(one) == repr(other)


def bits_of(tensor: Tensor) -> list[bytes]:
    """The bytes of every number, one by one."""
    width = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.dtype.itemsize]
    return [number.reshape(1).clone().view(width).numpy().tobytes() for number in tensor.reshape(-1)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(TREES)
def test_any_tree_comes_back_bit_for_bit(tmp_path: Path, state: object) -> None:
    path = tmp_path / "state"
    write_state(path, state, ABOUT)
    assert same(read_state(path), state)
    assert read_about(path) == ABOUT
    assert digest_state(read_state(path)) == digest_state(state)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TREES, st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_noticed_or_does_no_harm(
    tmp_path: Path, state: object, place: float, bit: int
) -> None:
    path = tmp_path / "state"
    write_state(path, state, ABOUT)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    assert reads_as_nothing_else(path, state)


def test_every_single_bit_of_a_small_file_is_watched(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_state(path, SMALL, ABOUT)
    whole = path.read_bytes()
    for place in range(8 * len(whole)):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        assert reads_as_nothing_else(path, SMALL), f"bit {place % 8} of byte {place // 8}"


def reads_as_nothing_else(path: Path, state: object) -> bool:
    """Whether a damaged file is refused, or still read as what was written."""
    try:
        return same(read_state(path), state) and read_about(path) == ABOUT
    except DamagedState:
        return True
    except RunFailed as error:
        # A flipped bit of the format's number says that somebody newer wrote the file.
        return "newer" in str(error)


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_state(path, SMALL, ABOUT)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedState, match=f"`{path}` is damaged"):
            read_state(path)


def test_a_tensor_that_was_exchanged_is_noticed(tmp_path: Path) -> None:
    """Both halves of the file are whole; they only do not belong together."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    write_state(mine, [torch.zeros(4)], ABOUT)
    write_state(theirs, [torch.ones(4)], ABOUT)
    content = mine.read_bytes()
    mine.write_bytes(content[:-16] + theirs.read_bytes()[-16:])
    with pytest.raises(DamagedState, match="its checksum does not match its content"):
        read_state(mine)


# -- what a file says of itself ---------------------------------------------------------------------------------------


def test_what_a_file_is_can_be_read_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_state(path, SMALL, ABOUT)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert read_about(path) == ABOUT
    with pytest.raises(DamagedState):
        read_state(path)


def test_what_a_file_is_belongs_to_what_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_state(path, SMALL, ABOUT)
    path.write_bytes(path.read_bytes().replace(b"train", b"brain"))
    with pytest.raises(DamagedState, match="its checksum does not match"):
        read_state(path)


def described(path: Path, head: object) -> Path:
    save_file({"0": torch.zeros(1)}, path, {"rcframe_state": json.dumps(head)})
    return path


def test_a_file_of_the_future_is_refused_politely_and_is_not_called_damaged(tmp_path: Path) -> None:
    path = described(tmp_path / "state", {"format": 2, "about": ABOUT, "forest": []})
    for read in (read_state, read_about):
        with pytest.raises(RunFailed, match=r"was written by a newer rcframe \(format 2\): upgrade to read it") as told:
            read(path)
        assert not isinstance(told.value, DamagedState)


@pytest.mark.parametrize("head", [[], {}, {"about": ABOUT}, 3], ids=str)
def test_a_file_that_somebody_else_wrote_is_no_state(head: object, tmp_path: Path) -> None:
    with pytest.raises(DamagedState, match="is damaged or no state of a run"):
        read_about(described(tmp_path / "state", head))


@pytest.mark.parametrize("about", [None, [], {"seed": 0}], ids=str)
def test_a_file_that_does_not_say_what_it_is_is_damaged(about: object, tmp_path: Path) -> None:
    with pytest.raises(DamagedState, match="it does not say what it is"):
        read_about(described(tmp_path / "state", {"format": 1, "about": about}))


def test_weights_are_no_state(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "weights")
    with pytest.raises(DamagedState, match="no state of a run"):
        read_state(tmp_path / "weights")


def test_what_the_system_would_not_read_is_not_called_damaged(tmp_path: Path) -> None:
    """Damaged files are dropped; a file on a disk that is away for a moment must not be."""
    for path in (tmp_path, tmp_path / "absent"):
        for read in (read_state, read_about):
            with pytest.raises(RunFailed, match=f"Cannot read `{path}`: ") as told:
                read(path)
            assert not isinstance(told.value, DamagedState)


# -- digests of trees -------------------------------------------------------------------------------------------------


def test_equal_trees_and_only_they_have_equal_digests() -> None:
    trees = [
        SMALL,
        {**SMALL, "epoch": 3},
        {**SMALL, "weights": torch.arange(3.0, dtype=torch.float64)},
        {**SMALL, "weights": torch.tensor([0.0, 1.0, 2.0001])},
        {**SMALL, "lr": (0.5, None)},
        {"mask": SMALL["mask"]},
        list(SMALL.values()),
    ]
    assert len({digest_state(tree) for tree in trees}) == len(trees)
    copied = {name: value.clone() if isinstance(value, Tensor) else value for name, value in SMALL.items()}
    assert digest_state(copied) == digest_state(SMALL)


# -- what trains, through a file and back -----------------------------------------------------------------------------

OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda p: optim.Adam(p, lr=0.1, amsgrad=True),
    "adamw in groups": lambda p: optim.AdamW([{"params": p[:1], "lr": 0.2}, {"params": p[1:], "lr": 0.01}]),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1),
    "adam with a tensor as rate": lambda p: optim.Adam(p, lr=torch.tensor(0.1)),
}
SCHEDULES: dict[str, Callable[[Optimizer], LRScheduler]] = {
    "multistep": lambda o: schedules.MultiStepLR(o, [2, 4, 4], gamma=0.5),
    "cosine": lambda o: schedules.CosineAnnealingLR(o, 7),
    "one cycle": lambda o: schedules.OneCycleLR(o, 0.5, total_steps=7),
    "restarts": lambda o: schedules.CosineAnnealingWarmRestarts(o, 2, 2),
    "function": lambda o: schedules.LambdaLR(o, lambda epoch: 0.9**epoch),
    "sequence": lambda o: schedules.SequentialLR(
        o, [schedules.LinearLR(o, total_iters=2), schedules.ExponentialLR(o, 0.5)], [3]
    ),
}


class Training:
    """A small network, its optimizer and its schedule."""

    def __init__(self, make: Callable[[list[nn.Parameter]], Optimizer], schedule: Callable[[Optimizer], LRScheduler]):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.optimizer = make(list(self.network.parameters()))
        self.schedule = schedule(self.optimizer)

    def go(self, steps: range) -> None:
        for step in steps:
            x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
            self.optimizer.zero_grad()
            self.network(x).square().mean().backward()
            self.optimizer.step()
            self.schedule.step()

    def state(self) -> dict[str, object]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load(self, state: object) -> None:
        saved = cast("dict[str, dict[str, object]]", state)
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])


def continued_alike(make: Callable[[], Training], path: Path) -> bool:
    """Whether a training goes on from a file as it would have gone on by itself."""
    one, other = make(), make()
    one.go(range(3))
    write_state(path, one.state(), {})
    other.load(read_state(path))
    for training in (one, other):
        training.go(range(3, 6))
    rates = [[float(group["lr"]) for group in training.optimizer.param_groups] for training in (one, other)]
    return rates[0] == rates[1] and same(one.state()["network"], other.state()["network"])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_from_a_file_as_if_nothing_had_happened(name: str, tmp_path: Path) -> None:
    assert continued_alike(lambda: Training(OPTIMIZERS[name], SCHEDULES["multistep"]), tmp_path / "state")


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_goes_on_from_a_file_as_if_nothing_had_happened(name: str, tmp_path: Path) -> None:
    assert continued_alike(lambda: Training(OPTIMIZERS["sgd"], SCHEDULES[name]), tmp_path / "state")


def test_a_schedule_that_waits_for_a_plateau_remembers_the_best(tmp_path: Path) -> None:
    def plateau() -> schedules.ReduceLROnPlateau:
        return schedules.ReduceLROnPlateau(optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0), patience=1)

    one, other = plateau(), plateau()
    one.step(0.5)
    one.step(0.6)
    write_state(tmp_path / "state", one.state_dict(), {})
    other.load_state_dict(cast("dict[str, object]", read_state(tmp_path / "state")))
    other.step(0.6)
    assert other.optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def draw_all() -> list[object]:
    return [torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random(), random.gauss(0, 1)]


def test_the_generators_of_a_process_go_on_from_a_file(tmp_path: Path) -> None:
    seed_everything(3, "here")
    # Both keep the second number of a pair for the next time.
    np.random.randn()
    random.gauss(0, 1)
    write_state(tmp_path / "state", generator_states(), {})
    drawn = draw_all()
    seed_everything(4, "elsewhere")
    restore_generators(cast(Generators, read_state(tmp_path / "state")))
    assert draw_all() == drawn


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_a_generator_of_numpy_goes_on_from_a_file(kind: type[np.random.BitGenerator], tmp_path: Path) -> None:
    ours, other = np.random.Generator(kind(1)), np.random.Generator(kind(2))
    ours.random(5, dtype=np.float32)
    write_state(tmp_path / "state", ours.bit_generator.state, {})
    other.bit_generator.state = cast("dict[str, object]", read_state(tmp_path / "state"))
    assert ours.random(5, dtype=np.float32).tolist() == other.random(5, dtype=np.float32).tolist()


def test_a_generator_of_torch_and_the_legacy_ones_go_on_from_a_file(tmp_path: Path) -> None:
    ours, other = torch.Generator().manual_seed(1), torch.Generator()
    old, older = np.random.RandomState(1), random.Random(1)
    state = [ours.get_state(), old.get_state(), older.getstate()]
    write_state(tmp_path / "state", state, {})
    again = cast("list[Tensor]", read_state(tmp_path / "state"))
    other.set_state(again[0])
    assert torch.equal(torch.rand(4, generator=ours), torch.rand(4, generator=other))
    copy, older_copy = np.random.RandomState(2), random.Random(2)
    copy.set_state(again[1])  # type: ignore[arg-type]
    older_copy.setstate(again[2])  # type: ignore[arg-type]
    assert (copy.rand(), older_copy.random()) == (old.rand(), older.random())
