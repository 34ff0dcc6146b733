"""Confidence beside accuracy, bin by bin."""

from __future__ import annotations

from rcframe.evaluation.calibration import BINS, Bin, Calibration
from rcframe.evaluation.evaluate import Accuracy
from rcframe.findings.tables import Table
from rcframe.reporting.chart import number
from rcframe.reporting.drawing import BarRow, bar_swatch, draw_bars
from rcframe.reporting.section import Exhibit, Key

_SERIES = ("right", "mean confidence")


def reliability(calibration: Calibration, name: str, stem: str) -> Exhibit:
    """Draw how many of the images of each bin are right beside how sure the network is of them."""
    caption = f"How often right, and how sure, by confidence: {name}."
    bars = [BarRow(f"{_range(one)} (n {one.n})", _bars(one)) for one in calibration.bins]
    return Exhibit(
        name=stem,
        caption=caption,
        data=Table(
            caption,
            ("confidence (%)", "images", "right (%)", "low", "high", "mean confidence (%)"),
            tuple(_row(one) for one in calibration.bins),
        ),
        drawing=draw_bars(bars, "percent of the images with this confidence", caption, largest=105),
        legend=tuple(Key(words, bar_swatch(place)) for place, words in enumerate(_SERIES)),
    )


def _range(one: Bin) -> str:
    """Name the bin by its ends, in percent."""
    return f"{100 * one.place / BINS:.0f} to {100 * (one.place + 1) / BINS:.0f}%"


def _bars(one: Bin) -> tuple[float, float]:
    return 100 * one.correct / one.n, 100 * one.confidence


def _row(one: Bin) -> tuple[str, ...]:
    accuracy = Accuracy(one.correct, one.n)
    numbers = (accuracy.value, *accuracy.interval, one.confidence)
    right, low, high, confidence = (number(100 * value) for value in numbers)
    return _range(one), str(one.n), right, low, high, confidence
