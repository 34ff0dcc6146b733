from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from rcframe.choice import Choice
from rcframe.errors import RequestError
from rcframe.options import Number, options_of
from rcframe.registry import registry
from rcframe.session.assemble import build_parts
from rcframe.session.config import (
    PARTS,
    SETTINGS,
    RunConfig,
    as_choice,
    config_of,
    label,
    make_config,
    plain_of,
    read_config,
    set_option,
    typed,
    write_config,
)

if TYPE_CHECKING:
    from tests.conftest import Install

EVERYTHING: dict[str, object] = {
    "data": "glyphs:classes=3,augment=flip+crop,noise=1/8",
    "model": "convnet:channels=4+8",
    "student_model": {"name": "mlp", "hidden": [8, 4], "width": 0.5},
    "teacher": Choice("plain", {"lr": "1/100", "schedule": "steps", "milestones": "1+2"}),
    "student": ["kd:alpha=1/3", {"name": "rcframe/plain", "epochs": 1}],
    "pruner": "filters",
    "access": "logit+input_grad",
    "budget": 100,
    "attack": ("fgsm", "pgd:steps=3,step_size=2/255", "rcframe-attacks/pgd:random_start=false"),
    "eps": "8/255",
    "norm": "linf",
    "eval_size": 10,
    "radii": 4,
    "seed": 3,
    "device": "cpu",
    "data_root": "some where/else",
    "precision": "bf16",
    "deterministic": True,
    "threads": 2,
    "workers": 1,
    "checkpoint": 0.5,
    "seeds": 3,
}


NAMES = (
    *("access", "budget", "eps", "norm", "eval_size", "radii", "seed", "device", "data_root"),
    *("precision", "deterministic", "threads", "workers", "checkpoint", "seeds"),
)


def written(config: RunConfig, facts: dict[str, object] | None = None) -> str:
    return write_config(config, build_parts(config).by_setting(), facts or {})


# -- what is asked for ------------------------------------------------------------------------------------------------


def test_nothing_asked_is_the_default_run() -> None:
    config = make_config({})
    assert config == RunConfig()
    assert (config.data.name, config.model.name, config.student_model) == ("digits", "convnet", None)
    assert (config.teacher.name, [choice.name for choice in config.students]) == ("plain", ["plain"])
    assert (config.access, config.budget, config.eps, config.norm) == ("logit", None, None, "linf")
    assert (config.seed, config.eval_size, config.radii, config.device, config.attacks) == (0, 0, 0, "auto", ())
    assert (config.precision, config.deterministic, config.threads, config.workers) == ("fp32", False, None, 0)
    assert (config.checkpoint, config.seeds) == (5.0, 1)


def test_every_setting_is_read() -> None:
    config = make_config(EVERYTHING)
    assert config.data == Choice("glyphs", {"classes": "3", "augment": "flip+crop", "noise": "1/8"})
    assert config.student_model == Choice("mlp", {"hidden": [8, 4], "width": 0.5})
    assert config.students == (Choice("kd", {"alpha": "1/3"}), Choice("plain", {"epochs": 1}, "rcframe"))
    assert config.pruners == (Choice("filters"),)
    assert [choice.name for choice in config.attacks] == ["fgsm", "pgd", "pgd"]
    assert config.attacks[2].distribution == "rcframe-attacks"
    assert (config.eps, str(config.eps), config.budget) == (8 / 255, "8/255", 100)
    assert (config.eval_size, config.radii, config.seed) == (10, 4, 3)
    assert (config.device, config.data_root) == ("cpu", "some where/else")
    assert (config.precision, config.deterministic, config.threads, config.workers) == ("bf16", True, 2, 1)
    assert (config.checkpoint, config.seeds) == (0.5, 3)


@pytest.mark.parametrize(
    "given_value",
    [
        "kd:epochs=2,alpha=1",
        Choice("kd", {"epochs": "2", "alpha": "1"}),
        {"name": "kd", "epochs": "2", "alpha": "1"},
        {"name": "kd:epochs=2", "alpha": "1"},
        ["kd:epochs=2,alpha=1"],
        ("kd:epochs=2,alpha=1",),
    ],
)
def test_a_component_may_be_given_in_several_forms(given_value: object) -> None:
    assert make_config({"student": given_value}).students == (Choice("kd", {"epochs": "2", "alpha": "1"}),)


