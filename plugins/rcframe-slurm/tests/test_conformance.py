from __future__ import annotations

import pytest
from rcframe_slurm.engine import SlurmEngine

from rcframe.registry import registry
from rcframe.testing import Check, parametrize_checks
from rcframe.testing.subject import Subject
from rcframe.testing.suite import CHECKS


@parametrize_checks("rcframe-slurm")
def test_conformance(check: Check) -> None:
    check()


class OnThisMachine(Subject):
    """The engine as it can be tried without a cluster."""

    def make(self) -> SlurmEngine:
        return SlurmEngine(cluster="local", parallel=2)


@pytest.mark.parametrize("name", [check.__name__ for check in CHECKS["engine"]])
def test_conformance_without_a_cluster(name: str) -> None:
    (plugin,) = (plugin for plugin in registry().plugins if plugin.distribution == "rcframe-slurm")
    (check,) = (check for check in CHECKS["engine"] if check.__name__ == name)
    check(OnThisMachine(plugin.distribution, plugin.module, plugin.specs[0]))
