from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
import torch
from torch import nn

from rcframe.access import Access
from rcframe.api import Data, StudentStrategy
from rcframe.errors import RequestError
from rcframe.evaluation.oracle import Oracle
from rcframe.networks.spiking import SpikingNetwork
from rcframe.options import component
from rcframe.session.architecture import finished_architecture
from rcframe.session.assemble import Assembly, Refusal, assemble, build_parts, refuse_with_alternative
from rcframe.session.config import RunConfig, make_config
from rcframe.session.folder import RunFolder
from rcframe.testing.toys import MODEL, toy_dataset
from rcframe.training.compute import Compute
from rcframe.training.context import Run
from rcframe.training.stage import Stage

if TYPE_CHECKING:
    from tests.conftest import Announce

DATASET = toy_dataset(train=12, test=6)


def config_of(**settings: object) -> RunConfig:
    return make_config({"model": MODEL, "eps": "0.1", **settings})


def assembled(config: RunConfig) -> Assembly:
    return assemble(config, build_parts(config), DATASET, Compute())


def refusal_of(config: RunConfig) -> Refusal:
    with pytest.raises(Refusal) as raised:
        assembled(config)
    return raised.value


def suggestion(config: RunConfig) -> str:
    """What a refused user is told to do instead."""
    refusal = refusal_of(config)
    text = str(refuse_with_alternative(refusal, config, DATASET, Compute()))
    assert text.startswith(f"{refusal} Nearest that would run: ")
    assert text.endswith(".")
    return text.removeprefix(f"{refusal} Nearest that would run: ").removesuffix(".")


def following(words: str, config: RunConfig) -> RunConfig:
    """Do what the suggestion says, as a user would."""
    if left_out := re.fullmatch(r"the same without --(\w+)", words):
        name = left_out.group(1)
        return attrs.evolve(config, **{name: None} if name == "neuron" else {f"{name}s": ()})
    flags = shlex.split(words)
    assert len(flags) % 2 == 0
    names = [flag.removeprefix("--").replace("-", "_") for flag in flags[::2]]
    return make_config(dict(zip(names, flags[1::2], strict=True)), config)


REFUSED: dict[str, tuple[dict[str, object], str, str, str]] = {
    "access": (
        {"student": "kd", "access": "hard"},
        "access",
        r"^Student `kd` needs logits from the teacher; --access hard grants labels\.$",
        "--access logit",
    ),
    "access of a later phase": (
        {"student": ["plain", "skeptical"], "access": "none"},
        "access",
        r"^Student `skeptical` needs logits from the teacher; --access none grants nothing\.$",
        "--access logit",
    ),
    "norm of an attack": (
        {"attack": ["pgd", "fgsm"], "norm": "l2"},
        "norm",
        r"^Attack `fgsm` works in linf, not in l2\.$",
        "--norm linf",
    ),
    "norm of an attack with a radius that only this norm allows": (
        {"attack": "fgsm", "norm": "l2", "eps": "3"},
        "norm",
        r"^Attack `fgsm` works in linf, not in l2\.$",
        "the same without --attack",
    ),
    "layer that a certifier cannot read": (
        {"certifier": "convex", "model": "digitnet", "student_model": MODEL},
        "certifier",
        r"^Certifier `convex` cannot certify the teacher: .*`net\.\S+` .*\.$",
        "--model convnet --student-model convnet",
    ),
    "layer of the student that a certifier cannot read": (
        {"certifier": "convex", "student_model": "digitnet"},
        "certifier",
        r"^Certifier `convex` cannot certify the student: .*`net\.\S+` .*\.$",
        "--student-model convnet",
    ),
    "spiking student and certifier": (
        {"certifier": "convex", "neuron": "lif"},
        "certifier",
        r"^Certifier `convex` cannot certify the student: ",
        "the same without --neuron",
    ),
    "student without taps": (
        {"student": "skeptical", "student_model": "mlp:hidden=4"},
        "student_model",
        r"^Student `skeptical` cannot train this student network: of the two taps that are needed it has 1",
        "--student-model convnet",
    ),
    "network without anything to spike": (
        {"neuron": "lif", "student_model": "mlp:hidden="},
        "neuron",
        r"^Neuron `lif` cannot replace the student's activations: ",
        "--student-model convnet",
    ),
    "network without filters": (
        {"pruner": "filters", "student_model": "mlp:hidden=4"},
        "pruner",
        r"^Pruner `filters` cannot prune the student: ",
        "--student-model convnet",
    ),
}


