from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Command, Install

MODEL = {"kind": "model", "name": "flat", "target": "acme_parts:Flat", "summary": "One linear layer."}
PARTS = """
from torch import nn
from rcframe import Model, component, option

@component
class Flat(Model):
    "One linear layer."
    bias: bool = option(default=True, help="{help}")

    def build(self, info):
        channels, height, width = info.shape
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, len(info.classes), self.bias))
"""


def test_a_plugin_that_keeps_its_promises_passes(install: Install, cli: Command) -> None:
    site = install("acme-flat", [MODEL])
    (site / "acme_parts.py").write_text(PARTS.format(help="Whether to add a bias."))
    outcome = cli("check", "acme-flat", PYTHONPATH=str(site))
    assert (outcome.code, outcome.err) == (0, "")
    *lines, last = outcome.out.splitlines()
    assert len(lines) >= 8
    assert all(re.fullmatch(r"passed model flat: [a-z ]+", line) for line in lines)
    assert last == f"All {len(lines)} checks of `acme-flat` passed."


def test_a_broken_promise_is_told_and_ends_with_code_3(install: Install, cli: Command) -> None:
    site = install("acme-flat", [MODEL], body="import torch\n")
    (site / "acme_parts.py").write_text(PARTS.format(help="no sentence"))
    outcome = cli("check", "acme-flat", PYTHONPATH=str(site))
    assert outcome.code == 3
    failed = [line for line in outcome.out.splitlines() if line.startswith("failed ")]
    assert failed == [
        "failed model flat: entry module is free of torch: importing `acme_flat` imports torch: import it inside the "
        "target module",
        "failed model flat: options are described: the help of `bias` must be one sentence ending in a full stop",
    ]
    total = len(outcome.out.splitlines())
    assert outcome.err == f"Error: 2 of {total} checks of `acme-flat` failed.\n"


WATCHES = """
from rcframe import hookimpl

@hookimpl
def rcframe_run_finished(report):
    report.{figure}
"""


def test_a_plugin_that_only_watches_runs_is_checked(install: Install, cli: Command) -> None:
    site = install("acme-watch", source=WATCHES.format(figure="student"))
    outcome = cli("check", "acme-watch", PYTHONPATH=str(site))
    assert (outcome.code, outcome.err) == (0, "")
    *lines, last = outcome.out.splitlines()
    assert "passed watcher acme-watch: entry module is free of torch" in lines
    assert "passed watcher acme-watch: watcher follows a run" in lines
    assert last == f"All {len(lines)} checks of `acme-watch` passed."


def test_a_plugin_that_cannot_follow_a_run_fails_its_check(install: Install, cli: Command) -> None:
    site = install("acme-watch", source=WATCHES.format(figure="no_such_figure"))
    outcome = cli("check", "acme-watch", PYTHONPATH=str(site))
    assert outcome.code == 3
    assert "failed watcher acme-watch: watcher follows a run: 'Report' object has no attribute" in outcome.out


def test_a_plugin_with_nothing_to_check_is_said_to_have_nothing(install: Install, cli: Command) -> None:
    install("acme-more", source="from rcframe import hookimpl\n@hookimpl\ndef rcframe_commands():\n    pass\n")
    outcome = cli("check", "acme-more")
    assert (outcome.code, outcome.err) == (0, "")
    nothing = "announces no component, watches no run and brings no recipe: there is nothing to check."
    assert outcome.out == f"`acme-more` {nothing}\n"


def test_an_unknown_plugin_is_answered_with_the_nearest_and_the_installed(cli: Command) -> None:
    outcome = cli("check", "rcframe-atacks")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(
        "Error: No plugin `rcframe-atacks` is installed. Did you mean `rcframe-attacks`? Installed: rcframe, "
    )


def test_a_plugin_that_failed_to_load_cannot_be_checked(install: Install, cli: Command) -> None:
    install("acme-bad", source="1 / 0")
    outcome = cli("check", "acme-bad")
    assert outcome.code == 2
    assert outcome.err == "Error: `acme-bad` failed to load: ZeroDivisionError: division by zero.\n"
