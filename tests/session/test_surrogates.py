from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from rcframe.errors import RequestError
from rcframe.evaluation.threat import make_threat
from rcframe.registry import registry
from rcframe.session.assemble import assemble, build_parts
from rcframe.session.config import make_config
from rcframe.session.folder import create_folder
from rcframe.session.session import Session, carry_out
from rcframe.session.stopping import Stop
from rcframe.session.store import Store
from rcframe.session.surrogates import Surrogate
from rcframe.session.twins import Surrogates
from rcframe.session.worklog import WorkLog
from rcframe.storage.cache import Cache
from rcframe.testing.toys import toy_dataset
from rcframe.training.compute import Compute
from rcframe.training.context import Role
from rcframe.training.monitor import Monitor

MODEL = "convnet:channels=4+4+8,hidden=16"
SHORT = "plain:epochs=2,batch_size=16"


def session_of(**settings: object) -> Session:
    given = {"model": MODEL, "eps": "1/4", "teacher": SHORT, "student": "kd:epochs=1,batch_size=16", **settings}
    config = make_config(given)
    parts, dataset, compute = build_parts(config), toy_dataset(test=30), Compute()
    return Session(
        config=config,
        parts=parts,
        dataset=dataset,
        compute=compute,
        assembly=assemble(config, parts, dataset, compute),
        threat=make_threat(config.eps, config.norm),
        command="test",
    )


class Told(Monitor):
    def __init__(self) -> None:
        self.said_: list[str] = []

    def said(self, text: str) -> None:
        self.said_.append(text)


def surrogates(session: Session, progress: Path | None = None, cache: Cache | None = None) -> tuple[Surrogates, Told]:
    told = Told()
    store = Store(
        progress=progress,
        cache=cache,
        log=WorkLog(),
        compute=Compute(),
        every=0,
        say=told.said,
        stop=Stop(),
    )
    return Surrogates(session, session.assembly.teacher, session.assembly.student, store, told), told


