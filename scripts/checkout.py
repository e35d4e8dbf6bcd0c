"""To be imported first: lets a program run from a bare checkout, where cli/ is not yet npsnn.cli."""

from importlib.util import find_spec
from pathlib import Path

import npsnn

if find_spec("npsnn.cli") is None:
    npsnn.__path__.append(str(Path(__file__).parent.parent))
