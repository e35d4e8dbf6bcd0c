"""Arrays that the host sends to a GPU in one copy."""

import numpy as np
import pytest
from cupy_double import Module, ndarray, synchronisations

from npsnn.gpu.staging import SLOTS, Staging


def test_arrays_of_any_form_arrive(double: Module) -> None:
    rng = np.random.default_rng(0)
    sent = {
        "images": rng.integers(0, 256, (3, 1, 5, 5), np.uint8),
        "labels": np.arange(3),
        "rate": np.asarray(0.1),
        "turned": rng.random((4, 6)).astype(np.float32).T[::2],
        "none": np.zeros((0, 2)),
    }
    staging = Staging({name: (a.shape, a.dtype) for name, a in sent.items()})
    with synchronisations() as waits:
        staging.send(sent)
    assert not waits
    for name, a in sent.items():
        there = staging.arrays[name]
        assert isinstance(there, ndarray) and there.dtype == a.dtype
        np.testing.assert_array_equal(there.get(), a)


def test_the_last_array_may_be_sent_in_part(double: Module) -> None:
    staging = Staging({"x": ((2,), np.dtype(np.float64)), "keys": ((5, 2), np.dtype(np.uint64))})
    staging.send({"x": np.ones(2), "keys": np.full((5, 2), 7, np.uint64)})
    staging.send({"x": np.zeros(2), "keys": np.array([[1, 2]], np.uint64)})
    np.testing.assert_array_equal(staging.arrays["keys"].get(), [[1, 2], *[[7, 7]] * 4])
    np.testing.assert_array_equal(staging.arrays["x"].get(), [0, 0])


def test_what_was_sent_may_change_at_once(double: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copies are late here, as on a GPU that is busy: the host writes elsewhere meanwhile, or waits."""
    late, x = [], np.zeros(1)
    staging = Staging({"x": ((1,), np.dtype(np.float64))})
    monkeypatch.setattr(type(double.zeros(1).data), "copy_from_host_async", lambda self, mem, size: late.append(mem))
    for i in range(SLOTS):
        x[0] = i
        staging.send({"x": x})
    assert len(set(late)) == SLOTS
    staging.send({"x": x})
    assert late[SLOTS] == late[0], "the oldest, once its copy has been waited for"