def test_a_component_itself_may_be_given() -> None:
    built = registry().make("student", "kd:epochs=2,alpha=1/4")
    config = make_config({"student": [built, "plain"]})
    assert build_parts(config).students[0] == built


def test_a_component_of_a_shadowed_name_stays_itself(install: Install) -> None:
    body = "from rcframe.builtins.plain import PlainTeacher\nfrom rcframe import component\n"
    body += "@component\nclass Mine(PlainTeacher):\n    'My own.'\n"
    install(
        "acme-plain", [{"kind": "teacher", "name": "plain", "target": "acme_plain:Mine", "summary": "Mine."}], body=body
    )
    mine = registry().make("teacher", "acme-plain/plain")
    for setting in (mine, "acme-plain/plain", {"name": "acme-plain/plain"}):
        config = make_config({"teacher": setting})
        assert type(build_parts(config).teacher).__name__ == "Mine"
        assert tomllib.loads(written(config))["teacher"]["name"] == "acme-plain/plain"
    assert type(build_parts(make_config({"teacher": "plain"})).teacher).__name__ == "PlainTeacher"


@pytest.mark.parametrize("name", ["nets.small:tiny", "python:nets.small:tiny"])
def test_a_table_may_name_a_function_of_ones_own(name: str) -> None:
    config = make_config({"model": {"name": name, "normalize": True}})
    assert config.model == Choice("python", {"": "nets.small:tiny", "normalize": True})


