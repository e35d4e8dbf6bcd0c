"""What A2SNN claims that networks can show: every figure and table, and the sentences that compare or count.

What is mathematics alone (Eqs. 2 and 4, App. A, the positive semi-definite L Lᵀ of Sec. 3.3) has its row in the audit.
`Paper.unasked` names the sentences that are left out.
"""

from npsnn.reproduce.a2snn.printed import claims_of_table_5
from npsnn.reproduce.claims import Claim
from npsnn.reproduce.scales import A2SNN

CHIEF = {
    "numbers-cifar10": "the printed accuracies on CIFAR-10",
    "numbers-fashion-mnist": "the printed accuracies on Fashion-MNIST",
    "complementary-cifar10": "m5 is the most robust of the ablation on CIFAR-10",
    "complementary-fashion-mnist": "m5 is the most robust of the ablation on Fashion-MNIST",
    "clean-kept-cifar10": "clean accuracy is kept on CIFAR-10",
    "clean-kept-fashion-mnist": "clean accuracy is kept on Fashion-MNIST",
    "state-of-the-art": "more robust than twelve other defences",
    "without-adversarial-training": "more robust than defences that attack their training images",
    "no-obfuscation": "the robustness is not that of hidden gradients",
    "theorem-1": "no image breaks the bound of Theorem 1, which tests nothing where the bound is above 1",
    "fast": "an epoch of training is faster than of Adv-BNN, PNI and L2P",
}
"""The claims of the abstract and of the conclusion, and what Table 5 prints of the whole, each in a few words."""


def _claim(id: str, where: str, says: str) -> Claim:
    return Claim(f"a2snn-{id}", A2SNN, where, says, CHIEF.get(id, ""))


