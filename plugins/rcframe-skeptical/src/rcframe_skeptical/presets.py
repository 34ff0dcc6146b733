"""The settings that students of this field share, by data set."""

from __future__ import annotations

from collections.abc import Mapping

#: SGD with momentum 0.9, as for the teachers; the weights of the distillation loss.
_SHARED: Mapping[str, object] = {
    "alpha": 0.9,
    "batch_size": 128,
    "optimizer": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "steps",
}
_HUNDRED: Mapping[str, object] = {
    **_SHARED,
    "temperature": 20.0,
    "epochs": 200,
    "milestones": (60, 120, 160),
    "decay": 0.2,
}

#: Where the teacher enters and when is not published, so that the presets leave `tap` and `delay` at their defaults.
PRESETS: Mapping[str, Mapping[str, object]] = {
    "cifar10": {**_SHARED, "temperature": 4.0, "epochs": 160, "milestones": (80, 120), "decay": 0.1},
    "cifar100": _HUNDRED,
    "tiny-imagenet": _HUNDRED,
}
