"""Putting the parts of a run together and checking them against each other before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import cast, get_args

import attrs
import torch
from torch import nn

from rcframe.access import PRESETS, Access, describe_access, parse_access
from rcframe.api import (
    Attack,
    Certifier,
    Component,
    DataSource,
    Model,
    NeuronModel,
    Norm,
    Pruner,
    StudentStrategy,
    Teacher,
)
from rcframe.builtins.saved import build_network
from rcframe.choice import Choice
from rcframe.data.images import Dataset
from rcframe.errors import RequestError
from rcframe.evaluation.threat import make_threat
from rcframe.guarding import trained_part
from rcframe.networks.modes import evaluating, parameters_fixed
from rcframe.registry import registry
from rcframe.session.architecture import finished_architecture, trained_architecture
from rcframe.session.config import DEFAULT_MODEL, RunConfig
from rcframe.session.inner_attacks import check_inner_attacks, inner_attacks
from rcframe.session.surrogates import Surrogate, bring, check_surrogates
from rcframe.training.compute import Compute
from rcframe.training.context import Run
from rcframe.training.settings import Optimization


@attrs.frozen(kw_only=True)
class Parts:
    """The components of a run, built."""

    data: DataSource
    model: Model
    student_model: Model
    teacher: Teacher
    students: tuple[StudentStrategy, ...]
    pruners: tuple[Pruner, ...]
    neuron: NeuronModel | None
    attacks: tuple[Attack, ...]
    certifiers: tuple[Certifier, ...]

    def by_setting(self) -> dict[str, tuple[Component, ...]]:
        """Return the components by the setting of a run that names them."""
        return {
            "data": (self.data,),
            "model": (self.model,),
            "student_model": (self.student_model,),
            "teacher": (self.teacher,),
            "student": self.students,
            "pruner": self.pruners,
            "neuron": (self.neuron,) if self.neuron else (),
            "attack": self.attacks,
            "certifier": self.certifiers,
        }


def build_parts(config: RunConfig) -> Parts:
    """Build every component a configuration names."""

    def one(kind: str, choice: Choice) -> Component:
        return registry().make(kind, choice)

    def many(kind: str, choices: tuple[Choice, ...]) -> tuple[Component, ...]:
        return tuple(one(kind, choice) for choice in choices)

    return Parts(
        data=cast(DataSource, one("data", config.data)),
        model=cast(Model, one("model", config.model)),
        student_model=cast(Model, one("model", config.student_model or config.model)),
        teacher=cast(Teacher, one("teacher", config.teacher)),
        students=cast("tuple[StudentStrategy, ...]", many("student", config.students)),
        pruners=cast("tuple[Pruner, ...]", many("pruner", config.pruners)),
        neuron=cast(NeuronModel, one("neuron", config.neuron)) if config.neuron else None,
        attacks=cast("tuple[Attack, ...]", many("attack", config.attacks)),
        certifiers=cast("tuple[Certifier, ...]", many("certifier", config.certifiers)),
    )


class Refusal(RequestError):
    """A combination that cannot run. `setting` is the part of the request to change first."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(reason)
        self.setting = setting


@attrs.frozen(kw_only=True)
class Assembly:
    """What a run starts from: its two sides and their untrained networks."""

    teacher_run: Run
    student_run: Run
    teacher: nn.Module
    student: nn.Module
    #: What both are once they are trained, but untrained: what is asked, attacked and certified.
    finished_teacher: nn.Module
    finished_student: nn.Module
    #: Networks from elsewhere on which transfer attacks are crafted, by how they were named.
    surrogates: Mapping[str, nn.Module] = attrs.field(factory=dict)


def assemble(config: RunConfig, parts: Parts, dataset: Dataset, compute: Compute) -> Assembly:
    """Build the networks and check every part against every other, or refuse with the reason."""
    check_settings(config, parts)
    side = partial(Run, seed=config.seed, compute=compute, workers=config.workers, dataset=dataset)
    run = side(role="teacher", model=config.model)
    student_run = side(
        role="student",
        model=config.student_model or config.model,
        level=max(strategy.data for strategy in parts.students),
    )
    _check_images(parts, run, student_run)
    teacher = parts.teacher.network(run)
    student = _student(config, parts, student_run)
    if {id(parameter) for parameter in teacher.parameters()} & {id(parameter) for parameter in student.parameters()}:
        raise RequestError("Teacher and student are one module: the model's function must build a new one each time.")
    assembly = Assembly(
        teacher_run=run,
        student_run=student_run,
        teacher=teacher,
        student=student,
        finished_teacher=_finished(teacher, run, config, parts),
        finished_student=student,
        surrogates=bring(parts, student_run),
    )
    _check_students(config, parts, assembly)
    # Only a student that its strategy can train has a finished form.
    assembly = attrs.evolve(assembly, finished_student=_finished(student, student_run, config, parts))
    _check_support(config, parts, assembly)
    return assembly


