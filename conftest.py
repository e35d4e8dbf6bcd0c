"""Let pytest run from a bare checkout: the folders cli/ and reference/ are the packages npsnn.cli and npsnn.reference."""

import importlib.util
from pathlib import Path

import npsnn

if importlib.util.find_spec("npsnn.cli") is None:
    npsnn.__path__.append(str(Path(__file__).parent))
