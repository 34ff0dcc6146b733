from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings

from rcframe.choice import Choice
from rcframe.errors import RequestError
from rcframe.experiments.matrix_file import parse_matrix
from rcframe.experiments.plan import Plan, Shared, configure, make_plan
from rcframe.options import values_of
from rcframe.session.assemble import build_parts
from rcframe.session.config import config_of
from tests.experiments.test_matrix_file import DOCUMENTS, LIKELY

if TYPE_CHECKING:
    from tests.conftest import Install


def plan(text: str, seeds: int | None = None) -> Plan:
    return make_plan(parse_matrix(tomllib.loads(text), "title", "`m.toml`"), seeds)


def refused(text: str) -> str:
    with pytest.raises(RequestError) as raised:
        plan(text)
    return str(raised.value)


def ids(text: str) -> dict[tuple[str, int], str]:
    return {(run.name, run.config.seed): run.id for run in plan(text).runs}


# -- settings ---------------------------------------------------------------------------------------------------------


def test_options_are_set_in_every_phase_that_has_them_whatever_stands_first() -> None:
    config = configure({"student.alpha": 0.25, "student.epochs": 7, "student": ["plain", "kd:temperature=2"]})
    assert config.students == (
        Choice("plain", {"epochs": 7}),
        Choice("kd", {"temperature": "2", "alpha": 0.25, "epochs": 7}),
    )


def test_options_of_a_part_with_the_default_component_may_be_set() -> None:
    config = configure({"teacher.epochs": 3, "model.hidden": 8, "student_model.hidden": 4, "data.size": 8})
    assert (config.teacher, config.model) == (Choice("plain", {"epochs": 3}), Choice("convnet", {"hidden": 8}))
    assert config.student_model == Choice("convnet", {"hidden": 4})
    assert build_parts(config).student_model == build_parts(configure({"model.hidden": 4})).model


def test_presets_may_be_varied_and_options_beside_them_win(install: Install) -> None:
    body = (
        "from rcframe import Training, StudentStrategy, component\n@component\n"
        "class Ready(Training, StudentStrategy):\n    'Has presets.'\n"
        "    presets = {'quick': {'lr': 0.25, 'epochs': 3}, 'long': {'epochs': 90}}\n"
        "    def plan(self, student, teacher, run):\n        return iter(())\n"
    )
    install(
        "acme-one",
        [{"kind": "student", "name": "ready", "target": "acme_one:Ready", "summary": "Has presets."}],
        body=body,
    )
    made = plan('[run]\nstudent = "ready:lr=0.5"\n[vary]\n"student.preset" = ["quick", "long"]\n')
    students = [values_of(run.parts.students[0]) for run in made.runs]
    assert [(student["lr"], student["epochs"]) for student in students] == [(0.5, 3), (0.5, 90)]
    assert [run.labels for run in made.runs] == [{"student.preset": "quick"}, {"student.preset": "long"}]
    assert "preset" not in tomllib.loads(made.runs[0].toml())["student"][0]
    words = refused('[run]\nstudent = "ready"\n[vary]\n"student.preset" = ["quick", "shorter"]\n')
    assert "`ready` has no preset `shorter`. Its presets: quick, long." in words
    words = refused('[vary]\n"model.preset" = ["quick", "long"]\n')
    assert "no model of this run has the option `preset`" in words


def test_a_student_network_by_option_starts_from_the_models() -> None:
    config = configure({"model": "mlp:hidden=8,width=2", "student_model.hidden": 4})
    assert config.student_model == Choice("mlp", {"hidden": 4, "width": "2"})
    assert config.model == Choice("mlp", {"hidden": "8", "width": "2"})


