"""Graphs: recorded once, started with new data, and the same bits as without."""

import gc
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cupy_double import Module, synchronisations

from npsnn.gpu import graphs
from npsnn.gpu.graphs import Graphs
from npsnn.layers.moments import Moments
from npsnn.streams import Stream


@pytest.fixture(autouse=True)
def _nothing_told() -> Iterator[None]:
    graphs._told.clear()
    yield
    graphs._told.clear()


def runs(double: Module, given: Graphs, f: Callable[..., Any], arrays: list[Any], *streams: Any) -> list[Any]:
    """The results of runs with these arrays, each with the streams of its place."""
    found = []
    for i, x in enumerate(arrays):
        result = given.run("f", f, {"x": double.asarray(x)}, tuple(s[i] for s in streams))
        found.append(graphs.mapped(result, lambda a: a.get()))
    return found


def moments(arrays: dict[str, Any], streams: Any) -> Any:
    x = arrays["x"]
    return {"moments": Moments(x * 2, None), "sums": (x.sum(axis=0), [x[0]])}


def test_a_result_lies_in_memory_as_without_a_graph(double: Module) -> None:
    """Sums over it have the same order then, and the same bits."""
    given, x = Graphs(), double.asarray(np.arange(6.0).reshape(2, 3))
    strides = [given.run("f", lambda arrays, _: arrays["x"].T * 2, {"x": x}).strides for _ in range(3)]
    assert strides == [(8, 24)] * 3


def test_a_graph_gives_what_the_function_gives(double: Module) -> None:
    batches = [np.arange(6.0).reshape(2, 3) + i for i in range(4)]
    given = Graphs()
    with synchronisations() as waits:
        for x in batches:
            given.run("f", moments, {"x": double.asarray(x)})
    assert not waits
    found = runs(double, given, moments, batches)
    for result, x in zip(found, batches, strict=True):
        np.testing.assert_array_equal(result["moments"].mean, x * 2)
        assert result["moments"].var is None
        np.testing.assert_array_equal(result["sums"][0], x.sum(axis=0))
        np.testing.assert_array_equal(result["sums"][1][0], x[0])


def test_a_function_is_run_twice_and_never_again(double: Module) -> None:
    calls: list[int] = []

    def f(arrays: Any, streams: Any) -> Any:
        calls.append(1)
        return arrays["x"] + 1

    given = Graphs()
    runs(double, given, f, [np.full(3, i) for i in range(5)])
    assert len(calls) == 2, "once plainly, once while it is recorded"
    runs(double, given, f, [np.full(4, i) for i in range(3)])
    assert len(calls) == 4, "another shape is another graph"


def test_keys_of_draws_are_data(double: Module) -> None:
    def f(arrays: Any, streams: Any) -> Any:
        one, two = streams
        x = arrays["x"]
        return (
            one.at("a", 1).normal(x),
            one.from_sample(one.first + 2).uniform(x),
            two.further(3).at("b").normal(x),
            two.one_draw().normal(x),
            two.further(3).at("b").batch_draw().normal(x),
            two.from_sample(two.first + 2).batch_draw().normal(x),
            one.at("a", 1).normal(x),
        )

    one = [Stream(1).at("epoch", e).from_sample(10 * e) for e in range(4)]
    two = [Stream(2).at(e).from_sample(5 + e) for e in range(4)]
    x = double.zeros((3, 2))
    found = runs(double, Graphs(), f, [x] * 4, one, two)
    for i, draws in enumerate(found):
        for ours, theirs in zip(draws, f({"x": x}, (one[i], two[i])), strict=True):
            np.testing.assert_array_equal(ours, theirs.get())
    assert not np.array_equal(found[2][0], found[3][0])


def test_state_is_changed_in_place(double: Module) -> None:
    def step(state: Any, arrays: Any, streams: Any) -> Any:
        w = state["w"] - arrays["rate"] * arrays["x"]
        return {"w": w, "kept": state["kept"]}, (w * w).sum()

    state = {"w": double.ones(3), "kept": double.ones(2)}
    before, expected, given = dict(state), np.ones(3), Graphs()
    for i in range(5):
        x = np.arange(3.0) + i
        total = given.run_updating("step", step, state, {"x": x, "rate": np.asarray(0.1 * (i + 1))})
        expected = expected - 0.1 * (i + 1) * x
        np.testing.assert_array_equal(state["w"].get(), expected)
        assert float(total) == (expected * expected).sum()
    assert all(state[name] is before[name] for name in state)


