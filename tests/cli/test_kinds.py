from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.shell_completion import ShellComplete

from rcframe.api import KINDS
from rcframe.cli import cli as commands
from rcframe.registry import registry

if TYPE_CHECKING:
    from tests.conftest import Install


def completed(*words: str) -> dict[str, str | None]:
    """What a shell offers for the last word, with the explanation of each."""
    *before, last = words
    found = ShellComplete(commands, {}, "rcframe", "_RCFRAME_COMPLETE").get_completions(before, last)
    return {item.value: item.help for item in found}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_completes_the_names_of_what_is_installed(kind: str) -> None:
    words = ("matrix", "FILE") if kind == "engine" else ("run",)
    assert completed(*words, f"--{kind}", "") == {
        item.spec.name: item.spec.summary for item in registry().announced(kind)
    }


def test_names_are_completed_from_their_beginning() -> None:
    assert set(completed("run", "--student-model", "resnet1")) == {"resnet12", "resnet18"}
    assert completed("data", "show", "fash") == {"fashion-mnist": "Fashion-MNIST: 28x28 grey pictures of clothes."}
    assert completed("run", "--attack", "zzz") == {}


def test_options_are_completed_after_the_colon() -> None:
    assert completed("run", "--attack", "pgd:st") == {
        "pgd:steps=": "Gradient steps.",
        "pgd:step_size=": (
            "Length of a step in pixels; none is 2.5 eps / steps for pgd, and eps / steps for bim and mim."
        ),
    }
    assert set(completed("run", "--attack", "pgd:")) >= {"pgd:steps=", "pgd:random_start=", "pgd:restarts="}
    assert set(completed("run", "--attack", "pgd:steps=5,rest")) == {"pgd:steps=5,restarts="}


PRESETS = (
    "from rcframe import Attack, component, option\n@component\nclass Ready(Attack):\n    'Has presets.'\n"
    "    steps: int = option(default=1, help='Steps.')\n"
    "    presets = {'quick': {'steps': 2}, 'long': {'steps': 9}}\n"
    "    def craft(self, source, x, y, threat):\n        return x\n"
)
READY = {"kind": "attack", "name": "ready", "target": "acme_one:Ready", "summary": "Has presets."}


def test_presets_are_completed_among_the_options(install: Install) -> None:
    install("acme-one", [READY], body=PRESETS)
    assert set(completed("run", "--attack", "ready:")) == {"ready:steps=", "ready:preset=quick", "ready:preset=long"}
    assert completed("run", "--attack", "ready:preset=q") == {
        "ready:preset=quick": "Stands for several options at once."
    }


def test_options_of_what_cannot_be_loaded_are_none(install: Install) -> None:
    install("acme-one", [{"kind": "attack", "name": "gone", "target": "acme_no_such:Gone", "summary": "Is not there."}])
    assert completed("run", "--attack", "go") == {"gone": "Is not there."}
    assert completed("run", "--attack", "gone:") == {}
    assert completed("run", "--attack", "nothing:") == {}
