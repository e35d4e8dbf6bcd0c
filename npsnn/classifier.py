"""A trained network for users: images in the usual form, (N, C, H, W) in [0, 1], and logits (N, classes)."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from npsnn import files
from npsnn.backend import Array, namespace, on_gpu, to_device, to_host, use_device
from npsnn.files import json_files
from npsnn.inputs import as_images, as_labels
from npsnn.layers.base import Backward, Params, Want
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated, Sampled
from npsnn.layers.params import flatten, unflatten
from npsnn.models import averaging, sigmas
from npsnn.models.model import Model
from npsnn.objectives import OBJECTIVES, Objective
from npsnn.ops.gaussian import RULES, Rule
from npsnn.optim import Arrays
from npsnn.runs import checkpoint, plugins
from npsnn.streams import Randomness, as_stream
from npsnn.tables import nearest
from npsnn.validate import check_count, check_sigma
from npsnn.workers.threads import Workers, micro_batches

Images: TypeAlias = np.ndarray


def named(table: Mapping[str, Any], name: Any, what: str) -> Any:
    """table[name], or `name` itself where it is one of the values; ValueError names the choices."""
    if not isinstance(name, str) and any(name is value for value in table.values()):
        return name
    if not isinstance(name, str) or name not in table:
        raise ValueError(f"unknown {what} {name!r}, expected one of {', '.join(table)}{nearest(name, table)}")
    return table[name]


@dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A network with its parameters. Threads: None for all cores.

    average: the draws of the noise whose logits are averaged for one answer, as `averaging` sets it.
    noise_off: the network without its noise, whose parameters it keeps; `with_sigma` sets it.
    """

    model: Model
    params: Params
    threads: int | None = None
    average: int = 1
    noise_off: bool = False

    def __post_init__(self) -> None:
        check_count("average", self.average)
        if not isinstance(self.model, Model) or not isinstance(self.params, dict) or not self.params:
            raise TypeError(f"a Classifier is of a Model and its parameters, got {self.model!r} and {self.params!r}")

    def __repr__(self) -> str:
        where, shape = "GPU" if self.on_gpu else "CPU", "x".join(map(str, self.model.shape))
        what = f"{self.model.name}, {shape} images, {self.model.classes} classes, sigma {sigmas.in_words(self.sigmas)}"
        answer = f", answers averaged over {self.average} draws" if self.average > 1 else ""
        return f"<Classifier {what}{answer}, {self.dtype} on the {where}>"

    @staticmethod
    def load(
        run: str | os.PathLike[str] | None = None, which: str = "last", runs_dir: str | os.PathLike[str] = "runs"
    ) -> "Classifier":
        """The network of a run: a folder, or a name under `runs_dir`, the newest where None.

        which: "last" for the final parameters, "best" for those of the highest validation accuracy.
        Raises FileNotFoundError for an unknown run, ValueError for files that are damaged or do not fit together.
        """
        if which not in ("last", "best"):
            raise ValueError(f"checkpoint must be last or best, got {which!r}")
        folder = checkpoint.find_run(run, runs_dir)
        config = folder / checkpoint.CONFIG
        about = json_files.read_json(config)
        with files.blamed(config), plugins.blamed(about):
            model = Model.from_spec(about.get("spec"))
        plugins.warn_of_others(about)
        params, _, _ = load_params(folder / (checkpoint.LAST if which == "last" else checkpoint.BEST), model)
        return Classifier(model, unflatten(params))

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
        """Standard deviation of its one noise layer, 0 without any; ValueError where there are several, see `sigmas`.

        Whether answers are random is another question: `random`.
        """
        found = sigmas.brief(self.sigmas)
        if isinstance(found, dict):
            raise ValueError(f"{self.model.name} has several noise layers, {', '.join(found)}: ask for its sigmas")
        return found

    @property
    def random(self) -> bool:
        """Whether its answers differ from one draw of its noise to another."""
        return not self.noise_off and sigmas.draws(self.model, self.params)

    @property
    def dtype(self) -> Any:
        return self._any_parameter.dtype

    @property
    def on_gpu(self) -> bool:
        return on_gpu(self._any_parameter)

    @property
    def _any_parameter(self) -> Array:
        return next(iter(flatten(self.params).values()))

    @property
    def micro_batch(self) -> int:
        """The examples computed at a time: the model's on a CPU, all at once (to 4096) on a GPU."""
        return 4096 if self.on_gpu else self.model.micro_batch

    def workers(self) -> Workers:
        """Threads for its micro-batches; on a GPU the calling thread alone, whose device is the right one."""
        return Workers(1 if self.on_gpu else self.threads)

    def convolving(self, method: str) -> "Classifier":
        """The same network, its convolutions by `method`: "auto", "direct" or "winograd"."""
        return replace(self, model=self.model.convolving(method))

    def with_sigma(self, sigma: float | Mapping[str, float]) -> "Classifier":
        """The same network with another noise; noise on features keeps its correlations, also through sigma 0.

        sigma: standard deviation, >= 0. One number for the one noise layer, or 0 to turn all noise off; or a number for
            each path, where a layer that is not named keeps its own.
        Raises ValueError for a number that is no sigma, for a path that is no noise layer's, for a number > 0 where the
        network has several noise layers, or none.
        """
        if not isinstance(sigma, Mapping):
            check_sigma(sigma)
            if sigma == 0:
                return replace(self, noise_off=self.model.noisy)
        return replace(self, params=sigmas.put(self.model, self.params, sigma), noise_off=False)

    def averaging(self, average: int) -> "Classifier":
        """The same network with its logits averaged over `average` draws for one answer, which lessens its noise.

        Whatever asks for its noisy logits gets averaged ones: accuracy, attacks, samples, moments. The mean of the
        logits stays, their variance is a part of `average`. Raises ValueError unless average is a whole number >= 1.
        Source: A2SNN Sec. 4.4, Table 6 (audit A32).
        """
        return replace(self, average=average)

    def astype(self, dtype: Any) -> "Classifier":
        """The same network computing in `dtype`, float32 or float64; ValueError for another."""
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
        return self._map(lambda p: p.astype(dtype))

    def to(self, device: str) -> "Classifier":
        """The same network with its parameters on `device`, which becomes the calling thread's; as `use_device`."""
        use_device(device)
        return self._map(lambda p: to_device(p, device))

    def _map(self, f: Callable[[Array], Array]) -> "Classifier":
        return replace(self, params=unflatten({k: f(p) for k, p in flatten(self.params).items()}))

    def to_engine(self, x: Images) -> Array:
        """(N, C, H, W) -> (H, C, W, N) in the dtype and on the device of the parameters; 8-bit images to [0, 1]."""
        xp, eight_bit = namespace(self._any_parameter), x.dtype == np.uint8
        # moved as they are: 8-bit images are a quarter of the floats
        moved = xp.ascontiguousarray(xp.asarray(x).transpose(2, 1, 3, 0), None if eight_bit else self.dtype)
        return moved.astype(self.dtype) / 255 if eight_bit else moved

    def scores(self, x: Images, noise: Noise) -> Moments:
        """Moments of the logits of one micro-batch, (classes, N), on the calling thread."""
        return self._forward(x, noise)[0]

    def _forward(self, x: Images, noise: Noise) -> tuple[Moments, Backward]:
        noise = EXPECTATION if self.noise_off else noise
        return averaging.forward(self.model, self.params, Moments(self.to_engine(x)), noise, self.average)

    def loss_gradient(self, x: Images, labels: np.ndarray, noise: Noise, objective: Objective) -> tuple[Array, Array]:
        """Each example's objective, (N,), and its gradient with respect to the image, float64, on the calling thread.

        Both are where the parameters are, so that sums over draws need not wait for a GPU.

        A sure prediction's gradient lies below the range of float32 and would be lost as 0: the objective is computed
        in float64, and its cotangent goes through the network in units of each example's largest entry.
        """
        m, backward = self._forward(x, noise)
        xp = namespace(m.mean)
        double = Moments(*(None if z is None else z.astype(xp.float64) for z in (m.mean, m.var)))
        value, cotangent = objective(double, xp.asarray(labels))
        channels = (cotangent.mean, cotangent.var)
        largest = [xp.abs(z).reshape(-1, z.shape[-1]).max(axis=0) for z in channels if z is not None]
        unit = xp.stack(largest).max(axis=0)
        unit = xp.where(unit > 1e-300, unit, 1)
        scaled = [None if z is None else (z / unit).astype(self.dtype) for z in channels]
        g, _ = backward(Moments(*scaled), Want.INPUT)
        assert g is not None
        return value, (g.mean * unit).transpose(3, 1, 0, 2)

    def checked(self, x: Images, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The images and labels in the engine's form; ValueError or TypeError for what does not fit the network."""
        x = as_images(x, self.model.shape)
        return x, as_labels(labels, len(x), self.model.classes)

    def each_batch(
        self, f: Callable[[slice], Any], examples: int, progress: Callable[[int], None] | None = None
    ) -> list[Any]:
        """f(slice) for each micro-batch, on all threads, in order; progress is told how many examples were done."""
        batches = micro_batches(examples, self.micro_batch)
        results: list[Any] = []

        def collect(result: Any) -> None:
            done = batches[len(results)]
            results.append(result)
            if progress:
                progress(done.stop - done.start)

        with self.workers() as workers:
            workers.fold(lambda i: f(batches[i]), len(batches), collect)
        return results

    def predict(self, x: Images) -> np.ndarray:
        """Logits of the expectation network (noise off): (N, C, H, W) -> (N, classes)."""
        x = as_images(x, self.model.shape)
        return self._logits(x, lambda s: EXPECTATION)[0]

    def moments(self, x: Images, propagation: str | Rule = "exact") -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the noisy logits in closed form: (N, C, H, W) -> (N, classes) twice.

        propagation: "exact" (extensions E1, E2), "laplace" (the noise paper's Eq. 6) or "linear". Each is exact or not
        for a unit; all take the units of a layer as independent (audit N15), which the units of a convolution are not.
        """
        x = as_images(x, self.model.shape)
        rule = named(RULES, propagation, "propagation")
        mean, var = self._logits(x, lambda s: Propagated(rule))
        return mean, np.zeros_like(mean) if var is None else var

    def sample(self, x: Images, rng: Randomness, draws: int) -> np.ndarray:
        """Logits under `draws` independent draws of the noise: (N, C, H, W) -> (draws, N, classes)."""
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
        """Gradient of each example's objective in closed form with respect to its image: float64, of the shape of x.

        Source: noise paper Sec. 4, with the derived terms (audit N34-N37); with sigma = 0 the plain input gradient.
        """
        x, labels = self.checked(x, labels)
        noise = Propagated(named(RULES, propagation, "propagation"))
        f = objective if callable(objective) else named(OBJECTIVES, objective, "objective")

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


def load_params(
    path: Path, model: Model, prefixes: tuple[str, ...] = ("params/",)
) -> tuple[Arrays, Arrays, dict[str, Any]]:
    """The model's parameters in a checkpoint, flat, then all its arrays with one of the prefixes, and what is said.

    Raises FileNotFoundError, or ValueError, naming the file, where it is damaged or another model's.
    """
    # Parameters and at most two arrays of an optimiser for each, in double precision at most, each with its headers.
    needed = sum(3 * (8 * p.size + 1024) for p in model.forms().values())
    limit = max(needed, 1 << 26)  # so that most files of another model are read far enough to be told from this one's
    arrays, about = checkpoint.load_arrays(path, limit, prefixes)
    params = checkpoint.without_prefix("params", arrays)
    with files.blamed(path):
        model.check(params)
    return params, arrays, about


def _marginal(var: np.ndarray) -> np.ndarray:
    return var if var.ndim == 2 else np.diagonal(var).T
