"""How far attacks without a radius had to move images, as a panel over the networks of a grid."""

from collections.abc import Iterable, Sequence

import numpy as np

from npsnn.reproduce.experiments import Column
from npsnn.reproduce.jobs import Attack
from npsnn.reproduce.panels import NUMBER, Panel
from npsnn.reproduce.records import Records, Seeds


def distances(
    title: str,
    rows: Sequence[str],
    jobs: Iterable[tuple[str, int, list[Column], Attack]],
    records: Records,
    note: str,
) -> Panel:
    """The median distance of the images that each attack moved; those that were misread at once have none.

    title: with the norm and the attack.
    rows: names of the networks.
    jobs: the row, the seed, the columns and the job of each attack, as a `Grid` has them.
    records: the records that there are.
    note: how it was measured.
    """
    asked = [((row, own), job) for row, _, own, job in jobs]
    columns = list(dict.fromkeys(c.name for (_, own), _ in asked for c in own if c.attack is not None))
    found: dict[tuple[str, str], list[float]] = {}
    for (row, own), record in records.there(asked, lambda beside: beside[0]):
        for column in own:
            size = np.asarray(record.images.get(column.name, {}).get("size", ()))
            if (size > 0).any():
                found.setdefault((row, column.name), []).append(float(np.median(size[size > 0])))
    cells = {place: Seeds(tuple(values)) for place, values in found.items()}
    return Panel(title, list(rows), columns, cells, unit=NUMBER, note=note)
