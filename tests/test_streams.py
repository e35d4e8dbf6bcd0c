"""Keyed draws: the same for one key whatever was drawn before, different for different keys, and well distributed."""

import hashlib
import subprocess
import sys
from types import ModuleType
from typing import Any

import cupy_double
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from npsnn import philox
from npsnn.backend import namespace, to_host
from npsnn.streams import Stream

KINDS = ("normal", "uniform")
PATHS = [(), ("a",), ("b",), ("a", "b"), ("ab",), ("a", 0), ("a", "0"), (0, "a"), ("a", 1), ("a", 0, 1)]


def draw(stream: Stream, kind: str = "normal", shape: tuple[int, ...] = (3, 4), dtype: Any = np.float64) -> np.ndarray:
    found: np.ndarray = getattr(stream, kind)(np.empty(shape, dtype))
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 5), (5,)])
def test_a_draw_has_the_form_that_was_asked_for(kind: str, dtype: Any, shape: tuple[int, ...]) -> None:
    like = np.full(shape, np.nan, dtype)
    found = getattr(Stream(0), kind)(like)
    assert found.shape == like.shape and found.dtype == dtype and found.flags.c_contiguous
    assert np.isnan(like).all(), "the argument only lends its form"
    assert len(np.unique(found)) == found.size


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_consumed(kind: str) -> None:
    stream = Stream(5).at("noise")
    first = draw(stream, kind)
    draw(stream.at("other"), kind, (100, 100))
    stream.generator().random(10)
    np.testing.assert_array_equal(draw(stream, kind), first)
    np.testing.assert_array_equal(draw(Stream(5, ("noise",)), kind), first)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 2**40), st.sampled_from(KINDS))
def test_a_batch_may_be_split_anywhere(sizes: list[int], first: int, kind: str) -> None:
    stream = Stream(1).at("split").from_sample(first)
    starts = np.cumsum([0, *sizes])
    parts = [draw(stream.from_sample(first + int(s)), kind, (2, 3, n)) for s, n in zip(starts, sizes, strict=False)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), draw(stream, kind, (2, 3, sum(sizes))))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_each_sample_has_a_generator_to_itself(kind: str, dtype: Any) -> None:
    """Nothing that is left over of one sample's numbers, as half of a word, is in the next one's."""
    stream, like = Stream(3, ("a", 1), first=2**63 - 4), np.empty((3, 5, 4), dtype)
    draws = getattr(stream, kind)(like)
    for n in range(4):
        bits = np.random.Generator(np.random.Philox(key=stream._key(), counter=[0, 0, 0, stream.first + n]))
        own = bits.standard_normal((3, 5), dtype) if kind == "normal" else bits.random((3, 5), dtype)
        np.testing.assert_array_equal(draws[..., n], own)


def test_a_longer_sample_begins_like_a_shorter_one_but_overlaps_no_other() -> None:
    short, long = draw(Stream(0), shape=(10, 3)), draw(Stream(0), shape=(5000, 3))
    np.testing.assert_array_equal(long[:10], short)
    assert len(np.unique(long)) == long.size


@pytest.mark.parametrize("kind", KINDS)
def test_different_keys_give_different_numbers(kind: str) -> None:
    streams = [Stream(seed, path) for seed in (0, 1, -1, 2**70) for path in set(PATHS)]
    found = [draw(s, kind).tobytes() for s in streams]
    assert len(set(found)) == len(streams)
    assert draw(Stream(0), "normal").tobytes() != draw(Stream(0), "uniform").tobytes()


def test_a_path_may_be_given_in_steps() -> None:
    assert Stream(3).at("a", 1) == Stream(3).at("a").at(1)
    assert Stream(3).from_sample(7).at("a").first == 7
    assert Stream(3).at("a").from_sample(7) == Stream(3).from_sample(7).at("a")


def test_numbers_from_numpy_name_the_same_stream() -> None:
    plain, numpy = Stream(3).at("draw", 2), Stream(np.int64(3)).at("draw", np.int64(2))  # type: ignore[arg-type]
    np.testing.assert_array_equal(draw(plain), draw(numpy))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal_draws_are_standard_normal(dtype: Any) -> None:
    x = draw(Stream(11), "normal", (200, 500), dtype).astype(float)
    n = x.size
    assert abs(x.mean()) < 5 / np.sqrt(n)
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((x**3).mean()) < 5 * np.sqrt(15 / n)
    assert stats.kstest(x.ravel(), "norm").pvalue > 1e-6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_draws_fill_the_half_open_interval(dtype: Any) -> None:
    x = draw(Stream(12), "uniform", (200, 500), dtype)
    assert x.min() >= 0 and x.max() < 1
    n = x.size
    assert abs(x.mean() - 0.5) < 5 / np.sqrt(12 * n)
    assert abs(x.var() - 1 / 12) < 5 / np.sqrt(180 * n)


