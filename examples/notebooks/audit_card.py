# %% [markdown]
# # A card of the audit
#
# The audit examines each claim of two papers. A *card* holds what the paper says, what the mathematics gives, a
# verdict, and a check that measures whether the verdict holds. This notebook reads one card, runs its check, breaks
# it, and writes a card of its own.

# %%
import numpy as np

from npsnn import audit, data
from npsnn.audit.card import Card, drawn, shown
from npsnn.ops.gaussian import rectified_moments

try:
    import matplotlib.pyplot as plt
except ImportError:  # the numbers come without pictures
    plt = None

card = audit.CARDS["N14"]
print(f"{card.heading} ({card.place}): {card.verdict}\n")
print("As printed:\n", card.printed, "\n")
print("As derived:\n", card.derived, "\n")
print("Why:", card.because)

# %% [markdown]
# ## The check
#
# `audit.examine` runs the check. The check measures *figures*: numbers with the interval in which they support the
# verdict. A Monte Carlo figure, a mean over random draws, must lie within five of its standard errors of the formula.

# %%
row = audit.examine(card)
for figure in row.figures:
    needed = (
        "" if figure.low == -np.inf and figure.high == np.inf else f"must lie in {figure.low:.4g} to {figure.high:.4g}"
    )
    print(f"{figure.name:<45} {figure.value:>10.4g}  {needed}")
print("the check supports the verdict:", row.supported)
print("rests on", ", ".join(card.uses) or "no row", "and carries", ", ".join(audit.used_by("N14")))

# %% [markdown]
# ## A card of our own
#
# A claim about digits: "a unit that sees a digit through random weights, and adds Gaussian noise of standard
# deviation s, keeps the variance s² behind its ReLU". The units are those of a random dense layer on twenty digits.
# The check draws the noise, and measures the variance behind the ReLU for the unit whose mean is nearest to 0.

# %%
x = data.as_float(data.load("digits").train.images[:20]).reshape(20, -1).astype(np.float64)
units = (x @ np.random.default_rng(0).normal(0, 0.05, (784, 16))).ravel()
s, m = 0.5, float(units[np.abs(units).argmin()])


def check(lab):
    """The variance behind the ReLU by draws, by the claim, and by the derived formula."""
    n = lab.draws(50_000)
    outputs = np.maximum(m + s * lab.rng().standard_normal(n), 0)
    squares = (outputs - outputs.mean()) ** 2
    derived = float(rectified_moments(np.array([m]), np.array([s**2]))[1][0])
    yield drawn("Monte Carlo", squares.mean(), squares.std() / np.sqrt(n), derived)
    yield shown("derived", derived)
    yield shown("claimed", s**2)


def claim(verdict, check):
    """The card with a verdict and a check; `npsnn.audit.card.add` would enter it among all others."""
    return Card(
        id="E99",
        place="this notebook",
        title="Variance behind a ReLU",
        verdict=verdict,
        printed="the variance stays $s^2$",
        derived="the variance of a rectified Gaussian (extension E1)",
        because="The ReLU cuts one side of the noise off.",
        instead="the derived variance",
        check=check,
    )


own = audit.examine(claim("wrong", check))
for figure in own.figures:
    print(f"{figure.name:<12} {figure.value:.4f}")
print("the check supports the verdict:", own.supported)

# %% [markdown]
# A check that cannot fail shows nothing. The same check with the claimed variance in the place of the derived one:

# %%


def broken(lab):
    """The check, held to the claim."""
    measured = next(iter(check(lab)))
    yield drawn(measured.name, measured.value, measured.standard_error, s**2)


failed = audit.examine(claim("correct", broken))
print("a verdict 'correct' would be supported:", failed.supported)
assert own.supported and not failed.supported

if plt:
    means = np.linspace(-1.5, 1.5, 61)
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    axes.plot(means, rectified_moments(means, np.full_like(means, s**2))[1], label="derived")
    axes.axhline(s**2, color="C1", ls="--", label="claimed")
    value, error = own.figures[0].value, own.figures[0].standard_error
    axes.errorbar([m], [value], [5 * error], fmt="o", color="C2", capsize=4, label="Monte Carlo ± 5 standard errors")
    axes.set(xlabel="mean of the unit", ylabel="variance behind the ReLU")
    axes.legend(frameon=False)

# %% [markdown]
# [The audit](../../docs/audit.md) has all cards. `npsnn audit` runs their checks in a few seconds, and
# [Contributing](../../CONTRIBUTING.md) says how a card joins them.
