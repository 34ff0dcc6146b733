"""Attacks of torchattacks on request; runs in an environment that has torch and torchattacks, and no rcframe.

Reads one request per line of standard input and answers each with a line. `peers.py` starts it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torchattacks  # type: ignore[import-not-found]  # not in the environment where types are checked
from plain_networks import Watch, built
from torch import Tensor, nn


def crafted(model: nn.Module, x: Tensor, y: Tensor, attack: str, options: dict[str, float], batch: int) -> Tensor:
    craft = getattr(torchattacks, attack)(model, **options)
    parts = zip(torch.split(x, batch), torch.split(y, batch), strict=True)
    return torch.cat([craft(images, labels) for images, labels in parts])


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor, batch: int) -> float:
    predicted = torch.cat([model(images).argmax(1) for images in torch.split(x, batch)])
    return float((predicted == y).float().mean())


def answer(request: dict[str, str], options: dict[str, float]) -> dict[str, float]:
    case = torch.load(request["case"], weights_only=True)
    device, batch = request["device"], int(request["batch"])
    model = built(request["network"])
    model.to(case["x"].dtype).load_state_dict(case["weights"])
    model.to(device)
    x, y = case["x"].to(device), case["y"].to(device)
    watch = Watch(device)
    found = crafted(model, x, y, request["attack"], options, batch)
    right = accuracy(model, found, y, batch)
    seconds = watch.seconds()
    torch.save(found.cpu(), Path(request["case"]).with_suffix(".found"))
    return {"seconds": seconds, "accuracy": right}


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        options = request.pop("options")
        print(json.dumps(answer(request, options)), flush=True)


if __name__ == "__main__":
    main()
