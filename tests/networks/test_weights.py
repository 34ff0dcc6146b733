from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import rcframe as rc
from rcframe.builtins.saved import FileTeacher, RunTeacher, load_network
from rcframe.errors import RequestError
from rcframe.networks.normalize import Normalized
from rcframe.networks.size import size_of
from rcframe.networks.weights import (
    Architecture,
    load_weights,
    read_architecture,
    read_weights,
    save_network,
    save_plain,
)
from rcframe.testing.toys import CLASSES, MODEL, SHAPE, some_images, toy_run

TOY = Architecture(MODEL, None, SHAPE, CLASSES)


def network(seed: int = 7) -> Normalized:
    built = toy_run("teacher", seed=seed).network("saved")
    assert isinstance(built, Normalized)
    return built.eval()


def saved(tmp_path: Path, module: nn.Module, architecture: Architecture = TOY) -> Path:
    path = tmp_path / "student.safetensors"
    save_network(path, module, architecture)
    return path


def same(ours: nn.Module, theirs: nn.Module) -> bool:
    x, _ = some_images()
    with torch.no_grad():
        return torch.equal(ours.eval()(x), theirs.eval()(x))


def pruned(module: nn.Module) -> nn.Module:
    pruner = rc.pruner("filters", ratio=0.5)
    assert isinstance(pruner, rc.OneShotPruner)
    small, _ = pruner.apply(module, some_images()[0])
    assert size_of(small).parameters < size_of(module).parameters
    return small


class Evil:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_saved_network_is_built_again_with_its_weights(tmp_path: Path) -> None:
    original = network()
    again = load_network(saved(tmp_path, original), toy_run("teacher", seed=99))
    assert same(again, original)
    assert not same(toy_run("teacher", seed=99).network("saved"), original)
    assert os.listdir(tmp_path) == ["student.safetensors"]


def test_the_description_of_a_network_is_read_back(tmp_path: Path) -> None:
    described = Architecture("mlp:hidden=4", "lif:steps=2", (3, 5, 6), 7)
    assert read_architecture(saved(tmp_path, network(), described)) == described


def test_a_pruned_network_comes_back_at_its_size(tmp_path: Path) -> None:
    small = pruned(network())
    again = RunTeacher(path=str(saved(tmp_path, small).parent)).network(toy_run("teacher"))
    assert size_of(again) == size_of(small)
    assert same(again, small)


def test_a_spiking_network_comes_back_spiking(tmp_path: Path) -> None:
    spiking = rc.neuron("lif", steps=3).convert(network())
    described = Architecture(MODEL, "lif:steps=3", SHAPE, CLASSES)
    again = RunTeacher(path=str(saved(tmp_path, spiking, described).parent)).network(toy_run("teacher"))
    assert type(again) is type(spiking)
    assert again.steps == 3
    assert same(again, spiking)


def test_a_pruned_spiking_network_comes_back_as_both(tmp_path: Path) -> None:
    spiking = rc.neuron("lif", steps=2).convert(network())
    small = pruned(spiking)
    again = load_network(saved(tmp_path, small, Architecture(MODEL, "lif:steps=2", SHAPE, CLASSES)), toy_run("teacher"))
    assert size_of(again) == size_of(small)
    assert same(again, small)


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("inside", [False, True], ids=["with-normalisation", "without"])
def test_a_file_fits_with_and_without_our_normalisation(tmp_path: Path, name: str, inside: bool) -> None:
    original, path = network(), tmp_path / name
    state = (original.net if inside else original).state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    again = FileTeacher(path=str(path)).network(toy_run("teacher", seed=1))
    assert same(again, original)


def test_a_checkpoint_with_a_state_dict_inside_is_understood(tmp_path: Path) -> None:
    torch.save({"state_dict": network().state_dict()}, tmp_path / "checkpoint.pt")
    assert set(read_weights(tmp_path / "checkpoint.pt")) == set(network().state_dict())


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    """The weights of the network with some replaced, added (a tensor) or left out (None)."""
    merged: dict[str, Tensor | None] = {**network().state_dict(), **changes}
    return {name: value for name, value in merged.items() if value is not None}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (changed(**{"net.fc2.bias": torch.ones(3).long()}), r"`net\.fc2\.bias` is torch\.int64, but the model needs"),
        (changed(**{"net.fc2.bias": None}), r"missing net\.fc2\.bias; not in the model none"),
        (changed(**{"net.fc9.bias": torch.ones(1)}), r"missing none; not in the model net\.fc9\.bias"),
        (changed(**{"net.fc2.bias": torch.ones(4)}), r"`net\.fc2\.bias` is \(4,\), but the model needs \(3,\)"),
        (changed(**{"net.fc2.weight": torch.ones(3, 9)}), r"`net\.fc2\.weight` is \(3, 9\).*needs \(3, 16\)"),
        ({"weight": torch.ones(1)}, r"1 tensors found, 10 expected"),
    ],
    ids=["whole-numbers", "missing", "surplus", "other-bias", "other-weight", "another-network"],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_loaded(tensors: dict[str, Tensor], words: str) -> None:
    target = network(seed=3)
    with pytest.raises(RequestError, match=words):
        load_weights(target, tensors, "some.file")
    assert same(target, network(seed=3))


