"""npsnn beside other libraries: their models under npsnn's attacks, and npsnn's networks under theirs.

Importing a module of this package imports no other library. A library is imported by the function that needs it, and is
an extra of the installation.
"""

from importlib import import_module
from typing import Any


def needed(module: str, extra: str) -> Any:
    """Import a module of another library.

    module: its full name, as "torch".
    extra: the extra that installs the library, as in `pip install 'npsnn[torch]'`.
    Raises ImportError, with the line that mends it, where the library is not installed or cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] == library:
            raise ImportError(f"{library} is not installed: pip install 'npsnn[{extra}]'", name=library) from error
        raise ImportError(f"{library} is installed, but cannot be imported: {error}", name=library) from error
