"""A trained network for users: images in the usual form, (N, C, H, W) in [0, 1], and logits (N, classes)."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from npsnn.backend import Array, on_gpu, to_device, to_host, use_device
from npsnn.data.dataset import Dataset
from npsnn.inputs import as_images, as_labels
from npsnn.layers.base import Params
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated, Sampled
from npsnn.layers.params import any_of, flatten, unflatten
from npsnn.models import sigmas
from npsnn.models.averaging import ANSWERS, pools
from npsnn.models.base import Model
from npsnn.models.passes import Passes, engine_form
from npsnn.objectives import Objective, chosen
from npsnn.ops.gaussian import RULES, Rule
from npsnn.runs.networks import load_network
from npsnn.runs.untrained import save_network
from npsnn.streams import Randomness, as_stream
from npsnn.tables import named
from npsnn.validate import check_choice, check_count, check_sigma
from npsnn.workers import ranks
from npsnn.workers.base import Workers, each_slice, micro_batches

Images: TypeAlias = Array
"""NumPy's, or a GPU's for a network that is there."""

GPU_BATCH = 4096
"""The most examples that a GPU computes at a time, unless a training says another number."""
WORTH = 1.0
"""Seconds of work from which other processes are started for it: to start takes half of one."""


@dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A network with its parameters.

    model: the network.
    params: its parameters, nested by the names of layers.
    threads: number of threads, None for all cores.
    average: draws of the noise that make one answer, as `averaging` sets it.
    noise_off: whether the noise is off, as `with_sigma(0)` sets it; the parameters stay.
    answer: what of these draws makes the answer, "logits", "probabilities" or "votes", as `averaging` sets it.
    Raises TypeError for another model or parameters, ValueError for another average or answer.
    """

    model: Model
    params: Params
    threads: int | None = None
    average: int = 1
    noise_off: bool = False
    answer: str = "logits"

    def __post_init__(self) -> None:
        check_count("average", self.average)
        check_choice("answer", self.answer, ANSWERS)
        if not isinstance(self.model, Model) or not isinstance(self.params, dict) or not self.params:
            raise TypeError(f"a Classifier is of a Model and its parameters, got {self.model!r} and {self.params!r}")

    def __repr__(self) -> str:
        where, shape = "GPU" if self.on_gpu else "CPU", "x".join(map(str, self.model.shape))
        noise = "random layers" if not self.sigmas and self.random else f"sigma {sigmas.in_words(self.sigmas)}"
        what = f"{self.model.name}, {shape} images, {self.model.classes} classes, {noise}"
        makes = {"logits": "answers", "probabilities": "probabilities", "votes": "votes"}[self.answer]
        answer = f", {makes} averaged over {self.average} draws" if self.average > 1 else ""
        return f"<Classifier {what}{answer}, {self.dtype} on the {where}>"

    @staticmethod
    def load(
        run: str | os.PathLike[str] | None = None, which: str = "last", runs_dir: str | os.PathLike[str] = "runs"
    ) -> "Classifier":
        """Load the network of a run.

        run: folder, or name under `runs_dir`; None for the newest run.
        which: "last" for the final parameters, "best" for those of the highest validation accuracy.
        runs_dir: folder of the runs.
        Raises FileNotFoundError for an unknown run, ValueError for files that are damaged or do not fit together.
        """
        return Classifier(*load_network(run, which, runs_dir))

    def save(self, folder: str | os.PathLike[str], dataset: Dataset | None = None) -> Path:
        """Write the network to a new folder that `load` and every command take as a run.

        folder: the folder, new or empty.
        dataset: data that commands are to measure the network on, of which the folder records the digests.
        Returns the folder. Raises FileExistsError for a folder that holds something, OSError where it cannot be
        written, and ValueError where a layer is in no table, where the images or classes of the data are others, and
        for a network whose noise is off or whose answers are averages: a folder holds parameters alone.
        """
        return save_network(folder, self.model, self.saved_params(), dataset, {})

    def saved_params(self) -> dict[str, np.ndarray]:
        """The flat parameters in the memory of the host, as files hold them; raises ValueError as `save`."""
        if self.noise_off or self.average > 1:
            what = "whose noise is off" if self.noise_off else f"that averages {self.average} draws"
            raise ValueError(f"files hold parameters alone, which do not say it of a network {what}: save the other")
        return {name: to_host(p) for name, p in flatten(self.params).items()}

    @property
    def spec(self) -> dict[str, Any]:
        """The network as JSON."""
        return self.model.spec()

    @property
    def sigmas(self) -> dict[str, float]:
        """Standard deviation of each noise layer by its path; on features, the root mean square over them."""
        if self.noise_off:
            return dict.fromkeys(self.model.noise_layers, 0.0)
        return sigmas.read(self.model, self.params)

    @property
    def sigma(self) -> float:
        """Standard deviation of the one noise layer, 0 without any; raises ValueError where there are several.

        `sigmas` has those of several. Whether answers are random is another question: `random`.
        """
        found = sigmas.brief(self.sigmas)
        if isinstance(found, dict):
            raise ValueError(f"{self.model.name} has several noise layers, {', '.join(found)}: ask for its sigmas")
        return found

    @property
    def random(self) -> bool:
        """Whether answers differ from one draw of the noise to another; a GPU is asked once."""
        return self.passes.random if self.on_gpu else not self.noise_off and sigmas.draws(self.model, self.params)

    @property
    def shares_draws(self) -> bool:
        """Whether answers are random, and all images of a micro-batch share a draw of some noise."""
        return self.model.shares_draws and self.random

    @cached_property
    def passes(self) -> Passes:
        """Its passes, with the graphs of a GPU: they are of these parameters, and go with the object."""
        return Passes(self.model, self.params, self.average, self.answer, self.noise_off, self._any_parameter)

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def dtype(self) -> Any:
        return self._any_parameter.dtype

    @property
    def on_gpu(self) -> bool:
        return on_gpu(self._any_parameter)

    @property
    def _any_parameter(self) -> Array:
        return any_of(self.params)

    @property
    def micro_batch(self) -> int:
        """Number of examples computed at a time: the model's on a CPU, up to 4096 on a GPU."""
        return GPU_BATCH if self.on_gpu else self.model.micro_batch

    def workers(self) -> Workers:
        """Those who compute micro-batches; on a GPU one thread of each rank, with the GPU of its own."""
        return ranks.workers(self.threads, WORTH, "cuda" if self.on_gpu else "cpu")

    def convolving(self, method: str) -> "Classifier":
        """The same network with its convolutions computed in another way.

        method: "auto", "direct" or "winograd".
        """
        return replace(self, model=self.model.convolving(method))

    def with_sigma(self, sigma: float | Mapping[str, float]) -> "Classifier":
        """The same network with another noise; noise on features keeps its correlations, also through sigma 0.

        sigma: standard deviation, >= 0. One number is for the one noise layer, and 0 turns all noise off. A mapping has
            a number for each path; a layer that the mapping does not name keeps its own.
        Raises ValueError for a number that is no sigma, for a path that is no noise layer's, and for a number > 0 where
        the network has several noise layers, or none.
        """
        if not isinstance(sigma, Mapping):
            check_sigma(sigma)
            if sigma == 0:
                return replace(self, noise_off=self.model.noisy)
        return replace(self, params=sigmas.put(self.model, self.params, sigma), noise_off=False)

    def averaging(self, average: int, answer: str | None = None) -> "Classifier":
        """The same network with several draws for one answer, which lessens its noise.

        average: number of draws, >= 1.
        answer: what of the draws makes the answer, as `npsnn.models.averaging.averaged` has it: the mean of the
            "logits"; the mean of the "probabilities", of which the answer is the logarithm; or the "votes", how many
            draws name each class, where the mean probabilities decide ties. None for the network's own. One draw
            answers with its logits, whatever this says.
        Whatever asks for noisy logits gets such answers: accuracy, attacks, samples, moments. Attacks on votes have the
            values and the gradients of the probabilities.
        The mean of averaged logits is that of one draw, and their variance is divided by `average`. The moments for
            probabilities and votes are those of one draw: a closed form of them is of endlessly many draws.
        Raises ValueError for another average or answer.
        Source: A2SNN Sec. 4.4, Table 6 (audit A32); probabilities: RSE (Liu et al. 2018), Adv-BNN (Liu et al. 2019),
            PixelDP (Lecuyer et al. 2019).
        """
        return replace(self, average=average, answer=self.answer if answer is None else answer)

    @property
    def pools(self) -> bool:
        """Whether one answer is made of the probabilities or the votes of several draws, and not of their logits."""
        return pools(self.answer, self.average)

    def astype(self, dtype: Any) -> "Classifier":
        """The same network computing in another precision.

        dtype: float32 or float64.
        Raises ValueError for another.
        """
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
        return self._map(lambda p: p.astype(dtype))

    def to(self, device: str) -> "Classifier":
        """The same network with its parameters on a device, which becomes the calling thread's.

        device: "cpu" or "cuda", as for `npsnn.backend.use_device`.
        """
        use_device(device)
        return self._map(lambda p: to_device(p, device))

    def _map(self, f: Callable[[Array], Array]) -> "Classifier":
        return replace(self, params=unflatten({k: f(p) for k, p in flatten(self.params).items()}))

    def to_engine(self, x: Images) -> Array:
        """Put images in the engine's form, in the dtype and on the device of the parameters.

        x: images (N, C, H, W), of 8 bits or in [0, 1].
        Returns (H, C, W, N) in [0, 1].
        """
        return engine_form(x, self._any_parameter)

    def scores(self, x: Images, noise: Noise) -> Moments:
        """Compute the moments of the logits, (classes, N), of one micro-batch on the calling thread.

        x: images (N, C, H, W).
        noise: how the noise is treated.
        """
        return self.passes.moments(x, noise)

    def loss_gradient(self, x: Images, labels: Array, noise: Noise, objective: Objective) -> tuple[Array, Array]:
        """Compute an objective of each example, (N,), and its gradient by the image, float64, on the calling thread.

        x: images (N, C, H, W) of one micro-batch.
        labels: classes (N,).
        noise: how the noise is treated.
        objective: function of the logits and the labels.
        Both results are where the parameters are, so that sums over draws need not wait for a GPU. The cotangent goes
        through the network in units of each example's largest entry (`npsnn.objectives.in_units`).
        """
        return self.loss_gradients(x, labels, [noise], objective)

    def loss_gradients(
        self, x: Images, labels: Array, noises: Sequence[Noise], objective: Objective
    ) -> tuple[Array, Array]:
        """Compute the sums over several noises of what `loss_gradient` returns, with what they share computed once.

        noises: draws of the noise, or one noise of any kind.
        The other arguments are those of `loss_gradient`.
        """
        return self.passes.gradients(x, labels, noises, objective)

    def checked(self, x: Images, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Put images and labels in the engine's form.

        x: images (N, C, H, W).
        labels: classes (N,).
        Raises ValueError or TypeError for what does not fit the network.
        """
        x = as_images(x, self.model.shape)
        return x, as_labels(labels, len(x), self.model.classes)

    def each_batch(
        self,
        f: Callable[..., Any],
        examples: int,
        progress: Callable[[int], None] | None = None,
        arguments: Callable[[slice], tuple[Any, ...]] = lambda s: (s,),
        size: int | None = None,
    ) -> list[Any]:
        """f(*arguments(slice)) of each micro-batch, by all workers, in order.

        f: what to compute; other processes compute where it can be pickled, and threads otherwise.
        examples: how many there are.
        progress: is told how many examples were done.
        arguments: those of a slice of the examples; by default the slice itself.
        size: number of examples of a slice; None for `micro_batch`.
        """
        with self.workers() as workers:
            return each_slice(workers, f, arguments, micro_batches(examples, size or self.micro_batch), progress)

    def predict(self, x: Images) -> np.ndarray:
        """Compute the logits (N, classes) of the expectation network, whose noise is off.

        x: images (N, C, H, W).
        """
        x = as_images(x, self.model.shape)
        return self._logits(x, lambda s: EXPECTATION)[0]

    def moments(self, x: Images, propagation: str | Rule = "exact") -> tuple[np.ndarray, np.ndarray]:
        """Compute mean and variance of the noisy logits in closed form, (N, classes) each.

        x: images (N, C, H, W).
        propagation: "exact" (extensions E1, E2), "laplace" (the noise paper's Eq. 6) or "linear". A rule is exact or
            not for one unit; all rules take the units of a layer as independent (audit N15), which the units of a
            convolution are not.
        """
        x = as_images(x, self.model.shape)
        rule = named(RULES, propagation, "propagation")
        mean, var = self._logits(x, lambda s: Propagated(rule))
        return mean, np.zeros_like(mean) if var is None else var

    def sample(self, x: Images, rng: Randomness, draws: int) -> np.ndarray:
        """Draw logits under independent draws of the noise, (draws, N, classes).

        x: images (N, C, H, W).
        rng: source of randomness.
        draws: number of draws.
        """
        x = as_images(x, self.model.shape)
        stream = as_stream(rng)
        check_count("draws", draws)
        return np.stack(
            [
                self._logits(x, lambda s, d=d: Sampled(stream.at(d).further(s.start)))[0]  # type: ignore[misc]
                for d in range(draws)
            ]
        )

    def input_gradient(
        self, x: Images, labels: np.ndarray, objective: str | Objective = "noise-aware", propagation: str = "exact"
    ) -> np.ndarray:
        """Compute the gradient of an objective in closed form by each image: float64, of the shape of x.

        x: images (N, C, H, W).
        labels: classes (N,).
        objective: name or function; with noise off the gradient is the plain one.
        propagation: rule that carries the noise, as for `moments`.
        Source: noise paper Sec. 4, with the derived terms (audit N34-N37).
        """
        x, labels = self.checked(x, labels)
        noise = Propagated(named(RULES, propagation, "propagation"))
        f = chosen(objective)

        def host(s: slice) -> np.ndarray:
            with np.errstate(over="ignore", invalid="ignore"):
                return self._finite(to_host(self.loss_gradient(x[s], labels[s], noise, f)[1]), "gradients")

        parts = self.each_batch(host, len(x))
        return np.concatenate(parts) if parts else np.zeros(x.shape)

    def _finite(self, values: np.ndarray, what: str) -> np.ndarray:
        """The values, unless one of them is a NaN or an infinity: a ValueError says that they overflow."""
        if not np.isfinite(values).all():
            raise ValueError(f"{self.model.name}: the {what} of some images overflow {self.dtype}")
        return values

    def _logits(self, x: Images, noise: Callable[[slice], Noise]) -> tuple[np.ndarray, np.ndarray | None]:
        def host(s: slice) -> tuple[np.ndarray, np.ndarray | None]:
            with np.errstate(over="ignore", invalid="ignore"):
                m = self.scores(x[s], noise(s))
            mean = self._finite(to_host(m.mean), "logits")
            return mean, None if m.var is None else self._finite(_marginal(to_host(m.var)), "variances of the logits")

        parts = self.each_batch(host, len(x))
        if not parts:
            return np.zeros((0, self.model.classes), self.dtype), None
        var = None if parts[0][1] is None else np.concatenate([v for _, v in parts], axis=1).T
        return np.concatenate([m for m, _ in parts], axis=1).T, var


def _marginal(var: np.ndarray) -> np.ndarray:
    return var if var.ndim == 2 else np.diagonal(var).T
