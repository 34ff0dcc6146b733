from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from rcframe.api import Attack
from rcframe.builtins.distilled import DistilledTeacher
from rcframe.choice import Choice
from rcframe.evaluation.oracle import Oracle
from rcframe.evaluation.threat import Threat
from rcframe.options import component, option
from rcframe.registry import registry
from rcframe.session.config import make_config
from rcframe.session.devices import threads
from rcframe.session.keeping import (
    RunKeeper,
    describe_device,
    measuring_parts,
    method_parts,
    student_parts,
    teacher_parts,
)
from rcframe.session.session import Session, prepare_session
from rcframe.session.stopping import Stop
from rcframe.session.store import Store
from rcframe.session.worklog import WorkLog
from rcframe.storage.cache import Cache
from rcframe.storage.keeper import Work
from rcframe.training.compute import Compute

if TYPE_CHECKING:
    from tests.conftest import Announce

BASE = {"data": "digits", "model": "convnet:channels=4+4,hidden=8", "student": "kd", "eval_size": 32}


def session(**changes: object) -> Session:
    return prepare_session(make_config({**BASE, **changes}), "rcframe run")


@cache
def base() -> Session:
    return session()


def network() -> nn.Module:
    """The teacher of every session here, so that only what is asked differs."""
    return base().assembly.teacher


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    """The parts that differ, but for versions: which plugins take part is another question."""
    names = {name for name in {*one, *other} if not name.startswith("version of ")}
    return {name for name in names if one.get(name) != other.get(name)}