CLAIMS: tuple[Claim, ...] = (
    _claim(
        "above-stochastic-fgsm",
        "Sec. 4.2, Table 1",
        "Under FGSM A2SNN leaves some 11 points more than the strongest stochastic defence: 73.29 % against 62.43 "
        "(L2P), 60.04 (Adv-BNN) and 58.06 (PNI).",
    ),
    _claim(
        "above-stochastic-pgd",
        "Sec. 4.2, Table 1",
        "Under PGD A2SNN leaves some 16 points more than the strongest stochastic defence: 72.05 % against 56.06 "
        "(L2P), 53.62 (Adv-BNN) and 49.42 (PNI).",
    ),
    _claim(
        "cw-best",
        "Sec. 4.2, Table 2",
        "Under C&W A2SNN leaves most at every confidence but 0.1: 84.4, 83.8, 77.1, 71.6 and 45.9 % at kappa 0, 0.1, "
        "1, 2 and 5.",
    ),
    _claim(
        "cw-high-confidence",
        "Sec. 4.2, Table 2",
        "At a high confidence A2SNN outperforms L2P by large margins: 45.9 against 34.8 % at kappa 5.",
    ),
    _claim(
        "cw-falls",
        "Sec. 4.2, Table 2",
        "Every defence degrades as the confidence of C&W goes up.",
    ),
    _claim(
        "one-pixel-best",
        "Sec. 4.2, Table 3",
        "Under 1, 2 and 3 pixels A2SNN leaves 7, 9 and 10 points more than the best competitor, Adv-BNN: 75.55, 73.28 "
        "and 69.14 % against 68.60, 64.55 and 59.70.",
    ),
    _claim(
        "more-pixels",
        "Sec. 4.1, Table 3",
        "With enough generations more pixels take more: A2SNN keeps 84.40, 75.55, 73.28 and 69.14 % at 0 to 3 pixels.",
    ),
    _claim(
        "few-generations",
        "Sec. 4.1",
        "With too few generations of One-Pixel (75, not 1000) the attack becomes weaker the more pixels it may change.",
    ),
    _claim(
        "state-of-the-art",
        "Sec. 4.3, Table 4",
        "A2SNN is more robust to PGD than twelve recent defences: 72.0 %, the next MI with 64.5 and RLFLAT with 58.7.",
    ),
    _claim(
        "without-adversarial-training",
        "Abstract, Table 4",
        "A2SNN is state of the art without adversarial training: 72.0 % against at most 58.7 of those that use it. "
        "PCL, which the paper counts among them, attacks no images in its main result.",
    ),
    *(_claim(*parts) for parts in claims_of_table_5()),
    _claim(
        "fashion-mnist-strength",
        "Sec. 4.1, 4.4, Table 5",
        "On Fashion-MNIST FGSM and PGD have the strength 0.3; A2SNN keeps 77.5 and 43.9 %. Sec. 4.4 has 8/255 for the "
        "same figures.",
    ),
    _claim(
        "averaging-degrades",
        "Sec. 4.4, Table 6",
        "Averaging 10 draws of the noise for an answer degrades performance: 83.6, 69.2 and 68.6 % against 84.4, 73.3 "
        "and 72.0 clean, under FGSM and under PGD.",
    ),
    _claim(
        "independent-noise",
        "Sec. 4.4, Table 6",
        "Noise trained for a frozen network is comparable to joint training, slightly lower: 83.8, 72.1 and 70.3 %.",
    ),
    _claim(
        "not-regularisation",
        "Sec. 4.4, Table 6",
        "The benefit is that of the noise when the network answers, and largely not that of features regularised in "
        "training.",
    ),
    _claim(
        "without-eot",
        "Sec. 4.4, Table 6",
        "Without EoT the attack is weaker: A2SNN keeps 78.5 and 76.5 % under FGSM and PGD by one draw, 73.3 and 72.0 "
        "by 50.",
    ),
    _claim(
        "adversarial-harms-clean",
        "Sec. 4.4, Table 6",
        "Adversarial training harms A2SNN's accuracy on clean data: 78.5 % purely adversarial, 80.7 mixed, 84.4 "
        "without.",
    ),
    _claim(
        "adversarial-no-benefit",
        "Sec. 4.4, Table 6",
        "Adversarial training gives A2SNN no consistent benefit: 35.7 and 31.7 % under FGSM and PGD, mixed 36.0 and "
        "29.2, without 73.3 and 72.0.",
    ),
    _claim(
        "best-at-all-strengths",
        "Sec. 4.4, Fig. 1",
        "Over the strengths 2^n (here of 255), n from 0 to 7, the models stand as in Table 5: m5 leaves most.",
    ),
    _claim(
        "graceful",
        "Sec. 4.4, Fig. 1",
        "All variants degrade more gracefully with the strength than the network without defence.",
    ),
    _claim(
        "one-step-weaker",
        "Sec. 4.5, criterion 1",
        "One-step attacks are no better than iterative ones: A2SNN keeps consistently more under FGSM than under PGD.",
    ),
    _claim(
        "black-box-weaker",
        "Sec. 4.5, criterion 2",
        "White-box attacks are better than black-box ones: FGSM and PGD take more than one pixel does.",
    ),
    _claim(
        "unbounded-takes-all",
        "Sec. 4.5, criterion 3",
        "PGD of 20 steps with eps 1 leaves nothing of any model of the ablation.",
    ),
    _claim(
        "random-finds-nothing",
        "Sec. 4.5, criterion 4",
        "Random sampling finds no adversarial examples: of 100 images that FGSM takes, 97 % stay right under 10,000 "
        "samples each.",
    ),
    _claim(
        "stronger-takes-more",
        "Sec. 4.5, criterion 5",
        "Increasing the distortion bound increases the attack's success.",
    ),
    _claim(
        "no-obfuscation",
        "Sec. 4.2, 4.5, 5",
        "A2SNN's robustness is not caused by stochastic or obfuscated gradients: an attack that needs no gradients of "
        "draws takes no more.",
    ),
    _claim(
        "isotropic-on-axes",
        "Sec. 4.6 (i), Fig. 2",
        "With noise along the axes (m2) the alignment pushes the class vectors near the axes.",
    ),
    _claim(
        "entropy-spherical",
        "Sec. 4.6 (ii), Fig. 2",
        "Max-entropy alone (m3) makes the full covariance near-spherical.",
    ),
    _claim(
        "aligned-with-eigenvectors",
        "Sec. 4.6 (iii), Fig. 2",
        "The class vectors of A2SNN (m5) are the best aligned with the eigenvectors of Sigma.",
    ),
    _claim(
        "free-of-axes",
        "Sec. 3.3, 4.6 (iii), Fig. 2",
        "Anisotropic noise (m5) leaves the class vectors free to point away from the axes.",
    ),
    _claim(
        "off-axes-clean",
        "Sec. 3.3",
        "Class vectors off the axes are required for good clean performance: m5, which is free to have them, is more "
        "accurate on clean images than m2, whose noise lies along the axes.",
    ),
    _claim(
        "eot-saturates",
        "Sec. 4.1",
        "EoT saturates from about 35 draws of a gradient and has converged at 40, so that 50 are reliable.",
    ),
    _claim(
        "bottleneck",
        "Sec. 4.1, footnote 1",
        "A covariance of 512 features has performance identical to one of 32.",
    ),
    _claim(
        "theorem-1",
        "Sec. 3.2, Theorem 1",
        "The gap of the probability of misclassification is at most Delta / sqrt(2 pi w' Sigma w).",
    ),
    _claim(
        "alignment-closes-the-gap",
        "Sec. 3.2",
        "Noise that is aligned with the class vectors reduces the bound of Theorem 1, and with it the gap between "
        "clean and robust performance.",
    ),
    _claim(
        "entropy-keeps-noise",
        "Sec. 3.1",
        "Learned noise without a reward risks to shrink to nothing; the max-entropy reward prevents that.",
    ),
    _claim(
        "projection-needed",
        "Sec. 3.2",
        "Without the projection to unit norm the alignment risks to be raised by longer class vectors.",
    ),
    _claim(
        "attack-agnostic",
        "Abstract, Sec. 4.2",
        "A2SNN is robust to a variety of white-box and black-box attacks, none of which it met in training.",
    ),
    _claim(
        "adversarial-biased",
        "Abstract, Sec. 1",
        "Adversarial training biases a defence towards its attack: asked as whether A2SNN is the more robust one to "
        "attacks that such a training has not met.",
    ),
    _claim(
        "fast",
        "Abstract, Sec. 2.2",
        "A2SNN is fast to train compared to existing alternatives, here Adv-BNN, PNI and L2P.",
    ),
    _claim(
        "adversarial-costs",
        "Sec. 1",
        "Generating adversarial examples in training leads to a significantly higher cost.",
    ),
)