def test_none_takes_away_what_all_runs_share() -> None:
    parts = ("student_model", "neuron", "pruner", "attack", "certifier")
    config = configure(dict.fromkeys(parts, "none"))
    assert config == configure({})
    first, second = plan("""
        run = { pruner = "filters", attack = ["fgsm", "pgd"] }
        vary.pruner = ["filters:ratio=0.5", "none"]
        vary.attack.unattacked = "none"
    """).runs
    assert [run.config.pruners for run in (first, second)] == [(Choice("filters", {"ratio": "0.5"}),), ()]
    assert (first.config.attacks, second.config.attacks) == ((), ())
    assert [run.name for run in (first, second)] == ["filters:ratio=0.5, unattacked", "pruner none, unattacked"]
    assert "No teacher named `none`" in refused('vary.teacher = ["none"]')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '"student.temprature" = [1]',
            "In the run `temprature 1`: `student.temprature` sets nothing: no student of this run has the option "
            "`temprature`. Did you mean `temperature`? `kd` has ",
        ),
        (
            '"studnet.epochs" = [1]',
            "`studnet.epochs` is no option: a run has no part `studnet`. Did you mean `student`?",
        ),
        ('"students.epochs" = [1]', "a run has no part `students`. Did you mean `student`?"),
        ('"pruner.ratio" = [1]', "no pruner of this run has the option `ratio`. There is no pruner."),
        ('"neuron.steps" = [1]', "no neuron of this run has the option `steps`. There is no neuron."),
        ('"eps.value" = [1]', "a run has no part `eps`."),
        ('"student." = [1]', "no student of this run has the option ``."),
        ("studnet = [1]", "In the run `studnet 1`: A run has no setting `studnet`. Did you mean `student`?"),
        ('teacher = ["plane"]', "In the run `plane`: No teacher named `plane`. Did you mean `plain`?"),
        ('"student.alpha" = ["much"]', "In the run `much`: "),
        ('teacher = ["plain:epoch=3"]', "Did you mean `epochs`?"),
        (
            "eval_size = [-1]",
            "In the run `eval_size -1`: `eval_size` is -1, but it must be a whole number of 0 or more.",
        ),
        ("student = [[]]", "A run needs a student"),
        ("student.a = {}", "The student table {} has no `name`"),
    ],
)
def test_what_no_run_can_be_told_is_refused_with_the_name_of_the_row(text: str, words: str) -> None:
    said = refused(f'run.student = "kd"\n[vary]\nseed = [0]\n{text}')
    assert words in said
    assert said.startswith("In the run `")


def test_the_settings_of_a_row_of_its_own_are_checked_too() -> None:
    assert refused('row = { name = "mine", sutdent = "kd" }').startswith(
        "In the run `mine`: A run has no setting `sutdent`. Did you mean `student`?"
    )


@settings(max_examples=60)
@given(DOCUMENTS | LIKELY)
def test_any_document_is_a_plan_or_a_sentence(document: dict[str, Any]) -> None:
    try:
        matrix = parse_matrix({**document, "seeds": 1}, "title", "here")
        planned = make_plan(matrix)
    except RequestError:
        return
    assert len({run.id for run in planned.runs}) == len(planned.runs) > 0


# -- runs and their names ---------------------------------------------------------------------------------------------


def test_every_row_is_repeated_with_seeds_counted_up_from_its_own() -> None:
    text = 'seeds = 2\nrun.seed = 5\nvary.student = ["kd", "plain"]\nrow = { name = "own", seed = 1 }'
    found = plan(text)
    assert [(run.name, run.config.seed) for run in found.runs] == [
        *(("kd", 5), ("kd", 6), ("plain", 5), ("plain", 6), ("own", 1), ("own", 2))
    ]
    assert {run.config.seeds for run in found.runs} == {1}
    assert [run.config.seed for run in plan(text, seeds=1).runs] == [5, 5, 1]
    assert [run.config.seed for run in plan(text, seeds=3).runs][:3] == [5, 6, 7]
    assert found.axes == ("student", "row")
    assert found.title == "title"


def test_a_seed_that_is_varied_is_no_axis() -> None:
    found = plan("vary.seed = [3, 9]\nvary.eval_size = [1]")
    assert found.axes == ("eval_size",)
    assert [(run.name, run.config.seed) for run in found.runs] == [("eval_size 1", 3), ("eval_size 1", 9)]


def test_a_run_keeps_its_id_when_others_come_and_go() -> None:
    before = ids('vary.student = ["kd", "plain"]\nvary.eval_size = [1, 2]')
    after = ids('seeds = 2\nvary.eval_size = [2, 3]\nvary.student = ["skeptical", "kd"]\nrow = { name = "own" }')
    assert set(before) & set(after) == set()  # the order of the axes is in the names
    after = ids('seeds = 2\nvary.student = ["skeptical", "kd"]\nvary.eval_size = [3, 2]\nrow = { name = "own" }')
    assert set(before) & set(after) == {("kd, eval_size 2", 0)}
    assert before["kd, eval_size 2", 0] == after["kd, eval_size 2", 0]
    assert re.fullmatch(r"kd-eval-size-2-0-[0-9a-f]{10}", before["kd, eval_size 2", 0])


def test_a_run_with_another_setting_has_another_id() -> None:
    one = ids('row = { name = "own" }')["own", 0]
    for change in ("eval_size = 3", 'student = "kd"', "seed = 1", '"teacher.epochs" = 3', 'eps = "1/255"'):
        (other,) = ids(f'[[row]]\nname = "own"\n{change}').values()
        assert other != one, change
    assert ids('row = { name = "own", "teacher.epochs" = 30 }')["own", 0] == one  # as is the default


