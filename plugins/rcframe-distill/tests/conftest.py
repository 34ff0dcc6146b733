from __future__ import annotations

import attrs
import pytest
import torch
from torch import nn

from rcframe import Data, Run
from rcframe.testing.toys import CLASSES, toy_dataset, toy_images, toy_run, trained_network


@pytest.fixture(scope="session")
def teacher() -> nn.Module:
    """A small network that has learned the toy images, in evaluation mode."""
    return trained_network()


@pytest.fixture
def normed() -> nn.Module:
    """A student with batch norm and dropout, in training mode."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(144, CLASSES)
    )


@pytest.fixture
def unlabelled_run() -> Run:
    """A student's run on toy data with 40 extra images, for a method that reads no labels."""
    return attrs.evolve(toy_run("student", Data.INPUTS), dataset=attrs.evolve(toy_dataset(), extra=toy_images(40, 9)))