@pytest.mark.parametrize(("settings", "setting", "reason", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_run_is_refused_with_the_reason_and_the_nearest_that_runs(
    settings: dict[str, object], setting: str, reason: str, words: str
) -> None:
    config = config_of(**settings)
    refusal = refusal_of(config)
    assert refusal.setting == setting
    assert re.search(reason, str(refusal)), str(refusal)
    assert suggestion(config) == words
    assembled(following(words, config))


def test_two_obstacles_at_once_are_said_to_need_more_than_one_change() -> None:
    config = config_of(attack="fgsm", norm="l2", neuron="lif", certifier="convex")
    text = str(refuse_with_alternative(refusal_of(config), config, DATASET, Compute()))
    assert "works in linf, not in l2. No single change would make it run" in text


@pytest.mark.parametrize(
    ("settings", "second"),
    [
        ({"student": "attention:taps=foo"}, r"In the option `taps`: .*`foo`\. Its taps: \S+"),
        ({"student": "kd", "access": "hard", "neuron": "lif", "certifier": "convex"}, r"Certifier `convex` cannot "),
    ],
    ids=["layer", "certifier"],
)
def test_what_is_wrong_besides_access_is_named_and_no_other_student_advised(
    settings: dict[str, object], second: str
) -> None:
    config = config_of(**settings)
    refusal = refusal_of(config)
    text = str(refuse_with_alternative(refusal, config, DATASET, Compute()))
    level = "grey" if "attention" in text else "logit"
    words = rf"{re.escape(str(refusal))} --access {level} grants what is lacking, but then: {second}"
    assert re.match(words, text), text
    assert "--student" not in text
    # Doing the first leads to the second, as was said.
    with pytest.raises(RequestError, match=second):
        assembled(attrs.evolve(config, access=level))


def test_a_capability_beyond_the_presets_is_granted_by_adding_it() -> None:
    assembled(config_of(student="kd", access="hard+logits"))
    assert "logits" in str(refusal_of(config_of(student="kd", access="soft+params")))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_methods_of_both_norms_run_in_either(norm: str) -> None:
    assembled(config_of(attack="pgd", certifier="convex", norm=norm))


def test_a_radius_that_makes_no_sense_in_its_norm_is_refused() -> None:
    assembled(config_of(eps="3", norm="l2"))
    with pytest.raises(RequestError, match=r"eps is 3, but pixels lie in \[0, 1\]"):
        assembled(config_of(eps="3", norm="linf"))


def test_radii_without_a_certifier_are_refused() -> None:
    with pytest.raises(RequestError, match="radii of 5 images are asked for, but there is no certifier: name one"):
        assembled(config_of(radii=5))
    assembled(config_of(radii=5, certifier="convex"))


@pytest.mark.parametrize("eps", ["0:0.1:0.05", "0,0.1"])
def test_several_radii_with_nothing_to_measure_are_refused(eps: str) -> None:
    with pytest.raises(RequestError, match=rf"^--eps {eps} asks for a curve, but has nothing to measure: name an"):
        assembled(config_of(eps=eps))
    assembled(config_of(eps=eps, attack="fgsm"))
    assembled(config_of(eps=eps, certifier="convex"))


def test_a_certifier_that_cannot_be_is_left_out_together_with_its_radii() -> None:
    config = config_of(model="resnet18", certifier="convex", radii=5)
    assert suggestion(config) in ("--model convnet --student-model convnet", "the same without --certifier")


def test_both_sides_get_their_own_network() -> None:
    found = assembled(config_of(student_model="mlp:hidden=4+4", seed=3))
    assert (found.teacher_run.role, found.student_run.role) == ("teacher", "student")
    assert (found.teacher_run.model.name, found.student_run.model.name) == ("convnet", "mlp")
    assert (found.teacher_run.seed, found.student_run.seed) == (3, 3)
    assert any(isinstance(part, nn.Conv2d) for part in found.teacher.modules())
    assert not any(isinstance(part, nn.Conv2d) for part in found.student.modules())


def test_both_sides_train_where_the_run_does_with_its_workers() -> None:
    config, compute = config_of(workers=2), Compute()
    found = assemble(config, build_parts(config), DATASET, compute)
    for run in (found.teacher_run, found.student_run):
        assert run.compute is compute
        assert run.workers == 2


def test_the_student_has_the_teachers_architecture_but_not_its_weights() -> None:
    found = assembled(config_of())
    shapes = [
        {name: tuple(tensor.shape) for name, tensor in side.state_dict().items()}
        for side in (found.teacher, found.student)
    ]
    assert shapes[0] == shapes[1]
    first = [next(iter(side.parameters())) for side in (found.teacher, found.student)]
    assert not torch.equal(first[0], first[1])


def test_only_the_student_spikes() -> None:
    found = assembled(config_of(neuron="lif:steps=2"))
    assert isinstance(found.student, SpikingNetwork)
    assert not isinstance(found.teacher, SpikingNetwork)


@component
class Blind(StudentStrategy):
    """Learns nothing from no data."""

    access = Access.NONE
    data = Data.NONE

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        yield from ()


def test_the_student_reads_as_much_data_as_its_neediest_phase(announce: Announce) -> None:
    announce(Blind, "blind")
    assert assembled(config_of(student="blind")).student_run.level is Data.NONE
    assert assembled(config_of(student=["blind", "plain"])).student_run.level is Data.LABELLED
    assert assembled(config_of(student=["plain", "blind"])).student_run.level is Data.LABELLED


def test_parts_are_listed_by_the_setting_that_names_them() -> None:
    parts = build_parts(
        config_of(student=["plain", "kd"], attack=["fgsm", "pgd"], pruner="filters", student_model="mlp")
    )
    named = {setting: [type(part).__name__ for part in found] for setting, found in parts.by_setting().items()}
    assert named == {
        "data": ["Digits"],
        "model": ["ConvNet"],
        "student_model": ["Mlp"],
        "teacher": ["PlainTeacher"],
        "student": ["PlainStudent", "KD"],
        "pruner": [type(parts.pruners[0]).__name__],
        "neuron": [],
        "attack": ["FGSM", "PGD"],
        "certifier": [],
    }
    assert [type(part).__name__ for part in build_parts(config_of(neuron="lif")).by_setting()["neuron"]] == ["LIF"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"teacher": "plian"}, r"No teacher named `plian`\. Did you mean `plain`\?"),
        ({"student": ["plain", "kdd"]}, r"No student named `kdd`\. Did you mean `kd`\?"),
        ({"student_model": "mpl"}, r"No model named `mpl`\. Did you mean `mlp`\?"),
        ({"attack": "pgd:step=3"}, r"`pgd` has no option `step`\. Did you mean `steps`\?"),
        ({"data": "digits:size=4"}, r"Option `size` of `digits` is 4, but it must be between 8 and 64"),
        ({"neuron": "lif:steps=0"}, r"Option `steps` of `lif` is 0, but it must be at least 1"),
    ],
)
def test_parts_that_cannot_be_built_are_refused_first(settings: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        build_parts(config_of(**settings))


# --- students that become more than what is trained ------------------------------------------------------------------


def test_a_student_that_stays_what_it_is_trained_as_is_finished_as_it_is() -> None:
    assembly = assembled(config_of(student=["skeptical-e", "plain"]))
    assert assembly.finished_student is assembly.student
    assert assembly.finished_teacher is assembly.teacher


@pytest.mark.parametrize("neuron", [None, "lif:steps=2"])
def test_what_the_last_phase_leaves_is_built_before_anything_is_trained(neuron: str | None) -> None:
    assembly = assembled(config_of(student=["plain", "skeptical-e"], neuron=neuron))
    finished = assembly.finished_student
    assert finished is not assembly.student
    trained = {name.removeprefix("headed.student.") for name in finished.state_dict() if ".student." in name}
    assert trained == assembly.student.state_dict().keys()
    assert any(isinstance(part, SpikingNetwork) for part in finished.modules()) is (neuron is not None)


def test_what_a_student_or_teacher_becomes_is_what_must_be_certified() -> None:
    for setting in ({"student": "skeptical-e"}, {"teacher": "distilled:student=skeptical-e"}):
        role = "teacher" if "teacher" in setting else "student"
        config = config_of(certifier="convex", **setting)
        assert str(refusal_of(config)).startswith(f"Certifier `convex` cannot certify the {role}: ")
        assert suggestion(config)


def test_a_teacher_that_is_brought_becomes_nothing_else(tmp_path: Path) -> None:
    config = config_of(student="skeptical-e:epochs=0")
    folder = RunFolder(tmp_path)
    parts, assembly = build_parts(config), assembled(config)
    described = finished_architecture("student", config, parts, DATASET.info)
    folder.save_student(assembly.finished_student, described)
    brought = assembled(config_of(teacher=f"run:{tmp_path}"))
    assert brought.finished_teacher is brought.teacher
    assert brought.teacher.state_dict().keys() == assembly.finished_student.state_dict().keys()
