from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from rcframe_nasty.deepened import Deepened, DeepHead, deepen, head_of, start_from
from rcframe_nasty.teacher import Nasty
from torch import Tensor, nn

import rcframe as rc
from rcframe import Architecture, RequestError, Run, chain, evaluating, spelled
from rcframe.choice import parse_choice
from rcframe.networks.weights import read_architecture
from rcframe.registry import registry
from rcframe.testing.subject import Subject
from rcframe.testing.toys import SHAPE, StageLog, some_images, toy_dataset, toy_run
from rcframe.testing.training_promises import check_teacher_repeats, check_teacher_resumes, check_teacher_trains
from rcframe.training.loop import execute

MODEL = "digitnet:channels=4,hidden=8"
LIGHT_DEEP: dict[str, Any] = {"deepen": True, "init_from": "adversary", "trainable": "last"}
X = some_images()[0]


def run_with(model: str = MODEL) -> Run:
    return attrs.evolve(toy_run("teacher"), model=parse_choice(model, "model"))


def answers(network: nn.Module, x: Tensor = X) -> Tensor:
    with evaluating(network), torch.no_grad():
        logits: Tensor = network(x)
    return logits


def trained(run: Run, **options: Any) -> tuple[nn.Module, StageLog]:
    teacher, log = Nasty(**{"batch_size": 16, **options}), StageLog()
    network = teacher.network(run)
    assert execute(teacher.plan(network, run), log) is network
    return network, log


def test_a_network_that_is_deepened_already_starts_from_an_adversary_of_its_kind() -> None:
    run = run_with(f"deepened:({MODEL})")
    network, log = trained(run, init_from="adversary", trainable="last", epochs=1, adversary_epochs=1)
    assert isinstance(network, nn.Module)
    assert len(log.finished) == 2


# --- the layer -------------------------------------------------------------------------------------------------------


def test_the_added_layer_is_computed_by_hand() -> None:
    last = nn.Linear(2, 1)
    head = DeepHead(last)
    added = head[0]
    assert isinstance(added, nn.Linear)
    with torch.no_grad():
        last.weight.copy_(torch.tensor([[2.0, 3.0]]))
        last.bias.fill_(1.0)
        assert head(torch.tensor([[5.0, -7.0]])).tolist() == [[2 * 5 + 1]], "a relu stands behind the added layer"
        added.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        added.bias.copy_(torch.tensor([0.5, -1.0]))
    assert head(torch.tensor([[5.0, 7.0]])).tolist() == [[2 * 7.5 + 3 * 4 + 1]]


@pytest.mark.parametrize("model", [MODEL, "convnet:channels=4+4+8,hidden=16", "resnet18:width=0.1", "vgg5:width=0.05"])
def test_a_network_answers_at_first_as_it_would_without_the_layer(model: str) -> None:
    run = run_with(model)
    plain, deep = run.network("teacher"), run.network("teacher")
    deepen(deep, run.example)
    assert torch.equal(answers(deep), answers(plain))
    assert sum(isinstance(part, nn.Linear) for part in deep.modules()) == 1 + sum(
        isinstance(part, nn.Linear) for part in plain.modules()
    )


def test_adding_a_layer_draws_no_numbers_and_keeps_the_modes() -> None:
    network = run_with().network("teacher").train()
    state = torch.get_rng_state()
    deepen(network, run_with().example)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(part.training for part in network.modules())


def test_the_last_layer_is_both_where_one_was_added_and_the_last_alone_otherwise() -> None:
    run = run_with()
    network = run.network("teacher")
    last = head_of(network, run.example)
    assert isinstance(last, nn.Linear)
    deepen(network, run.example)
    head = head_of(network, run.example)
    assert isinstance(head, DeepHead)
    assert head[2] is last


@pytest.mark.parametrize("deep", [False, True])
def test_the_weights_of_an_ordinary_network_are_taken_over_by_name(deep: bool) -> None:
    run = run_with()
    ordinary, network = run.network("another"), run.network("teacher")
    if deep:
        deepen(network, run.example)
    start_from(network, ordinary.state_dict())
    assert torch.equal(answers(network), answers(ordinary))
    assert not torch.equal(answers(run.network("teacher")), answers(ordinary))


def test_a_network_that_ends_otherwise_is_refused() -> None:
    with pytest.raises(RequestError, match=r"do not come straight from a linear layer.*leave `deepen` at false"):
        deepen(nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten()), torch.zeros(2, *SHAPE))


# --- the model -------------------------------------------------------------------------------------------------------


def test_the_model_builds_what_the_teacher_trains() -> None:
    teacher = Nasty(deepen=True, epochs=0, adversary_epochs=0)
    described = teacher.becomes(Architecture(MODEL, None, SHAPE, 3))
    built = rc.model(described.model).build(toy_dataset().info)
    left = teacher.network(run_with())
    shapes, expected = ({name: t.shape for name, t in one.state_dict().items()} for one in (built, left))
    assert shapes == expected
    assert described.neuron is None


def test_without_the_layer_the_teacher_becomes_what_it_was() -> None:
    described = Architecture(MODEL, None, SHAPE, 3)
    assert Nasty().becomes(described) is described


def test_a_spiking_network_whose_last_layer_runs_in_every_step_is_refused() -> None:
    with pytest.raises(RequestError, match="do not come straight from a linear layer"):
        Deepened(model=MODEL, neuron="lif:steps=2").build(toy_dataset().info)


def test_a_deepened_network_is_a_chain_and_keeps_the_taps_of_the_model_inside() -> None:
    run = run_with(f"deepened:({MODEL})")
    network = run.network("student")
    kinds = [type(layer.module).__name__ for layer in chain(network)]
    assert kinds[-3:] == ["Linear", "ReLU", "Linear"]
    assert rc.taps_of(network) == rc.taps_of(run_with().network("student"))
    assert set(rc.tap_shapes(network, rc.taps_of(network), X)) == set(rc.taps_of(network))


