from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rcframe.errors import RequestError
from rcframe.findings.settings import MACHINE, flat, read_settings
from rcframe.session.config import RunConfig, make_config

if TYPE_CHECKING:
    from tests.conftest import Command

TINY = ("--data", "glyphs:size=8,classes=3,train=24,test=9", "--model", "mlp:hidden=4+3", "--device", "cpu")


@pytest.mark.parametrize("setting", ["data", "model", "student_model", "teacher", "neuron"])
def test_a_part_shows_its_name_and_its_options(setting: str) -> None:
    found = flat({setting: {"name": "some", "rate": 0.5, "layers": ["a", "b"], "clip": "none", "fast": True}})
    assert found == {
        setting: "some",
        f"{setting}.rate": "0.5",
        f"{setting}.layers": "a+b",
        f"{setting}.clip": "none",
        f"{setting}.fast": "true",
    }


@pytest.mark.parametrize("setting", ["student", "pruner", "attack", "certifier"])
def test_several_parts_are_numbered_and_one_is_not(setting: str) -> None:
    one, two = {"name": "one", "steps": 5}, {"name": "two", "steps": 7}
    assert flat({setting: [one]}) == {setting: "one", f"{setting}.steps": "5"}
    assert flat({setting: [one, two]}) == {
        f"{setting} 1": "one",
        f"{setting} 1.steps": "5",
        f"{setting} 2": "two",
        f"{setting} 2.steps": "7",
    }


def test_plain_settings_are_text_and_facts_for_the_reader_are_none() -> None:
    document = {
        "format": 1,
        "seed": 3,
        "eps": "8/255",
        "deterministic": False,
        "command": "rcframe run",
        "typed": {"data": ["digits"]},
        "versions": {"torch": "2.6"},
        "environment": {"processes": 1},
        "as_begun": {"seed": "abc"},
    }
    assert flat(document) == {"seed": "3", "eps": "8/255", "deterministic": "false"}


def test_lists_in_lists_and_empty_ones_are_text() -> None:
    assert flat({"data": {"name": "digits", "augment": []}}) == {"data": "digits", "data.augment": ""}


def test_a_part_that_lost_its_name_is_no_bug() -> None:
    assert flat({"teacher": {"epochs": 3}}) == {"teacher": "none", "teacher.epochs": "3"}


def test_the_file_of_a_real_run_gives_back_everything_that_was_set(cli: Command) -> None:
    parts = ("--attack", "fgsm", "--attack", "pgd:steps=2", "--student", "kd:epochs=1", "--eps", "8/255")
    assert cli("run", *TINY, *parts, "--teacher", "plain:epochs=1", "-q", "--out", "a").code == 0
    found = read_settings(Path("a/run.toml"))
    expected = {"data": "glyphs", "data.train": "24", "model.hidden": "4+3", "teacher.epochs": "1", "student": "kd"}
    expected |= {"attack 1": "fgsm", "attack 2": "pgd", "attack 2.steps": "2", "eps": "8/255", "seed": "0"}
    assert expected.items() <= found.items()
    assert not {"versions", "environment", "command", "typed", "format"} & set(found)


def test_machine_settings_are_settings_of_a_run() -> None:
    config = make_config({})
    assert isinstance(config, RunConfig)
    assert all(hasattr(config, name) for name in MACHINE)


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"Cannot read the configuration `.*run\.toml`: No such file"):
        read_settings(tmp_path / "run.toml")
