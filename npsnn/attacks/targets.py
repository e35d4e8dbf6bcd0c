"""What an attacker takes the gradient of: the expectation network, the sampled network, the closed form, known noise.

All of them are `target(x, labels, stream) -> (loss, gradient)`. The objective is part of the target, because the
expectation over transformations averages the gradients of the losses, not the loss of averaged logits.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

from npsnn.attacks.ascended import closed_form_of
from npsnn.attacks.judging import judge
from npsnn.attacks.queries import gradients, logits, values
from npsnn.backend import Array, namespace
from npsnn.classifier import Classifier
from npsnn.inputs import as_images, as_labels, in_kind
from npsnn.layers.moments import EXPECTATION, Noise, Propagated, Sampled
from npsnn.objectives import (
    OBJECTIVES,
    SIGNED,
    TARGETED,
    Looked,
    Objective,
    chosen,
    cross_entropy,
    dlr,
    float32_cross_entropy,
    least_win_probability,
    margin,
    mse,
    targeted_dlr,
    targeted_margin,
    true_class_probability,
    win_probability,
)
from npsnn.ops.gaussian import RULES, Rule
from npsnn.streams import Randomness, Stream, as_stream
from npsnn.tables import named
from npsnn.validate import check_count
from npsnn.workers.base import micro_batches

_OF_THE_MEAN = (
    mse,
    cross_entropy,
    float32_cross_entropy,
    margin,
    true_class_probability,
    dlr,
    targeted_dlr,
    targeted_margin,
)


def given(target: "Target", x: Array, labels: Array, stream: Randomness) -> tuple[Array, Array, Stream]:
    """The arguments of an attack in the engine's form; TypeError or ValueError where they are something else."""
    if not callable(target):
        raise TypeError(f"target must be one such as sampled(classifier, draws=10), got {target!r}")
    x = as_images(x)
    return x, as_labels(labels, len(x)), as_stream(stream)


class Target(Protocol):
    """What an attack ascends: x (N, C, H, W) in [0, 1] and labels (N,) -> the loss (N,) and its gradient, like x.

    A target of one's own takes NumPy's arrays, or with `on_device = True` a GPU's as well, and answers in kind.
    passes: forward and backward passes for one gradient; an answer averaged over draws of the noise counts as one.
    """

    @property
    def passes(self) -> int: ...

    def __call__(self, x: Array, labels: Array, stream: Stream) -> tuple[Array, Array]: ...


class Queried(Target, Protocol):
    """A target that can also be asked for the loss alone, and how often its network misreads an image.

    random: whether the loss of an image differs from one stream to another.
    certain: whether an image that a look of this target finds misread is misread by whoever judges it.
    signed: whether a loss above 0 says that the logits misread the image.
    looks: the forward passes by which `misread` judges an image on so many draws.
    looked: a gradient that also says how many of its own draws misread the image.
    answers: the logits that the objective is asked of.
    ascending: the same target with another objective.
    """

    @property
    def random(self) -> bool: ...

    @property
    def certain(self) -> bool: ...

    @property
    def signed(self) -> bool: ...

    def looks(self, draws: int) -> int: ...

    def value(self, x: Array, labels: Array, stream: Stream) -> Array: ...

    def misread(self, x: Array, labels: Array, draws: int, stream: Stream) -> Array: ...

    def looked(self, x: Array, labels: Array, stream: Stream) -> tuple[Array, Array, Array]: ...

    def answers(self, x: Array, stream: Stream) -> Array: ...

    def ascending(self, objective: str | Objective) -> "Queried": ...


