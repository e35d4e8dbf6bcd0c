"""The devices of scripts/gpu-check, a GPU or the double of CuPy in its place: graphs and memory there."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
DOUBLE = "cpu-double"


@contextmanager
def computing_on(device: str) -> Iterator[str]:
    """The device's name for npsnn, once it can be used; raises ValueError, in one line, where it cannot."""
    from npsnn.backend import use_device

    if device != DOUBLE:
        use_device(device)
        if device == "cpu":
            raise ValueError(f"device must be cuda, cuda:N or {DOUBLE}, got 'cpu'")
        yield device
        return
    if find_spec("pytest") is None:
        raise ValueError(f"{DOUBLE} needs pytest, which is not installed")
    sys.path.append(str(ROOT / "tests"))
    import cupy_double
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        cupy_double.install(patch)
        yield "cuda"


@contextmanager
def graphs(wanted: bool) -> Iterator[None]:
    """With CUDA graphs, or without them."""
    before = os.environ.get("NPSNN_GRAPH")
    os.environ["NPSNN_GRAPH"] = "1" if wanted else "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["NPSNN_GRAPH"]
        else:
            os.environ["NPSNN_GRAPH"] = before


def _kept() -> list[Any]:
    """What keeps graphs in this process."""
    from npsnn.gpu.graphs import Graphs

    return [found for found in gc.get_objects() if type(found) is Graphs]


def recorded() -> int:
    """How many CUDA graphs this process has recorded and still keeps."""
    return sum(len(kept._graphs) for kept in _kept())


def device_memory() -> int:
    """Bytes that CuPy's pool and those of the graphs hold; a pool keeps what it once had until it is told to free it.

    On the double, which has no pool, 0.
    """
    from npsnn.backend import gpu

    if not hasattr(gpu(), "get_default_memory_pool"):
        return 0
    pools = [gpu().get_default_memory_pool(), *(kept._pool for kept in _kept())]
    return sum(pool.total_bytes() for pool in pools if hasattr(pool, "total_bytes"))


def free_device_memory() -> None:
    """Give back what is not in use, so that the next peak is that of what comes next."""
    from npsnn.backend import gpu

    gc.collect()
    if hasattr(gpu(), "get_default_memory_pool"):
        gpu().get_default_memory_pool().free_all_blocks()
