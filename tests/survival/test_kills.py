"""Runs that are killed at random instants and go on end exactly as if they had been left alone."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

from rcframe.registry import registry

HARNESS = Path(__file__).parents[2] / "benchmarks" / "kills.py"


def harness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kills", HARNESS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kills"] = module
    spec.loader.exec_module(module)
    return module


kills = harness()


def test_every_method_that_trains_or_measures_is_killed_in_some_scenario() -> None:
    flags = {flag.partition("=")[::2] for words in kills.SCENARIOS.values() for flag in words}
    killed = {(kind.removeprefix("--"), spec.partition(":")[0]) for kind, spec in flags}
    trained = {
        (kind, announced.spec.name)
        for kind in ("teacher", "student", "pruner", "neuron", "attack", "certifier")
        for announced in registry().announced(kind)
        if announced.distribution.startswith("rcframe")
    }
    # These two bring a finished network and have no stage.
    assert trained - killed == {("teacher", "file"), ("teacher", "run")}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks processes")
@pytest.mark.parametrize("scenario", kills.SCENARIOS)
def test_a_run_survives_kills_through_every_kind_of_stage(scenario: str, tmp_path: Path) -> None:
    kills.undisturbed(scenario, tmp_path / "whole")
    ended = kills.kill_often(scenario, tmp_path / "killed", tmp_path / "whole", 6, random.Random(scenario))
    assert ended.kills >= 2
    assert ended.differences == ()