def test_other_arrays_of_the_state_are_recorded_anew(double: Module) -> None:
    def step(state: Any, arrays: Any, streams: Any) -> Any:
        return {"w": state["w"] + arrays["x"]}, None

    given = Graphs()
    for start in (0.0, 10.0):
        state = {"w": double.zeros(2) + start}
        for _ in range(3):
            given.run_updating("step", step, state, {"x": np.ones(2)})
        np.testing.assert_array_equal(state["w"].get(), [start + 3, start + 3])


def test_what_cannot_be_recorded_says_why_once_and_goes_on(double: Module) -> None:
    def f(arrays: Any, streams: Any) -> Any:
        x = arrays["x"]
        return x * 2 if x.sum() > 0 else x

    given = Graphs()
    assert float(given.run("f", f, {"x": double.ones(1)})[0]) == 2
    with pytest.warns(RuntimeWarning, match="without a CUDA graph.*capturing.*bool"):
        assert float(given.run("f", f, {"x": double.ones(1)})[0]) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert float(given.run("f", f, {"x": -double.ones(1)})[0]) == -1
        assert float(given.run("g", f, {"x": double.ones(1)})[0]) == 2
        assert float(given.run("g", f, {"x": double.ones(1)})[0]) == 2


@pytest.mark.parametrize("draw", [lambda s, x: s.generator().random(), lambda s, x: s.normal(np.zeros(2))[0]])
def test_numbers_of_the_host_are_not_recorded(double: Module, draw: Callable[..., Any]) -> None:
    def f(arrays: Any, streams: Any) -> Any:
        return arrays["x"] + float(draw(streams[0], arrays["x"]))

    given, found = Graphs(), []
    with pytest.warns(RuntimeWarning, match="the same each time"):
        for i in range(3):
            found.append(float(given.run("f", f, {"x": double.zeros(1)}, (Stream(i),))[0]))
    assert len(set(found)) == 3


def test_an_error_of_the_function_is_its_own(double: Module) -> None:
    def f(arrays: Any, streams: Any) -> Any:
        raise ValueError("no such thing")

    given = Graphs()
    with pytest.raises(ValueError, match="no such thing"):
        given.run("f", f, {"x": double.ones(1)})
    with pytest.raises(ValueError, match="no such thing"), pytest.warns(RuntimeWarning, match="no such thing"):
        given.run("f", f, {"x": double.ones(1)})


def test_graphs_can_be_switched_off(double: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPSNN_GRAPH", "0")
    monkeypatch.setattr(graphs, "_recorded", lambda *arguments: pytest.fail("recorded"))
    runs(double, Graphs(), moments, [double.ones((2, 3))] * 3)


def test_a_cpu_has_no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_recorded", lambda *arguments: pytest.fail("recorded"))
    given, x = Graphs(), np.arange(6.0).reshape(2, 3)
    for _ in range(3):
        assert given.run("f", moments, {"x": x})["moments"].mean.sum() == 30


def test_the_graph_that_was_not_used_for_longest_goes_first(double: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "KEPT", 2)
    calls: list[int] = []

    def f(arrays: Any, streams: Any) -> Any:
        calls.append(len(arrays["x"]))
        return arrays["x"] + 1

    given = Graphs()
    for size in (1, 2, 1, 2, 1, 3, 3, 1, 2):
        given.run("f", f, {"x": double.ones(size)})
    assert calls == [1, 2, 1, 2, 3, 3, 2], "of 2 the graph was dropped for 3's, and was recorded anew"


def test_memory_of_graphs_is_not_given_back_before_they_go(double: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy's pool drops what no array holds where memory runs out; a graph may look there still."""

    class Memory:
        def __init__(self, size: int) -> None:
            self.size = size

    monkeypatch.setattr(double.cuda, "Memory", Memory)
    monkeypatch.setattr(double.cuda, "MemoryPointer", lambda memory, offset: memory, raising=False)
    pool = graphs._lasting_pool()
    alive = weakref.ref(pool.allocator(8))
    gc.collect()
    assert alive() is not None
    del pool
    gc.collect()
    assert alive() is None
