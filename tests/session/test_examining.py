from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import rcframe as rc
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.threat import make_threat
from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.networks.modes import freeze
from rcframe.session.assemble import assemble, build_parts
from rcframe.session.config import make_config
from rcframe.session.measure import measure
from rcframe.session.session import Session
from rcframe.session.stopping import Stop
from rcframe.session.store import Store
from rcframe.session.twins import Surrogates
from rcframe.session.worklog import WorkLog
from rcframe.storage.cache import Cache
from rcframe.testing.toys import toy_dataset, trained_network
from rcframe.training.compute import Compute
from rcframe.training.monitor import Monitor


class Rounded(nn.Module):
    """Sees three levels of grey, and no gradient."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net((2 * x).round() / 2)
        return logits


class Told(Monitor):
    def __init__(self) -> None:
        self.words: list[str] = []

    def said(self, text: str) -> None:
        self.words.append(text)


def session_of(**settings: object) -> Session:
    config = make_config({"model": "convnet:channels=4+4+8,hidden=16", "eps": "1/4", **settings})
    parts, dataset, compute = build_parts(config), toy_dataset(test=120), Compute()
    return Session(
        config=config,
        parts=parts,
        dataset=dataset,
        compute=compute,
        assembly=assemble(config, parts, dataset, compute),
        threat=make_threat(config.eps, config.norm),
        command="test",
    )


def flags_of(student: nn.Module, told: Told, /, cache: Cache | None = None, **settings: object) -> tuple[str, ...]:
    session, teacher = session_of(**settings), freeze(trained_network("teacher", 40))
    store = Store(progress=None, cache=cache, log=WorkLog(), compute=Compute(), every=5, say=told.said, stop=Stop())
    surrogates = Surrogates(session, teacher, student, store, told)
    return measure(session, teacher, student, Queries(), store, told, surrogates).report.flags


@pytest.fixture(scope="module")
def rounded() -> nn.Module:
    return freeze(Rounded(trained_network("teacher", 40)))


def test_what_speaks_against_one_network_is_said_of_that_one_alone(rounded: nn.Module) -> None:
    flags = flags_of(rounded, Told(), attack="pgd:steps=40,restarts=2", eps=0.15)
    (found,) = (flag for flag in flags if isinstance(flag, Flag) and flag.kind is Kind.NO_GRADIENT)
    assert "student" in found
    assert "teacher" not in found


def test_without_attacks_nothing_is_examined(rounded: nn.Module) -> None:
    told = Told()
    assert flags_of(rounded, told) == ()
    assert not [text for text in told.words if "distrust" in text]


class Stuck(nn.Module):
    """Names its third class for every image."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits * 0 + nn.functional.one_hot(torch.tensor(2), logits.shape[1])


def test_a_network_that_learnt_nothing_is_told_without_any_attack() -> None:
    (flag,) = flags_of(freeze(Stuck(trained_network("teacher", 40))), Told())
    assert isinstance(flag, Flag)
    assert flag.kind is Kind.CHANCE
    assert flag.startswith("the student has ")
    assert "it answers one class every time" in flag


@pytest.mark.parametrize(
    ("teacher", "student", "flagged"),
    [
        ("stingy:keep=1", "logits", 1),
        ("stingy:keep=1", "adversarial-distill", 1),
        ("stingy:keep=1", "adversarial-distill:loss=kl", 0),
        ("stingy:keep=1", "kd", 0),
        ("stingy:keep=3", "logits", 0),
        ("plain", "logits", 0),
    ],
)
def test_classes_that_a_teacher_rules_out_and_a_student_ignores_are_told_of(
    teacher: str, student: str, flagged: int
) -> None:
    flags = flags_of(freeze(trained_network("student", 40)), Told(), teacher=teacher, student=student)
    told = [flag for flag in flags if isinstance(flag, Flag) and flag.kind is Kind.RULED_OUT]
    assert len(told) == flagged
    assert all(
        flag.startswith("the teacher rules out 66.7% of the classes") and f"`{student}`" in flag for flag in told
    )


class Unsteady(nn.Module):
    """Adds much noise to its answers."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits + 5 * torch.randn_like(logits)


def test_what_attacks_break_of_a_network_that_answers_at_random_is_not_laid_to_its_gradients() -> None:
    student = freeze(Unsteady(trained_network("teacher", 40)))
    flags = flags_of(student, Told(), attack=["pgd:steps=2", "fgsm", "uniform"], eps=0.02)
    told = [flag.kind for flag in flags if isinstance(flag, Flag) and "student" in flag]
    assert Kind.RANDOM in told
    assert not {Kind.NOISE, Kind.SINGLE_STEP} & set(told)


def test_an_attack_crafted_on_the_teacher_is_no_transfer_to_the_teacher() -> None:
    """There it is an iterated gradient attack, however short."""
    attack = "transfer:attack=(pgd:steps=1,step_size=0.01,random_start=false),source=teacher"
    flags = flags_of(freeze(trained_network("student", 40)), Told(), attack=attack, eps=0.2)
    weak = [flag for flag in flags if isinstance(flag, Flag) and flag.kind is Kind.WEAK_ATTACKS]
    assert [("student itself" in flag, "teacher itself" in flag) for flag in weak] == [(True, False)]


def test_an_examination_is_not_repeated(rounded: nn.Module, tmp_path: Path) -> None:
    cache, settings = Cache(tmp_path), {"attack": "pgd:steps=10", "eps": 0.15}
    first = flags_of(rounded, Told(), cache, **settings)
    torch.manual_seed(5)
    told = Told()
    assert flags_of(rounded, told, cache, **settings) == first
    assert first
    assert [text for text in told.words if "trust" in text and "from the cache" in text] == [
        "teacher: trust: from the cache",
        "student: trust: from the cache",
    ]
    other = Told()
    flags_of(freeze(trained_network("teacher", 40)), other, cache, **settings)
    assert "teacher: trust: from the cache" not in other.words, "it was held against another student"


def test_flags_are_texts_in_the_report_of_a_run() -> None:
    report = rc.run(data="digits", teacher="plain:epochs=1", student="plain:epochs=1", attack="fgsm", eval_size=40)
    assert any(flag.startswith("only 40 images") for flag in report.flags)
    assert all(isinstance(flag, str) for flag in report.as_json()["flags"])  # type: ignore[attr-defined]