@dataclass(frozen=True)
class NetworkTarget:
    """A network and the objective to ascend on it.

    kind: "expectation" switches the noise off; "sampled" averages over `draws` draws of the noise (EoT); "closed-form"
    propagates its variance by `rule`, one pass for the whole distribution; "known" has one draw for each image, the
    first that judging on the stream `judging` meets.
    attacked: the network that is judged, where it is another than the one whose gradients these are.
    Images and labels may be NumPy's or a GPU's; the answer is where the images are.
    """

    on_device: ClassVar[bool] = True

    classifier: Classifier
    kind: str
    objective: Objective
    draws: int = 1
    rule: Rule = RULES["exact"]
    judging: Stream | None = None
    attacked: Classifier | None = field(default=None, repr=False)

    @property
    def judged(self) -> Classifier:
        """The network that an attack is judged on."""
        return self.classifier if self.attacked is None else self.attacked

    @property
    def passes(self) -> int:
        """Forward and backward passes for one gradient."""
        return self.draws if self.kind == "sampled" else 1

    def looks(self, draws: int) -> int:
        """Forward passes by which `misread` judges an image: one where no draw differs from another."""
        return draws if self.classifier.random and self.judging is None else 1

    @property
    def random(self) -> bool:
        """Whether the loss of an image differs from one stream to another."""
        return self.kind == "sampled"

    @property
    def settled(self) -> bool:
        """Whether whoever judges an image finds the same: the judged network has no noise, or has a known draw."""
        return self.judging is not None or not self.judged.random

    @property
    def certain(self) -> bool:
        """Whether an image that a look finds misread is misread by whoever judges it: all draws are one.

        A look is at mean probabilities where votes judge, and then it is not certain.
        """
        votes = self.classifier.answer == "votes" and self.classifier.pools
        return self.attacked is None and self.settled and not (votes and self.classifier.random)

    @property
    def signed(self) -> bool:
        """Whether a loss above 0 says that the logits misread the image, as a margin does."""
        return self.objective in [OBJECTIVES[name] for name in SIGNED]

    def __call__(self, x: Array, labels: Array, stream: Randomness) -> tuple[Array, Array]:
        """Loss (N,) of each image and its gradient, of the shape of x: the means over the draws.

        x: (N, C, H, W) in [0, 1], one micro-batch; `stream` is keyed by sample, from the first of them on.
        """
        return self._gradient(x, labels, stream, self.objective)

    def looked(self, x: Array, labels: Array, stream: Randomness) -> tuple[Array, Array, Array]:
        """Loss (N,), the share of the draws of this gradient that misread each image (N,), and the gradient.

        The share says of the closed form whether its mean misreads the image: 0 or 1.
        The arguments are those of a call.
        """
        (loss, misread), gradient = self._gradient(x, labels, stream, Looked(self.objective))
        return loss, misread, gradient

    def _gradient(self, x: Array, labels: Array, stream: Randomness, objective: Objective) -> tuple[Array, Array]:
        labels, noises = self._fitting(x, labels), self._noises(as_stream(stream))
        loss, gradient = gradients(self.classifier, x, labels, noises, objective)
        return in_kind(loss / len(noises), x), in_kind(gradient / len(noises), x)

    def answers(self, x: Array, stream: Randomness) -> Array:
        """The mean logits (classes, N) of a micro-batch, over the draws that a gradient has, or of the closed form."""
        noises = self._noises(as_stream(stream))
        return in_kind(logits(self.classifier, x, noises, smooth=True), x).mean(axis=0)

    def ascending(self, objective: str | Objective) -> "NetworkTarget":
        """The same target with another objective.

        objective: what to ascend, by its name or the function.
        """
        return replace(self, objective=chosen(objective))

    def value(self, x: Array, labels: Array, stream: Randomness) -> Array:
        """The loss alone, (N,), by forward passes, of any number of images; under the noise that a gradient has."""
        labels, stream = self._fitting(x, labels), as_stream(stream)
        batches = micro_batches(len(x), self.classifier.micro_batch)
        values = [self._value(x[s], labels[s], stream.further(s.start)) for s in batches]
        return namespace(x).concatenate(values)

    def misread(self, x: Array, labels: Array, draws: int, stream: Randomness) -> Array:
        """The part of `draws` draws in which the network misreads each image of a micro-batch, (N,), as `judge`."""
        labels, stream = self._fitting(x, labels), as_stream(stream)
        if self.judging is not None:
            draws, stream = 1, self.judging.as_in(stream)
        return 1 - judge(self.classifier, x, labels, draws, stream)

    def _fitting(self, x: Array, labels: Array) -> Array:
        """The labels, once they and the shape of the images are known to be the network's; ValueError otherwise."""
        model = self.classifier.model
        if x.shape[1:] != model.shape:
            raise ValueError(f"images must have the shape (N, {', '.join(map(str, model.shape))}), got {x.shape}")
        if not self._aimed:
            return as_labels(labels, len(x), model.classes)
        if labels.shape != (len(x), 2):
            what = f"(N, 2), each label with the class to raise, for the objective {OBJECTIVES.name_of(self.objective)}"
            raise ValueError(f"labels must have the shape {what}, got {labels.shape}")
        return as_labels(labels.reshape(-1), 2 * len(x), model.classes).reshape(-1, 2)

    @property
    def unaimed(self) -> "NetworkTarget":
        """The same target, with the margin in the place of an objective that needs a class to aim at."""
        return self.ascending("margin") if self._aimed else self

    @property
    def _aimed(self) -> bool:
        return self.objective in [OBJECTIVES[name] for name in TARGETED]

    def _value(self, x: Array, labels: Array, stream: Stream) -> Array:
        found = values(self.classifier, x, labels, self._noises(stream), self.objective)
        return in_kind(found, x).mean(axis=0)

    def _noises(self, stream: Stream) -> list[Noise]:
        if self.kind == "expectation":
            return [EXPECTATION]
        if self.kind == "closed-form":
            return [Propagated(self.rule)]
        if self.judging is not None:
            return [Sampled(self.judging.at(0).as_in(stream))]
        return [Sampled(stream.at("draw", d)) for d in range(self.draws)]


