"""The cards, one module a topic: importing this package enters them all, and checks which rest on which."""

import importlib
import pkgutil

from npsnn.audit.card import CARDS
from npsnn.audit.uses import check_uses

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
check_uses(CARDS)
