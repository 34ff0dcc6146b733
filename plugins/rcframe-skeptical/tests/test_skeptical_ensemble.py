"""`skeptical-e`: trained as `skeptical`, measured and saved with its heads, and a teacher like any other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import torch
from rcframe_skeptical.headed import Ensemble
from rcframe_skeptical.student import Skeptical, SkepticalEnsemble
from safetensors.torch import load_file

import rcframe as rc
from rcframe import Access, Architecture, ModelOracle, RequestError, Run, size_of
from rcframe.choice import parse_choice
from rcframe.networks.weights import read_architecture
from rcframe.registry import registry
from rcframe.testing.toys import CLASSES, SHAPE, some_images, toy_run, trained_network
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

if TYPE_CHECKING:
    from torch import nn

TINY: dict[str, Any] = {
    "data": "glyphs:classes=3,size=8,train=96,test=30,extra=0",
    "model": "convnet:channels=4+4+8,hidden=8",
    "eps": 0.1,
}
QUICK = "epochs=1,batch_size=32,head=plain"


def student_run() -> Run:
    return attrs.evolve(toy_run("student"), model=parse_choice("blocknet:width=0.5", "model"))


def trained(strategy: Skeptical) -> tuple[nn.Module, nn.Module]:
    """Return the student that was given, and what was left."""
    run = student_run()
    student = run.network("student")
    left = execute(strategy.plan(student, ModelOracle(trained_network(epochs=1), Access.LOGIT), run), Monitor())
    assert left is not None
    return student, left


def test_it_is_trained_as_without_its_heads_and_answers_with_the_mean() -> None:
    student, left = trained(SkepticalEnsemble(epochs=2, head="plain"))
    alone, _ = trained(Skeptical(epochs=2, head="plain"))
    assert all(torch.equal(tensor, student.state_dict()[name]) for name, tensor in alone.state_dict().items())
    assert isinstance(left, Ensemble)
    assert left.headed.student is student
    x, _ = some_images()
    final, heads = left.headed(x)
    assert len(heads) == 2
    assert torch.allclose(left(x), (final + heads[0] + heads[1]) / 3, atol=1e-6)
    assert torch.equal(final, alone(x))


def test_with_the_final_classifier_alone_it_is_the_skeptical_student() -> None:
    options: dict[str, Any] = {"tap": "output", "deeper": (), "epochs": 1}
    _, left = trained(SkepticalEnsemble(**options))
    _, alone = trained(Skeptical(**options))
    assert torch.equal(left(some_images()[0]), alone(some_images()[0]))


@pytest.mark.parametrize("neuron", [None, "lif:steps=3,readout=mean"])
def test_what_it_becomes_can_be_built_from_the_words(neuron: str | None) -> None:
    strategy = SkepticalEnsemble(tap="2", deeper=("1", "net.relu4"), head="plain")
    found = strategy.becomes(Architecture("blocknet:width=0.5,normalize=true", neuron, SHAPE, CLASSES))
    model = registry().make("model", found.model)
    assert (found.neuron, found.shape, found.classes) == (None, SHAPE, CLASSES)
    assert rc.student("skeptical-e", tap="2", deeper="1+net.relu4", head="plain") == strategy
    options = {name: getattr(model, name) for name in ("model", "neuron", "tap", "deeper", "head")}
    expected = ("blocknet:width=0.5,normalize=true", neuron, "2", ("1", "net.relu4"), "plain")
    assert tuple(options.values()) == expected


def test_no_deeper_heads_stay_no_deeper_heads_when_built_again() -> None:
    found = SkepticalEnsemble(deeper=()).becomes(Architecture("mlp", None, SHAPE, CLASSES))
    model = registry().make("model", found.model)
    assert getattr(model, "deeper", None) == ()


@pytest.mark.slow
@pytest.mark.parametrize("around", [{}, {"neuron": "lif:steps=2"}, {"pruner": "filters:finetune=1"}])
def test_a_run_measures_saves_and_teaches_with_the_heads(around: dict[str, Any], tmp_path: Path) -> None:
    student = f"skeptical-e:{QUICK}"
    first = rc.run(**TINY, teacher="plain:epochs=1", student=student, attack="fgsm", out=tmp_path / "first", **around)
    second = rc.run(**TINY, teacher=f"run:{tmp_path / 'first'}", student="kd:epochs=1", out=tmp_path / "second")
    assert second.teacher.clean == first.student.clean
    assert second.teacher.size == first.student.size
    heads = [name for name in load_file(tmp_path / "first" / "student.safetensors") if ".heads." in name]
    assert heads
    saved = read_architecture(tmp_path / "first" / "student.safetensors")
    assert saved.model.startswith("headed:model=(convnet:")


def test_the_size_is_that_of_what_is_deployed() -> None:
    alone, ensemble = (
        rc.run(**TINY, teacher="plain:epochs=0", student=f"{name}:{QUICK}").student.size.parameters
        for name in ("skeptical", "skeptical-e")
    )
    student, left = trained(SkepticalEnsemble(epochs=0, head="plain"))
    assert alone < ensemble
    assert size_of(student).parameters < size_of(left).parameters


def test_the_next_phase_goes_on_without_the_heads() -> None:
    report = rc.run(**TINY, teacher="plain:epochs=0", student=[f"skeptical-e:{QUICK}", "plain:epochs=1"])
    alone = rc.run(**TINY, teacher="plain:epochs=0", student="plain:epochs=0")
    assert report.student.size == alone.student.size


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"certifier": "convex"}, r"Certifier `convex` cannot certify the student: .*Nearest that would run: "),
        (
            {"model": "mlp:hidden=4"},
            r"Student `skeptical-e` cannot train this student network: of the two taps that are needed it has 1",
        ),
    ],
)
def test_what_the_ensemble_cannot_is_refused_before_training(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        rc.run(**{**TINY, "teacher": "plain:epochs=0", "student": f"skeptical-e:{QUICK}", **asked})