@pytest.mark.parametrize("name", ["evil.pt", "evil.PTH", "evil.pth.tar", "evil.ckpt", "evil.bin", "evil.pkl"])
def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path, name: str) -> None:
    mark, path = tmp_path / "mark", tmp_path / name
    torch.save({"weight": Evil(mark)}, path)
    with pytest.raises(RequestError, match=r"wants to run code \(`posix\.mkdir`\).*refused.*import-weights --trust"):
        read_weights(path)
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.99])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, kind: str, fraction: float) -> None:
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pt")
    if kind == "safetensors":
        save_network(path, network(), TOY)
    else:
        torch.save(network().state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(RequestError, match=r"is damaged|wants to run code"):
        read_weights(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"There is no weights file `.*nowhere\.pt`"):
        read_weights(tmp_path / "nowhere.pt")


class Wrapper(nn.Module):
    """A network whose own names all begin as those of DataParallel do."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


@pytest.mark.parametrize("inside", [False, True], ids=["with-normalisation", "without"])
@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_file_saved_under_dataparallel_fits(tmp_path: Path, name: str, inside: bool) -> None:
    original, path = network(), tmp_path / name
    state = nn.DataParallel(original.net if inside else original).state_dict()
    if path.suffix == ".pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    assert same(FileTeacher(path=str(path)).network(toy_run("teacher", seed=1)), original)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("normalized", [False, True])
def test_a_network_with_such_names_of_its_own_gets_its_weights(prefix: str, normalized: bool) -> None:
    layer = nn.Linear(2, 2)
    wrapped = Wrapper(layer)
    target: nn.Module = Normalized(wrapped, (0.5,), (0.5,)) if normalized else wrapped
    load_weights(target, {f"{prefix}weight": torch.full((2, 2), 3.0), f"{prefix}bias": torch.ones(2)}, "some.file")
    assert layer.weight.tolist() == [[3.0, 3.0], [3.0, 3.0]]
    saved_whole = {name: value + 1 for name, value in target.state_dict().items()}
    load_weights(target, saved_whole, "some.file")
    assert layer.weight.tolist() == [[4.0, 4.0], [4.0, 4.0]]


FINE = {"format": 1, "model": MODEL, "neuron": None, "shape": list(SHAPE), "classes": CLASSES}


def described(tmp_path: Path, text: str) -> Path:
    """A weights file with any text for a description."""
    save_file(network().state_dict(), tmp_path / "student.safetensors", metadata={"rcframe": text})
    return tmp_path / "student.safetensors"


def test_the_description_in_a_file_is_that_of_the_first_format(tmp_path: Path) -> None:
    with safe_open(saved(tmp_path, network()), framework="pt") as file:
        metadata = file.metadata()
    assert metadata is not None
    assert json.loads(metadata["rcframe"]) == FINE
    assert read_architecture(described(tmp_path, json.dumps({**FINE, "remark": "a later addition"}))) == TOY


@pytest.mark.parametrize("number", [2, 3, 10**30])
def test_a_file_of_a_newer_format_is_refused_however_it_is_used(tmp_path: Path, number: int) -> None:
    path = described(tmp_path, json.dumps({"format": number, "everything": "else"}))
    words = f"has format {number}, but this rcframe reads formats up to 1: .* newer rcframe: upgrade"
    with pytest.raises(RequestError, match=words):
        read_architecture(path)
    with pytest.raises(RequestError, match=words):
        read_weights(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "is a list"),
        ("null", "is a NoneType"),
        (json.dumps({}), "has None as its `format`"),
        (json.dumps({**FINE, "format": "1"}), "has '1' as its `format`"),
        (json.dumps({**FINE, "format": True}), "has True as its `format`"),
        (json.dumps({**FINE, "format": 0}), "has 0 as its `format`"),
        (json.dumps({**FINE, "format": 1.5}), "has 1.5 as its `format`"),
        (json.dumps({**FINE, "model": None}), "has None as its `model`"),
        (json.dumps({**FINE, "model": {"name": "mlp"}}), "has {'name': 'mlp'} as its `model`"),
        (json.dumps({**FINE, "neuron": 3}), "has 3 as its `neuron`"),
        (json.dumps({**FINE, "shape": 8}), "has 8 as its `shape`"),
        (json.dumps({**FINE, "shape": [8, 8]}), r"has [8, 8] as its `shape`"),
        (json.dumps({**FINE, "shape": [1, 8, "8"]}), r"has [1, 8, '8'] as its `shape`"),
        (json.dumps({**FINE, "shape": [1, 8, -8]}), r"has [1, 8, -8] as its `shape`"),
        (json.dumps({**FINE, "classes": None}), "has None as its `classes`"),
        (json.dumps({**FINE, "classes": 3.0}), "has 3.0 as its `classes`"),
        *(
            (json.dumps({k: v for k, v in FINE.items() if k != gone}), f"as its `{gone}`")
            for gone in ("format", "model", "shape", "classes")
        ),
    ],
)
def test_a_malformed_description_is_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = described(tmp_path, text)
    with pytest.raises(RequestError, match=rf"student\.safetensors` is damaged: .* {re.escape(words)}\. Replace the"):
        read_architecture(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": ""}, r"The model is an empty text"),
        ({"model": "no such"}, r"Cannot read the model `no such`"),
        ({"model": "convnet:channels=x"}, r"Option `channels` of `convnet` is 'x'"),
        ({"model": "gone-net"}, r"No model named `gone-net`"),
        ({"neuron": "lif:steps=0"}, r"Option `steps` of `lif` is 0"),
        ({"neuron": "convnet"}, r"No neuron named `convnet`"),
    ],
)
def test_a_network_that_cannot_be_built_is_named_with_its_file(
    tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    path = described(tmp_path, json.dumps({**FINE, **changes}))
    with pytest.raises(RequestError, match=rf"The network in `{path}` cannot be built: {words}"):
        load_network(path, toy_run("teacher"))


def test_a_resized_layer_of_whole_numbers_is_refused(tmp_path: Path) -> None:
    state = {**network().state_dict(), "net.fc2.weight": torch.ones(3, 9).long()}
    save_file(state, tmp_path / "a.safetensors", metadata={"rcframe": json.dumps(FINE)})
    with pytest.raises(RequestError, match=r"`net\.fc2\.weight` is \(3, 9\), but the model needs \(3, 16\)"):
        load_network(tmp_path / "a.safetensors", toy_run("teacher"))


def test_weights_without_a_description_are_written_for_any_program(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2).t()}
    save_plain(tmp_path / "plain.safetensors", tensors)
    with safe_open(tmp_path / "plain.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    found = read_weights(tmp_path / "plain.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    "special",
    [torch.eye(2).to_sparse(), torch.ones(2, dtype=torch.complex128), torch.ones(2, device="meta")],
    ids=["sparse", "complex", "meta"],
)
def test_tensors_that_have_no_place_in_a_file_are_refused_and_leave_none(tmp_path: Path, special: Tensor) -> None:
    with pytest.raises(RequestError, match=r"The tensors cannot be written to .*Make them ordinary dense ones"):
        save_plain(tmp_path / "plain.safetensors", {"good": torch.ones(1), "special": special})
    assert os.listdir(tmp_path) == []


def test_a_foreign_file_is_no_network_of_ours(tmp_path: Path) -> None:
    save_file(network().state_dict(), tmp_path / "foreign.safetensors")
    with pytest.raises(RequestError, match=r"was not written by rcframe: use it as `file:"):
        read_architecture(tmp_path / "foreign.safetensors")


def test_a_damaged_file_has_no_description(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"12345")
    with pytest.raises(RequestError, match="is damaged"):
        read_architecture(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    "described", [Architecture(MODEL, None, (3, 8, 8), CLASSES), Architecture(MODEL, None, SHAPE, 10)]
)
def test_a_network_for_other_data_is_refused(tmp_path: Path, described: Architecture) -> None:
    path = saved(tmp_path, network(), described)
    with pytest.raises(RequestError, match=r"was trained on images .* but data set `toy` has"):
        load_network(path, toy_run("teacher"))


def test_networks_with_shared_weights_are_saved_and_come_back(tmp_path: Path) -> None:
    layer = nn.Linear(2, 2)
    save_network(tmp_path / "shared.safetensors", nn.Sequential(layer, layer), TOY)
    tensors = read_weights(tmp_path / "shared.safetensors")
    assert torch.equal(tensors["0.weight"], tensors["1.weight"])
    assert torch.equal(tensors["0.weight"], layer.weight)


def test_saving_leaves_the_network_alone_and_replaces_an_older_file(tmp_path: Path) -> None:
    original = network()
    before = {name: value.clone() for name, value in original.state_dict().items()}
    saved(tmp_path, network(seed=1))
    path = saved(tmp_path, original)
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in read_weights(path).items())


def test_loading_draws_nothing_from_the_generators_of_whoever_loads(tmp_path: Path) -> None:
    path, run = saved(tmp_path, network()), toy_run("teacher")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_network(path, run)
    assert torch.equal(torch.rand(3), expected)
