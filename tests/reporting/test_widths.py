from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from rcframe.findings.folders import collect
from rcframe.reporting.families import Family
from rcframe.reporting.widths import Kind, Widths, widths
from tests.findings.folders_made import Made, make_matrix, row
from tests.reporting.runs_made import collected


def net(name: str = "mlp", parameters: int = 10, learns: str = "kd", **options: object) -> Made:
    """A student network of a size, and how it learns."""
    settings: Mapping[str, object] = {
        "student_model": {"name": name, **options},
        "student": [{"name": learns, "epochs": 3}],
        "typed": {"teacher": ["plain"], "student": [f"{learns}:epochs=3"]},
    }
    return Made(parameters=parameters, settings=settings)


def found(runs: Mapping[str, Made], folder: Path) -> list[Widths]:
    return list(widths(collected(runs, folder).groups))


def sizes(family: Family) -> list[float]:
    return [member.value for member in family.members]


def test_students_of_one_kind_are_joined_by_size_and_parted_by_what_they_learn(tmp_path: Path) -> None:
    runs = {
        f"{learns}-{hidden}": net(parameters=10 * hidden, learns=learns, hidden=[hidden])
        for learns in ("kd", "plain")
        for hidden in (8, 2, 4)
    }
    (one,) = found(runs, tmp_path)
    assert one.kind.name == "mlp"
    assert [sizes(family) for family in one.students] == [[20, 40, 80], [20, 40, 80]]
    assert [family.name for family in one.students] == ["kd:epochs=3", "plain:epochs=3"]


def test_every_way_of_learning_has_its_teacher_at_its_own_size(tmp_path: Path) -> None:
    runs = {str(hidden): net(parameters=hidden, hidden=[hidden]) for hidden in (2, 4)}
    (one,) = found(runs, tmp_path)
    assert [sizes(family) for family in one.teachers] == [[100]]


def test_another_number_of_layers_is_another_kind(tmp_path: Path) -> None:
    runs = {
        channels.replace("+", "-"): net("scnn", 10 * place, channels=channels, hidden=4)
        for place, channels in enumerate(("2", "4", "2+4", "4+8"), 1)
    }
    kinds = found(runs, tmp_path)
    assert [[sizes(family) for family in one.students] for one in kinds] == [[[10, 20]], [[30, 40]]]
    assert [one.kind.told_from([other.kind for other in kinds]) for one in kinds] == [
        "scnn, channels of 1 number",
        "scnn, channels of 2 numbers",
    ]


def test_another_network_or_another_text_is_another_kind(tmp_path: Path) -> None:
    runs = {
        f"{name}-{normalize}-{hidden}": net(name, hidden, hidden=[hidden], normalize=normalize)
        for name, normalize in (("mlp", True), ("mlp", False), ("scnn", True))
        for hidden in (2, 4)
    }
    kinds = found(runs, tmp_path)
    assert len(kinds) == 3
    names = {one.kind.told_from([other.kind for other in kinds]) for one in kinds}
    assert names == {"mlp, normalize true", "mlp, normalize false", "scnn"}


def test_the_only_kind_of_its_name_goes_by_that() -> None:
    one, other = Kind("mlp", ("hidden of 1 number",)), Kind("scnn", ("channels of 2 numbers",))
    assert one.told_from([one, other]) == "mlp"


def test_students_of_one_size_are_no_line(tmp_path: Path) -> None:
    runs = {learns: net(learns=learns, hidden=[2]) for learns in ("kd", "plain")}
    assert found(runs, tmp_path) == []


def test_students_with_their_teachers_network_are_left_out(tmp_path: Path) -> None:
    runs = {str(size): Made(parameters=size, settings={"model": {"name": "mlp", "hidden": [size]}}) for size in (2, 4)}
    assert found(runs, tmp_path) == []


def test_rows_of_a_matrix_are_named_by_what_they_learn(tmp_path: Path) -> None:
    rows = [
        (
            attrs.evolve(row(f"{learns}{hidden}"), labels={"net": f"FC{hidden}", "learns": words}),
            net(parameters=hidden, learns=learns, hidden=[hidden]),
        )
        for learns, words in (("kd", "extra data"), ("plain", "labels"))
        for hidden in (2, 4)
    ]
    (one,) = list(widths(collect([make_matrix(tmp_path / "m", rows)]).groups))
    assert [family.name for family in one.students] == ["extra data", "labels"]
