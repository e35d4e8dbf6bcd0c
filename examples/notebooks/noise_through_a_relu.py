# %% [markdown]
# # Noise through a ReLU
#
# A network of npsnn can carry Gaussian noise without drawing a single random number: each unit has a mean and a
# variance, the *closed form*. Affine layers are easy. The ReLU needs a rule, and this notebook compares three rules
# with draws, first on one unit, then on a whole network.

# %%
from tempfile import TemporaryDirectory

import numpy as np

from npsnn import Classifier, data, train
from npsnn.layers import Conv2d, Flatten, Linear, PreactivationNoise, ReLU, Sequential
from npsnn.models import Model
from npsnn.ops import gaussian

try:
    import matplotlib.pyplot as plt
except ImportError:  # the numbers come without pictures
    plt = None

# %% [markdown]
# ## One unit
#
# Let X be Gaussian with mean m and standard deviation 1. The output max(X, 0) is not Gaussian: a part of its
# probability sits at 0. The draws show the mean and the standard deviation of the output. The rule `exact` computes
# both by integrals, the noise paper's rule `laplace` rectifies the mean and keeps the variance, and `linear` keeps
# the variance where the mean is positive.

# %%
m = np.linspace(-3, 3, 25)
drawn = np.maximum(m + np.random.default_rng(0).standard_normal((20_000, 1)), 0)
rules = {
    "exact": gaussian.rectified_moments(m, np.ones_like(m)),
    "laplace": gaussian.rectified_laplace(m, np.ones_like(m)),
    "linear": gaussian.rectified_linear(m, np.ones_like(m)),
}
print(f"{'rule':>8} {'mean off by':>12} {'sd off by':>10}   (at most, for m from -3 to 3)")
for name, (mean, var, _) in rules.items():
    off = abs(mean - drawn.mean(axis=0)).max(), abs(np.sqrt(var) - drawn.std(axis=0)).max()
    print(f"{name:>8} {off[0]:>12.3f} {off[1]:>10.3f}")

if plt:
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for name, (mean, var, _) in rules.items():
        panels[0].plot(m, mean, label=name)
        panels[1].plot(m, np.sqrt(var), label=name)
    panels[0].plot(m, drawn.mean(axis=0), "o", ms=4, label="20,000 draws")
    panels[1].plot(m, drawn.std(axis=0), "o", ms=4, label="20,000 draws")
    panels[0].set(xlabel="mean m of X", title="mean of max(X, 0)")
    panels[1].set(xlabel="mean m of X", title="standard deviation of max(X, 0)")
    panels[0].legend(frameon=False)

# %% [markdown]
# The rule `exact` lies on the draws. The other two are off by 0.4 in the mean at m = 0; `laplace` also keeps the
# noise of units that the ReLU has cut off. The audit measures the same in its row N14.
#
# ## A whole network
#
# A small network with noise of standard deviation 0.3 after its convolution, trained for three epochs on 3,000
# digits:

# %%
layers = (
    ("conv", Conv2d(8, 5, stride=2)),
    ("noise", PreactivationNoise(0.3)),
    ("relu1", ReLU()),
    ("flatten", Flatten()),
    ("fc1", Linear(32)),
    ("relu2", ReLU()),
    ("fc2", Linear(10)),
)
digits = data.load("digits")
model = Model("small", Sequential(layers), (1, 28, 28), 10)
training = train.Training(model, train.CrossEntropy(), train.Drawn(), epochs=3, limit=3000)
with TemporaryDirectory() as folder:
    for record in train.fit(training, digits, folder):
        if isinstance(record, train.Epoch):
            print(f"epoch {record.epoch}: accuracy under noise {record.noisy_validation_accuracy:.2f}")
    network = Classifier.load(folder)

# %% [markdown]
# Now the logits of 50 test images, by 200 draws of the noise and by one pass in closed form under each rule:

# %%
x = data.as_float(digits.test.images[:50])
logits = network.sample(x, rng=0, draws=200)
spread = logits.std(axis=0)
print(f"{'rule':>8} {'width':>6} {'mean off by':>12}   (medians, in standard deviations of the draws)")
for rule in ("exact", "laplace", "linear"):
    mean, var = network.moments(x, propagation=rule)
    width, off = np.median(np.sqrt(var) / spread), np.median(abs(mean - logits.mean(axis=0)) / spread)
    print(f"{rule:>8} {width:>6.2f} {off:>12.2f}")

if plt:
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    mean, var = network.moments(x, propagation="exact")
    for k, values in enumerate(logits[:, 0, :].T):
        axes.plot(np.full(len(values), k), values, "_", ms=14, alpha=0.15, color="C0")
    axes.errorbar(range(10), mean[0], 2 * np.sqrt(var[0]), fmt="o", color="C1", capsize=4, label="exact, mean ± 2 sd")
    axes.set(xlabel="class", ylabel="logit", title="one image: 200 draws, and the closed form", xticks=range(10))
    axes.legend(frameon=False)

# %% [markdown]
# A width of 1 and a mean that is off by 0 would be perfect. The rule `exact` is exact for one unit, but takes the
# units of a layer as independent, which they are not after the convolution and the dense layers, so that its width is
# not 1. How far a rule can be trusted on a network of yours is measured by `npsnn audit E5 --run RUN`.