def test_ids_are_the_same_in_every_process() -> None:
    text = 'vary.student = ["kd", "plain"]\nvary."teacher.lr" = [0.1, "1/3"]'
    code = (
        "import tomllib; from rcframe.experiments.matrix_file import parse_matrix;"
        "from rcframe.experiments.plan import make_plan;"
        f"print(*(run.id for run in make_plan(parse_matrix(tomllib.loads({text!r}), 't', 'm')).runs))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == list(ids(text).values())


def test_equal_runs_under_names_that_files_cannot_tell_apart_stay_apart() -> None:
    text = "\n".join(f'[[row]]\nname = "{name}"' for name in ("A+b", "a-b", "a b", "ä", "ö", "中", "…"))
    found = [run.id for run in plan(text).runs]
    assert len({*found}) == 7
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in found)


def test_a_long_name_makes_no_long_file_name() -> None:
    (run,) = plan(f'row = {{ name = "{"very " * 100}long" }}').runs
    assert len(run.id) < 70
    assert run.name.endswith("very long")


@pytest.mark.parametrize(
    "text",
    [
        'row = [{ name = "own" }, { name = "own", student = "kd" }]',
        'vary.student = ["kd"]\nrow = { name = "kd" }',
        'vary.a."x, y" = { seed = 0 }\nvary.b.z = {radii = 0}\nrow = { name = "x, y, z" }',
        'seeds = 2\nvary.seed = [0, 1]\nvary.student = ["kd"]',
    ],
)
def test_runs_that_could_not_be_told_apart_are_refused(text: str) -> None:
    assert re.match(r"Two runs of the matrix are called `.+` \(seed [01]\): give what is varied labels", refused(text))


def test_a_matrix_of_which_everything_is_left_out_is_refused() -> None:
    text = 'vary.student = ["kd", "plain"]\nexclude = { student = ["kd", "plain"] }'
    assert refused(text) == "The matrix `title` is empty: [[exclude]] leaves out every combination."


# -- what cannot be, and what is shared -------------------------------------------------------------------------------


def test_runs_whose_parts_do_not_fit_stand_in_the_plan_with_the_reason() -> None:
    found = plan("""
        run.access = "hard"
        vary.student = ["kd", "plain"]
        vary.norm = ["linf", "l2"]
        vary.attack = ["none", "fgsm"]
    """)
    refusals = {run.name: run.refusal for run in found.runs}
    assert len(refusals) == 8
    assert all(text.startswith("Student `kd` needs logits") for name, text in refusals.items() if name[:2] == "kd")
    assert refusals["plain, l2, fgsm"] == "Attack `fgsm` works in linf, not in l2."
    assert [run.name for run in found.possible] == [name for name, text in refusals.items() if not text]
    assert [run.name for run in found.possible] == [
        *("plain, linf, attack none", "plain, linf, fgsm", "plain, l2, attack none")
    ]
    assert found.students == Shared(3, 1)


def test_runs_with_different_teachers_come_first() -> None:
    found = plan('vary.teacher = ["plain", "nasty", "plain:epochs=3"]\nvary.eval_size = [1, 2]\nrow = { name = "own" }')
    assert [run.name for run in found.possible] == [
        "plain, eval_size 1",
        "nasty, eval_size 1",
        "plain:epochs=3, eval_size 1",
        "plain, eval_size 2",
        "nasty, eval_size 2",
        "plain:epochs=3, eval_size 2",
        "own",
    ]


