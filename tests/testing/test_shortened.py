from __future__ import annotations

from pathlib import Path

from rcframe.experiments.matrix_file import parse_matrix
from rcframe.experiments.plan import Plan, make_plan
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
