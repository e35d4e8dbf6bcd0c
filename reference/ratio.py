"""The difference of logits ratio of one example by sorting: the plain version of `npsnn.ops.ratio`."""

import numpy as np


def leading(z: np.ndarray, label: int) -> float:
    """(max_{i≠y} z_i - z_y) / (z_(1) - z_(3)) of logits (classes,); of two classes the margin."""
    falling = np.sort(z)[::-1]
    lead = np.delete(z, label).max() - z[label]
    return float(lead if len(z) < 3 else lead / (falling[0] - falling[2]))


def targeted(z: np.ndarray, label: int, target: int) -> float:
    """(z_t - z_y) / (z_(1) - (z_(3) + z_(4))/2); of two and three classes the margin."""
    falling, lead = np.sort(z)[::-1], z[target] - z[label]
    if len(z) < 4:
        return float(lead)
    return float(lead / (falling[0] - (falling[2] + falling[3]) / 2))
