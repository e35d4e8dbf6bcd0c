"""Graphs of the double of CuPy: a launch computes what was noted, from the numbers that lie there now."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cupy_double import Module, ndarray
from cupy_graph_double import Kernel, launches, moved

from npsnn.backend import stacked


def captured(double: Module, f: Callable[[], Any]) -> tuple[Any, Any]:
    """The graph of f, and the arrays that it fills."""
    stream = double.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            found = f()
        finally:
            graph = stream.end_capture()
    return graph, found


def test_a_launch_computes_from_the_numbers_that_lie_there(double: Module) -> None:
    x, w = double.asarray(np.arange(6.0).reshape(2, 3)), double.asarray(np.ones((2, 2)))
    total = double.zeros(())

    def f() -> ndarray:
        y = w @ x
        y += 1
        y[0] = y[1] * 2
        part = y.reshape(3, 2)[1:].T
        double.copyto(total, total + part.sum())
        return part

    graph, part = captured(double, f)
    assert float(total) == 0 and np.isnan(part.get()).all(), "a capture only notes"
    for step in (1, 2):
        graph.launch()
        assert float(total) == step * part.get().sum()
        np.testing.assert_array_equal(part.get(), [[16.0, 6.0], [4.0, 8.0]])
    double.copyto(x, x * 0)
    graph.launch()
    np.testing.assert_array_equal(part.get(), [[2.0, 1.0], [1.0, 1.0]])


def test_a_number_of_the_host_is_baked_in(double: Module) -> None:
    x, rate = double.ones(3), [2.0]
    graph, y = captured(double, lambda: x * rate[0])
    rate[0] = 3.0
    graph.launch()
    np.testing.assert_array_equal(y.get(), [2, 2, 2])


def test_a_capture_takes_back_what_it_wrote(double: Module) -> None:
    x, y = double.ones(3), double.zeros(3)

    def f() -> None:
        double.multiply(x, 5, out=y)
        x.fill(7)
        x[1:] *= 2

    graph, _ = captured(double, f)
    np.testing.assert_array_equal(x.get(), [1, 1, 1])
    graph.launch()
    np.testing.assert_array_equal([x.get(), y.get()], [[7, 14, 14], [5, 5, 5]])
    graph.launch()
    np.testing.assert_array_equal([x.get(), y.get()], [[7, 14, 14], [35, 70, 70]])


REFUSED: dict[str, Callable[[Module, Any], Any]] = {
    "truth value": lambda xp, x: bool(x[0] > 0),
    "number": lambda xp, x: float(x[0]),
    "whole number": lambda xp, x: int(x[0]),
    "array": lambda xp, x: x.get(),
    "mask": lambda xp, x: x[x > 0],
    "unknown size": lambda xp, x: xp.nonzero(x),
    "host array": lambda xp, x: xp.asarray(np.ones(3)),
    "host number": lambda xp, x: xp.asarray(1.0),
    "list as an index": lambda xp, x: x[[0, 1]],
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_capture_refuses_what_needs_the_host(double: Module, name: str) -> None:
    x = double.ones(3)
    with pytest.raises(RuntimeError, match="capturing"):
        captured(double, lambda: REFUSED[name](double, x))
    REFUSED[name](double, x)


def test_launches_are_listed_with_what_they_move(double: Module) -> None:
    x = double.ones((4, 3))
    with launches() as kernels:
        _ = x.T[1:].reshape(-1) + 1  # a copy, and a sum
        x += 1
        x[0] = 2
        x[1:3] = x[0]
        double.add(x, x[0], out=x)
        _ = double.ones(100)[double.asarray([3, 3])], double.take(x, double.asarray([1]), axis=0)
        _ = double.empty(3), x[1:], x.reshape(12)
    assert kernels == [
        Kernel("reshape", 64, 64),
        Kernel("add", 64, 64),
        Kernel("iadd", 96, 96),
        Kernel("copy", 0, 24),
        Kernel("copy", 24, 48),
        Kernel("add", 96 + 24, 96),
        Kernel("ones", 0, 800),
        Kernel("take", 16 + 16, 16),
        Kernel("take", 8 + 24, 24),
    ]


def test_a_number_that_is_met_several_times_is_moved_once() -> None:
    x = np.zeros((5, 8), np.float32)
    windows = np.lib.stride_tricks.as_strided(x, (3, 3, 8), (32, 32, 4))
    assert [moved(a) for a in (x, x[::2], x.T, windows, np.broadcast_to(x[0], (9, 8)), x[:0], np.float32(1)[None])] == [
        160, 96, 160, 160, 32, 0, 4,
    ]  # fmt: skip


def test_lists_of_launches_are_apart(double: Module) -> None:
    x = double.ones(3)
    with launches() as outer:
        x += 1
        with launches() as inner:
            x *= 2
        x += 1
    x -= 1
    assert [k.name for k in outer] == ["iadd", "iadd"] and [k.name for k in inner] == ["imul"]


def test_only_another_stream_than_the_default_one_is_captured(double: Module) -> None:
    with pytest.raises(RuntimeError, match="legacy"):
        double.cuda.get_current_stream().begin_capture()


@pytest.mark.parametrize("count", [1, 8, 9, 64, 65, 130])
def test_many_arrays_are_stacked_without_the_host(double: Module, count: int) -> None:
    arrays = [double.asarray(np.full((2, 3), i)) for i in range(count)]
    if count > 8:
        with pytest.raises(RuntimeError, match="the addresses of more than 8 arrays"):
            captured(double, lambda: double.stack(arrays))
    graph, found = captured(double, lambda: stacked(arrays))
    graph.launch()
    np.testing.assert_array_equal(found.get(), np.stack([a.get() for a in arrays]))
    np.testing.assert_array_equal(stacked([a.get() for a in arrays]), found.get())
