from __future__ import annotations

import base64
import io
from pathlib import Path

import attrs
import numpy as np
import pytest
from PIL import Image

from rcframe.findings.folders import Collection, collect
from rcframe.reporting.section import Section
from rcframe.reporting.sections.adversarial import section
from rcframe.session.evidence import About, write_evidence
from rcframe.session.layout import RunFiles
from tests.findings.folders_made import make_run
from tests.reporting.runs_made import PGD, column, curved, make_rich, measured, pictures, rich_evidence, sectioned


def attacked(folder: Path, right: list[bool] | None = None) -> Collection:
    made = measured(30)
    make_run(folder / "run", made)
    before = pictures()
    logits = np.eye(4, dtype=np.float32)[[0, 1, 3, 3]]
    evidence = attrs.evolve(
        rich_evidence(made),
        right={} if right is None else {About("student", PGD): np.asarray(right)},
        logits={"student": logits},
        adversarial={About("student", PGD): before + np.asarray([0, 10, 20, 5], np.uint8).reshape(4, 1, 1, 1)},
    )
    write_evidence(RunFiles(folder / "run").evidence, evidence)
    return collect([folder])


def found(folder: Path, right: list[bool] | None = None) -> Section:
    return sectioned(section(attacked(folder, right)))


def test_each_picture_stands_above_its_attacked_self_and_the_magnified_difference(tmp_path: Path) -> None:
    (strip,) = found(tmp_path).exhibits[0].strips
    assert strip.words == "Student under pgd:steps=5; difference times 6"
    shown = Image.open(io.BytesIO(base64.b64decode(strip.pictures[2].source.partition(",")[2])))
    pixels = np.moveaxis(np.asarray(shown), -1, 0)
    before = pictures()[2]
    assert np.array_equal(pixels[:, :8], before)
    assert np.array_equal(pixels[:, 9:17], before + 20)
    assert (pixels[:, 18:] == 128 + 6 * 20).all()


def test_pictures_of_a_curve_are_those_of_its_largest_eps(tmp_path: Path) -> None:
    make_rich(tmp_path / "run", attrs.evolve(curved(), eps="0:51/255:0.05"))
    (exhibit,) = sectioned(section(collect([tmp_path]))).exhibits
    assert exhibit.caption.endswith("seed 0, eps 51/255.")


def test_the_data_says_what_is_known_of_each_picture(tmp_path: Path) -> None:
    data = found(tmp_path).exhibits[0].data
    assert column(data, "largest change") == ["0", "10", "20", "5"]
    assert column(data, "mean change") == ["0.00", "10.00", "20.00", "5.00"]
    assert column(data, "taken for, before")[2] == "$x$"
    assert column(data, "afterwards") == ["-"] * 4


def test_whether_the_network_withstood_is_read_off_the_judgement_of_that_image(tmp_path: Path) -> None:
    right = [True, False, True, False]
    section_ = found(tmp_path, right)
    assert column(section_.exhibits[0].data, "afterwards") == ["right", "wrong", "right", "wrong"]
    assert section_.exhibits[0].strips[0].pictures[2].words.endswith("taken for $x$, right")


@pytest.mark.parametrize("side", [64, 224])
def test_large_noisy_pictures_do_not_fill_the_page(tmp_path: Path, side: int) -> None:
    made = measured(30)
    make_run(tmp_path / "run", made)
    noise = np.random.default_rng(0).integers(0, 256, (12, 3, side, side), np.uint8)
    roles = [About(role, f"attack{number}") for role in ("teacher", "student") for number in range(4)]
    evidence = attrs.evolve(
        rich_evidence(made),
        right={},
        logits={},
        pictures=noise,
        labels=np.zeros(12, np.int64),
        adversarial=dict.fromkeys(roles, noise[::-1]),
    )
    write_evidence(RunFiles(tmp_path / "run").evidence, evidence)
    exhibits = sectioned(section(collect([tmp_path]))).exhibits
    size = sum(len(picture.source) for exhibit in exhibits for strip in exhibit.strips for picture in strip.pictures)
    assert size < 1_000_000
    assert all(strip.pictures for exhibit in exhibits for strip in exhibit.strips)


def test_without_attacks_there_is_no_section(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    assert section(collect([tmp_path])) is None
