"""The figures of the report, as SVG."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from npsnn.audit import networks
from npsnn.audit.card import Floats, Lab
from npsnn.classifier import Classifier
from npsnn.layers.moments import Moments, Propagated
from npsnn.layers.params import flatten, unflatten
from npsnn.ops.gaussian import RULES
from npsnn.reference import loss, montecarlo, plain, rectifier, sigma

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw: TypeAlias = "Callable[[Axes], None]"


@dataclass(frozen=True)
class Plot:
    """A figure of a card.

    card: number of the card.
    name: name of the file, without its ending.
    caption: sentence below the figure.
    draw: function that draws the figure on axes.
    """

    card: str
    name: str
    caption: str
    draw: Draw


def svg(plot: Plot) -> str:
    """The SVG source of a figure; the same libraries give the same bytes.

    plot: the figure.

    Raises ImportError without matplotlib.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style = {"svg.hashsalt": plot.name, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style):
        figure = Figure(figsize=(4.4, 3.0), layout="constrained")
        plot.draw(figure.subplots())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _relu(what: int, label: str) -> Draw:
    """Mean (0) or standard deviation (1) of a rectified Gaussian of standard deviation 1."""
    rules: dict[str, tuple[Callable[[float, float], tuple[float, float]], str]] = {
        "true (E1)": (plain.rectified_moments, "-"),
        "printed, Eq. 6": (plain.rectified_laplace, "--"),
        "law of Eq. 4": (rectifier.truncated_moments, ":"),
    }

    def draw(axes: "Axes") -> None:
        t, at = np.linspace(-4, 4, 161), np.arange(-3.0, 4.0)
        for name, (rule, line) in rules.items():
            values = [rule(float(u), 1.0)[what] for u in t]
            axes.plot(t, np.sqrt(values) if what else values, line, label=name)
        draws = montecarlo.relu(montecarlo.gaussian(at, np.ones(7), 20_000, Lab("N14").rng()))
        axes.plot(at, draws.std(axis=0) if what else draws.mean(axis=0), "k.", label="drawn")
        axes.set(xlabel="mu / sigma", ylabel=label)
        axes.legend(frameon=False)

    return draw


def _loss_along_sigma(rule: str) -> Draw:
    def draw(axes: "Axes") -> None:
        rng = np.random.default_rng(1)
        network = networks.convolutional(rng)
        x, params = rng.random((1, 12, 12)), flatten(network.params)

        def at(sigma: float) -> float:
            moved = params | {"noise.sigma": np.array(sigma)}
            return networks.loss(network, moved, x, 1, rule, "noise-aware")

        grid = np.linspace(0.02, 1.0, 1000)
        axes.plot(grid, [at(sigma) for sigma in grid], linewidth=0.9)
        axes.set(xlabel="sigma", ylabel="noise-aware loss")

    return draw


def _win_probability(axes: "Axes") -> None:
    margin = np.linspace(-3, 3, 121)
    rng = Lab("N20").rng()
    at = np.linspace(-3, 3, 13)
    pairs = montecarlo.gaussian(np.stack([at, np.zeros(13)]), np.full((2, 13), 0.5), 20_000, rng)
    axes.plot(margin, [loss.win_probability(d, 1.0) for d in margin], label="derived")
    axes.plot(margin, [loss.win_probability(-d, 1.0) for d in margin], "--", label="printed")
    axes.plot(at, (pairs[:, 0] > pairs[:, 1]).mean(axis=0), "k.", label="drawn")
    axes.set(xlabel="(mu_k - mu_i) / sd of the difference", ylabel="P(Y_k > Y_i)")
    axes.legend(frameon=False)


def _descent_of_sigma(axes: "Axes") -> None:
    for margin in (0.5, 1.0, 2.0, 4.0):
        path = sigma.flow(margin, 20_000)
        steps = np.unique(np.geomspace(1, len(path) - 1, 300).astype(int))
        axes.semilogx(steps, [path[i] for i in steps], label=f"margin {margin:g}")
    axes.set(xlabel="step of gradient descent, rate 0.01", ylabel="sigma")
    axes.legend(frameon=False)


def _scale_escape(axes: "Axes") -> None:
    rng = Lab("N42").rng()
    network = networks.perceptron(rng, joint=False)
    x = rng.random((12, 1))
    scales = np.geomspace(1, 100, 21)
    for rule, line in (("exact", "-"), ("laplace", "--")):
        moments = [_scaled(network.params, scale, network, x, rule) for scale in scales]
        axes.loglog(scales, [float(np.sqrt(np.asarray(m.var)).mean()) for m in moments], line, label=f"{rule} rule")
    axes.set(xlabel="t: first layer times t, second over t", ylabel="standard deviation of the logits")
    axes.legend(frameon=False)


def _scaled(params: dict[str, Floats], scale: float, network: Classifier, x: Floats, rule: str) -> Moments:
    flat = flatten(params)
    moved = {"fc1.w": flat["fc1.w"] * scale, "fc1.b": flat["fc1.b"] * scale, "fc2.w": flat["fc2.w"] / scale}
    m = Moments(x.reshape(1, 1, -1, 1))
    out, _ = network.model.network.forward(unflatten(flat | moved), m, Propagated(RULES[rule]))
    return out


PLOTS = (
    Plot("N14", "relu-mean", "Mean of a rectified Gaussian: true, printed, and drawn.", _relu(0, "mean / sigma")),
    Plot("N14", "relu-sd", "Its standard deviation, which Eq. 6 keeps down to -3 sigma.", _relu(1, "sd / sigma")),
    Plot(
        "N14",
        "loss-along-sigma-laplace",
        "The loss of a small network along sigma under the printed rule, whose masks make it jump.",
        _loss_along_sigma("laplace"),
    ),
    Plot("N14", "loss-along-sigma-exact", "The same loss under the exact rule.", _loss_along_sigma("exact")),
    Plot("N20", "win-probability", "The printed closed form rewards the wrong class.", _win_probability),
    Plot("N31", "descent-of-sigma", "Descending the loss in sigma stalls above zero.", _descent_of_sigma),
    Plot(
        "N42",
        "scale-escape",
        "A first layer that grows leaves its noise behind, while the network without noise stays the same.",
        _scale_escape,
    ),
)
