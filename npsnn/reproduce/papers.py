"""The two papers: their titles, and what the names in their tables stand for."""

from dataclasses import dataclass

from npsnn.reproduce.scales import A2SNN, NOISE_PAPER


@dataclass(frozen=True)
class Paper:
    """A paper.

    title: its title.
    terms: what a reader of the chief claims' figures has to know, in Markdown.
    """

    title: str
    terms: str


PAPERS = {
    NOISE_PAPER: Paper(
        "May the Noise be with you: Adversarial Training without Adversarial Examples",
        """
Networks: *sigma S* is trained with the paper's noise-aware loss under first-layer noise of standard deviation S, and
attacked and judged with its noise off, as the paper infers. *L1 filters* and *unit filters* hold each filter of the
first layer at a norm of 1. *baseline*, the paper's vanilla network, has the cross-entropy and no noise. *adversarial
training* attacks its images by PGD at the radius of the claim. *sampled noise* is trained under draws of the noise, and
keeps its noise when it answers. *Model* learns sigma from 1.9, *Bimodel* with a reward for noise. In Figure 7 a network
that keeps its noise is attacked by single steps of FGSM: *plain* follows the gradient of the network without its noise,
*adaptive* that of the closed form by the paper's rule (Eq. 6, *laplace*), *adaptive, exact* that by the true moments.
The adaptive attack is the stronger one where it leaves less than the plain one. *distance of the law* is Kolmogorov's
distance between the law of the logits that the closed form says and that of draws; *win probability off by* is the mean
error of the probabilities in the loss.""",
    ),
    A2SNN: Paper(
        "A Stochastic Neural Network for Attack-Agnostic Adversarial Robustness",
        """
Networks: *m0* has no defence. *m1* and *m2* have a noise of its own on each feature, *m3* to *m5* noise of a full
covariance. *m1*, *m3* and *m5* are trained with the max-entropy reward, *m2*, *m4* and *m5* with the alignment of class
vectors: *m5* is A2SNN. All keep their noise when they answer. *FGSM* and *PGD* are as the paper prints them, of radius
8/255 where no other stands there: PGD takes ten steps of a tenth of the radius, by gradients over draws of the noise,
which is a weak attack: *judge* is a stronger one. *pgd-training* is adversarial training.""",
    ),
}
"""The papers by the name that claims have for them."""