def test_later_settings_are_stronger_and_missing_ones_keep_what_was_there() -> None:
    base = make_config({"seed": 1, "eps": "1/255", "attack": ["fgsm", "pgd"], "student": "kd", "budget": 9})
    changed = make_config({"seed": 2, "attack": "pgd:steps=1", "budget": None, "eps": None, "data": "glyphs"}, base)
    assert (changed.seed, changed.eps, changed.budget) == (2, 1 / 255, 9)
    assert changed.attacks == (Choice("pgd", {"steps": "1"}),)
    assert changed.students == (Choice("kd"),)
    assert changed.data == Choice("glyphs")
    assert (base.seed, len(base.attacks)) == (1, 2)
    assert make_config({}, base) == base


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("student-model", "student_model"), ("attacks", "attack"), ("sead", "seed"), ("certifer", "certifier")],
)
def test_an_unknown_setting_is_answered_with_the_nearest_and_all_others(key: str, nearest: str) -> None:
    with pytest.raises(RequestError) as raised:
        make_config({key: "x"})
    assert str(raised.value).startswith(f"A run has no setting `{key}`. Did you mean `{nearest}`? Settings: data, ")
    assert "norm, device, precision, data_root, eps, seed, seeds, eval_size, radii, budget, threads, workers" in str(
        raised.value
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seed": "1"}, "`seed` is '1', but it must be a whole number of 0 or more"),
        ({"seed": 1.0}, r"`seed` is 1\.0, but it must be a whole number"),
        ({"seed": True}, "`seed` is True, but it must be a whole number"),
        ({"seed": -1}, "`seed` is -1, but it must be a whole number of 0 or more"),
        ({"budget": -5}, "`budget` is -5, but"),
        ({"eval_size": "all"}, "`eval_size` is 'all', but"),
        ({"radii": -1}, "`radii` is -1, but it must be a whole number of 0 or more"),
        ({"radii": 0.5}, r"`radii` is 0\.5, but it must be a whole number"),
        ({"access": 3}, "`access` is 3, but it must be text"),
        ({"access": "gray"}, r"No access level `gray`\. Did you mean `grey`\?"),
        ({"device": 0}, "`device` is 0, but it must be text"),
        ({"data_root": ["a"]}, r"`data_root` is \['a'\], but it must be text"),
        ({"norm": "l1"}, r"No norm `l1`\. Did you mean `l2`\? Known: linf, l2\."),
        ({"precision": "fp8"}, r"No precision `fp8`\. Did you mean `fp\d\d`\? Known: fp32, bf16, fp16\."),
        ({"precision": 16}, "`precision` is 16, but it must be text"),
        ({"seeds": 0}, "`seeds` is 0, but it must be a whole number of 1 or more"),
        ({"threads": 0}, "`threads` is 0, but it must be a whole number of 1 or more"),
        ({"workers": -1}, "`workers` is -1, but it must be a whole number of 0 or more"),
        ({"workers": 1.5}, r"`workers` is 1\.5, but it must be a whole number"),
        ({"deterministic": 1}, "`deterministic` is 1, but it must be true or false"),
        ({"deterministic": "yes"}, "`deterministic` is 'yes', but it must be true or false"),
        ({"checkpoint": -1}, "`checkpoint` is -1, but it must be a number of seconds, 0 for every batch"),
        ({"checkpoint": True}, "`checkpoint` is True, but it must be a number of seconds"),
        ({"checkpoint": float("inf")}, "`checkpoint` is inf, but it must be a number of seconds"),
        ({"checkpoint": float("nan")}, "`checkpoint` is nan, but it must be a number of seconds"),
        ({"norm": 2}, "`norm` is 2, but it must be text"),
        ({"eps": True}, "eps is True, but it must be a number in pixels"),
        ({"eps": {}}, r"eps is \{\}, but it must be a number in pixels"),
        ({"eps": "0:0.1:0"}, r"its step is 0: it must be more than 0"),
        ({"eps": "much"}, "eps is 'much', but it must be a number in pixels, such as 0.03 or 8/255"),
        ({"eps": "8/0"}, "eps is '8/0', but"),
        ({"eps": "nan"}, "eps is 'nan', but"),
        ({"eps": -0.1}, r"eps is -0\.1, but a radius cannot be negative"),
        ({"data": 5}, "Cannot read 5 as the data: give a spec string"),
        ({"data": ["digits"]}, r"Cannot read \['digits'\] as the data"),
        ({"attack": 5}, "Cannot read 5 as the attack"),
        ({"attack": ["fgsm", 5]}, "Cannot read 5 as the attack"),
        ({"student": []}, "A run needs a student; name one, for example `plain`"),
        ({"teacher": {"epochs": 3}}, r"The teacher table \{'epochs': 3\} has no `name`, which says which teacher"),
        ({"attack": [{"name": 3}]}, "has no `name`"),
        ({"attack": {"name": "pgd:steps=3", "steps": 4}}, "Option `steps` of the attack `pgd` is given twice"),
        ({"attack": "PGD"}, "Cannot read the attack `PGD`"),
        ({"attack": {"name": "PGD"}}, "Cannot read the attack `PGD`"),
    ],
)
def test_what_cannot_be_is_a_sentence(settings: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError, match=words) as raised:
        make_config(settings)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given_value", "number", "text"),
    [
        ("8/255", 8 / 255, "8/255"),
        (" 8/255 ", 8 / 255, "8/255"),
        ("0.030", 0.03, "0.030"),
        ("3e-2", 0.03, "3e-2"),
        (0.03, 0.03, "0.03"),
        (0, 0.0, "0"),
        (1, 1.0, "1"),
        (Number("2/255"), 2 / 255, "2/255"),
    ],
)
def test_eps_is_a_number_of_pixels_stored_as_typed(given_value: object, number: float, text: str) -> None:
    eps = make_config({"eps": given_value}).eps
    assert eps == number
    assert str(eps) == text
    assert tomllib.loads(written(make_config({"eps": given_value})))["eps"] == text


def test_what_is_no_component_at_all_is_refused() -> None:
    with pytest.raises(RequestError, match="Cannot read None as the model"):
        as_choice(None, "model")  # type: ignore[arg-type]  # that is the point


