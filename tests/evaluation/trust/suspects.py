"""Networks that look robust for a bad reason, and what a run would have found of them."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import rcframe as rc
from rcframe.api import Attack
from rcframe.data.images import Images
from rcframe.evaluation.crafting import attack_batch
from rcframe.evaluation.evaluate import predict
from rcframe.evaluation.flags import Findings
from rcframe.evaluation.threat import Threat
from rcframe.evaluation.trust.suspect import Suspect
from rcframe.testing.toys import sign_ascent, toy_images, trained_network

COUNT = 200
#: Breaks about half of the images of the plain toy network.
THREAT = Threat(0.2)


class Around(nn.Module):
    """A network with something around it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net


class Quantised(Around):
    """Rounds every pixel to one of three values: no gradient passes."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net((2 * x).round() / 2)
        return logits


class Saturated(Around):
    """Answers with log-probabilities of ten thousand times the logits."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return (1e4 * logits).log_softmax(dim=1)


class Decided(Around):
    """Answers with the class alone: the output does not even depend on the input, as autograd sees it."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return 10 * F.one_hot(logits.argmax(dim=1), logits.shape[1]).to(x.dtype)


class Infinite(Around):
    """Has the gradient of a square root at 0."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits + (0 * x).sqrt().flatten(1).sum(dim=1, keepdim=True)


class Noisy(Around):
    """Adds noise to its logits."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits + torch.randn_like(logits)


class AlwaysDropping(Around):
    """Drops pixels whatever its mode."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(F.dropout(x, 0.2))
        return logits


class Switching(Around):
    """Puts a part of itself into training mode when called."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(self.drop.train()(x))
        return logits


class Hidden(Around):
    """Keeps a layer where no mode reaches it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.layers = [nn.Dropout(0.2)]

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(self.layers[0](x))
        return logits


class Inline(Around):
    """Makes a layer for itself whose mode does not matter."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(nn.ReLU()(x))
        return logits


class BatchStatistics(Around):
    """Normalises by the batch that it sees."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.norm = nn.BatchNorm2d(1, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(self.norm(x))
        return logits


class Constant(Around):
    """Always answers the same class."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([0.0, 2.0, 0.0]).expand(len(x), 3) + 0 * x.mean()


@rc.component
class Ascent(Attack):
    """Follows the gradient of the margin; twice the steps are stronger."""

    steps: int = rc.option(default=20, help="How many.")
    #: Shorter than it should be, below 1.
    stride: float = rc.option(default=1.0, help="Share of the usual step.")

    def craft(self, source: rc.Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Climb."""
        shorter = Threat(threat.eps * self.stride, threat.norm)
        return sign_ascent(source, x, y, shorter, self.steps)

    def stronger(self) -> Ascent:
        """Go further with more steps."""
        return Ascent(steps=2 * self.steps, stride=min(1.0, 2 * self.stride))


@rc.component
class Entropic(Attack):
    """Follows the gradient of cross-entropy, and of nothing else."""

    def craft(self, source: rc.Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Climb."""
        moved = x
        for _ in range(10):
            moved = moved.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(F.cross_entropy(source.logits(moved), y), moved)
            moved = threat.project(moved.detach() + threat.eps / 4 * gradient.sign(), x)
        return moved


@rc.component
class Idle(Attack):
    """An iterated gradient attack that does nothing."""

    def craft(self, source: rc.Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Give up."""
        return x


@rc.component
class OneStep(Attack):
    """One step along the gradient."""

    iterated = False

    def craft(self, source: rc.Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Step."""
        x = x.requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(source.logits(x), y, reduction="sum"), x)
        return x + threat.eps * gradient.sign()


@rc.component
class Chance(Attack):
    """Noise."""

    access = rc.Access.NONE
    iterated = False

    def craft(self, source: rc.Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Draw once."""
        return x + threat.eps * torch.randn_like(x).sign()


@rc.component
class Blind(Attack):
    """Asks for scores only, and finds nothing."""

    access = rc.Access.LOGITS

    def craft(self, source: rc.Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Give up."""
        return x


@rc.component
class Foreign(Attack):
    """Would be crafted on the teacher."""

    @property
    def surrogate(self) -> str:
        """Say where."""
        return "teacher"

    def craft(self, source: rc.Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Give up."""
        return x


def plain() -> nn.Module:
    """A network that has learned the toy images."""
    return trained_network()


def hardened() -> nn.Module:
    """The same, trained on attacked images."""
    network = trained_network("hardened", 2)
    network.load_state_dict(_hardened())
    return network


@functools.cache
def _hardened() -> dict[str, Tensor]:
    network = trained_network("hardened", 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    batch = toy_images(96, 1).first(96)
    for _ in range(60):
        x = attack_batch(Ascent(steps=5), network, batch.images, batch.labels, THREAT)
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(network(x), batch.labels))
        optimizer.step()
    return network.state_dict()


def suspect(
    module: nn.Module,
    *attacks: Attack,
    threat: Threat = THREAT,
    other: nn.Module | None = None,
    images: Images | None = None,
) -> Suspect:
    """What a run would know of a network after these attacks; each attack is called by its class."""
    pictures = toy_images(COUNT, 3) if images is None else images
    batch = pictures.first(len(pictures))
    x, y = batch.images, batch.labels
    findings = Findings(clean=predict(module, x) == y)
    named = {type(attack).__name__.lower(): attack for attack in attacks}
    for name, attack in named.items():
        withstood = predict(module, attack_batch(attack, module, x, y, threat)) == y
        findings.attacked[name] = findings.clean & withstood
    return Suspect(
        role="student",
        module=module,
        other_role="teacher",
        other=trained_network("other") if other is None else other,
        findings=findings,
        attacks=named,
        threat=threat,
        images=pictures,
        device=torch.device("cpu"),
    )
