# %% [markdown]
# # Draws or the closed form
#
# A network that draws noise gives another gradient for every draw. An attacker has two ways to a gradient that
# counts: the mean of the gradients of many draws (*expectation over transformations*, EoT), or the gradient of the
# closed form, one pass without draws. This notebook compares the two, as gradients and as attacks.

# %%
from tempfile import TemporaryDirectory

import numpy as np

from npsnn import Classifier, Stream, attacks, data, train
from npsnn.attacks import FGSM, ClosedForm, EoT, Expectation, Judging
from npsnn.layers import Conv2d, Flatten, Linear, PreactivationNoise, ReLU, Sequential
from npsnn.models import Model

try:
    import matplotlib.pyplot as plt
except ImportError:  # the numbers come without pictures
    plt = None

digits = data.load("digits")
layers = (
    ("conv", Conv2d(8, 5, stride=2)),
    ("noise", PreactivationNoise(0.6)),
    ("relu1", ReLU()),
    ("flatten", Flatten()),
    ("fc1", Linear(64)),
    ("relu2", ReLU()),
    ("fc2", Linear(10)),
)
training = train.Training(
    Model("small", Sequential(layers), (1, 28, 28), 10),
    train.CrossEntropy(),
    train.Drawn(),
    optimizer=train.Adam(3e-3),
    epochs=4,
    limit=4000,
)
with TemporaryDirectory() as folder:
    for record in train.fit(training, digits, folder):
        if isinstance(record, train.Epoch):
            print(f"epoch {record.epoch}: accuracy under noise {record.noisy_validation_accuracy:.3f}")
    network = Classifier.load(folder)

# %% [markdown]
# ## The gradients
#
# A *target* is what an attacker takes the gradient of. The gradient over 128 draws stands for the truth. The cosine
# between two gradients is 1 where they point the same way, and 0 where they have nothing in common.

# %%
x, labels = data.as_float(digits.test.images[:20]), digits.test.labels[:20].astype(int)


def cosine(one, other):
    """The mean over images of the cosine between two gradients."""
    one, other = (g.reshape(len(g), -1) for g in (one, other))
    return float(np.mean((one * other).sum(axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))))


_, truth = attacks.sampled(network, 128)(x, labels, Stream(0))
counts = (1, 4, 16, 32)
by_draws = [cosine(attacks.sampled(network, n)(x, labels, Stream(1).at(n))[1], truth) for n in counts]
closed = cosine(attacks.closed_form(network, "cross-entropy")(x, labels, Stream(0))[1], truth)
off = cosine(attacks.expectation(network)(x, labels, Stream(0))[1], truth)
for n, c in zip(counts, by_draws, strict=True):
    print(f"EoT, {n:>3} draws: cosine {c:.3f}")
print(f"closed form, 1 pass: cosine {closed:.3f}")
print(f"noise ignored, 1 pass: cosine {off:.3f}")

if plt:
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    axes.semilogx(counts, by_draws, marker="o", label="EoT")
    axes.axhline(closed, color="C1", label="closed form, one pass")
    axes.axhline(off, color="C2", ls="--", label="noise ignored, one pass")
    axes.set(xlabel="draws of the noise", ylabel="cosine with 128 draws", xticks=counts, xticklabels=counts)
    axes.legend(frameon=False)

# %% [markdown]
# ## The attacks
#
# One step along the sign of each gradient. An attacked image is *judged* on fresh draws of the noise, which no attack
# has seen: whoever judges by the draws that the attack has used takes luck for strength. All attacks meet the same
# draws.

# %%
x, labels = digits.test.images[:150], digits.test.labels[:150]
clean = attacks.accuracy(network, x, labels)
print(f"without an attack: {clean.mean:.3f}")
sources = (Expectation(), EoT(1), EoT(16), ClosedForm(objective="cross-entropy"))
tried = [FGSM(0.05, source=source) for source in sources]
for source, result in zip(sources, attacks.robust_accuracy(network, x, labels, tried, Judging(draws=10)), strict=True):
    low, high = result.accuracy.ci95
    name = f"{type(source).__name__} {getattr(source, 'draws', '')}"
    left = f"{result.accuracy.mean:.3f}, interval {low:.3f} to {high:.3f}"
    print(f"{name:<12} {result.gradient_passes:>2} passes leave {left}")

# %% [markdown]
# More draws give a better gradient, and each draw costs a pass. The closed form costs one pass. Where two intervals
# overlap, this experiment cannot tell which attack is the stronger one. [The attacks](../../docs/attacks.md) has the
# comparison on more images, more networks and under PGD. Where the closed form is a poor approximation (see the
# notebook on noise through a ReLU), EoT is the safer choice: run both, and report `attacks.worst_case` of
# the two, where each image meets the attack that is worse for it.
