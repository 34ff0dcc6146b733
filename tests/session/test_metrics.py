from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from rcframe.session.metrics import Line, read_metrics

FIRST = '{"stage": "teacher/train", "epoch": 1, "seconds": 0.5, "loss": 2.5, "accuracy": 0.1}\n'
SECOND = '{"stage": "teacher/train", "epoch": 2, "seconds": null, "loss": 1}\n'


def read(path: Path, text: str) -> list[Line]:
    path.write_text(text, encoding="utf-8")
    return list(read_metrics(path))


def test_lines_are_read_in_their_order(tmp_path: Path) -> None:
    assert read(tmp_path / "metrics.jsonl", FIRST + SECOND) == [
        Line("teacher/train", 1, 0.5, {"loss": 2.5, "accuracy": 0.1}),
        Line("teacher/train", 2, None, {"loss": 1.0}),
    ]


def test_a_file_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    assert list(read_metrics(tmp_path / "metrics.jsonl")) == []


@given(st.integers(0, len(SECOND) - 2))
def test_a_line_that_is_not_whole_yet_is_left_out(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    assert [line.epoch for line in read(path, FIRST + SECOND[:cut])] == [1]


@pytest.mark.parametrize("damaged", ["5", "[]", "\0\0\0", "{}", SECOND[:30], SECOND.replace("1}", '"x"}').strip()])
def test_a_damaged_line_hides_no_other(tmp_path: Path, damaged: str) -> None:
    assert [line.epoch for line in read(tmp_path / "metrics.jsonl", f"{FIRST}{damaged}\n{SECOND}")] == [1, 2]


def test_bytes_that_are_no_text_hide_no_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\xff\xfe\n" + FIRST.encode())
    assert len(list(read_metrics(path))) == 1
