"""Certificates by randomised smoothing: radii within which no attack can change the most probable answer.

    found = certify.certify(network, images, labels, n=10_000, alpha=0.001)
    found.accuracy(0.25).mean, found.abstained.mean()

The smoothing noise is the network's own first noise: on the images, or after layers whose norm has a known bound, such
as a first convolution. `sigma=0.25` adds Gaussian noise to the images of any network instead. `certificates` yields one
image at a time, `predict` answers without a radius, `read` takes a table of `npsnn certify --save`.
"""

from npsnn.certify.certificates import ABSTAIN, Certificate, Certificates, certificates, certify, predict
from npsnn.certify.interval import chance, lower_bound
from npsnn.certify.norms import convolution_bound, linear_bound, stretch
from npsnn.certify.plan import Plan
from npsnn.certify.smoothing import Smoothing, smoothing, with_noisy_images
from npsnn.certify.table import read

__all__ = [
    "ABSTAIN",
    "Certificate",
    "Certificates",
    "Plan",
    "Smoothing",
    "certificates",
    "certify",
    "chance",
    "convolution_bound",
    "linear_bound",
    "lower_bound",
    "predict",
    "read",
    "smoothing",
    "stretch",
    "with_noisy_images",
]
