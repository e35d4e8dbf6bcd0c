"""The random numbers of a GPU: known answers, the plain version, the laws, and independence of the batch."""

from collections.abc import Callable
from math import prod
from types import ModuleType
from typing import Any

import cupy_double
import numpy as np
import pytest
from cupy_fusion_double import Fusion
from on_device import same
from scipy import stats

from npsnn import philox
from npsnn.reference import philox as plain

U64, BITS = np.uint64, {"float32": 32, "float64": 53}
DTYPES = pytest.mark.parametrize("dtype", BITS)
KINDS = pytest.mark.parametrize("kind", [philox.normal, philox.uniform], ids=lambda f: f.__name__)
KEY, FIRST = 0x299F31D0A4093822, 2**40 + 2**32 - 2
"""Of these words none is 0; the first samples carry into the high word."""

Kind = Callable[..., np.ndarray]
Four = tuple[int, int, int, int]


def keys(key: int = KEY, first: int = FIRST) -> np.ndarray:
    return np.array([key, first], U64)


def words(*numbers: int) -> list[np.ndarray]:
    return [np.array([x], U64) for x in numbers]


@pytest.mark.parametrize(
    ("counter", "key", "wanted"),  # Random123, tests/kat_vectors, philox4x32 with 10 rounds
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers(counter: Four, key: tuple[int, int], wanted: Four) -> None:
    found = philox.philox(tuple(words(*counter)), tuple(words(*key)))  # type: ignore[arg-type]
    assert tuple(int(x[0]) for x in found) == wanted and {x.dtype for x in found} == {np.dtype(U64)}


@pytest.mark.parametrize("index", [0, 1, 2**32 - 1, 2**32, 2**63 + 2**33 + 5])
@pytest.mark.parametrize(("sample", "first"), [(0, 0), (3, FIRST), (2, 2**32 - 1), (2**20, 2**63 - 1)])
@pytest.mark.parametrize("key", [0, KEY, 2**64 - 1])
def test_a_number_has_the_words_of_its_place(index: int, sample: int, first: int, key: int) -> None:
    found = philox._words(*words(index, sample, key, first))
    assert tuple(int(x[0]) for x in found) == plain.words(key, sample + first, index)


@KINDS
@DTYPES
@pytest.mark.parametrize("shape", [(2, 3, 4), (9, 4), (4,)])
def test_numbers_are_those_of_the_plain_version(kind: Kind, dtype: str, shape: tuple[int, ...]) -> None:
    bits = 24 if kind is philox.uniform and dtype == "float32" else BITS[dtype]
    form = getattr(plain, kind.__name__)
    wanted = [[form(KEY, FIRST + n, i, bits) for n in range(shape[-1])] for i in range(prod(shape[:-1]))]
    found = kind(keys(), shape, dtype)
    assert found.dtype == dtype and found.shape == shape
    exact = kind is philox.uniform
    tolerance = 0.0 if exact else 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(found, np.reshape(wanted, shape), rtol=tolerance, atol=tolerance)


@KINDS
@DTYPES
@pytest.mark.parametrize("fuse", ["0", "1"])
def test_a_gpu_has_the_same_numbers(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, kind: Kind, dtype: str, fuse: str
) -> None:
    monkeypatch.setenv("NPSNN_FUSE", fuse)
    for shape in ((5, 2, 7), (3,), (0, 4), (4, 0)):
        found = kind(cupy.asarray(keys()), shape, dtype)
        same(found, kind(keys(), shape, dtype), 1e-5 if dtype == "float32" else 1e-12)


@KINDS
def test_a_draw_is_one_kernel_and_waits_for_nothing(
    double: cupy_double.Module, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    monkeypatch.delenv("NPSNN_FUSE", raising=False)
    device, before = double.asarray(keys()), Fusion.calls
    with cupy_double.synchronisations() as waits:
        kind(device, (3, 4), "float32")
    assert Fusion.calls - before == 1 and not waits.total()


@KINDS
@DTYPES
def test_a_batch_may_be_split_anywhere(kind: Kind, dtype: str) -> None:
    whole = kind(keys(), (2, 3, 9), dtype)
    parts = [kind(keys(first=FIRST + a), (2, 3, b - a), dtype) for a, b in ((0, 1), (1, 4), (4, 9))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), whole)
    np.testing.assert_array_equal(kind(keys(), (4, 9), dtype), whole.reshape(6, 9)[:4])


@KINDS
def test_no_two_places_have_one_number(kind: Kind) -> None:
    found = [kind(keys(k, n), (50, 60), "float64") for k in (0, 1, 2**32) for n in (0, 60, 2**32, 2**62)]
    assert len(np.unique(found)) == len(found) * 3000


@pytest.mark.parametrize("dtype", ["float16", "int64", "complex64"])
@KINDS
def test_a_precision_is_single_or_double(kind: Kind, dtype: str) -> None:
    with pytest.raises(ValueError, match=f"dtype must be float32 or float64, got {dtype}"):
        kind(keys(), (2, 3), np.dtype(dtype))


def given_words(monkeypatch: pytest.MonkeyPatch, *given: Any) -> None:
    """Every number that is drawn has these random words, one entry a sample."""
    monkeypatch.setattr(philox, "philox", lambda counter, key: tuple(np.array(x, U64) for x in given))


@DTYPES
@pytest.mark.parametrize("word", [0, 1, 2**31, 2**32 - 129, 2**32 - 128, 2**32 - 2, 2**32 - 1])
def test_at_its_ends_the_interval_is_half_open_and_the_logarithm_finite(
    monkeypatch: pytest.MonkeyPatch, dtype: str, word: int
) -> None:
    given_words(monkeypatch, *[[word]] * 4)
    z, u = philox.normal(keys(), (1, 1), dtype), philox.uniform(keys(), (1, 1), dtype)
    assert np.isfinite(z) and 0 <= u < 1 and abs(u - word / 2**32) <= 2.0**-24
    most = np.sqrt(-2 * np.log(2.0 ** -BITS[dtype]))
    if word == 0:
        np.testing.assert_allclose(z, most, rtol=1e-6)
    assert abs(z) <= most * (1 + 1e-6)


@DTYPES
def test_the_tail_is_right_to_six_standard_deviations(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """A normal number beyond t needs a radius beyond t, of which the probability is exp(-t²/2)."""
    t = np.linspace(0.1, 6, 60)
    first = np.floor(np.exp(-(t**2) / 2) * 2.0**32)  # of 2³² words so many are below
    given_words(monkeypatch, first, 0 * t, 0 * t, 0 * t)
    np.testing.assert_allclose(philox.normal(keys(), (len(t),), dtype), t, rtol=2e-3 if dtype == "float32" else 3e-3)
    given_words(monkeypatch, first, 0 * t, 0 * t + 2**30, 0 * t)
    np.testing.assert_allclose(philox.normal(keys(), (len(t),), dtype), 0, atol=1e-6)


SHAPE, COUNT = (512, 1024), 512 * 1024


def within(x: np.ndarray, mean: float, variance: float) -> None:
    """The mean of independent numbers lies within 5 standard errors."""
    assert abs(x.mean(dtype=float) - mean) < 5 * np.sqrt(variance / x.size)


@DTYPES
def test_normal_numbers_are_normal(dtype: str) -> None:
    z = philox.normal(keys(), SHAPE, dtype).astype(float)
    assert np.isfinite(z).all()
    for power, mean, square in ((1, 0, 1), (2, 1, 3), (3, 0, 15), (4, 3, 105)):
        within(z**power, mean, square - mean**2)
    for t in (1, 2, 3, 4):
        beyond = 2 * stats.norm.sf(t)
        within(np.abs(z) > t, beyond, beyond * (1 - beyond))
        within(z > t, beyond / 2, beyond / 2)
    chi_square(stats.norm.cdf(z))
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-6


@DTYPES
def test_uniform_numbers_are_uniform(dtype: str) -> None:
    u = philox.uniform(keys(), SHAPE, dtype).astype(float)
    assert u.min() >= 0 and u.max() < 1
    within(u, 1 / 2, 1 / 12)
    within((u - 0.5) ** 2, 1 / 12, 1 / 180)
    chi_square(u)
    bits = 24 if dtype == "float32" else 53
    whole = (u * 2**bits).astype(U64)
    assert (whole == u * 2**bits).all()
    for bit in range(bits):  # each is a fair coin
        within((whole >> U64(bit)) & U64(1), 1 / 2, 1 / 4)


def chi_square(u: np.ndarray) -> None:
    """As many numbers in each of 256 parts of [0, 1), and in each of 64 squares of neighbours."""
    for parts in ((u * 256).astype(int), (u[::2] * 8).astype(int) * 8 + (u[1::2] * 8).astype(int)):
        assert stats.chisquare(np.bincount(parts.ravel())).pvalue > 1e-6


@KINDS
@DTYPES
def test_numbers_of_neighbours_are_uncorrelated(kind: Kind, dtype: str) -> None:
    """Neighbours in the sample, of samples and of keys, themselves and their squares."""
    a, other = kind(keys(), SHAPE, dtype).astype(float), kind(keys(KEY + 1), SHAPE, dtype).astype(float)
    another = kind(keys(KEY + 2**32), SHAPE, dtype).astype(float)
    pairs = [(a[1:], a[:-1]), (a[:, 1:], a[:, :-1]), (a, other), (a, another), (a[:, 0], a[0, : len(a)])]
    for x, y in pairs:
        for f in (np.array, np.square):
            assert abs(np.corrcoef(f(x).ravel(), f(y).ravel())[0, 1]) < 5 / np.sqrt(x.size)
