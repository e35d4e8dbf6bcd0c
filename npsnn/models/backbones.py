"""The convolutional networks that A2SNN puts its stochastic classifier on, as layers up to the features.

Each ends in `Flatten` and a fully connected layer of `bottleneck` units, the features (A2SNN Sec. 4.1: 32). The paper
does not say whether an activation follows that layer; none does here, so features have either sign. A ReLU follows in
the authors' ResNet-18 alone (audit B14).
"""

from collections.abc import Callable

from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.base import Layer, Shape, image_shape
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.pool import MaxPool, MeanPool, OverlappingMaxPool
from npsnn.layers.reshape import Flatten

Layers = tuple[tuple[str, Layer], ...]

BOTTLENECK = 32


def features(bottleneck: int) -> Layers:
    """The last layers of every backbone, which make `bottleneck` features."""
    return ("flatten", Flatten()), ("bottleneck", Linear(bottleneck))


def resnet18(shape: Shape, bottleneck: int = BOTTLENECK) -> Layers:
    """ResNet-18 for small images: a 3x3 convolution of 64, four stages of two blocks, 64, 128, 256, 512, the mean.

    shape: one image, (C, H, W), square.
    bottleneck: number of features.
    Stages two to four halve the image; their shortcut is a 1x1 convolution with BatchNorm, the other shortcuts are the
    identity. BatchNorm follows every convolution, which therefore has no bias. Stem and stages are the ones for
    CIFAR-10, without the first max pooling. The mean is over whatever is left of the image, 4x4 of 32x32.
    Raises ValueError for an image that is not square.
    Source: He et al. 2016; A2SNN Sec. 4.1 names it without details.
    """
    left = -(-_side("resnet18", shape) // 8)
    stem = (*_normalised_convolution(64, 3), ("relu1", ReLU()))
    return *stem, *_stages(), ("pool", MeanPool(left)), *features(bottleneck)


def resnet18_authors(shape: Shape, bottleneck: int = BOTTLENECK) -> Layers:
    """ResNet-18 as A2SNN's authors use it: the stem for ImageNet, and a ReLU on the features.

    shape: one image, (C, H, W), square; an image of 32x32 is 16x16 after the first convolution, 8x8 after the pooling
        and 1x1 at the end.
    bottleneck: number of features.
    The stem is a 7x7 convolution with stride 2, BatchNorm, ReLU and the largest of 3x3 windows with stride 2. The
    stages are those of `resnet18`. The weights start as those of all networks here do: the authors have 0 as the first
    scale of the last BatchNorm of each block, and weights by the fan-out.
    Raises ValueError for an image that is not square.
    Source: resnet.py and models.py of A2SNN's authors' code (audit B14); He et al. 2016, Table 1.
    """
    left = -(-_side("resnet18-authors", shape) // 32)
    stem = (*_normalised_convolution(64, 7, 2), ("relu1", ReLU()), ("maxpool", OverlappingMaxPool(3, 2, 1)))
    return *stem, *_stages(), ("pool", MeanPool(left)), *features(bottleneck), ("relu10", ReLU())


def _side(name: str, shape: Shape) -> int:
    """Height and width of a square image."""
    _, height, width = image_shape(name, shape)
    if height != width:
        raise ValueError(f"{name} needs square images, got {height} x {width}")
    return width


def _stages() -> Layers:
    """The eight blocks of ResNet-18, each with the ReLU after it."""
    layers: list[tuple[str, Layer]] = []
    for stage, channels in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            number = 2 * stage + block + 1
            layers += [(f"block{number}", _block(channels, stride)), (f"relu{number + 1}", ReLU())]
    return tuple(layers)


def _normalised_convolution(channels: int, kernel: int, stride: int = 1, number: int = 1) -> Layers:
    convolution = Conv2d(channels, kernel, stride, padding=kernel // 2, bias=False)
    return (f"conv{number}", convolution), (f"bn{number}", BatchNorm())


def _block(channels: int, stride: int) -> Residual:
    """Two 3x3 convolutions beside a shortcut; the ReLU of their sum stands after the block."""
    first = _normalised_convolution(channels, 3, stride)
    body = (*first, ("relu1", ReLU()), *_normalised_convolution(channels, 3, number=2))
    shortcut = () if stride == 1 else _normalised_convolution(channels, 1, stride)
    return Residual(Sequential(body), Sequential(shortcut))


def lenetpp(shape: Shape, bottleneck: int = BOTTLENECK) -> Layers:
    """LeNet++: six 5x5 convolutions of 32, 32, 64, 64, 128, 128, padded by 2, with PReLU, each pair with max pooling.

    shape: one image, (C, H, W); 28x28 images end as 3x3.
    bottleneck: number of features.
    Source: Wen et al. 2016, Table 1; A2SNN Sec. 4.1 names it without details.
    """
    return _lenetpp(bottleneck, padding=2, pooled=True)


def lenetpp_authors(shape: Shape, bottleneck: int = BOTTLENECK) -> Layers:
    """LeNet++ as A2SNN's authors programmed it: the convolutions of `lenetpp` without padding, and no pooling.

    shape: one image, (C, H, W), of at least 25 pixels; images shrink by 4 pixels a layer, 28x28 to 4x4.
    bottleneck: number of features.
    """
    return _lenetpp(bottleneck, padding=0, pooled=False)


def _lenetpp(bottleneck: int, padding: int, pooled: bool) -> Layers:
    layers: list[tuple[str, Layer]] = []
    for number, channels in enumerate((32, 32, 64, 64, 128, 128), start=1):
        layers += [(f"conv{number}", Conv2d(channels, 5, padding=padding)), (f"prelu{number}", PReLU())]
        if pooled and number % 2 == 0:
            layers.append((f"pool{number // 2}", MaxPool(2)))
    return *layers, *features(bottleneck)


BACKBONES: dict[str, Callable[[Shape, int], Layers]] = {
    "lenetpp": lenetpp,
    "lenetpp-authors": lenetpp_authors,
    "resnet18": resnet18,
    "resnet18-authors": resnet18_authors,
}


def backbone(name: str, shape: Shape, bottleneck: int = BOTTLENECK) -> Layers:
    """The layers of a backbone, by its name.

    name: one of `BACKBONES`.
    shape: one image, (C, H, W).
    bottleneck: number of features that the layers end in.
    Raises ValueError for an unknown name.
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}, expected one of {', '.join(BACKBONES)}")
    return BACKBONES[name](shape, bottleneck)
