"""What the tests of sweeps compare."""

from pathlib import Path

from calling import contents

from npsnn.runs.checkpoint import BEST, LAST
from npsnn.train.sweep import TESTED


def lasting(folder: Path) -> dict[str, bytes]:
    """The bytes of all that does not depend on the time, by its path."""
    return {name: content for name, content in contents(folder).items() if Path(name).name in (LAST, BEST, TESTED)}
