"""Lines of attacks.jsonl, for tests of what reads them."""

from pathlib import Path
from typing import Any

from npsnn.files import journal

ABOUT = {"plan": {"on_grid": False}, "parameters": "p", "checkpoint": "last", "inference_sigma": 0.5, "draws": 10}
ABOUT |= {"average": 1, "answer": "logits", "examples": 50, "other_data": None, "clean_accuracy": 0.9}
ABOUT |= {"clean_ci95": [0.8, 0.95], "epoch": 3, "caveats": []}


def line(attack: str, eps: float | None, accuracy: float, options: Any = (), **about: Any) -> dict[str, Any]:
    row = {"attack": attack, "norm": "linf", "eps": eps, "robust_accuracy": accuracy, "gradient": "sampled"}
    row |= {"ci95": [accuracy - 0.1, accuracy + 0.1], "caveats": [{"code": "few-draws", "text": "few"}]}
    encoded = {"type": attack.upper(), "eps": eps, "norm": "linf", "source": {"type": "EoT", "draws": 10}} | dict(
        options
    )
    return ABOUT | {"attack": encoded, "result": row, "images": f"attacks/{attack}-{eps}.npz"} | about


def worst(eps: float, accuracy: float) -> dict[str, Any]:
    row = {"norm": "linf", "eps": eps, "robust_accuracy": accuracy, "ci95": [0.0, 1.0], "caveats": [], "name": "auto"}
    return ABOUT | {"worst_case": row, "images": "none"}


def recorded(folder: Path, *lines: dict[str, Any]) -> Path:
    for one in lines:
        journal.append(folder / "attacks.jsonl", one)
    return folder