def check_settings(config: RunConfig, parts: Parts) -> None:
    """Check what can be checked without data and networks: access, norm and radius."""
    _check_access(config, parts)
    _check_norms(config, parts)
    check_surrogates(config, parts.attacks, parts.teacher)
    check_inner_attacks(config, parts)
    if config.radii and not config.certifiers:
        raise RequestError(
            f"Certified radii of {config.radii} images are asked for, but there is no certifier: name one, for example "
            f"--certifier convex, or leave out --radii."
        )
    if config.curve and not config.attacks and not config.certifiers:
        raise RequestError(
            f"--eps {config.curve_typed} asks for a curve, but has nothing to measure: name an --attack or a "
            f"--certifier, or leave out --eps."
        )


def _check_access(config: RunConfig, parts: Parts) -> None:
    granted = parse_access(config.access)
    for choice, strategy in zip(config.students, parts.students, strict=True):
        missing = strategy.access & ~granted
        if missing:
            raise Refusal(
                "access",
                f"Student `{choice.name}` needs {describe_access(missing)} from the teacher; "
                f"--access {config.access} grants {describe_access(granted)}.",
            )


def _check_images(parts: Parts, run: Run, student_run: Run) -> None:
    """Refuse methods that ask for images which the data set lacks."""
    teacher = trained_part(parts.teacher)
    if isinstance(teacher, Optimization):
        teacher.check_run(run)
    for strategy in parts.students:
        if isinstance(strategy, Optimization):
            strategy.check_run(student_run.reading(strategy.data))


def _check_norms(config: RunConfig, parts: Parts) -> None:
    methods: list[tuple[str, Choice, tuple[str, ...]]] = [
        *(("attack", c, a.norms) for c, a in zip(config.attacks, parts.attacks, strict=True)),
        *(("certifier", c, a.norms) for c, a in zip(config.certifiers, parts.certifiers, strict=True)),
    ]
    # A radius that makes sense in one norm may make none in another.
    make_threat(config.eps if config.eps is not None else 0, config.norm)
    for kind, choice, norms in methods:
        if config.norm not in norms:
            raise Refusal(
                "norm", f"{kind.capitalize()} `{choice}` works in {' and '.join(norms)}, not in {config.norm}."
            )


def _student(config: RunConfig, parts: Parts, run: Run) -> nn.Module:
    student = run.network("student")
    if parts.neuron is None or config.neuron is None:
        return student
    if reason := parts.neuron.unsupported(student):
        raise Refusal("neuron", f"Neuron `{config.neuron.name}` cannot replace the student's activations: {reason}.")
    return parts.neuron.convert(student).to(run.device)


def _finished(network: nn.Module, run: Run, config: RunConfig, parts: Parts) -> nn.Module:
    """Return what `network` is once it is trained: itself, unless its method makes more of it."""
    finished = finished_architecture(run.role, config, parts, run.info)
    brought = run.role == "teacher" and parts.teacher.brought() is not None
    if brought or finished == trained_architecture(run.role, config, parts, run.info):
        return network
    return build_network(finished, run, "finished")


def _check_students(config: RunConfig, parts: Parts, assembly: Assembly) -> None:
    """Ask every student strategy whether it can work with both networks."""
    for choice, strategy in zip(config.students, parts.students, strict=True):
        if reason := strategy.unsupported(assembly.student):
            raise Refusal("student_model", f"Student `{choice.name}` cannot train this student network: {reason}.")
        if reason := strategy.mismatch(assembly.student, assembly.finished_teacher):
            raise Refusal("teacher", f"Student `{choice}` cannot learn from this teacher: {reason}.")


