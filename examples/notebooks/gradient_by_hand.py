# %% [markdown]
# # A gradient by hand
#
# npsnn has no autograd: every derivative is written down. This notebook writes the backward pass of a small network
# by hand, and holds the gradient against *finite differences*, the slope of the loss between two points that lie
# close together. npsnn's own tests do the same for every layer and every loss.

# %%
import numpy as np

from npsnn import data
from npsnn.layers import Conv2d
from npsnn.testing import check_gradient, check_layer

try:
    import matplotlib.pyplot as plt
except ImportError:  # the numbers come without pictures
    plt = None

digits = data.load("digits").train  # drawn by npsnn, no download
x = data.as_float(digits.images[:20]).reshape(20, -1).astype(np.float64)
labels = digits.labels[:20].astype(int)
print(x.shape, labels)

# %% [markdown]
# ## The network, forward
#
# Two affine layers with a ReLU between them: z = W x + b, a = max(z, 0), logits = V a + c. The loss is the mean
# cross-entropy, the negative logarithm of the probability that the softmax gives to the label.

# %%
rng = np.random.default_rng(0)
start = {
    "W": rng.normal(0, 0.05, (16, 784)),
    "b": np.zeros(16),
    "V": rng.normal(0, 0.3, (10, 16)),
    "c": np.zeros(10),
}


def forward(params):
    """The loss, and all that the backward pass needs."""
    z = x @ params["W"].T + params["b"]
    a = np.maximum(z, 0)
    logits = a @ params["V"].T + params["c"]
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    loss = -np.log(probabilities[np.arange(20), labels]).mean()
    return loss, (z, a, probabilities)


print("loss", round(forward(start)[0], 4), "of ten equal probabilities", round(np.log(10), 4))

# %% [markdown]
# ## The network, backward
#
# A *cotangent* is the derivative of the loss by one value of the forward pass. The backward pass starts at the
# logits, where the cotangent is the probability less 1 for the label, and applies the chain rule layer by layer: an
# affine layer multiplies by its transposed matrix, and the ReLU passes the cotangents of positive units alone.

# %%


def backward(params, kept):
    """The derivative of the loss by each parameter."""
    z, a, probabilities = kept
    by_logits = probabilities.copy()
    by_logits[np.arange(20), labels] -= 1
    by_logits /= 20
    by_z = (by_logits @ params["V"]) * (z > 0)
    return {"W": by_z.T @ x, "b": by_z.sum(axis=0), "V": by_logits.T @ a, "c": by_logits.sum(axis=0)}


gradients = backward(start, forward(start)[1])
print({name: g.shape for name, g in gradients.items()})

# %% [markdown]
# ## Held against differences
#
# `npsnn.testing.check_gradient` moves single entries of each array by a small step to both sides, and compares the
# slope with the gradient. An error above a millionth of the largest entry raises an AssertionError.

# %%
check_gradient(lambda params: forward(params)[0], start, gradients)
print("the gradient is the slope, to a relative error of 1e-6")

# %% [markdown]
# A check that cannot fail shows nothing. Without the factor (z > 0) the backward pass would let every cotangent
# through the ReLU, a mistake that still trains. The check names the first array that is wrong:

# %%
z, a, probabilities = forward(start)[1]
wrong = backward(start, (np.ones_like(z), a, probabilities))
try:
    check_gradient(lambda params: forward(params)[0], start, wrong)
except AssertionError as error:
    print("found:", error)
else:
    raise SystemExit("the check passed a wrong gradient")

# %% [markdown]
# ## How close the two points should lie
#
# A large step sees the curvature of the loss, a small step the rounding of its last digits. The error of the slope is
# least between the two. In double precision a step of about 1e-5 leaves ten digits or so.

# %%
steps = 10.0 ** np.arange(-12, 0)
errors = []
for step in steps:
    sides = [forward(start | {"c": start["c"] + side * step * np.eye(10)[3]})[0] for side in (1, -1)]
    errors.append(abs((sides[0] - sides[1]) / (2 * step) - gradients["c"][3]))
print("\n".join(f"step {step:.0e}: error {error:.1e}" for step, error in zip(steps, errors, strict=True)))

if plt:
    figure, axes = plt.subplots(figsize=(6, 3.2))
    axes.loglog(steps, errors, marker="o")
    axes.set(xlabel="step", ylabel="error of the slope", title="rounding on the left, curvature on the right")

# %% [markdown]
# ## The same for a layer of npsnn
#
# `check_layer` holds a whole layer to this standard, under every treatment of the noise: with the noise off, drawn,
# and carried in closed form. A layer of your own can be checked by the same line.

# %%
check_layer(Conv2d(3, 3, padding=1), shape=(2, 6, 5))
print("a convolution of npsnn passes")
