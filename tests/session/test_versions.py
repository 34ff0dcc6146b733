from __future__ import annotations

import platform
from importlib.metadata import version

import torch

from rcframe import __version__
from rcframe.session.config import make_config
from rcframe.session.versions import versions_used


def test_the_libraries_are_always_named() -> None:
    assert versions_used(make_config({})) == {
        "python": platform.python_version(),
        "rcframe": __version__,
        "torch": torch.__version__,
        "numpy": version("numpy"),
    }


def test_every_plugin_that_takes_part_is_named_and_no_other() -> None:
    parts = {
        "teacher": ("nasty", "rcframe-nasty"),
        "student": ("kd", "rcframe-distill"),
        "pruner": ("filters", "rcframe-filter-pruning"),
        "neuron": ("lif", "rcframe-spiking"),
        "attack": ("pgd", "rcframe-attacks"),
        "certifier": ("convex", "rcframe-convex"),
    }
    for kind, (name, plugin) in parts.items():
        used = versions_used(make_config({kind: name, "student_model": "mlp"}))
        assert {name for name in used if name.startswith("rcframe-")} == {plugin}
        assert used[plugin] == version(plugin)


def test_what_works_inside_a_component_counts_too() -> None:
    config = make_config({"student": "plain:attack=bim", "attack": "eot:attack=(foolbox:LinfPGD)"})
    assert {"rcframe-attacks", "rcframe-foolbox"} <= set(versions_used(config))
    assert "rcframe-foolbox" not in versions_used(make_config({"attack": "bim"}))
