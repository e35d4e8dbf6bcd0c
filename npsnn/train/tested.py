"""The accuracy of a trained network on the test images."""

from npsnn.attacks.judging import Accuracy, accuracy
from npsnn.classifier import Classifier
from npsnn.data import Dataset
from npsnn.runs import caveats
from npsnn.runs.caveats import Caveat


def tested(network: Classifier, dataset: Dataset, seed: int) -> tuple[Accuracy, Accuracy, list[Caveat]]:
    """The accuracy with the noise off, that under one draw of it, and what qualifies both.

    network: the network.
    dataset: its test images are classified.
    seed: of the draw.
    """
    x, labels = dataset.test.images, dataset.test.labels
    clean, noisy = accuracy(network.with_sigma(0), x, labels), accuracy(network, x, labels, 1, seed)
    return clean, noisy, caveats.of_network(network, network, noisy, labels)
