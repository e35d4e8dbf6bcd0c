"""Measurements of trained networks that are no attacks, in a table by which jobs name them.

    @measure("clean")
    def clean(networks, dataset): return {"accuracy": ...}, {}

A measurement returns figures as JSON, which are the same wherever they are computed, and what took how long.
"""

from typing import Any

from npsnn.tables import Table

MEASURES: Table[Any] = Table("measurement", "from npsnn.reproduce.measures import measure")
"""Every measurement by name: a function of networks, a data set and settings."""
measure = MEASURES.enter