def test_components_given_as_tables_show_as_the_shortest_spec_string_and_typed_ones_as_typed() -> None:
    config = make_config(
        {
            "data": {"name": "digits", "size": 8},
            "model": {"name": "mlp", "width": 1.0, "hidden": [4]},
            "student": ["plain:lr=0.1,epochs=30", {"name": "rcframe/plain", "lr": 0.1, "epochs": 30}],
            "attack": [registry().make("attack", "pgd:steps=3"), "pgd:steps=20"],
        }
    )
    shown = label(config, build_parts(config).by_setting())
    assert shown == config
    assert [str(choice) for choice in (shown.data, shown.model, shown.teacher)] == ["digits", "mlp:hidden=4", "plain"]
    assert [str(choice) for choice in shown.students] == ["plain:lr=0.1,epochs=30", "rcframe/plain:lr=0.1"]
    assert [str(choice) for choice in shown.attacks] == ["pgd:steps=3", "pgd:steps=20"]
    assert shown.student_model is None


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_written_configuration_is_read_back_equal_with_equal_components(tmp_path: Path) -> None:
    asked = make_config(EVERYTHING)
    path = tmp_path / "run.toml"
    path.write_text(written(asked, {"versions": {"torch": "2.9"}, "environment": {"device": "cpu"}}))
    again = make_config(read_config(path))
    assert build_parts(again) == build_parts(asked)
    assert [getattr(again, name) for name in NAMES] == [getattr(asked, name) for name in NAMES]
    assert [choice.distribution for choice in again.attacks] == [choice.distribution for choice in asked.attacks]
    path.write_text(written(again))
    assert make_config(read_config(path)) == again


def test_a_written_configuration_spells_every_option_out() -> None:
    document = tomllib.loads(written(make_config(EVERYTHING), {"versions": {"torch": "2.9"}}))
    pgd = document["attack"][1]
    assert {name: pgd[name] for name in ("name", "steps", "step_size", "random_start", "restarts")} == {
        "name": "pgd",
        "steps": 3,
        "step_size": "2/255",
        "random_start": True,
        "restarts": 1,
    }
    assert set(pgd) == {"name", *(option.name for option in options_of(registry().load("attack", Choice("pgd"))))}
    assert document["attack"][0]["name"] == "fgsm"
    assert document["student"][1]["name"] == "rcframe/plain"
    assert document["student"][1]["batch_size"] == 64
    assert document["teacher"]["milestones"] == [1, 2]
    assert document["versions"] == {"torch": "2.9"}
    assert "neuron" not in document
    assert "certifier" not in document
    assert "student_model" not in tomllib.loads(written(make_config({})))


@pytest.mark.parametrize("eps", ["0:0.1:0.02", "0,1/255,8/255", [0, 0.05, "1/10"]])
def test_several_radii_are_written_as_they_were_typed_and_read_back(eps: object) -> None:
    config = make_config({"eps": eps})
    assert config.eps == config.curve[-1]
    document = tomllib.loads(written(config))
    assert document["eps"] == (eps if isinstance(eps, str) else "0,0.05,1/10")
    again = config_of(document)
    assert (again.eps, again.curve) == (config.eps, config.curve)
    assert str(again.eps) == str(config.eps)


def test_one_radius_after_several_makes_no_curve() -> None:
    base = make_config({"eps": "0:0.1:0.02"})
    assert make_config({}, base).curve == base.curve
    assert make_config({"eps": None}, base).curve == base.curve
    changed = make_config({"eps": "8/255"}, base)
    assert (str(changed.eps), changed.curve) == ("8/255", ())
    assert plain_of(changed)["eps"] == changed.eps
    assert plain_of(base)["eps"] == "0:0.1:0.02"


PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "access": st.sampled_from(["none", "hard", "logit+params", "white"]),
        "budget": st.integers(0, 10**12),
        "eps": st.floats(0, 1) | st.builds("{}/{}".format, st.integers(0, 9), st.integers(10, 300)),
        "norm": st.sampled_from(["linf", "l2"]),
        "eval_size": st.integers(0, 10**6),
        "radii": st.integers(0, 10**6),
        "seed": st.integers(0, 2**63),
        "device": st.sampled_from(["auto", "cpu", "cuda:1"]),
        "data_root": st.text(),
        "precision": st.sampled_from(["fp32", "bf16", "fp16"]),
        "deterministic": st.booleans(),
        "threads": st.integers(1, 64),
        "workers": st.integers(0, 64),
        "checkpoint": st.floats(0, 1e6),
        "seeds": st.integers(1, 100),
        "model": st.sampled_from(["mlp:hidden=3+4", "lenet5", "torchvision:squeezenet1_1", "my.nets:small"]),
        "attack": st.lists(st.sampled_from(["fgsm", "pgd:steps=3", "pgd:step_size=1/7"]), max_size=3),
    },
)