@pytest.mark.parametrize(
    ("text", "teachers", "students", "measurements"),
    [
        # Each run measures both networks clean.
        ('vary.student = ["kd", "plain"]', (2, 1), (2, 2), (4, 3)),
        ('seeds = 3\nvary.student = ["kd", "plain"]', (6, 3), (6, 6), (12, 9)),
        ('vary.teacher = ["plain", "plain:epochs=30", "plain:epochs=3"]', (3, 2), (3, 2), (6, 4)),
        # The teacher clean and by fgsm; so the student, and by pgd.
        ('run.attack = "fgsm"\nvary.eval_size = [10, 20]', (2, 1), (2, 1), (8, 8)),
        ('vary.attack = ["fgsm", "pgd", ["fgsm", "pgd"]]', (3, 1), (3, 1), (4 + 4 + 6, 6)),
        ('run.attack = "fgsm"\nvary.eps = ["1/255", "2/255"]', (2, 1), (2, 1), (8, 2 + 4)),
        ('run.attack = "pgd"\nvary.norm = ["linf", "l2"]', (2, 1), (2, 1), (8, 2 + 4)),
        ('vary.pruner = ["none", "filters", "rcframe-filter-pruning/filters"]', (3, 1), (3, 2), (6, 3)),
        ('vary.student_model = ["none", "convnet", "mlp"]', (3, 1), (3, 2), (6, 3)),
        ('vary.model = ["convnet", "mlp"]\nvary.student_model = ["mlp"]', (2, 2), (2, 2), (4, 4)),
        ('vary.access = ["logit", "white"]', (2, 1), (2, 2), (4, 3)),
        ("vary.budget = [100, 200]", (2, 1), (2, 2), (4, 3)),
        ('vary.data = ["digits", "glyphs"]', (2, 2), (2, 2), (4, 4)),
        ('vary.neuron = ["none", "lif"]', (2, 1), (2, 2), (4, 3)),
        ("vary.threads = [1, 2]", (2, 2), (2, 2), (4, 4)),
        ('run.access = "hard"\nvary.student = ["kd", "plain"]', (1, 1), (1, 1), (2, 2)),
    ],
)
def test_what_runs_share_is_counted(
    text: str, teachers: tuple[int, int], students: tuple[int, int], measurements: tuple[int, int]
) -> None:
    found = plan(text)
    assert found.teachers == Shared(*teachers)
    assert found.students == Shared(*students)
    assert found.measurements == Shared(*measurements)


# -- the job's configuration ------------------------------------------------------------------------------------------


def test_the_configuration_of_a_job_keeps_the_names_as_they_were_typed() -> None:
    (run,) = plan("""
        [run]
        attack = ["rcframe-attacks/pgd:steps=(20)", { name = "pgd", steps = 3 }]
        "attack.restarts" = 2
        certifier = { name = "convex" }
        [vary]
        teacher."the one" = "plain:epochs=30"
    """).runs
    document = tomllib.loads(run.toml())
    config = config_of(document)
    assert list(map(str, config.attacks)) == ["rcframe-attacks/pgd:restarts=2", "pgd:steps=3,restarts=2"]
    assert list(map(str, config.certifiers)) == ["convex"]
    assert str(config.teacher) == "plain:epochs=30"
    assert build_parts(config) == run.parts
    assert document["attack"][1]["restarts"] == 2


def test_a_jobs_configuration_names_an_attack_as_the_file_does() -> None:
    (run,) = plan('run.attack = "pgd:step_size=1/255,steps=(20)"\nvary.seed = [4]').runs
    (attack,) = config_of(tomllib.loads(run.toml())).attacks
    assert str(attack) == "pgd:step_size=1/255,steps=(20)"
    assert config_of(tomllib.loads(run.toml())) == config_of(tomllib.loads(run.toml()))
    assert config_of(tomllib.loads(run.toml())).seed == 4


def test_an_option_without_its_part_is_pointed_out() -> None:
    matrix = parse_matrix({"run": {"student": "kd"}, "vary": {"temperature": [1, 4]}}, "m", "The matrix")
    with pytest.raises(RequestError, match=r'no setting `temperature`.* written "student\.temperature", in quotes'):
        make_plan(matrix)


@pytest.mark.parametrize(
    ("run", "vary"),
    [
        ({"student.temperature": 4}, {"student": ["kd:temperature=1", "kd:temperature=8"]}),
        ({}, {"student": ["kd:temperature=9"], "student.temperature": [1, 2]}),
    ],
)
def test_an_option_is_never_set_twice_so_labels_stay_true(run: dict[str, object], vary: dict[str, object]) -> None:
    with pytest.raises(RequestError, match=r"Option `temperature` of the student is given twice: in `kd:temperature="):
        make_plan(parse_matrix({"run": run, "vary": vary}, "m", "The matrix"))


@pytest.mark.parametrize("key", ["typed", "command", "format", "as_begun"])
def test_what_runs_write_for_their_reader_cannot_be_varied(key: str) -> None:
    with pytest.raises(RequestError, match=f"`{key}` is what a run writes for its reader"):
        make_plan(parse_matrix({"vary": {key: [1, 2]}}, "m", "The matrix"))


def test_another_file_in_the_place_of_a_teachers_makes_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = []
    for place, content in (("a", "one"), ("b", "one"), ("a", "another")):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "w.safetensors").write_text(content)
        monkeypatch.chdir(tmp_path / place)
        matrix = parse_matrix({"vary": {"teacher": ["file:w.safetensors"]}}, "m", "The matrix")
        ids += [run.id for _ in range(2) for run in make_plan(matrix).runs]
    assert ids[0::2] == ids[1::2]
    assert len(set(ids)) == 3
