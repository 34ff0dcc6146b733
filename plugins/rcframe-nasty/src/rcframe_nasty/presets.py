"""The published settings, per data set."""

from __future__ import annotations

from collections.abc import Mapping

_SGD: Mapping[str, object] = {
    "optimizer": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "batch_size": 128,
    "schedule": "steps",
}
_CIFAR10: Mapping[str, object] = {**_SGD, "epochs": 160, "milestones": (80, 120), "decay": 0.1, "temperature": 4.0}
_LONG: Mapping[str, object] = {
    **_SGD,
    "epochs": 200,
    "milestones": (60, 120, 160),
    "decay": 0.2,
    "temperature": 20.0,
}

#: For CIFAR-10 the paper and its released configuration differ in omega.
PRESETS: Mapping[str, Mapping[str, object]] = {
    "cifar10": {**_CIFAR10, "omega": 0.004},
    "cifar10-code": {**_CIFAR10, "omega": 0.04},
    "cifar100": {**_LONG, "omega": 0.005},
    "tiny-imagenet": {**_LONG, "omega": 0.01},
}