@given(PLAIN)
def test_any_configuration_survives_its_file(settings: dict[str, Any]) -> None:
    asked = make_config(settings)
    text = written(asked)
    again = make_config(tomllib.loads(text))
    assert build_parts(again) == build_parts(asked)
    assert written(again) == text
    assert [getattr(again, name) for name in NAMES] == [getattr(asked, name) for name in NAMES]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"seed = ", r"run\.toml` is not valid TOML: "),
        (b"seed = 1\nseed = 2\n", r"run\.toml` is not valid TOML: "),
        (b"\xff\xfe", r"run\.toml` is not valid TOML: .*utf-8"),
    ],
)
def test_a_file_that_is_no_toml_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=words):
        read_config(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"Cannot read the configuration `.*gone\.toml`: No such file"):
        read_config(tmp_path / "gone.toml")
    with pytest.raises(RequestError, match=rf"Cannot read the configuration `{tmp_path}`: Is a directory"):
        read_config(tmp_path)


@pytest.mark.parametrize("version", ["2", '"one"', "1.5"])
def test_a_file_of_a_later_format_is_refused(version: str, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(f"format = {version}\nseed = 3\n")
    with pytest.raises(RequestError, match=r"run\.toml` was written by a newer rcframe \(format .*\): upgrade"):
        read_config(tmp_path / "run.toml")


def test_a_file_from_before_formats_were_counted_is_read(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("seed = 3\n")
    assert make_config(read_config(tmp_path / "run.toml")) == make_config({"seed": 3})


def test_a_file_saved_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_bytes(b"\xef\xbb\xbfseed = 3\n")
    assert read_config(file) == {"seed": 3}


# -- names as they were typed, and options by name --------------------------------------------------------------------


def file_of(asked: dict[str, object]) -> dict[str, Any]:
    """What a run writes of what was asked, as it is read again."""
    config = make_config(asked)
    config = label(config, build_parts(config).by_setting())
    return tomllib.loads(written(config, {"typed": typed(config)}))


def test_a_file_that_a_run_wrote_keeps_the_names_of_its_parts() -> None:
    asked: dict[str, object] = {
        "teacher": "plain:lr=1/100",
        "student": ["plain", "kd:temperature=(4)"],
        "attack": ["rcframe-attacks/pgd:restarts=1,steps=2", "fgsm"],
        "model": {"name": "mlp", "hidden": [8]},
        "pruner": "filters:ratio=0.50",
    }
    config = config_of(file_of(asked))
    assert build_parts(config) == build_parts(make_config(asked))
    assert typed(config) == {
        "data": ["digits"],
        "model": ["mlp:hidden=8"],
        "teacher": ["plain:lr=1/100"],
        "student": ["plain", "kd:temperature=(4)"],
        "attack": ["rcframe-attacks/pgd:restarts=1,steps=2", "fgsm"],
        "pruner": ["filters:ratio=0.50"],
    }


def test_a_part_that_was_edited_loses_its_name_and_the_others_keep_theirs() -> None:
    document = file_of({"attack": ["pgd:steps=(2)", "fgsm"], "certifier": "rcframe-convex/convex", "seed": 1})
    document["attack"][0]["steps"] = 3
    document["seed"] = 2
    config = config_of(document)
    assert str(config.certifiers[0]) == "rcframe-convex/convex"
    assert "steps=3" in str(config.attacks[0])
    assert "(2)" not in str(config.attacks[0])
    document = file_of({"attack": ["pgd:steps=(2)", "fgsm"]})
    del document["attack"][0]
    assert [choice.name for choice in config_of(document).attacks] == ["fgsm"]


@pytest.mark.parametrize(
    "change", [{"typed": {"attack": ["a", "b", "c"]}}, {"typed": 3}, {"as_begun": 3}, {"as_begun": {}}, {"typed": {}}]
)
def test_names_that_nobody_can_vouch_for_are_passed_over(change: dict[str, object]) -> None:
    document = {**file_of({"attack": "pgd:steps=(2)"}), **change}
    (attack,) = config_of(document).attacks
    assert str(attack).startswith("pgd:")
    assert "(2)" not in str(attack)
    del document["as_begun"]
    document["attack"] = [{"name": "fgsm"}, {"name": "pgd"}]
    assert list(map(str, config_of(document).attacks)) == ["fgsm", "pgd"]


def test_a_file_without_names_is_read_as_ever() -> None:
    assert config_of({"seed": 3, "attack": ["pgd:steps=(2)"]}) == make_config({"seed": 3, "attack": "pgd:steps=2"})
    assert str(config_of({"attack": ["pgd:steps=(2)"]}).attacks[0]) == "pgd:steps=(2)"


def test_every_setting_is_known_by_name() -> None:
    document = file_of({**EVERYTHING, "neuron": "lif", "certifier": "convex"})
    assert set(SETTINGS) == {*document} - {"format", "typed", "as_begun"}
    assert set(PARTS) == {name for name in SETTINGS if name in build_parts(make_config({})).by_setting()}


def test_an_option_is_set_where_it_is_and_the_rest_stays() -> None:
    config = make_config({"student": ["plain:lr=0.5", "kd:alpha=1"], "attack": "pgd", "seed": 3})
    changed = set_option(config, "student", "alpha", 0.25)
    assert changed.students == (Choice("plain", {"lr": "0.5"}), Choice("kd", {"alpha": 0.25}))
    assert [str(choice) for choice in changed.students] == ["plain:lr=0.5", "kd:alpha=0.25"]
    assert (changed.attacks, changed.seed, config.students[1].options) == (config.attacks, 3, {"alpha": "1"})
    assert set_option(config, "attack", "steps", 3).attacks == (Choice("pgd", {"steps": 3}),)
    assert set_option(config, "data", "size", 8).data == Choice("digits", {"size": 8})
    both = set_option(config, "student", "epochs", 2)
    assert [choice.options["epochs"] for choice in both.students] == [2, 2]


#: A plugin whose student has a paper's settings.
READY = (
    "from rcframe import Training, StudentStrategy, component\n@component\n"
    "class Ready(Training, StudentStrategy):\n    'Has presets.'\n"
    "    presets = {'quick': {'lr': 0.25, 'milestones': (2, 3)}, 'long': {'epochs': 90}}\n"
    "    def plan(self, student, teacher, run):\n        return iter(())\n"
)


def test_a_preset_is_spelled_out_in_the_file_of_a_run(install: Install) -> None:
    install(
        "acme-one",
        [{"kind": "student", "name": "ready", "target": "acme_one:Ready", "summary": "Has presets."}],
        body=READY,
    )
    config = make_config({"student": "ready:preset=quick,milestones=7"})
    text = written(config)
    assert "preset" not in text
    again = config_of(tomllib.loads(text))
    assert build_parts(again).students == build_parts(config).students
    (student,) = tomllib.loads(text)["student"]
    assert (student["lr"], student["milestones"], student["epochs"]) == (0.25, [7], 30)


def test_a_preset_is_set_like_an_option_where_there_is_any(install: Install) -> None:
    install(
        "acme-one",
        [{"kind": "student", "name": "ready", "target": "acme_one:Ready", "summary": "Has presets."}],
        body=READY,
    )
    config = set_option(make_config({"student": "ready:lr=0.5"}), "student", "preset", "quick")
    assert config.students == (Choice("ready", {"lr": "0.5", "preset": "quick"}),)
    with pytest.raises(RequestError, match=r"no model of this run has the option `preset`"):
        set_option(config, "model", "preset", "quick")


@pytest.mark.parametrize(
    ("part", "option", "words"),
    [
        ("students", "lr", r"^`students\.lr` is no option: a run has no part `students`\. Did you mean `student`\?"),
        ("seed", "lr", r"^`seed\.lr` is no option: a run has no part `seed`\..* Parts: data, model"),
        (
            "student",
            "alpa",
            r"no student of this run has the option `alpa`\. Did you mean `alpha`\? `plain` has .*; `kd`",
        ),
        ("pruner", "ratio", r"no pruner of this run has the option `ratio`\. There is no pruner\. Runs without it"),
        ("neuron", "steps", r"no neuron of this run has the option `steps`\. There is no neuron\. Runs without it"),
        ("student_model", "hiden", r"no model of this run has the option `hiden`\. Did you mean `hidden`\?"),
    ],
)
def test_an_option_that_no_part_has_is_refused(part: str, option: str, words: str) -> None:
    config = make_config({"student": ["plain", "kd"]})
    with pytest.raises(RequestError, match=words):
        set_option(config, part, option, 1)
