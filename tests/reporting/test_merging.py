from __future__ import annotations

from pathlib import Path

import attrs
import torch

from rcframe.reporting.merging import Same, merged, told_once
from rcframe.reporting.networks import Network, networks
from tests.findings.folders_made import IMAGES, Made
from tests.findings.outputs_made import answered, logits
from tests.reporting.runs_made import collected

TRUTH = torch.arange(IMAGES) % 4


def teacher(folder: Path, name: str, seed: int, *, heat: float = 4.0, guarded: bool = False) -> Network:
    """A teacher of one run that answers logits of this seed."""
    released = logits(99) if guarded else None
    made = answered(Made(), logits(seed), logits(50), labels=TRUTH, temperature=heat, released=released)
    found, _ = networks(collected({name: made}, folder / name).groups)
    return attrs.evolve(found, name=name)


def names(found: list[Same]) -> list[list[str]]:
    return [same.names for same in found]


def test_networks_that_answer_alike_are_one_and_called_by_the_name_without_a_guard(tmp_path: Path) -> None:
    guarded, plain = teacher(tmp_path, "guarded", 1, guarded=True), teacher(tmp_path, "plain", 1)
    other = teacher(tmp_path, "other", 2)
    assert names(merged([guarded, other, plain])) == [["plain", "guarded"], ["other"]]


def test_softened_at_another_temperature_it_is_the_same_network(tmp_path: Path) -> None:
    assert names(merged([teacher(tmp_path, "a", 1), teacher(tmp_path, "b", 1, heat=9.0)])) == [["a", "b"]]


def test_equal_calibration_with_other_softness_is_another_network(tmp_path: Path) -> None:
    one, other = teacher(tmp_path, "one", 1), teacher(tmp_path, "other", 2)
    (outputs,), (softer,) = one.outputs, other.outputs
    twin = attrs.evolve(one, name="twin", by_temperature={4.0: (attrs.evolve(outputs, softness=softer.softness),)})
    assert names(merged([one, twin])) == [["one"], ["twin"]]


def test_a_student_is_never_its_teacher(tmp_path: Path) -> None:
    one = teacher(tmp_path, "one", 1)
    assert len(merged([one, attrs.evolve(one, name="copy", role="student")])) == 2


def test_without_measured_outputs_nothing_is_said_to_be_one(tmp_path: Path) -> None:
    one = teacher(tmp_path, "one", 1)
    (outputs,) = one.outputs
    bare = attrs.evolve(outputs, calibration=None)
    first, second = (attrs.evolve(one, name=str(heat), by_temperature={heat: (bare,)}) for heat in (2.0, 3.0))
    assert len(merged([first, second])) == 2


def test_what_has_one_row_is_told_with_all_its_names(tmp_path: Path) -> None:
    one, two = teacher(tmp_path, "one", 1), teacher(tmp_path, "two", 2)
    alone, several = Same((two,)), Same((attrs.evolve(one, also=("uno", "eins")),))
    assert list(told_once([alone])) == []
    assert list(told_once([several, alone])) == ["One network, told once: `one`, also called `uno`, `eins`."]
    both = list(told_once([several, Same((two, attrs.evolve(two, name="due")))]))
    assert both == ["One network each, told once: `one`, also called `uno`, `eins`; `two`, also called `due`."]
