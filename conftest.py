"""Let pytest run from a bare checkout, where cli/ and reference/ are not yet npsnn.cli and npsnn.reference."""

import importlib.util
from pathlib import Path

import npsnn

if importlib.util.find_spec("npsnn.cli") is None:
    npsnn.__path__.append(str(Path(__file__).parent))
