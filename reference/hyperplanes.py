"""The nearest point of a hyperplane in a box, one coordinate at a time: the plain version of `attacks.hyperplanes`."""

import numpy as np

from npsnn.reference.plain import Floats


def onto_plane(norm: str, x: Floats, w: Floats, b: float) -> Floats:
    """The shortest step from x (D,) in [0, 1] to {v: w·v = b} in the box; to the nearest corner where there is none.

    norm: "linf", "l2" or "l1".
    w: (D,).
    """
    above = float(w @ x - b)
    sign, a = np.sign(w) * np.sign(above), np.abs(w)
    room = np.where(sign > 0, x, 1 - x)
    length = np.zeros(len(x))
    if norm == "l1":
        left = abs(above)
        for i in np.argsort(-a, kind="stable"):
            if a[i] > 0 and left > 0:
                length[i] = min(room[i], left / a[i])
                left -= a[i] * length[i]
        return np.asarray(-sign * length)
    speed = a if norm == "l2" else np.where(a > 0, 1.0, 0.0)
    moving = [int(i) for i in np.flatnonzero(a)]
    left = abs(above)
    # those that cannot go as far as the others stop at the edge of the box, the first to arrive first
    for i in sorted(moving, key=lambda j: room[j] / speed[j]):
        time = left / sum(a[j] * speed[j] for j in moving)
        if time * speed[i] <= room[i]:
            length[moving] = time * speed[moving]
            break
        length[i] = room[i]
        left -= a[i] * room[i]
        moving.remove(i)
    return np.asarray(-sign * length)
