"""What the messages of errors must be like."""

from pathlib import Path

import pytest


def one_line(error: pytest.ExceptionInfo[ValueError], path: Path) -> None:
    assert "\n" not in str(error.value) and str(path) in str(error.value)
