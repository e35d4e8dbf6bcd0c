"""The two figures of docs/concepts.md, drawn from a small network that is trained here in a second.

`scripts/run concepts` writes them. Letters and axes are of a grey that can be read on light and on dark ground.
"""

import re
import sys
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import checkout
import numpy as np

from npsnn import Classifier, data, train
from npsnn.layers import Conv2d, Flatten, Linear, Moments, PreactivationNoise, Propagated, ReLU, Sampled, Sequential
from npsnn.models import Model
from npsnn.ops.gaussian import RULES
from npsnn.streams import Stream

FOLDER = Path(checkout.__file__).parent.parent / "docs" / "concepts"
GREY = "#808080"
"""Letters and axes; `inlined` gives them the colour of the text around them."""
STYLE: dict[str, Any] = {
    "text.color": GREY,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.titlecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.labelcolor": GREY,
    "svg.fonttype": "none",
    "svg.hashsalt": "npsnn",
    "axes.prop_cycle": "cycler('color', ['#2f81c9', '#d9741a', '#2e9e5b', '#c24fa0'])",
}
SIGMA, DRAWS = 0.9, 1000
LAYERS = (
    ("conv", Conv2d(8, 5, stride=2)),
    ("noise", PreactivationNoise(SIGMA)),
    ("relu1", ReLU()),
    ("flatten", Flatten()),
    ("fc1", Linear(64)),
    ("relu2", ReLU()),
    ("fc2", Linear(10)),
)


LEAST = "26rem"
"""The width below which the letters of a figure cannot be read: a narrow screen scrolls it."""


def inlined(svg: str, caption: str) -> str:
    """The element of an SVG file, to stand inside a page and take the colour of its text."""
    element = svg[svg.index("<svg") :].strip().replace(GREY, "currentColor")
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    width = re.search(r'<svg [^>]*?width="([\d.]+)pt" height="[^"]*"', element)
    if width is None:
        raise ValueError(f"a figure must have its width and height in pt, got {element[:80]}")
    size = f"{float(width[1]):g}pt"
    style = f"max-width: {size}; min-width: min({size}, {LEAST})"
    sized = element.replace(width[0][width[0].index("width=") :], f'style="{style}"', 1)
    return sized.replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)


def network() -> Classifier:
    """A small network with noise behind its convolution, trained on draws."""
    model = Model("small", Sequential(LAYERS), (1, 28, 28), 10)
    adam = train.Adam(3e-3)
    training = train.Training(model, train.CrossEntropy(), train.Drawn(), optimizer=adam, epochs=4, limit=4000)
    with TemporaryDirectory() as folder:
        list(train.fit(training, data.load("digits"), folder))
        return Classifier.load(folder)


def doubtful(net: Classifier) -> np.ndarray:
    """The test image (1, 1, 28, 28) on which draws agree least, among those that most draws read rightly."""
    test = data.load("digits").test
    x, labels = data.as_float(test.images[:200]), test.labels[:200]
    right = (net.sample(x, rng=0, draws=50).argmax(axis=2) == labels).mean(axis=0)
    return x[[np.argmin(np.where(right > 0.5, np.abs(right - 0.65), 1))]]


def a_draw(plt: Any, net: Classifier, x: np.ndarray) -> Any:
    """One image, its logits under four draws, and the answers of many draws."""
    logits = net.sample(x, rng=1, draws=DRAWS)[:, 0]
    answers = logits.argmax(axis=1)
    figure, panels = plt.subplots(2, 3, figsize=(6.6, 4), layout="constrained")
    axes = panels.ravel()
    axes[0].imshow(x[0, 0], cmap="gray")
    axes[0].set(title="one image", xticks=[], yticks=[])
    low, high = logits[:4].min() - 1, logits[:4].max() + 1
    for draw in range(4):
        colours = ["C1" if k == answers[draw] else "C0" for k in range(10)]
        axes[draw + 1].bar(range(10), logits[draw] - low, bottom=low, color=colours)
        axes[draw + 1].set(title=f"draw {draw + 1}: a {answers[draw]}", ylim=(low, high), ylabel="logits")
        axes[draw + 1].set(yticks=[], xticks=range(10))
    shares = np.bincount(answers, minlength=10) / DRAWS
    axes[5].bar(range(10), shares, color=["C1" if k == shares.argmax() else "C0" for k in range(10)])
    axes[5].set(title=f"answers of {DRAWS:,} draws", xticks=range(10), ylim=(0, 1), yticks=(0, 0.5, 1))
    return figure


def what_is_carried(plt: Any, net: Classifier, x: np.ndarray) -> Any:
    """The values of one unit behind four layers, by draws and as the closed form has them."""
    figure, panels = plt.subplots(2, 2, figsize=(6.6, 4.6), layout="constrained")
    axes = panels.ravel()
    titles = {"noise": "behind the noise", "relu1": "behind the ReLU", "fc1": "in a dense layer", "fc2": "a logit"}
    for panel, (name, title) in zip(axes, titles.items(), strict=True):
        part = Sequential(LAYERS[: 1 + [n for n, _ in LAYERS].index(name)])
        carried, _ = part.forward(net.params, Moments(net.to_engine(x)), Propagated(RULES["exact"]))
        many = np.repeat(x, DRAWS, axis=0)
        drawn, _ = part.forward(net.params, Moments(net.to_engine(many)), Sampled(Stream(2)))
        values = drawn.mean.reshape(-1, DRAWS)
        # the unit whose closed form lies nearest to half a standard deviation above 0; of the logits, the largest
        mean, sd = carried.mean.reshape(-1), np.sqrt(carried.var.reshape(-1))
        unit = int(mean.argmax()) if name == "fc2" else int(np.abs(mean - 0.5 * SIGMA).argmin())
        at = np.linspace(values[unit].min(), values[unit].max(), 200)
        panel.hist(values[unit], bins=40, density=True, color="C0", alpha=0.55, label=f"{DRAWS:,} draws")
        bell = np.exp(-(((at - mean[unit]) / sd[unit]) ** 2) / 2) / (sd[unit] * np.sqrt(2 * np.pi))
        panel.plot(at, bell, color="C1", lw=2, label="closed form")
        panel.set(title=title, yticks=[], xlabel=f"mean {mean[unit]:.2f}, sd {sd[unit]:.2f}")
        top = np.histogram(values[unit], bins=40, density=True)[0]
        panel.set_ylim(0, 1.15 * max(bell.max(), np.sort(top)[-2]))
    axes[0].legend(frameon=False, loc="upper left", fontsize="small")
    figure.get_layout_engine().set(h_pad=0.12)
    return figure


def written(figure: Any, file: Path) -> Path:
    """Save a figure as SVG, the same bytes each time."""
    figure.savefig(file, transparent=True, metadata={"Date": None})
    text = re.sub(r"[ \t]+$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    file.write_text(text, encoding="utf-8")
    return file


def main() -> None:
    """Write docs/concepts/*.svg."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    FOLDER.mkdir(exist_ok=True)
    net = network()
    x = doubtful(net)
    with plt.rc_context(STYLE):
        for name, draw in (("draw", a_draw), ("closed-form", what_is_carried)):
            print(written(draw(plt, net, x), FOLDER / f"{name}.svg"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("docs_figures.py takes no arguments: it writes docs/concepts/")
    main()
