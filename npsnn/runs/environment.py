"""What a result was computed with."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from npsnn._version import __version__
from npsnn.backend import about_gpu
from npsnn.gpu import blas
from npsnn.host import available_cores


def environment(device: str = "cpu") -> dict[str, Any]:
    """Versions, the BLAS, the cores, the machine and the GPU that is in use, as JSON."""
    import scipy.linalg  # noqa: F401  (so that its BLAS shows too)

    packages = ("numpy", "scipy", "click", "threadpoolctl", "cupy", "cupy-cuda12x", "cupy-cuda13x")
    return {
        "npsnn": __version__,
        "python": platform.python_version(),
        "packages": {name: found for name in packages if (found := _version(name))},
        "blas": _blas(),
        "cores": available_cores(),
        "machine": platform.machine(),
        "system": platform.system(),
        "device": device,
        **about_gpu(device),
        **({} if device == "cpu" else {"tf32": blas.uses_tf32()}),
    }


def _blas() -> list[str]:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    found = (p for p in threadpool_info() if p["user_api"] == "blas")
    return sorted({f"{p['internal_api']} {p['version']} ({p.get('architecture', 'unknown')})" for p in found})


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
