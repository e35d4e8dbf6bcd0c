"""Prints, as JSON, how many fused functions training steps call, and of which CuPy itself makes no kernel, and why.

Needs CuPy's wheel and no GPU: CuPy makes a kernel's code from the arguments' types. Where its first way of doing so
fails, CuPy (14) goes another, slower way without a word.
"""

import json
import sys
from importlib import import_module
from typing import Any

import cupy_double
import cupy_fusion_double
import gpu_bound
import pytest
from bench_cases import ON_A_GPU, Job

Call = tuple[Any, tuple[Any, ...]]


def called() -> list[Call]:
    """Each fused function of the timed steps, with arguments of the double, once for each of their types."""
    found: dict[Any, Call] = {}
    before = cupy_fusion_double.Fusion.__call__

    def call(self: Any, *args: Any) -> Any:
        if any(isinstance(a, cupy_double.ndarray) for a in args):
            kinds = [(a.dtype.char, a.ndim) if isinstance(a, cupy_double.ndarray) else type(a) for a in args]
            found[self.f, tuple(kinds)] = self.f, args
        return before(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        cupy_double.install(patch)
        patch.setattr(cupy_fusion_double.Fusion, "__call__", call)
        for case in ON_A_GPU:
            gpu_bound.kernels(Job(case, 2, device="cuda"))
    return list(found.values())


def fuse(f: Any, args: tuple[Any, ...]) -> None:
    """Let CuPy make a kernel of f for arrays like these, which lie nowhere."""
    cupy, fusion = import_module("cupy"), import_module("cupy._core.fusion")
    memory = cupy.cuda.UnownedMemory(1 << 20, 1 << 20, None, 0)

    def like(a: Any) -> Any:
        if not isinstance(a, cupy_double.ndarray):
            return a
        return cupy.ndarray((2,) * a.ndim, a.dtype, cupy.cuda.MemoryPointer(memory, 0))

    history = fusion._FusionHistory()
    fusion._thread_local.history, fusion._thread_local.is_old_fusing = history, True
    try:
        history.get_fusion(f, tuple(map(like, args)), f.__name__)
    finally:
        fusion._thread_local.history, fusion._thread_local.is_old_fusing = None, False


def main() -> None:
    import_module("cupy"), import_module("cupyx.scipy.special")  # the double takes their places for a while
    calls, failed = called(), {}
    for f, args in calls:
        try:
            fuse(f, args)
        except Exception as error:
            failed[f.__name__] = repr(error)
    json.dump({"functions": len(calls), "failed": failed}, sys.stdout)


if __name__ == "__main__":
    main()
