"""A2SNN's figures, tables and claims as experiments, one file each."""

from npsnn.tables import import_all

import_all(__name__, __path__)  # a new file here needs no line here