def test_samples_and_streams_are_uncorrelated() -> None:
    n = 20_000
    a = draw(Stream(0).at("draw", 0), shape=(n, 2))
    b = draw(Stream(0).at("draw", 1), shape=(n, 2))
    pairs = [(a[:, 0], a[:, 1]), (a[:, 0], b[:, 0]), (a[:-1, 0], a[1:, 0])]
    for x, y in pairs:
        assert abs((x * y).mean()) < 5 / np.sqrt(len(x))


def test_a_generator_depends_on_seed_and_path_alone() -> None:
    a, b, other = (Stream(s).at("shuffle", 1).generator().permutation(50) for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert (a != other).any()


def test_other_processes_draw_the_same() -> None:
    """The key must not come from Python's salted hash."""
    shown = "print(Stream(0).at('a', 1).normal(np.empty((1, 2)))[0, 0])"
    code = f"import numpy as np; from npsnn.streams import Stream; {shown}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(run.stdout.split()[-1]) == Stream(0).at("a", 1).normal(np.empty((1, 2)))[0, 0]


@pytest.mark.parametrize("path", [(), ("a",), ("a", 1), ("judge", 0)])
def test_a_generator_shares_no_number_with_the_draws_by_sample(path: tuple[str | int, ...]) -> None:
    stream = Stream(4, path)
    by_sample = {draw(stream, kind, (5, 3)).tobytes() for kind in KINDS}
    apart = stream.generator(), stream.at("generator").generator()
    columns = [np.ascontiguousarray(draw(stream, "normal", (5, 3))[:, n]).tobytes() for n in range(3)]
    assert apart[0].standard_normal(5).tobytes() not in columns
    assert apart[1].standard_normal((5, 3)).tobytes() not in by_sample


@pytest.mark.parametrize("path", [("init",), ("validation",), ("shuffle", 3), ("gap", 0), ("image", 2, "evolution")])
def test_a_purpose_that_belongs_to_no_sample_has_a_generator_alone(path: tuple[str | int, ...]) -> None:
    key = Stream(4, path)._key()
    expected = np.random.Generator(np.random.Philox(key=key)).random(3)
    np.testing.assert_array_equal(Stream(4, path).generator().random(3), expected)
    for kind in KINDS:
        with pytest.raises(ValueError, match=r"draws of the stream \(.*\) belong to no sample: take its generator\(\)"):
            draw(Stream(4, path), kind)


def test_trainings_begin_with_the_numbers_they_always_had() -> None:
    """Of version 0.1.0; a change would change every training."""
    assert Stream(0).at("init").generator().integers(2**32) == 3574312221
    assert Stream(0).at("shuffle", 1).generator().permutation(6).tolist() == [1, 4, 3, 0, 2, 5]


@pytest.mark.parametrize("first", [-1, 2**63, 2**70])
def test_a_batch_begins_at_a_sample_that_there_can_be(first: int) -> None:
    with pytest.raises(ValueError, match="first must be the index of a sample, from 0 to"):
        Stream(0).from_sample(first)
    assert draw(Stream(0).from_sample(2**63 - 1), shape=(2, 3)).shape == (2, 3)


@pytest.mark.parametrize("seed", [0.5, "0", None, True, np.float64(1)])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(TypeError, match="seed must be a whole number, got"):
        Stream(seed)


def test_a_step_of_a_path_is_a_word_or_a_whole_number() -> None:
    with pytest.raises(TypeError):
        draw(Stream(0).at("draw", 0.5))  # type: ignore[arg-type]


def on_gpu(cupy: ModuleType, stream: Stream, kind: str = "normal", shape: tuple[int, ...] = (3, 4)) -> np.ndarray:
    found = getattr(stream, kind)(cupy.asarray(np.empty(shape, np.float32)))
    assert type(found).__module__ == "cupy" and found.shape == shape and found.dtype == np.float32
    return to_host(found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_draws_the_numbers_of_the_key_and_the_sample(cupy: ModuleType, kind: str) -> None:
    stream = Stream(3, ("a",), 2**40)
    key = int.from_bytes(hashlib.blake2b(repr((3, ("a",))).encode(), digest_size=16).digest()[:8])
    wanted = getattr(philox, kind)(np.array([key, 2**40], np.uint64), (3, 4), np.float32)
    np.testing.assert_allclose(on_gpu(cupy, stream, kind), wanted, rtol=1e-4, atol=1e-5)
    parts = [on_gpu(cupy, stream.further(n), kind, (3, 2)) for n in (0, 2)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), on_gpu(cupy, stream, kind))


def test_on_a_gpu_different_keys_give_different_numbers(cupy: ModuleType) -> None:
    streams = [Stream(seed, path) for seed in (0, 1, -1, 2**70) for path in set(PATHS)]
    assert len({on_gpu(cupy, s).tobytes() for s in streams}) == len(streams)


def test_on_a_gpu_one_draw_is_one_for_the_batch_and_its_parts(cupy: ModuleType) -> None:
    one = Stream(0).from_sample(5).one_draw()
    found = on_gpu(cupy, one)
    np.testing.assert_array_equal(found, found[:, :1].repeat(4, axis=1))
    np.testing.assert_array_equal(on_gpu(cupy, one.further(2)), found)
    assert (on_gpu(cupy, Stream(0).from_sample(6).one_draw()) != found).all()


def test_the_parts_of_a_batch_know_the_draw_of_the_batch(cupy: ModuleType) -> None:
    batch = Stream(0).from_sample(5)
    for draw_of in (draw, lambda stream: on_gpu(cupy, stream)):
        wanted = draw_of(batch.at("cut").one_draw())
        for part in (batch, batch.further(0), batch.further(2).further(1), batch.chosen([2, 0]).further(1)):
            np.testing.assert_array_equal(draw_of(part.at("cut").batch_draw()), wanted)
        other = batch.further(2).from_sample(7)
        assert (draw_of(other.at("cut").batch_draw()) != wanted).all(), "another batch has another draw"
        np.testing.assert_array_equal(draw_of(other.batch_draw()), draw_of(other.one_draw()))
    assert batch.further(2) == batch.from_sample(7), "numbers by sample do not depend on the batch"


def test_on_a_gpu_a_purpose_that_belongs_to_no_sample_has_no_draws(cupy: ModuleType) -> None:
    with pytest.raises(ValueError, match="belong to no sample"):
        on_gpu(cupy, Stream(0).at("init"))


class Kept(Stream):
    """Like a stream of a CUDA graph: the keys are on the device before a draw asks for them."""

    def device_keys(self, like: Any) -> Any:
        return namespace(like).arange(2, dtype=np.uint64)


@pytest.mark.parametrize("kind", KINDS)
def test_keys_on_the_gpu_are_all_that_a_draw_there_depends_on(cupy: ModuleType, kind: str) -> None:
    wanted = on_gpu(cupy, Kept(0), kind)
    np.testing.assert_array_equal(on_gpu(cupy, Kept(1, ("a",), 7), kind), wanted)
    np.testing.assert_array_equal(on_gpu(cupy, Kept(1).one_draw(), kind), wanted[:, :1].repeat(4, axis=1))
    assert (on_gpu(cupy, Stream(0), kind) != wanted).all()


def test_a_draw_on_a_gpu_moves_its_key_alone_and_waits_for_nothing(
    double: cupy_double.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    like, moved = double.asarray(np.empty((3, 4), np.float32)), []
    monkeypatch.setattr(double, "asarray", lambda a: moved.append(a.nbytes) or cupy_double.asarray(a))
    with cupy_double.synchronisations() as waits:
        Stream(0).normal(like)
    assert moved == [16] and not waits.total()


@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("columns", [[2, 0], [1], [0, 3, 4], []])
def test_chosen_samples_keep_their_numbers(kind: str, columns: list[int], cupy: ModuleType) -> None:
    stream, like = Stream(3).at("draw", 1).from_sample(7), np.zeros((2, 5))
    wanted = getattr(stream, kind)(like)[:, columns]
    chosen = stream.chosen(columns)
    np.testing.assert_array_equal(getattr(chosen, kind)(like[:, : len(columns)]), wanted)
    np.testing.assert_array_equal(
        getattr(chosen.at("a"), kind)(wanted), getattr(stream.at("a"), kind)(like)[:, columns]
    )
    assert [chosen.sample(n) for n in range(len(columns))] == [7 + column for column in columns]
    if len(columns) > 1:
        again = chosen.further(1).chosen([0])
        np.testing.assert_array_equal(getattr(again, kind)(like[:, :1]), wanted[:, 1:2])
        judge = Stream(4).at("judge").from_sample(2)
        there = judge.as_in(chosen)
        np.testing.assert_array_equal(there.normal(wanted), judge.further(7).normal(like)[:, columns])
        whole, part = on_gpu(cupy, stream, kind, (2, 5)), on_gpu(cupy, chosen, kind, (2, len(columns)))
        np.testing.assert_array_equal(part, whole[:, columns])
