from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import torch
from rcframe_ensemble.model import EnsembleModel, in_turn
from rcframe_ensemble.network import EnsembleNetwork

import rcframe
from rcframe import Architecture, RequestError, Run
from rcframe.builtins.saved import load_network
from rcframe.choice import parse_choice
from rcframe.networks.weights import save_network
from rcframe.testing.toys import CLASSES, SHAPE, fingerprint, toy_dataset, toy_run

INFO = toy_dataset().info


def built(model: EnsembleModel) -> EnsembleNetwork:
    torch.manual_seed(0)
    network = model.build(INFO)
    assert isinstance(network, EnsembleNetwork)
    return network.eval()


def test_members_take_the_models_in_turn() -> None:
    members = built(EnsembleModel(models="mlp:hidden=4+5; convnet:channels=2+3", members=3)).members
    assert ["fc3" in str(member) for member in members] == [True, False, True]
    assert members[0].get_parameter("net.fc2.weight").shape == (5, 4)


def test_members_start_from_weights_of_their_own() -> None:
    first, second = built(EnsembleModel(models="mlp:hidden=4", members=2)).members
    assert fingerprint(first) != fingerprint(second)


@pytest.mark.parametrize("models", ["", "mlp;", "mlp;;mlp"])
def test_an_empty_model_is_refused(models: str) -> None:
    with pytest.raises(RequestError, match="where one is empty"):
        in_turn(models, 3)


def test_more_models_than_members_are_refused() -> None:
    with pytest.raises(RequestError, match="of 1 members has 2 models"):
        EnsembleModel(models="mlp;convnet", members=1).build(INFO)


def test_an_unknown_model_is_refused_by_its_name() -> None:
    with pytest.raises(RequestError, match="No model named `mlpp`"):
        EnsembleModel(models="mlpp").build(INFO)


# --- saved and built again -------------------------------------------------------------------------------------------


def saved(folder: Path, model: EnsembleModel) -> tuple[Path, EnsembleNetwork]:
    network = built(model)
    save_network(folder / "a.safetensors", network, Architecture(rcframe.spelled(model), None, SHAPE, CLASSES))
    return folder / "a.safetensors", network


def test_a_saved_ensemble_is_built_again(tmp_path: Path) -> None:
    path, network = saved(
        tmp_path, EnsembleModel(models="mlp:hidden=4+5;convnet:channels=2", members=3, average="probabilities")
    )
    again = load_network(path, toy_run("teacher", seed=9)).eval()
    assert fingerprint(again) == fingerprint(network)
    x = toy_dataset().test.first(8).images
    with torch.no_grad():
        assert torch.equal(again(x), network(x))


def named(model: str) -> Run:
    return attrs.evolve(toy_run("teacher"), model=parse_choice(model, "model"))


OWN = "mlp;nets_of_somebody:small"


def described(path: Path, models: str) -> Path:
    """A file that asks for an ensemble of these models, whatever is in it."""
    spec = f"ensemble:models=({models}),members=2"
    save_network(path / "b.safetensors", torch.nn.Linear(1, 1), Architecture(spec, None, SHAPE, CLASSES))
    return path / "b.safetensors"


@pytest.mark.parametrize("user", ["convnet", "ensemble:models=(mlp;mlp)", "ensemble:models=(other_nets:small)"])
def test_a_file_cannot_name_code_inside_an_ensemble(tmp_path: Path, user: str) -> None:
    with pytest.raises(RequestError, match="could name any code or file"):
        load_network(described(tmp_path, OWN), named(user))


def test_code_inside_an_ensemble_is_run_if_the_user_named_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from torch import nn\ndef small(classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    (tmp_path / "nets_of_somebody.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    model = EnsembleModel(models=OWN, members=2)
    path, network = saved(tmp_path, model)
    again = load_network(path, named(f"ensemble:models=({OWN}),members=2"))
    assert fingerprint(again.eval()) == fingerprint(network)
    with pytest.raises(RequestError, match="could name any code or file"):
        load_network(path, named("convnet"))