# --- the teacher -----------------------------------------------------------------------------------------------------


def test_light_deep_training_moves_both_layers_and_nothing_else() -> None:
    network, log = trained(run_with(), **LIGHT_DEEP, omega=0.01, epochs=3, adversary_epochs=2)
    before, after = log.stages[0].target.state_dict(), network.state_dict()
    (head,) = [name for name, part in network.named_modules() if isinstance(part, DeepHead)]
    moved = {name for name, value in after.items() if not name.startswith(f"{head}.") and not before[name].equal(value)}
    assert not moved
    assert any("running_mean" in name for name in after)
    assert not after[f"{head}.0.weight"].equal(torch.eye(len(after[f"{head}.0.bias"])))
    assert not after[f"{head}.2.weight"].equal(before[f"{head}.weight"])


def test_it_starts_from_the_answers_of_its_adversary() -> None:
    network, log = trained(run_with(), **LIGHT_DEEP, epochs=0, adversary_epochs=2)
    assert torch.equal(answers(network), answers(log.stages[0].target))


def test_the_divergence_pulls_on_both_layers_where_it_is_to_pull_on_the_last() -> None:
    """One step: all before the added layer moves as in ordinary training, it and the last one as in nasty training."""
    once = {"epochs": 1, "adversary_epochs": 0, "optimizer": "sgd", "lr": 0.5, "momentum": 0.0, "batch_size": 64}
    model = "convnet:channels=4+4+8,hidden=16"
    ordinary, nasty, half = (
        trained(run_with(model), **once, deepen=True, omega=omega, kl_grad_scope=scope)[0]
        for omega, scope in ((0.0, "all"), (50.0, "all"), (50.0, "last"))
    )
    (head,) = [name for name, part in half.named_modules() if isinstance(part, DeepHead)]
    for name, value in half.state_dict().items():
        expected, other = (nasty, ordinary) if name.startswith(f"{head}.") else (ordinary, nasty)
        assert torch.allclose(value, expected.state_dict()[name], atol=1e-6), name
        if value.is_floating_point() and name.partition(".")[0] != "normalize":
            assert not torch.allclose(value, other.state_dict()[name], atol=1e-6), f"{name}: the test could not tell"


def test_light_deep_training_repeats_and_can_be_stopped() -> None:
    spec = next(spec for spec in registry().announced("teacher") if spec.spec.name == "nasty").spec

    class LightDeep(Subject):
        def make(self) -> Nasty:
            return Nasty(**LIGHT_DEEP, epochs=2, batch_size=16, kl_grad_scope="last")

    for promise in (check_teacher_trains, check_teacher_repeats, check_teacher_resumes):
        promise(LightDeep("rcframe-nasty", "rcframe_nasty", spec))


TINY: dict[str, Any] = {"data": "glyphs:classes=3,size=8,train=96,test=30,extra=0", "model": MODEL, "eps": 0.1}


def test_a_run_saves_it_as_what_it_is_and_its_file_teaches_again(tmp_path: Path) -> None:
    nasty = "nasty:deepen=true,init_from=adversary,trainable=last,epochs=1,adversary_epochs=1"
    first = rc.run(**TINY, teacher=nasty, student="plain:epochs=0", out=tmp_path / "first")
    file = tmp_path / "first" / "teacher.safetensors"
    assert first.teacher.model == f"deepened:({MODEL})"
    assert first.student.model == MODEL
    saved = read_architecture(file)
    assert saved.model == spelled(Deepened(model=spelled(rc.model(MODEL))))
    plain = rc.run(**TINY, teacher="plain:epochs=0", student="plain:epochs=0")
    assert first.teacher.size.parameters == plain.teacher.size.parameters + 8 * 8 + 8
    again = rc.run(**{**TINY, "model": saved.model}, teacher=f"file:path=({file})", student="plain:epochs=0")
    assert again.teacher.clean == first.teacher.clean
    assert again.teacher.size == first.teacher.size


def test_a_deepened_student_is_pruned_and_teaches_again(tmp_path: Path) -> None:
    asked = {**TINY, "teacher": "plain:epochs=0", "student_model": f"deepened:({MODEL})", "student": "plain:epochs=1"}
    whole = rc.run(**asked)
    first = rc.run(**asked, pruner="filters:finetune=1,ratio=0.5", out=tmp_path / "first")
    assert first.student.size.parameters < whole.student.size.parameters
    again = rc.run(**TINY, teacher=f"run:{tmp_path / 'first'}", student="plain:epochs=0")
    assert (again.teacher.clean, again.teacher.size) == (first.student.clean, first.student.size)


def test_the_members_of_an_ensemble_may_have_one_more_layer_each(tmp_path: Path) -> None:
    light = "nasty:deepen=true,init_from=adversary,trainable=last,epochs=1,adversary_epochs=1"
    teacher = f"ensemble:teacher=({light}),members=2"
    out = tmp_path / "run"
    rc.run(**TINY, teacher=teacher, student="plain:epochs=0", out=out)
    assert "deepened" in read_architecture(out / "teacher.safetensors").model


def test_a_model_that_has_the_layer_already_gets_no_second_one() -> None:
    words = rf"^`nasty:deepen=true` puts its own layer around the model, .*: write `--model {MODEL}`, or leave `deepen`"
    with pytest.raises(RequestError, match=words):
        rc.run(
            **{**TINY, "model": f"deepened:({MODEL})"}, teacher="nasty:deepen=true,epochs=1", student="plain:epochs=0"
        )
