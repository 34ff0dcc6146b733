"""docs/robustness.md shows what works, and names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rcframe.registry import registry
from rcframe.session.surrogates import Surrogate
from tests.test_readme import FEW, Shell, shortened

GUIDE = (Path(__file__).parents[1] / "docs" / "robustness.md").read_text(encoding="utf-8")


def commands(marker: str) -> list[str]:
    """The indented lines behind a marker."""
    block = GUIDE.split(f"<!-- {marker} -->")[1].lstrip("\n").split("\n\n")[0]
    return [line.strip() for line in block.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("command", [*commands("ask"), *commands("train")])
def test_the_commands_run(command: str, user: Shell, tmp_path: Path) -> None:
    shown = user(shortened(command).replace("epochs=10", "epochs=2"), tmp_path, **FEW)
    assert "Accuracy in percent" in shown


def test_every_attack_it_advises_is_installed() -> None:
    rows = GUIDE.split("| you want | ask for |")[1].split("\n\n")[0]
    names = {name.partition(":")[0] for name in re.findall(r"`([^`]+)`", rows) if not name.startswith("--")}
    assert names <= {item.spec.name for item in registry().announced("attack")}
    assert len(names) > 10


def test_every_source_in_the_table_is_one() -> None:
    rows = GUIDE.split("| source | the network |")[1].split("\n\n")[0]
    sources = re.findall(r"`([^`]+)`", rows)
    assert {Surrogate.parse(source.replace("SEED", "3")).kind for source in sources} == {
        "twin",
        "teacher",
        "student",
        "run",
        "file",
    }


def test_whatever_trains_on_attacked_images_is_installed() -> None:
    (names,) = re.findall(r"Teachers and students (.*?) train on attacked images", GUIDE, flags=re.DOTALL)
    for kind in ("teacher", "student"):
        assert set(re.findall(r"`([^`]+)`", names)) <= {item.spec.name for item in registry().announced(kind)}
