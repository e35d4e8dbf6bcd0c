"""A model of one's own, with noise on two pre-activations."""

from npsnn.layers import Conv2d, Flatten, Linear, PreactivationNoise, ReLU, Sequential
from npsnn.models import Model, model


@model("two-noises")
def two_noises(shape=(1, 28, 28), classes=10, sigma=0.3):
    """A convolution and two dense layers, with noise after the convolution and after the first dense layer.

    shape: of one image, (C, H, W).
    classes: number of classes.
    sigma: standard deviation of both noises where training begins.
    """
    layers = (
        ("conv", Conv2d(8, 5, stride=2)),
        ("noise1", PreactivationNoise(sigma)),
        ("relu1", ReLU()),
        ("flatten", Flatten()),
        ("fc1", Linear(32)),
        ("noise2", PreactivationNoise(sigma)),
        ("relu2", ReLU()),
        ("fc2", Linear(classes, joint=True)),
    )
    return Model("two-noises", Sequential(layers), shape, classes)


if __name__ == "__main__":
    from npsnn.testing import check_model

    check_model(two_noises())
