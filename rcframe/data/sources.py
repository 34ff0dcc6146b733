"""The data sources that come with the kernel, by name."""

from __future__ import annotations

from rcframe.hookspecs import Spec


def _data(name: str, target: str, summary: str) -> Spec:
    return Spec(kind="data", name=name, target=f"rcframe.data.{target}", summary=summary)


SPECS: tuple[Spec, ...] = (
    _data("digits", "digits:Digits", "Real handwritten digits, 8x8 grey, 1,797 images; needs no download."),
    _data("glyphs", "glyphs:Glyphs", "Drawn characters in colour, any number from a seed; needs no download."),
    _data("cifar10", "cifar:Cifar10", "CIFAR-10: 32x32 colour photographs of 10 things."),
    _data("cifar100", "cifar:Cifar100", "CIFAR-100: 32x32 colour photographs of 100 things."),
    _data(
        "svhn", "svhn:Svhn", "Street View House Numbers: 32x32 colour digits, with an extra split and a narrow crop."
    ),
    _data("mnist", "mnist:Mnist", "MNIST: 28x28 grey handwritten digits."),
    _data("fashion-mnist", "mnist:FashionMnist", "Fashion-MNIST: 28x28 grey pictures of clothes."),
    _data("tiny-imagenet", "tiny_imagenet:TinyImageNet", "Tiny-ImageNet: 64x64 colour photographs of 200 things."),
    _data("folder", "folder:Folder", "Your own images: a folder with train/CLASS/ and val/CLASS/."),
)
