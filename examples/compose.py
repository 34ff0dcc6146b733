"""Four kinds of methods on one plain network: prune it, make it spike, attack and certify the results."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import rcframe as rc

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(labels)
train_x, train_y, test_x, test_y = x[:1400], y[:1400], x[1400:1500], y[1400:1500]

layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 4, 2, 1), nn.ReLU(), nn.Flatten()]
model = nn.Sequential(*layers, nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10))


def train(network: nn.Module, epochs: int) -> nn.Module:
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for index in (part for _ in range(epochs) for part in torch.randperm(len(train_x)).split(64)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(train_x[index]), train_y[index]).backward()
        optimizer.step()
    return network.eval()


train(model, epochs=15)
small, report = rc.pruner("filters", ratio=0.25).apply(model, train_x[:8])
spiking = train(rc.neuron("lif", steps=4).convert(model), epochs=5)
pgd, convex = rc.attack("pgd", steps=20), rc.certifier("convex")
for name, network in (("trained", model), ("pruned", small), ("spiking", spiking)):
    attacked = pgd(network, test_x, test_y, eps=8 / 255)
    clean, robust = ((network(images).argmax(1) == test_y).float().mean() for images in (test_x, attacked))
    line = f"{name:8} {rc.size_of(network).parameters:6,} parameters  clean {clean:.0%}  pgd {robust:.0%}"
    if convex.unsupported(network) is None:
        margins = convex(network, test_x, test_y, eps=0.01)
        others = margins.scatter(1, test_y.unsqueeze(1), float("inf"))
        line += f"  certified at 0.01 {(others.amin(1) > 0).float().mean():.0%}"
    print(line)
