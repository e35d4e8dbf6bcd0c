"""The two papers: their titles, and what the names in their tables stand for."""

from dataclasses import dataclass

from npsnn.reproduce.scales import A2SNN, NOISE_PAPER


@dataclass(frozen=True)
class Paper:
    """A paper.

    title: its title.
    terms: what a reader of the chief claims' figures has to know, in Markdown.
    unasked: what the paper says and no claim here asks, with the reason, in Markdown.
    """

    title: str
    terms: str
    unasked: str


PAPERS = {
    NOISE_PAPER: Paper(
        "May the Noise be with you: Adversarial Training without Adversarial Examples",
        """
Networks: *sigma S* is trained with the paper's noise-aware loss under first-layer noise of standard deviation S, and
attacked and judged with its noise off, as the paper uses it. *L1 filters*, elsewhere *unit filters*, hold each filter
of the first layer at an L1 norm of 1. *baseline*, the paper's vanilla network, has no noise and the cross-entropy, as
the paper names no loss of it. *adversarial training* attacks its images by ten steps of a tenth of the radius of the
claim. *sampled noise* is trained under draws of the noise, and keeps its noise when it answers. *Model* learns sigma
from 1.9, *Bimodel* with a reward for noise. In Figure 7 a network that keeps its noise is attacked by single steps of
FGSM: *plain* follows the gradient of the network without its noise, *adaptive* that of the noise-aware loss in closed
form by the paper's rule (Eq. 6, *laplace*), *adaptive, exact* that of the probability to win by the true moments. The
adaptive attack is the stronger one where it leaves less than the plain one. *distance of the law* is Kolmogorov's
distance between the law of the logits that the closed form says and that of draws; *win probability off by* is the mean
error of the probabilities in the loss.""",
        """
* What the abstract and Sec. 6 say of robustness, accuracy and FGSM in general is asked on MNIST, and in Figure 5 on
CIFAR-10.
* That the dearer training is owed to the additional parameter (Sec. 6): the networks of the comparison hold their
sigma.
* That sigma 0.8 protects more than sigma 0.6 (Sec. 4) is implied and not said.""",
    ),
    A2SNN: Paper(
        "A Stochastic Neural Network for Attack-Agnostic Adversarial Robustness",
        """
Networks: *m0* has no defence. *m1* and *m2* have a noise of its own on each feature, *m3* to *m5* noise of a full
covariance. *m1*, *m3* and *m5* are trained with the max-entropy reward, *m2*, *m4* and *m5* with the alignment of class
vectors: *m5* is A2SNN. All keep their noise when they answer. *FGSM* and *PGD* are the paper's, of radius 8/255 where
no other stands there: PGD takes ten steps of a tenth of the radius, by gradients over draws of the noise, which is a
weak attack: *judge* is a stronger one.""",
        """
* That the method can be applied to different architectures (Abstract): all networks of one scale and data set are one
architecture.
* That it is the state of the art on three benchmarks (Sec. 1) and against bigger backbones (Sec. 4.3): the paper has
competitors on CIFAR-10 alone, and here all defences have one network.
* That FGSM and PGD of rising strength outperform two and three pixels (Sec. 4.5, criterion 2): a bound that grows to 1
takes everything, whatever hides the gradient (audit A29).
* That m3 inflates its noise in both dimensions and wastes one (Sec. 4.6): the claim on its near-spherical noise is
asked.
* That the effect is lost the more draws are averaged (Sec. 4.4): the paper has ten, and so has the claim here.
* That the logarithm of Eq. 4 balances growth rates (Sec. 3.2), of which the paper has no measure, and that lambda1 and
lambda2 are the best of a grid (App. B).
* That RSE, PNI and Learn2Perturb improve on what came before them (Sec. 2.2) is said of the works of others.""",
    ),
}
"""The papers by the name that claims have for them."""