def expectation(classifier: Classifier, objective: str | Objective = "cross-entropy") -> NetworkTarget:
    """The network without its noise.

    objective: what to ascend, by its name or the function.
    """
    return NetworkTarget(classifier, "expectation", chosen(objective))


def sampled(classifier: Classifier, draws: int, objective: str | Objective = "cross-entropy") -> NetworkTarget:
    """Expectation over transformations: the mean gradient over fresh draws at every step (A2SNN Sec. 4.1).

    draws: number of draws for each gradient.
    objective: what to ascend, by its name or the function.
    """
    check_count("draws", draws)
    return NetworkTarget(classifier, "sampled", chosen(objective), draws)


def known(classifier: Classifier, judging: Randomness, objective: str | Objective = "cross-entropy") -> NetworkTarget:
    """The network with one draw of the noise for each image that the attacker knows, by which it is also judged.

    The network is deterministic then: what is left of its robustness is not the noise's (A2SNN Sec. 4.5 does not ask
    this). An attack must know an image by its place in the batch, as all but One-Pixel do. A draw that the images of a
    micro-batch share is known for each part of it.

    judging: where one draw is judged, `accuracy(classifier, x, labels, 1, judging)`.
    objective: what to ascend, by its name or the function.
    """
    return NetworkTarget(classifier, "known", chosen(objective), judging=as_stream(judging))


def closed_form(
    classifier: Classifier, objective: str | Objective | None = None, propagation: str = "exact"
) -> NetworkTarget:
    """The noise paper's adaptive attack: the gradient of a closed-form objective of the randomised network.

    objective: by default the expected cross-entropy where there is noise on the features (extension E3), or on the
        weights of a joint last layer alone. Elsewhere it is the win probability under "exact", the noise-aware loss
        under the rules that leave the mean as it is, and the cross-entropy where there is no noise. Where probabilities
        or votes of several draws answer, it is the expected probability, as of endlessly many draws. Where no noise
        moves the mean, an objective of the mean alone makes the expectation target, called so. docs/attacks.md measures
        the objectives.
    propagation: "exact" carries the moments of extensions E1 and E2, "laplace" is the paper's own rule.
    Raises ValueError for an objective that needs noise where there is none.
    Source: noise paper Sec. 4, Eq. 10, with the derived gradient (audit N34-N37).
    """
    rule = named(RULES, propagation, "propagation")
    default, moved = closed_form_of(classifier, rule)
    ascended = chosen(objective or default)
    if ascended in (win_probability, least_win_probability) and not classifier.random:
        raise ValueError(f"the {OBJECTIVES.name_of(ascended)} objective needs noise: sigma must be > 0, got 0")
    if not moved and ascended in _OF_THE_MEAN:
        return expectation(classifier, ascended)
    return NetworkTarget(classifier, "closed-form", ascended, rule=rule)
