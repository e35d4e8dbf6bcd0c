"""The ten findings that matter most to somebody who builds on the papers, in the words that open the report."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A row of the audit that opens the report.

    id: number of the row.
    claim: statement of the source, in one sentence.
    measured: result of the check, with names of its figures in braces.
    matters: consequence for somebody who builds on the paper, in one sentence.
    """

    id: str
    claim: str
    measured: str
    matters: str


FINDINGS = (
    Finding(
        "N20",
        r"The loss in closed form subtracts $\operatorname{erf}$ of $\mu_i-\mu_k$, over the noise, for the true class "
        r"$k$ and every other class $i$.",
        "descending the printed loss takes the mean win probability of the true class to {mean win after descent, "
        "printed}, descending the derived loss takes it to {mean win after descent, derived}",
        "A network that is trained by the printed formula learns to prefer the wrong classes.",
    ),
    Finding(
        "N14",
        r"A ReLU turns $\mathcal N(\mu,\sigma^2)$ into a Gaussian of mean $\max(0,\mu)$, whose variance stays "
        r"$\sigma^2$ for $\mu\ge-3\sigma$ and is close to zero below.",
        r"the mean is up to {largest error of the mean} $\sigma$ too small, the variance up to {largest error of the "
        r"variance} $\sigma^2$ too large, and the logits of random small networks get {printed sd of logits over that "
        "of draws} times the standard deviation of draws",
        "The loss, its gradients, the adaptive attack and the learned noise of the paper all take their variances from "
        "this rule.",
    ),
    Finding(
        "N35",
        r"For every class but the true one the gradient of the adaptive attack is $\alpha_i$ minus a positive noise "
        "term.",
        "a step up the printed gradient takes the loss from {loss at a fitted point} to {up the printed one}, a step "
        "up the derived gradient to {a step up the derived gradient}",
        "An attack along the printed gradient helps the network that it attacks, so that accuracy under it shows no "
        "robustness.",
    ),
    Finding(
        "N30",
        r"With a reward of $\alpha=0.25$ for the noise a training converges to $\sigma^*=0.79$.",
        r"whatever the weights, no $\sigma$ above {stationary at most} is a stationary point of the loss and none "
        "above {minimum at most} is a minimum; at the printed value the slope of the loss is at most {largest slope "
        "at Table 1, any margin}",
        "A learned noise level tells where the training was stopped, not which level the loss prefers.",
    ),
    Finding(
        "N42",
        r"The loss is minimised over all weights and biases at a fixed noise $\sigma$.",
        "a first layer times 100 and a second one over 100 change the network without noise by {without noise, changed "
        "by} and take the standard deviation of a logit from {output sd, t = 1} to {output sd, t = 100}",
        "Two networks with the same noise level can differ in the noise of their logits by any factor, so that the "
        "level alone tells nothing about robustness.",
    ),
    Finding(
        "A17",
        r"The sum of $\ln(w_i^\top\Sigma w_i)$ over the classes carries the key insight of Theorem 1 from two classes "
        "to many.",
        "noise that is common to all logits raises the sum by {Eq. 4 raised by} and changes {predictions changed} "
        "predictions",
        "A training can raise the alignment term as far as it likes and protect no prediction; the pairwise form has "
        "no such way out.",
    ),
    Finding(
        "A4",
        r"The objective is $\mathcal L_C-\lambda_1\mathcal L_{ME}-\lambda_2\mathcal L_{WCA}$, with both regularisers "
        "as rewards.",
        "the slope of the objective along the logarithm of the noise variance is {null space} in the null space of the "
        "weights and {common mode} along the common mode, while the cross-entropy changes by {cross-entropy changed "
        "by, common mode}",
        "The signs are right and a minimum does not exist, so that the size of the learned noise depends on the number "
        "of steps.",
    ),
    Finding(
        "A10",
        r"An attack that moves the noise-free score by at most $\Delta$ raises the error probability by at most "
        r"$\Delta/\sqrt{2\pi\,w^\top\Sigma w}$.",
        "{violations} violations; at a reach of 2 standard deviations the bound is {Theorem 1 at 2 sd} and its tight "
        "form {tight at 2 sd}; from {vacuous from} on the bound exceeds 1",
        "The theorem holds for two classes and can be replaced by its tight form at no cost, whereas many classes need "
        "another bound (E4).",
    ),
    Finding(
        "A30",
        r"Carlini and Wagner's attack leaves 84.4 % of the images at $\kappa=0$, which is the clean accuracy.",
        "fresh noise reads a point on the decision boundary of the mean correctly with probability {two classes, on "
        "the boundary} for two classes and {ten classes, on the boundary} for ten",
        "The attack cannot have brought most images to the boundary, so that the table shows no robustness against it.",
    ),
    Finding(
        "B3",
        r"Table 7 gives the two regularisers weights $\lambda_1$ and $\lambda_2$ for each data set.",
        "per logarithm of the noise's scale the objective of the paper falls by {CIFAR-10}, {SVHN} and {F-MNIST} on "
        "the three data sets, that of the authors' code by {code} on each",
        "Results of the published code belong to another objective than the paper's, with a regularisation that is 4 "
        "to 9 times weaker.",
    ),
)
"""The order is that of the report."""