#: What may be asked otherwise, and the parts that this changes of the teacher, the student and a measurement.
CHANGES: dict[str, tuple[dict[str, object], set[str], set[str], set[str]]] = {
    "nothing": ({}, set(), set(), set()),
    "seed": ({"seed": 1}, {"seed"}, {"seed"}, {"seed"}),
    "teacher": ({"teacher": "plain:lr=0.5"}, {"teacher"}, set(), set()),
    # The same weights are another network if they were built otherwise.
    "model": ({"model": "convnet:channels=4+8,hidden=8"}, {"model"}, {"model", "teacher"}, {"network"}),
    "student": ({"student": "kd:alpha=0.5"}, set(), {"student"}, set()),
    "phases": ({"student": ["plain", "kd"]}, set(), {"student"}, set()),
    "student's model": ({"student_model": "convnet:channels=4+2,hidden=8"}, set(), {"model"}, set()),
    "pruner": ({"pruner": "filters"}, set(), {"pruner"}, set()),
    "access": ({"access": "white"}, set(), {"access"}, set()),
    "budget": ({"budget": 100_000}, set(), {"budget"}, set()),
    "precision": ({"precision": "bf16"}, {"precision"}, {"precision"}, set()),
    "determinism": ({"deterministic": True}, {"deterministic"}, {"deterministic"}, {"deterministic"}),
    "eps": ({"eps": "1/255"}, set(), set(), set()),
    "norm": ({"norm": "l2", "attack": "pgd"}, set(), set(), set()),
    "how many images": ({"eval_size": 64}, set(), set(), {"measured"}),
    "attack": ({"attack": ["fgsm", "pgd"], "certifier": "convex"}, set(), set(), set()),
    "checkpoints": ({"checkpoint": 0.0, "workers": 2}, set(), set(), set()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_asked_determines_exactly_what_depends_on_it(change: str) -> None:
    settings, teacher, student, measurement = CHANGES[change]
    ours, theirs = base(), session(**settings)
    assert differing(teacher_parts(ours), teacher_parts(theirs)) == teacher
    assert differing(student_parts(ours, network()), student_parts(theirs, network())) == student
    measured = [measuring_parts(one, "teacher", network()) for one in (ours, theirs)]
    assert differing(*measured) == measurement


def test_our_own_code_and_torch_count_for_networks_without_a_layer_of_ours() -> None:
    found = measuring_parts(base(), "student", nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))
    assert {"code of rcframe", "code of torch"} <= set(found)


def test_the_number_of_threads_counts() -> None:
    with threads(1):
        alone = teacher_parts(base())
    with threads(2):
        assert differing(alone, teacher_parts(base())) == {"threads"}


def test_the_weights_of_the_teacher_determine_the_student_and_those_of_a_network_its_measurements() -> None:
    other = session(seed=5).assembly.teacher
    assert differing(student_parts(base(), network()), student_parts(base(), other)) == {"teacher"}
    ours, theirs = (measuring_parts(base(), "student", module) for module in (network(), other))
    assert differing(ours, theirs) == {"network"}


def test_teacher_and_student_that_train_alike_are_not_mixed_up() -> None:
    one = session(student="plain")
    assert "role" in differing(teacher_parts(one), student_parts(one, network()))


def test_a_teacher_of_the_teacher_counts_as_it_would_alone() -> None:
    """So that a run in which it is the teacher shares its training."""
    model = "convnet:channels=8,hidden=4"
    alone = session(teacher="plain:epochs=3", model=model)
    chain = session(teacher=f"distilled:student=kd,teacher=(plain:epochs=3),model=({model})")
    teacher, run = chain.parts.teacher, chain.assembly.teacher_run
    assert isinstance(teacher, DistilledTeacher)
    stage = next(teacher.plan(teacher.network(run), run))
    assert teacher_parts(chain, stage.owner) == teacher_parts(alone)
    assert {"model", "teacher"} <= differing(teacher_parts(chain), teacher_parts(alone))


def test_the_versions_of_all_plugins_that_take_part_count() -> None:
    parts = student_parts(session(pruner="filters", neuron="lif"), network())
    for kind, name in (("student", "kd"), ("pruner", "filters"), ("neuron", "lif"), ("model", "convnet")):
        found = registry().find(kind, Choice(name))
        assert parts[f"version of {found.distribution}"] == found.version
        assert parts[kind].startswith(name)


# -- methods that measure ---------------------------------------------------------------------------------------------


def parts_of(spec: str, **settings: object) -> Mapping[str, str]:
    one = session(attack=spec, **settings)
    found = method_parts(one.config.attacks[0], one.parts.attacks[0], one.threat)
    assert found is not None
    return found


def test_an_attack_counts_with_all_its_options_its_version_and_its_code() -> None:
    parts = parts_of("pgd")
    assert parts["attack"].startswith("pgd:steps=")
    assert parts["version of rcframe-attacks"] == registry().find("attack", Choice("pgd")).version
    assert "code of rcframe_attacks" in parts
    assert differing(parts, parts_of("pgd:restarts=2")) == {"attack"}


def test_the_threat_counts_for_attacks_and_not_for_the_network() -> None:
    assert differing(parts_of("pgd", eps=0.1), parts_of("pgd", eps=0.2)) == {"threat"}
    assert differing(parts_of("pgd", eps=0.1), parts_of("pgd", eps=0.1, norm="l2")) == {"threat"}
    one, other = (measuring_parts(session(eps=eps), "student", network()) for eps in (0.1, 0.2))
    assert differing(one, other) == set()


def test_how_an_attack_is_spelled_does_not_matter() -> None:
    assert parts_of("pgd") == parts_of("pgd:restarts=1") == parts_of("rcframe-attacks/pgd")


@component
class Unread(Attack):
    """An attack whose source nobody can find."""

    strength: float = option(default=1.0, help="Nothing.")

    def craft(self, source: Oracle, x: torch.Tensor, y: torch.Tensor, threat: Threat) -> torch.Tensor:
        return x


def test_an_attack_without_a_source_has_no_identity(announce: Announce, monkeypatch: pytest.MonkeyPatch) -> None:
    announce(Unread, "unread")
    built = registry().make("attack", "unread")
    monkeypatch.setattr(Unread, "__module__", "typed_at_a_prompt")
    assert method_parts(Choice("unread"), built, Threat(0.1)) is None


def test_the_processor_is_named_as_far_as_it_decides_how_numbers_are_rounded() -> None:
    assert describe_device(torch.device("cpu")).startswith(f"cpu {platform.machine()} ")
    assert describe_device(torch.device("meta")) == "meta"


# -- the keeper of a run ----------------------------------------------------------------------------------------------


class Named:
    """Work that needs nothing but its name."""

    def __init__(self, name: str, own: Mapping[str, str] | None) -> None:
        self.name, self.own, self.loaded = name, own, False

    def identity(self) -> Mapping[str, str] | None:
        return self.own

    def check(self) -> None:
        pass

    def state_dict(self) -> Mapping[str, object]:
        return {"half": True}

    def final_state(self) -> Mapping[str, object]:
        return {}

    def load_state_dict(self, state: Mapping[str, object], /) -> None:
        self.loaded = True


def store(folder: Path) -> Store:
    said: list[str] = []
    return Store(
        progress=folder,
        cache=Cache(folder / "cache"),
        log=WorkLog(),
        compute=Compute(),
        every=0.0,
        say=said.append,
        stop=Stop(),
    )


def nothing(_: Work) -> Mapping[str, str]:
    return {}


def keep(keeper: RunKeeper, *works: Named) -> None:
    for work in works:
        with keeper.keeping(work) as finished:
            if not finished:
                keeper.progressed(work)


def test_work_is_known_by_its_name_by_what_it_says_and_by_the_run(tmp_path: Path) -> None:
    kept = store(tmp_path)
    keep(RunKeeper(kept, lambda _: {"seed": "0"}, chained=False), Named("train", {"epochs": "3"}))
    assert kept.log.entries[0].identity.parts == {"name": "train", "epochs": "3", "seed": "0"}


def test_work_that_follows_other_work_is_determined_by_it(tmp_path: Path) -> None:
    kept = store(tmp_path)
    keep(RunKeeper(kept, nothing, chained=True), Named("train", {}), Named("prune", {}), Named("tune", {}))
    train, prune, tune = (entry.identity for entry in kept.log.entries)
    assert [one.parts["follows"] for one in (train, prune, tune)] == ["", train.key, prune.key]


def test_the_chain_is_the_same_when_work_was_found(tmp_path: Path) -> None:
    keys = []
    for _ in range(2):
        kept, works = store(tmp_path), [Named("train", {}), Named("prune", {})]
        keep(RunKeeper(kept, nothing, chained=True), *works)
        keys.append([entry.identity.key for entry in kept.log.entries])
    assert keys[0] == keys[1]
    assert all(work.loaded for work in works)


def test_measurements_stand_for_themselves(tmp_path: Path) -> None:
    kept = store(tmp_path)
    keep(RunKeeper(kept, nothing, chained=False), Named("clean", {}), Named("pgd", {}))
    assert all("follows" not in entry.identity.parts for entry in kept.log.entries)


def test_work_that_cannot_tell_what_determines_it_is_kept_but_not_shared(tmp_path: Path) -> None:
    kept = store(tmp_path)
    keep(RunKeeper(kept, nothing, chained=False), Named("told", {}), Named("untold", None))
    assert [entry.identity.name for entry in Cache(tmp_path / "cache").entries()] == ["told"]
    again = Named("untold", None)
    keep(RunKeeper(store(tmp_path), nothing, chained=False), again)
    assert again.loaded


def test_the_run_is_asked_anew_for_every_piece_of_work(tmp_path: Path) -> None:
    """A pruner may use a component that no earlier stage has used."""
    kept, made = store(tmp_path), dict[str, str]()
    keeper = RunKeeper(kept, lambda _: made, chained=False)
    keep(keeper, Named("train", {}))
    made["uses model convnet"] = "rcframe 1"
    keep(keeper, Named("prune", {}))
    assert ["uses model convnet" in entry.identity.parts for entry in kept.log.entries] == [False, True]
