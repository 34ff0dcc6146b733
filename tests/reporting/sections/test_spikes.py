from __future__ import annotations

from pathlib import Path

from rcframe.findings.folders import collect
from rcframe.reporting.sections.spikes import section
from tests.findings.folders_made import make_run
from tests.reporting.runs_made import column, make_rich, measured, sectioned


def test_energy_is_that_of_the_additions_beside_that_of_ordinary_neurons(tmp_path: Path) -> None:
    make_rich(tmp_path / "a", measured(30), spiking=True)
    (table,) = sectioned(section(collect([tmp_path]))).tables
    assert column(table, "additions per image") == ["30,000"]
    assert column(table, "time steps") == ["4"]
    # 4.6 pJ * 1,000 + 0.9 pJ * 30,000, and 4.6 pJ * (1,000 + 54,000); integers 3.2 and 0.1 pJ.
    assert column(table, "floats: spiking (nJ)") == ["31.6"]
    assert column(table, "floats: ordinary (nJ)") == ["253"]
    assert column(table, "integers: spiking (nJ)") == ["6.2"]
    assert column(table, "integers: ordinary (nJ)") == ["176"]


def test_layers_are_drawn_in_their_order(tmp_path: Path) -> None:
    make_rich(tmp_path / "a", measured(30), spiking=True)
    (exhibit,) = sectioned(section(collect([tmp_path]))).exhibits
    assert column(exhibit.data, "layer") == ["net.layer1", "net.layer2", "net.layer3"]
    assert column(exhibit.data, "spikes of a neuron per time step") == ["0.1", "0.2", "0.3"]


def test_networks_that_do_not_spike_have_no_section(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    assert section(collect([tmp_path])) is None
