# %% [markdown]
# # A first attack
#
# An *adversarial image* is an image that looks the same and is read as something else. This notebook trains a small
# network without noise, attacks it in two ways, and looks at the images.

# %%
from tempfile import TemporaryDirectory

import numpy as np

from npsnn import Classifier, attacks, data, train
from npsnn.attacks import FGSM, PGD, Judging
from npsnn.layers import Conv2d, Flatten, Linear, ReLU, Sequential
from npsnn.models import Model

try:
    import matplotlib.pyplot as plt
except ImportError:  # the numbers come without pictures
    plt = None

digits = data.load("digits")  # drawn by npsnn, no download
layers = (
    ("conv", Conv2d(8, 5, stride=2)),
    ("relu1", ReLU()),
    ("flatten", Flatten()),
    ("fc1", Linear(64)),
    ("relu2", ReLU()),
    ("fc2", Linear(10)),
)
training = train.Training(
    Model("small", Sequential(layers), (1, 28, 28), 10),
    train.CrossEntropy(),
    optimizer=train.Adam(3e-3),
    epochs=4,
    limit=4000,
)
with TemporaryDirectory() as folder:
    for record in train.fit(training, digits, folder):
        if isinstance(record, train.Epoch):
            print(f"epoch {record.epoch}: accuracy {record.validation_accuracy:.3f}")
    network = Classifier.load(folder)

# %% [markdown]
# ## How much is left
#
# The attacker may change every pixel by *eps* at most, where black is 0 and white is 1. FGSM takes one step of length
# eps along the sign of the gradient of the loss. PGD takes many small steps, and returns to the allowed images after
# each. Both know the network and its gradients.

# %%
x, labels = digits.test.images[:200], digits.test.labels[:200]
clean = attacks.accuracy(network, x, labels)
print(f"without an attack: {clean.mean:.3f}")
strengths = (0.02, 0.05, 0.1)
plan = [attack for eps in strengths for attack in (FGSM(eps), PGD(eps, steps=10))]
results = list(attacks.robust_accuracy(network, x, labels, plan, Judging(draws=1)))
for result in results:
    low, high = result.accuracy.ci95
    print(f"{result.attack:>5} eps {result.eps:<5} leaves {result.accuracy.mean:.3f}, interval {low:.3f} to {high:.3f}")

# %% [markdown]
# The 95 % interval says how far the accuracy on 200 images may lie from the accuracy on all images of this kind. PGD
# leaves no more than FGSM: the weaker attack alone would let the network look better than it is.

# %%
if plt:
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    for name in ("fgsm", "pgd"):
        of = [r.accuracy for r in results if r.attack == name]
        left = np.array([clean.mean, *(a.mean for a in of)])
        low, high = np.array([clean.ci95, *(a.ci95 for a in of)]).T
        axes.errorbar([0, *strengths], left, [left - low, high - left], marker="o", capsize=4, label=name)
    axes.set(xlabel="eps", ylabel="accuracy that is left", ylim=(-0.02, 1.02))
    axes.legend(frameon=False)

# %% [markdown]
# ## The images
#
# The result of an attack holds the attacked images, `x_adv`, in [0, 1]. No pixel has moved by more than eps:

# %%
strongest = next(r for r in results if r.attack == "pgd" and r.eps == 0.1)
before, after = data.as_float(x), strongest.x_adv
print("largest change of a pixel:", round(float(abs(after - before).max()), 4))
read_before, read_after = (network.predict(images).argmax(axis=1) for images in (before, after))
fooled = np.flatnonzero((read_before == labels) & (read_after != labels))[:6]
for i in fooled:
    print(f"image {i}: a {labels[i]}, read as {read_before[i]} before and as {read_after[i]} after")

if plt and len(fooled):
    figure, panels = plt.subplots(3, len(fooled), figsize=(1.4 * len(fooled), 4.4), layout="constrained", squeeze=False)
    for column, i in zip(panels.T, fooled, strict=True):
        shown = (before[i, 0], after[i, 0], after[i, 0] - before[i, 0])
        titles = (f"a {read_before[i]}", f"a {read_after[i]}?", "change")
        for axes, picture, title, low in zip(column, shown, titles, (0, 0, -0.1), strict=True):
            axes.imshow(picture, cmap="gray", vmin=low, vmax=1 if low == 0 else 0.1)
            axes.set(title=title, xticks=[], yticks=[])

# %% [markdown]
# ## Is this the strongest attack?
#
# Nobody knows the strongest attack. `attacks.auto` makes a group of strong attacks of several kinds for a network,
# and `npsnn attack --auto` runs it. The accuracy that is left under all of them is an upper bound of what is left
# under any attack; [certificates](../../docs/certificates.md) are the lower bound.
