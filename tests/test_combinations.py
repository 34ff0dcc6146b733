"""Composition is the product: every combination of everything installed either runs or is refused with a way out.

The parts are read from the registry, so the walk grows with each plugin. Every teacher meets every student; all that
can be added to a pair is added to each of them beside an ordinary partner, and in turn to the other pairs.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from rcframe.access import PRESETS, Access
from rcframe.choice import Choice, parse_choice
from rcframe.errors import RequestError
from rcframe.evaluation.threat import make_threat
from rcframe.options import options_of
from rcframe.registry import registry
from rcframe.session.assemble import Refusal, assemble, build_parts, refuse_with_alternative
from rcframe.session.config import RunConfig, make_config
from rcframe.session.folder import create_folder
from rcframe.session.report import ModelReport, Report
from rcframe.session.session import Session, carry_out
from rcframe.storage.cache import Cache
from rcframe.testing.toys import toy_dataset
from rcframe.training.compute import Compute
from rcframe.training.monitor import Monitor

MODEL = "convnet:channels=4+4+4,hidden=8"
EPS = "0.05"
ALONE = Compute()
DATASET = toy_dataset(train=32, test=6)
#: Options that keep a combination quick, for components that have them.
QUICK = {"epochs": "1", "batch_size": "16", "finetune": "1", "steps": "2", "queries": "20", "samples": "2"}


def spec(kind: str, name: str) -> str:
    known = {option.name for option in options_of(registry().load(kind, Choice(name)))}
    options = [f"{key}={value}" for key, value in QUICK.items() if key in known]
    return f"{name}:{','.join(options)}" if options else name


def installed(kind: str) -> list[str]:
    return [spec(kind, item.spec.name) for item in registry().announced(kind)]


def session_of(config: RunConfig) -> Session:
    parts = build_parts(config)
    try:
        assembly = assemble(config, parts, DATASET, ALONE)
    except Refusal as refusal:
        raise refuse_with_alternative(refusal, config, DATASET, ALONE) from None
    return Session(
        config=config,
        parts=parts,
        dataset=DATASET,
        compute=ALONE,
        assembly=assembly,
        threat=make_threat(config.eps, config.norm),
        command="test",
    )


def least_access(student: str) -> str:
    """The default access, or the weakest above it that grants what a student needs."""
    (strategy,) = build_parts(config_of(student=student)).students
    return next(name for name, granted in PRESETS.items() if Access.LOGIT | strategy.access in granted)


def config_of(**settings: object) -> RunConfig:
    return make_config({"model": MODEL, "eps": EPS, **settings})


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, for the teachers that are brought."""
    folder = tmp_path_factory.mktemp("runs") / "earlier"
    session = session_of(config_of(student=spec("student", "plain")))
    carry_out(session, Monitor(), create_folder(folder, session))
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """What one combination has trained, the next need not."""
    return Cache(tmp_path_factory.mktemp("shared"))


TEACHERS = [spec("teacher", item.spec.name) for item in registry().announced("teacher")]
STUDENTS = installed("student")
ATTACKS = installed("attack")
AROUND = [
    [None, *installed("pruner")],
    [None, *installed("neuron")],
    [None, *installed("certifier")],
]
#: What is trained is combined with one attack and none; every attack is combined with what changes the network.
METHODS = list(itertools.product(*AROUND, [None, spec("attack", "pgd")]))
NETWORKS = list(itertools.product(*AROUND))


def completed(teacher: str, earlier: Path) -> str:
    """Add the option without which a teacher is nothing yet."""
    missing = {
        "file": str(earlier / "teacher.safetensors"),
        "run": str(earlier),
        "distilled": f"student=({spec('student', 'plain')}),teacher=({spec('teacher', 'plain')})",
    }
    return f"{teacher}:{missing[teacher]}" if teacher in missing else teacher


def methods_beside(teacher: str, student: str) -> list[tuple[str | None, ...]]:
    if spec("teacher", "plain") == teacher or spec("student", "plain") == student:
        return METHODS
    turn = TEACHERS.index(teacher) * len(STUDENTS) + STUDENTS.index(student)
    return [METHODS[0], METHODS[1 + turn % (len(METHODS) - 1)]]


def check_model(model: ModelReport, attack: str | None, certifier: str | None) -> None:
    measured = [model.clean, *model.attacked.values(), *model.certified.values()]
    assert list(model.attacked) == ([attack] if attack else [])
    assert list(model.certified) == ([certifier] if certifier else [])
    for one in measured:
        assert one.n == len(DATASET.test)
        assert 0 <= one.low <= one.accuracy <= one.high <= 1
    assert 0 < model.size.nonzero <= model.size.parameters


def check_report(report: Report, pruner: str | None, attack: str | None, certifier: str | None) -> None:
    check_model(report.teacher, attack, certifier)
    check_model(report.student, attack, certifier)
    assert math.isfinite(report.seconds)
    if pruner:
        assert report.student.size.nonzero < report.teacher.size.parameters


def session_or_way_out(config: RunConfig) -> Session | None:
    """Return the session; or None for a refusal, which must name a combination that would run."""
    try:
        return session_of(config)
    except RequestError as refusal:
        if "Nearest that would run:" not in str(refusal):
            pytest.fail(f"{config} was refused without a way out: {refusal}")
        return None


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("teacher", TEACHERS)
def test_every_combination_runs_or_is_refused_with_a_way_out(
    teacher: str, student: str, earlier: Path, shared: Cache
) -> None:
    ran = 0
    methods = methods_beside(teacher, student)
    for pruner, neuron, certifier, attack in methods:
        config = config_of(
            teacher=completed(teacher, earlier),
            student=student,
            access=least_access(student),
            pruner=pruner,
            neuron=neuron,
            attack=attack,
            certifier=certifier,
        )
        session = session_or_way_out(config)
        if session:
            check_report(carry_out(session, Monitor(), cache=shared), pruner, attack, certifier)
            ran += 1
    if methods is METHODS:
        assert ran >= len(methods) // 2, "most combinations of the default network must run"


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_runs_on_every_kind_of_network_or_is_refused_with_a_way_out(attack: str, shared: Cache) -> None:
    ran = 0
    for pruner, neuron, certifier in NETWORKS:
        for norm in build_parts(config_of(attack=attack)).attacks[0].norms:
            config = config_of(
                student=spec("student", "plain"),
                pruner=pruner,
                neuron=neuron,
                attack=attack,
                certifier=certifier,
                norm=norm,
            )
            session = session_or_way_out(config)
            if session:
                check_report(carry_out(session, Monitor(), cache=shared), pruner, attack, certifier)
                ran += 1
    assert ran >= len(NETWORKS) // 2, "most networks can be attacked in one norm"


def test_the_walk_covers_everything_installed() -> None:
    for kind in ("teacher", "student", "pruner", "neuron", "attack", "certifier"):
        names = {item.spec.name for item in registry().announced(kind)}
        walked = {parse_choice(text, kind).name for text in installed(kind)}
        assert names == walked
        assert names, f"no {kind} is installed: install the plugins of this repository"
