"""The claims of the noise paper that networks can be asked about; those on formulas are rows of the audit."""

from npsnn.reproduce.claims import Claim
from npsnn.reproduce.scales import NOISE_PAPER

CHIEF = {
    "noise-clean-alone": "training on clean data alone makes robust networks, by the best of what was tried",
    "noise-closed-form": "the closed form gives the law of the outputs and the probabilities of the loss",
    "noise-above-baseline-mnist": "noise of any level in training makes MNIST's network more robust to PGD than none",
    "noise-robust-mnist": "the most noise makes MNIST's network more robust to PGD than the least",
    "noise-like-attacked-mnist": "training with noise is about as robust as adversarial training on MNIST",
    "noise-no-drop": "clean accuracy on MNIST does not drop",
    "noise-adaptive-stronger": "the closed form gives a stronger attack on networks that keep their noise",
    "noise-sigma-not-zero": "a learned sigma converges to a value above 0",
}
"""The claims of the abstract and of the conclusion, one data set where there are two, each in a few words."""


def _claim(id: str, where: str, says: str) -> Claim:
    return Claim(id, NOISE_PAPER, where, says, CHIEF.get(id, ""))


CLAIMS: tuple[Claim, ...] = (
    _claim("noise-clean-alone", "Abstract", "Training on clean data alone makes adversarially robust networks."),
    _claim("noise-closed-form", "Sec. 1, 2", "The closed form gives the law of the output without Monte Carlo."),
    _claim(
        "noise-relu-normal",
        "Sec. 2.1, Eq. 6, Fig. 3",
        "After a ReLU the outputs are well approximated by the normal law of Eq. 6.",
    ),
    _claim("noise-output-normal", "Sec. 2.1", "The output of the network is Gaussian."),
    _claim("noise-variance-alone", "Sec. 2.1, 2.2", "The variances depend on the variance of the noise alone."),
    _claim(
        "noise-expectation", "Sec. 2", "The network with its noise withdrawn is the expectation of the stochastic one."
    ),
    _claim("noise-coverage", "Sec. 2.1", "Three standard deviations to both sides cover 99.7 % of the noise."),
    _claim(
        "noise-inference-cheap", "Sec. 1, 2", "Inference has no bottleneck of simulations, as randomised defences have."
    ),
    _claim("noise-deterministic", "Sec. 6", "Inference is deterministic, unlike that of randomised defences."),
    _claim(
        "noise-boundary",
        "Sec. 1, 2, Fig. 1",
        "Training under noise moves the border of the classes away from the images, on MNIST.",
    ),
    _claim(
        "noise-above-baseline-mnist",
        "Sec. 3.2, Fig. 4",
        "Networks trained with noise are more robust to PGD than the baseline, on MNIST.",
    ),
    _claim("noise-robust-mnist", "Sec. 3.2, Fig. 4", "A higher sigma is more robust to PGD, on MNIST."),
    _claim(
        "noise-above-baseline-cifar10",
        "Sec. 3.2, Fig. 5",
        "Networks trained with noise are more robust to PGD than the baseline, on CIFAR-10.",
    ),
    _claim("noise-robust-cifar10", "Sec. 3.2, Fig. 5", "A higher sigma is more robust to PGD, on CIFAR-10."),
    _claim("noise-fgsm", "Sec. 3.1, 6", "Networks trained with noise are robust to FGSM as well."),
    _claim(
        "noise-like-attacked-mnist", "Abstract, Sec. 1", "Robustness is similar to adversarial training's, on MNIST."
    ),
    _claim(
        "noise-like-attacked-cifar10",
        "Abstract, Sec. 1",
        "Robustness is similar to adversarial training's, on CIFAR-10.",
    ),
    _claim("noise-accuracy-declines", "Sec. 3.2, Fig. 6", "Clean accuracy declines as the training noise grows."),
    _claim(
        "noise-attacked-declines", "Sec. 3.2, Fig. 6", "Clean accuracy declines as adversarial training's radius grows."
    ),
    _claim(
        "noise-mirrors-attacked",
        "Abstract, Sec. 3.2",
        "Sigma acts on robustness and on clean accuracy as the radius of adversarial training does.",
    ),
    _claim(
        "noise-term-helps",
        "Sec. 2.2",
        "The term of the loss that rewards the probability of the label enhances the accuracy as well.",
    ),
    _claim("noise-no-drop", "Sec. 6", "Robustness comes without a drop of accuracy against the vanilla network."),
    _claim(
        "noise-adaptive-unprotected",
        "Sec. 4, Fig. 7",
        "Under the adaptive FGSM, noise of sigma 0.6 leaves a network almost as vulnerable as an unprotected one.",
    ),
    _claim(
        "noise-adaptive-stronger",
        "Sec. 4, 6, Fig. 7",
        "The closed form makes an efficient adaptive attack on networks that keep their noise, of sigma 0.6 and 0.8.",
    ),
    _claim(
        "noise-dearer-than-plain", "Sec. 6", "Training with noise may need more computation than conventional training."
    ),
    _claim(
        "noise-cheaper-than-attacked",
        "Abstract, Sec. 5",
        "Training with noise may be cheaper than adversarial training, which the abstract hopes.",
    ),
    _claim("noise-cheaper-than-draws", "Sec. 1", "The closed form spares training expensive Monte Carlo simulations."),
    _claim("noise-sigma-model", "Sec. 7, Table 1", "Learned from 1.9, sigma converges to 0.7."),
    _claim("noise-sigma-bimodel", "Sec. 7, Table 1", "With a reward of 0.25 for noise, sigma converges to 0.79."),
    _claim("noise-reward-more", "Sec. 7, Table 1", "The reward for noise makes sigma end higher than without it."),
    _claim(
        "noise-sigma-not-zero",
        "Sec. 6, 7",
        "A learned sigma converges to a value above 0, which refutes the hypothesis that sigma converges to 0.",
    ),
    _claim(
        "noise-variance-defends",
        "Sec. 6",
        "Noise whose variance is a parameter of the network is an effective defence.",
    ),
    _claim("noise-sigma-start", "Sec. 7", "The initialisation of sigma makes no specific difference."),
)
"""Every figure, table and comparison of the paper but those that `Paper.unasked` names."""
