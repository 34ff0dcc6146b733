"""How students are usually trained on the published data sets."""

from __future__ import annotations

from collections.abc import Mapping

#: Named sets of option values of a component.
Presets = Mapping[str, Mapping[str, object]]

_SGD = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "batch_size": 128, "schedule": "steps"}

#: 160 epochs on CIFAR-10 and 200 on CIFAR-100 and Tiny-ImageNet, as in the papers on undistillable teachers.
CIFAR10: Mapping[str, object] = {**_SGD, "weight_decay": 5e-4, "epochs": 160, "milestones": (80, 120), "decay": 0.1}
CIFAR100: Mapping[str, object] = {**CIFAR10, "epochs": 200, "milestones": (60, 120, 160), "decay": 0.2}
#: A small network without any schedule, in the same papers.
SMALL: Mapping[str, object] = {"optimizer": "adam", "lr": 1e-3, "batch_size": 128, "epochs": 100}
#: What the papers on robust distillation share; each trains for a time of its own.
_CRAFTED = {"attack_eps": "8/255", "steps": 10, "step_size": "2/255"}
ROBUST: Mapping[str, object] = {**_SGD, **_CRAFTED, "weight_decay": 2e-4, "decay": 0.1}