def _check_support(config: RunConfig, parts: Parts, assembly: Assembly) -> None:
    """Ask every other part that touches a network whether it can."""
    teacher, student, run = assembly.teacher, assembly.student, assembly.teacher_run
    for inner in inner_attacks(config, parts):
        network = teacher if inner.trained.kind == "teacher" else student
        if reason := inner.attack.unsupported(network) or _gradient_gap(inner.attack, network, run):
            raise Refusal(inner.trained.kind, f"{inner} cannot attack this network in training: {reason}.")
    for choice, pruner in zip(config.pruners, parts.pruners, strict=True):
        if reason := pruner.unsupported(student):
            raise Refusal("pruner", f"Pruner `{choice.name}` cannot prune the student: {reason}.")
    for choice, attack in zip(config.attacks, parts.attacks, strict=True):
        for name, network in _crafted_on(attack, assembly).items():
            if reason := attack.unsupported(network) or _gradient_gap(attack, network, run):
                raise Refusal("attack", f"Attack `{choice}` cannot attack the {name}: {reason}.")
    for choice, certifier in zip(config.certifiers, parts.certifiers, strict=True):
        for role, network in (("teacher", assembly.finished_teacher), ("student", assembly.finished_student)):
            if reason := certifier.unsupported(network):
                raise Refusal("certifier", f"Certifier `{choice.name}` cannot certify the {role}: {reason}.")


def _crafted_on(attack: Attack, assembly: Assembly) -> Mapping[str, nn.Module]:
    """Return the networks that an attack looks at, by what they are; a twin can whatever the network itself can."""
    both = {"teacher": assembly.finished_teacher, "student": assembly.finished_student}
    source = attack.surrogate
    if source is None or Surrogate.parse(source).kind == "twin":
        return both
    return {source: both[source] if source in both else assembly.surrogates[source]}


def _gradient_gap(attack: Attack, network: nn.Module, run: Run) -> str | None:
    """Say that an attack needs gradients which the network does not pass on, or None."""
    if Access.INPUT_GRAD not in attack.access:
        return None
    with evaluating(network), parameters_fixed(network), torch.enable_grad():
        logits = network(run.example.requires_grad_(True))
    return None if logits.requires_grad else "no gradient leads from its outputs back to the image"


def refuse_with_alternative(refusal: Refusal, config: RunConfig, dataset: Dataset, compute: Compute) -> RequestError:
    """Return the refusal with the nearest combination that would run added, found by trying."""
    if second := _refused_with_access(refusal, config, dataset, compute):
        return second
    for words, changed in _alternatives(refusal, config):
        try:
            assemble(changed, build_parts(changed), dataset, compute)
        except RequestError:
            continue
        return RequestError(f"{refusal} Nearest that would run: {words}.")
    return RequestError(f"{refusal} No single change would make it run: start from `rcframe run` and add part by part.")


def _refused_with_access(
    refusal: Refusal, config: RunConfig, dataset: Dataset, compute: Compute
) -> RequestError | None:
    """Return what else is wrong, where enough access would only lead to another refusal.

    A different student would hide what the user has to mend.
    """
    if refusal.setting != "access":
        return None
    for preset in PRESETS:
        changed = attrs.evolve(config, access=preset)
        try:
            assemble(changed, build_parts(changed), dataset, compute)
        except RequestError as second:
            if not isinstance(second, Refusal) or second.setting != "access":
                return RequestError(f"{refusal} --access {preset} grants what is lacking, but then: {second}")
        else:
            return None
    return None


def _alternatives(refusal: Refusal, config: RunConfig) -> Iterator[tuple[str, RunConfig]]:
    """Yield changed configurations, the smallest change first, with the words that describe the change."""
    if refusal.setting == "access":
        for preset in PRESETS:
            yield f"--access {preset}", attrs.evolve(config, access=preset)
    if refusal.setting == "norm":
        for norm in get_args(Norm):
            yield f"--norm {norm}", attrs.evolve(config, norm=norm)
    default = Choice(DEFAULT_MODEL)
    yield f"--student-model {default}", attrs.evolve(config, student_model=default)
    yield f"--model {default} --student-model {default}", attrs.evolve(config, model=default, student_model=default)
    if config.neuron:
        yield "the same without --neuron", attrs.evolve(config, neuron=None)
    if config.pruners:
        yield "the same without --pruner", attrs.evolve(config, pruners=())
    if refusal.setting == "teacher":
        yield "--teacher plain", attrs.evolve(config, teacher=Choice("plain"))
    yield "--student plain", attrs.evolve(config, students=(Choice("plain"),))
    if len(config.attacks) > 1:
        for left_out in config.attacks:
            others = tuple(choice for choice in config.attacks if choice != left_out)
            yield f"the same without --attack {left_out}", attrs.evolve(config, attacks=others)
    yield "the same without --certifier", attrs.evolve(config, certifiers=(), radii=0)
    yield "the same without --attack", attrs.evolve(config, attacks=())
