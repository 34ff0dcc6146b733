"""The digits of `undistillable.py raw` once more, in plain PyTorch: is it the protocol that decides, or our code?

    python benchmarks/undistillable_by_hand.py [SEEDS]

Nothing of rcframe is used. Teachers and the adversary have two convolutions, the cnn one, the mlp one hidden layer;
a nasty teacher learns from labels and away from the adversary's softmax at temperature 4, weight 0.004.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

BATCH, TEMPERATURE, OMEGA, ALPHA = 64, 4.0, 0.004, 0.9
#: The loss of logits (B, classes) on the images at an index (B,).
Loss = Callable[[Tensor, Tensor], Tensor]


def images() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training and test images (N, 1, 8, 8) with their labels (N,)."""
    digits = load_digits()
    x, y = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1), torch.tensor(digits.target)
    train, test = train_test_split(torch.arange(len(y)), test_size=450, random_state=0, stratify=y)
    return x[train], y[train], x[test], y[test]


def teacher() -> nn.Module:
    """Return a network with two convolutions."""
    first = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*first, *second, nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10))


def cnn() -> nn.Module:
    """Return a student with one convolution."""
    first = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(128, 10))


def mlp() -> nn.Module:
    """Return a student with one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def train(build: Callable[[], nn.Module], x: Tensor, loss: Loss, epochs: int, seed: int) -> nn.Module:
    """Train a new network with Adam; its weights and the order of images come from the seed."""
    torch.manual_seed(seed)
    network = build()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(epochs):
        for index in torch.split(torch.randperm(len(x)), BATCH):
            optimizer.zero_grad()
            loss(network(x[index]), index).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network.eval()


def kl(p: Tensor, q: Tensor) -> Tensor:
    """Return KL(softmax(p / T) || softmax(q / T)) of logits (B, classes), mean over the batch."""
    return F.kl_div(
        (q / TEMPERATURE).log_softmax(1), (p / TEMPERATURE).log_softmax(1), log_target=True, reduction="batchmean"
    )


@torch.no_grad()
def logits_of(network: nn.Module, x: Tensor) -> Tensor:
    """Return the logits (N, classes) of all images."""
    answers: Tensor = network(x)
    return answers


def seed_of(seed: int) -> list[float]:
    """Return the accuracies of one seed in percent: both teachers, then each student of both; and the KL at last."""
    x, y, test_x, test_y = images()

    def accuracy(network: nn.Module) -> float:
        return 100 * (logits_of(network, test_x).argmax(1) == test_y).float().mean().item()

    def labels(logits: Tensor, index: Tensor) -> Tensor:
        return F.cross_entropy(logits, y[index])

    # As in the method's code, the adversary is the plain teacher.
    plain = train(teacher, x, labels, 30, 1000 + seed)
    away = logits_of(plain, x)
    nasty = train(
        teacher, x, lambda out, i: labels(out, i) - OMEGA * TEMPERATURE**2 * kl(out, away[i]), 60, 2000 + seed
    )
    found = [accuracy(plain), accuracy(nasty)]
    for build in (cnn, mlp):
        for taught in (away, logits_of(nasty, x)):
            student = train(
                build,
                x,
                lambda out, i, taught=taught: (  # type: ignore[misc]
                    (1 - ALPHA) * labels(out, i) + ALPHA * TEMPERATURE**2 * kl(taught[i], out)
                ),
                40,
                3000 + seed,
            )
            found.append(accuracy(student))
    return [*found, kl(logits_of(nasty, x), away).item()]


def main(seeds: int = 10) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    names = "seed", "plain", "nasty", "cnn of plain", "of nasty", "harm", "mlp of plain", "of nasty", "harm", "KL"
    print(f"| {' | '.join(names)} |\n{'|---' * len(names)}|")
    for seed in range(seeds):
        plain, nasty, cnn_plain, cnn_nasty, mlp_plain, mlp_nasty, apart = seed_of(seed)
        teachers = f"{plain:.1f} | {nasty:.1f}"
        cnns = f"{cnn_plain:.1f} | {cnn_nasty:.1f} | {cnn_plain - cnn_nasty:.1f}"
        mlps = f"{mlp_plain:.1f} | {mlp_nasty:.1f} | {mlp_plain - mlp_nasty:.1f}"
        print(f"| {seed} | {teachers} | {cnns} | {mlps} | {apart:.2f} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
