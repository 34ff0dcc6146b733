"""The model zoo: networks for images of any size, and those that users and libraries bring."""

from __future__ import annotations

from rcframe.hookspecs import Spec

#: Name, class below this package, and summary of every model.
_MODELS = (
    ("convnet", "plain:ConvNet", "Strided convolutions and one hidden layer: small, prunable, certifiable, spikeable."),
    ("mlp", "plain:Mlp", "Fully connected layers on the flattened image."),
    ("lenet300", "plain:LeNet300", "LeNet-300-100, fully connected."),
    ("lenet5", "plain:LeNet5", "LeNet-5 with 20 and 50 channels."),
    ("cnn", "small:Cnn", "Three blocks with batch normalisation and 32, 64, 128 channels."),
    ("digitnet", "small:DigitNet", "Two blocks with batch normalisation and 16, 32 channels, for small images."),
    ("blocknet", "small:BlockNet", "Four blocks with batch normalisation and 8 to 32 channels, averaged at the end."),
    ("thesis-svhn", "shallow:ThesisSvhn", "A teacher for 32x17 digits: four unpadded convolutions and dropout."),
    ("thesis-cifar", "shallow:ThesisCifar", "A teacher for 32x32 objects: six padded convolutions and dropout."),
    ("scnn", "shallow:ShallowCnn", "A shallow student: one or two convolutions and one hidden layer."),
    ("vgg5", "vgg:Vgg5", "VGG-5 without biases and with average pooling, for conversion to spikes."),
    ("vgg11", "vgg:Vgg11", "VGG-11 without biases and with average pooling, for conversion to spikes."),
    ("vgg16", "vgg:Vgg16", "VGG-16 for small images, with batch normalisation and one linear layer."),
    ("resnet12", "resnet:ResNet12", "ResNet-12 without biases and normalisation, for conversion to spikes."),
    ("resnet18", "resnet:ResNet18", "ResNet-18 for small images."),
    ("resnet34", "resnet:ResNet34", "ResNet-34 for small images."),
    ("resnet50", "resnet:ResNet50", "ResNet-50 for small images."),
    ("resnet20", "preact:ResNet20", "Pre-activation ResNet-20 with 16, 32, 64 channels."),
    ("resnet32", "preact:ResNet32", "Pre-activation ResNet-32 with 16, 32, 64 channels."),
    ("wideresnet", "preact:WideResNet", "Wide residual network of any depth and factor; WRN-40-2 by default."),
    ("resnext29", "resnet:ResNext29", "ResNeXt-29 with 8 groups of 64 channels."),
    ("mobilenetv2", "mobile:MobileNetV2", "MobileNetV2 for small images."),
    ("shufflenetv2", "mobile:ShuffleNetV2", "ShuffleNetV2 for small images."),
    ("python", "own:OwnModel", "A network of your own: what package.module:function returns."),
    ("torchvision", "libraries:TorchvisionModel", "A classification network of torchvision by name, untrained."),
    ("timm", "libraries:TimmModel", "A network of timm by name, untrained; needs the extra `timm`."),
)

SPECS: tuple[Spec, ...] = tuple(
    Spec(kind="model", name=name, target=f"{__name__}.{target}", summary=summary) for name, target, summary in _MODELS
)
