"""Whether two computations are the same one: values in plain words, networks and arrays by their digests."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from numbers import Integral, Real
from pathlib import Path, PurePath
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from npsnn._version import __version__
from npsnn.backend import to_host
from npsnn.classifier import Classifier
from npsnn.documents import type_of
from npsnn.host import one_blas_thread
from npsnn.layers.moments import EXPECTATION
from npsnn.objectives import cross_entropy
from npsnn.runs import plugins, provenance
from npsnn.streams import Stream

EXAMPLES = 8
_NETWORKS: "WeakKeyDictionary[Classifier, str]" = WeakKeyDictionary()
_SHOWN = 12
"""The hexadecimal digits of a digest that a message shows."""


class UnnamedError(ValueError):
    """A value that another process could not be known to have as well."""


def described(value: Any) -> Any:
    """The value as JSON by which a later process knows whether its own is the same.

    Raises UnnamedError for a value of which no such thing can be said: a lambda, an object that is no dataclass.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral | Real):
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, Classifier):
        return {"network": of_network(value)}
    if isinstance(value, np.ndarray):
        return {"array": _digest(value.dtype.str, value.shape, value)}
    if isinstance(value, Mapping):
        return {str(name): described(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": _place(type(value))} | {
            f.name: described(getattr(value, f.name)) for f in fields(value) if f.compare
        }
    return _place(value)


def _place(value: Any) -> str:
    """Where a class or a function is found by any process, and the digest of the file that says what it does.

    Raises UnnamedError where it is found nowhere, or in no file.
    """
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    found = sys.modules.get(str(module))
    for part in str(name).split("."):
        found = getattr(found, part, None)
    if found is None or found is not value:
        raise UnnamedError(f"{value!r:.80} is no plain value, no dataclass and no function of a module")
    return f"{module}.{name}{_edition(str(module))}"


def _edition(module: str) -> str:
    """What tells a module from an earlier one of its name; "" for npsnn's own, whose digest is the call's."""
    if module.partition(".")[0] == "npsnn" or module in sys.builtin_module_names:
        return ""
    file = getattr(sys.modules[module], "__file__", None)
    try:
        return f" of {_digest(Path(str(file)).read_bytes())}"
    except OSError:
        raise UnnamedError(f"the module {module} is of no file, and may be another the next time") from None


def of_network(network: Classifier) -> str:
    """The digest of all that answers of a network depend on; UnnamedError for a model that no file could hold."""
    if network not in _NETWORKS:
        try:
            spec = json.dumps(network.spec, sort_keys=True)
        except ValueError as error:
            raise UnnamedError(str(error)) from error
        own = (spec, network.average, network.noise_off, network.on_gpu, network.micro_batch, network.answer)
        _NETWORKS[network] = _digest(own, provenance.of_network(network.params))
    return _NETWORKS[network]


def of_job(job: Any, stream: Stream) -> bytes:
    """The digest of what is done to parts of images: of the job, and of the stream without its samples."""
    return bytes(_hash(described(job), stream.seed, stream.path, stream.shared).digest())


def of_part(job: bytes, x: np.ndarray, labels: np.ndarray, stream: Stream) -> str:
    """The digest of one part of a job, its images and their samples."""
    samples = [stream.sample(n) for n in range(len(x))]
    return _digest(job, samples, x.dtype.str, x.shape, x, labels)


def of_call(
    network: Classifier, x: np.ndarray, labels: np.ndarray, attacks: Iterable[Any], judging: Any
) -> dict[str, Any]:
    """All that the results of attacks depend on, by name; raises UnnamedError for a network that no file could hold.

    network: with the noise that it is defended by.
    """
    return {
        "version": __version__,
        "code": provenance.of_code(),
        **plugins.recorded(),
        "network": of_network(network),
        "images": _digest(x.dtype.str, x.shape, x),
        "labels": _digest(labels),
        "judging": _or_type(judging),
        "attacks": [_or_type(attack) for attack in attacks],
    }


def _or_type(value: Any) -> Any:
    try:
        return described(value)
    except UnnamedError:
        return type_of(value)


def difference(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Name what tells one call from another; empty where both are the same."""
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    return ", ".join(f"{name} ({_short(was.get(name))} there, {_short(now.get(name))} here)" for name in names)


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value[:_SHOWN]
    return "none" if value is None else f"{json.dumps(value):.300}"


def rounding(network: Classifier, x: np.ndarray, labels: np.ndarray) -> str:
    """A digest that changes where this processor, GPU or BLAS rounds otherwise: of the gradients of a few images."""
    with one_blas_thread(), np.errstate(all="ignore"):
        loss, gradient = network.loss_gradient(x[:EXAMPLES], labels[:EXAMPLES], EXPECTATION, cross_entropy)
    return _digest(np.__version__, to_host(loss), to_host(gradient))


def _hash(*parts: Any) -> Any:
    found = blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(np.ascontiguousarray(part).data)
        else:
            found.update(part if isinstance(part, bytes) else json.dumps(part).encode() + b"\n")
    return found


def _digest(*parts: Any) -> str:
    return str(_hash(*parts).hexdigest())
