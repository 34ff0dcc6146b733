from __future__ import annotations

from pathlib import Path

import attrs

from rcframe.experiments.matrix_file import parse_matrix
from rcframe.experiments.plan import Plan, make_plan
from rcframe.options import values_of
from rcframe.session.assemble import build_parts
from rcframe.testing.shortened import carry_out_here, shortened
from tests.experiments.engines import TINY


def plan(**settings: object) -> Plan:
    return make_plan(parse_matrix({"row": {"name": "one", **settings}}, "title", "here"))


def test_every_training_takes_one_epoch_and_measuring_few_images() -> None:
    asked = {
        "teacher": "nasty:epochs=60,adversary_epochs=30,omega=0.5",
        "student": ["plain", "kd:epochs=4,temperature=3"],
        "pruner": "filters:ratio=0.25,finetune=9",
        "attack": "pgd:steps=7",
    }
    (run,) = shortened(plan(**asked)).runs
    same = {
        "teacher": "nasty:epochs=1,adversary_epochs=1,omega=0.5",
        "student": ["plain:epochs=1", "kd:epochs=1,temperature=3"],
    }
    same |= {"pruner": "filters:ratio=0.25,finetune=1", "attack": "pgd:steps=7"}
    assert build_parts(run.config) == plan(**same).runs[0].parts
    assert (run.config.eval_size, run.config.device) == (50, "cpu")


def test_what_is_shorter_already_stays() -> None:
    (run,) = shortened(plan(teacher="plain:epochs=0", pruner="filters:finetune=0")).runs
    assert getattr(build_parts(run.config).teacher, "epochs", None) == 0
    assert getattr(build_parts(run.config).pruners[0], "finetune", None) == 0


def test_what_other_methods_train_inside_is_shortened_too() -> None:
    chain = "distilled:model=mlp,teacher=({nasty}),student=({kd})"
    long = chain.format(nasty="nasty:epochs=60,adversary_epochs=30,omega=0.5", kd="kd:epochs=5,temperature=3")
    short = chain.format(nasty="nasty:epochs=1,adversary_epochs=1,omega=0.5", kd="kd:epochs=1,temperature=3")
    (run,) = shortened(plan(teacher=long)).runs
    inside = build_parts(run.config).teacher.parts()
    assert inside == plan(teacher=short).runs[0].parts.teacher.parts()
    assert str(run.config.teacher) == long


def test_what_is_inside_by_default_is_shortened_too() -> None:
    (run,) = shortened(plan(teacher="distilled:student=kd")).runs
    assert {values_of(part)["epochs"] for part in build_parts(run.config).teacher.parts()} == {1}


def test_a_teacher_named_without_its_option_is_shortened() -> None:
    (run,) = shortened(plan(teacher="stingy:nasty")).runs
    (nasty,) = build_parts(run.config).teacher.parts()
    assert (values_of(nasty)["epochs"], values_of(nasty)["adversary_epochs"]) == (1, None)


def test_parts_keep_the_names_by_which_their_figures_are_found() -> None:
    (run,) = shortened(plan(teacher="plain:epochs=9", student="kd:epochs=(9)")).runs
    assert (str(run.config.teacher), str(run.config.students[0])) == ("plain:epochs=9", "kd:epochs=(9)")


def test_a_plan_is_carried_out_in_this_process(tmp_path: Path, own_cache: Path) -> None:
    settings = {name: value for name, value in TINY.items() if "." not in name}
    document = {"seeds": 2, "run": settings, "vary": {"student": ["plain", "kd"]}}
    found = carry_out_here(shortened(make_plan(parse_matrix(document, "title", "here"))), tmp_path / "m")
    assert [(group.name, group.seeds) for group in found.groups] == [("plain", (0, 1)), ("kd", (0, 1))]
    assert found.unfinished == ()
    assert found.groups[0].labels == {"student": "plain"}
    # Work is shared among the runs; nothing is taken from the user's cache, and nothing left there.
    assert len(list((tmp_path / "m" / "cache").rglob("*.safetensors"))) >= 3
    assert list(own_cache.iterdir()) == []


def test_a_plan_is_gone_on_with_in_the_same_place(tmp_path: Path, own_cache: Path) -> None:
    settings = {name: value for name, value in TINY.items() if "." not in name}
    document = {"run": settings, "vary": {"student": ["plain", "kd"]}}
    whole = shortened(make_plan(parse_matrix(document, "title", "here")))
    (begun,) = carry_out_here(attrs.evolve(whole, runs=whole.runs[:1]), tmp_path / "m").groups
    written = (begun.first.path / "report.json").stat().st_mtime_ns
    found = carry_out_here(whole, tmp_path / "m")
    assert [group.name for group in found.groups] == ["plain", "kd"]
    assert (begun.first.path / "report.json").stat().st_mtime_ns == written