def weights(module: nn.Module | None) -> list[float]:
    assert module is not None
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()]).tolist()


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "earlier"
    session = session_of(seed=5)
    carry_out(session, Monitor(), create_folder(folder, session))
    return folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("teacher", Surrogate("teacher")),
        ("student", Surrogate("student")),
        ("twin", Surrogate("twin")),
        ("twin:7", Surrogate("twin", "7")),
        ("run:some/folder:x", Surrogate("run", "some/folder:x")),
        ("file:w.safetensors", Surrogate("file", "w.safetensors")),
    ],
)
def test_a_source_is_read_as_it_is_written(text: str, expected: Surrogate) -> None:
    assert Surrogate.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("techer", "Did you mean `teacher`"),
        ("", "Write teacher, student, twin"),
        ("run", "write `run:PATH`"),
        ("file:", "write `file:PATH`"),
        ("teacher:3", "write `teacher` alone"),
        ("twin:-1", "must be a whole number of 0 or more, as in `twin:7`"),
        ("twin:x", "must be a whole number"),
    ],
)
def test_other_sources_are_refused_when_the_run_is_put_together(text: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        session_of(attack={"name": "transfer", "source": text})


def test_a_twin_with_the_seed_of_the_run_is_refused() -> None:
    with pytest.raises(RequestError, match="is the attacked network itself: give it another seed"):
        session_of(seed=7, attack="transfer:source=twin:7")
    session_of(seed=6, attack="transfer:source=twin:7")


def test_a_teacher_that_is_brought_has_no_twin(earlier: Path) -> None:
    with pytest.raises(RequestError, match=r"not trained in this run, so it has no twin.*source=student"):
        session_of(teacher=f"run:{earlier}", attack="transfer")
    session_of(teacher=f"run:{earlier}", attack="transfer:source=student")


def test_a_file_that_is_not_there_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is not the folder of a finished run"):
        session_of(attack=f"transfer:source=run:{tmp_path}")


def test_the_networks_of_the_run_are_found_and_none_stands_for_the_attacked_one() -> None:
    session = session_of(attack=["pgd:steps=1", "transfer:source=teacher", "transfer:source=student"])
    plain, on_teacher, on_student = session.parts.attacks
    found, told = surrogates(session)
    assert found.of(plain, "teacher") is found.of(plain, "student") is None
    assert found.of(on_teacher, "teacher") is None
    assert found.of(on_teacher, "student") is session.assembly.teacher
    assert found.of(on_student, "teacher") is session.assembly.student
    assert found.of(on_student, "student") is None
    assert not told.said_


@pytest.mark.parametrize("around", ["", "eot:"])
def test_an_attack_that_is_crafted_on_the_attacked_network_itself_is_met_as_the_one_inside(around: str) -> None:
    typed = "transfer:attack=(pgd:steps=3),source=teacher"
    session = session_of(attack=["fgsm", f"eot:attack=({typed})" if around else typed, "transfer:source=twin"])
    fgsm, on_teacher, on_twin = session.parts.attacks
    found, told = surrogates(session)
    assert found.met(on_twin, "teacher") is on_twin
    assert [text for text in told.said_ if "seed 1" in text]
    assert found.met(fgsm, "teacher") is fgsm
    assert str(found.met(on_teacher, "teacher")) == str(registry().make("attack", "pgd:steps=3"))
    assert found.met(on_teacher, "student") is on_teacher


def test_a_twin_is_what_a_run_with_its_seed_trains(earlier: Path, tmp_path: Path) -> None:
    session = session_of(attack="transfer:source=twin:5")
    found, told = surrogates(session, tmp_path)
    (attack,) = session.parts.attacks
    other = session_of(attack=f"transfer:source=run:{earlier}")
    student = surrogates(other)[0].of(other.parts.attacks[0], "teacher")
    assert weights(found.of(attack, "student")) == weights(student)
    assert weights(found.of(attack, "teacher")) != weights(student)
    assert len(told.said_) == 1, "trained once for both"
    assert "with seed 5" in told.said_[0]


def test_a_twin_has_the_next_seed_unless_one_is_named() -> None:
    assert Surrogate.parse("twin").seed(3) == 4
    assert Surrogate.parse("twin:9").seed(3) == 9


def test_a_twin_that_was_trained_already_comes_from_the_cache(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    carry_out(session_of(seed=1), Monitor(), cache=cache)
    session = session_of(attack="transfer")
    found, told = surrogates(session, cache=cache)
    found.of(session.parts.attacks[0], "student")
    assert [text for text in told.said_ if "from the cache" in text] == [
        "teacher/train: from the cache",
        "student/train: from the cache",
    ]


def test_a_stopped_run_finds_its_twin_again(tmp_path: Path) -> None:
    session = session_of(attack="transfer")
    first, _ = surrogates(session, tmp_path)
    trained = weights(first.of(session.parts.attacks[0], "student"))
    kept = sorted(path.parent.name for path in tmp_path.rglob("*.safetensors"))
    assert kept == ["twin-1", "twin-1"]
    again = session_of(attack="transfer")
    second, _ = surrogates(again, tmp_path)
    before = [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*.safetensors"))]
    assert weights(second.of(again.parts.attacks[0], "student")) == trained
    assert [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*.safetensors"))] == before


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_run_measures_what_was_crafted_elsewhere(role: Role) -> None:
    other: Role = "student" if role == "teacher" else "teacher"
    attacks = ["pgd:steps=3", f"transfer:source={role},attack=(pgd:steps=3)", "transfer:attack=(pgd:steps=3)"]
    report = carry_out(session_of(teacher="plain:epochs=8,batch_size=16,lr=0.005", attack=attacks), Monitor())
    of = {"teacher": report.teacher, "student": report.student}
    # On the network it was crafted on it is the attack itself, without stopping early.
    assert of[role].attacked[attacks[1]].accuracy == pytest.approx(of[role].attacked[attacks[0]].accuracy, abs=0.1)
    assert of[other].attacked[attacks[1]].queries is not None
    assert of[other].clean.accuracy >= of[other].attacked[attacks[1]].accuracy


def test_a_run_with_a_curve_has_twins_too() -> None:
    session = session_of(attack="transfer", eps="0:0.2:0.1")
    found, _ = surrogates(session)
    assert found.of(session.parts.attacks[0], "teacher") is not None
