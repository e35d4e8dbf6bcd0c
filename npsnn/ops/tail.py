"""The tail of a Gaussian: density, mass, and mean and variance of what lies beyond, without cancellation.

Everything is elementwise over arrays of one dtype, float32 or float64. No argument is written to.
"""

from npsnn.backend import Array, namespace, on_gpu, special

INV_SQRT_2PI = 0.3989422804014327
SQRT_HALF = 0.7071067811865476
SQRT_HALF_PI = 1.2533141373155003

# float64 changes from erfcx, which has lost 4 digits by then, to the asymptotic series, which has reached 1e-15.
SERIES_FROM, SERIES_TERMS = 10.0, 16
# y = tau^-2 times a number is the ratio of the neighbouring terms 2j (2j - 1)!! tau^-2j, the last terms first.
RATIOS = [-(j + 1) * (2 * j + 1) / j for j in range(SERIES_TERMS - 1, 0, -1)]

# Minimax fit of e(tau)/phi(tau) on [0, 16], relative error 1.8e-7, highest power first; the denominator is monic.
FIT_ABOVE = (1.99962594, 16.82057626, 68.47416515, 142.82017187)
FIT_BELOW = (8.40009911, 40.46936249, 118.8944721, 219.86948508, 236.47737759, 113.95403043)


def _second_tail_single(tau: Array) -> Array:
    """(1 + tau^2) R - tau for tau >= 0 in float32, R the Mills ratio: a rational fit, a third of the time of erfcx."""
    above = tau * FIT_ABOVE[0]
    for c in FIT_ABOVE[1:-1]:
        above += c
        above *= tau
    above += FIT_ABOVE[-1]
    below = tau + FIT_BELOW[0]
    for c in FIT_BELOW[1:]:
        below *= tau
        below += c
    return above / below


def _second_tail_double(tau: Array) -> Array:
    """(1 + tau^2) R - tau for tau >= 0 in float64, by erfcx up to 10 and the asymptotic series of E1 beyond."""
    if on_gpu(tau):  # both at all places: how many are far is not known to the host
        xp = namespace(tau)
        return xp.where(tau > SERIES_FROM, _series(xp.maximum(tau, SERIES_FROM)), _by_mills_ratio(tau))
    flat = tau.reshape(-1)
    e = _by_mills_ratio(flat)
    far = flat > SERIES_FROM
    if far.any():
        e[far] = _series(flat[far])
    return e.reshape(tau.shape)


def _by_mills_ratio(tau: Array) -> Array:
    mills = SQRT_HALF_PI * special(tau).erfcx(SQRT_HALF * tau)
    return mills - tau * (1.0 - tau * mills)


def _series(tau: Array) -> Array:
    y = 1.0 / (tau * tau)
    total = y * RATIOS[0] + 1.0
    for ratio in RATIOS[1:]:
        total *= y * ratio
        total += 1.0
    return 2.0 * y / tau * total


def tail(distance: Array, var: Array) -> tuple[Array, Array, Array, Array, Array, Array]:
    """s, tau, phi, q, g, r of a Gaussian tail that starts tau = |distance|/s standard deviations out, s = sqrt(var).

    phi = phi(tau), q = Phi(-tau), g = phi - tau q, r = e - g^2 with e = (1 + tau^2) q - tau phi: density, mass, and
    mean and variance of the excess max(Z - tau, 0) of a standard normal Z. All come without cancellation from
    E = e/phi: g/phi = (1 - tau E)/(1 + tau^2), q/phi = E + tau g/phi.
    tau stops at 64, where phi, q, g, r are 0: no overflow, no 0/0 at var = 0, and the result there is the limit. phi is
    cut to 0 from 12.3 (float32) or 37.5 on, where products with it would be subnormal: slow on some processors.
    Source: extension E1.
    """
    xp = namespace(distance, var)
    reach = xp.abs(distance)
    # so that distance = var = 0 is the far tail too; too small to change any other result
    reach += float(xp.finfo(reach.dtype).tiny) * 2.0**12
    s = xp.maximum(xp.sqrt(var), reach * (1 / 64))
    tau = reach / s
    single = tau.dtype.itemsize <= 4
    e = _second_tail_single(tau) if single else _second_tail_double(tau)
    square = tau * tau
    g_by_phi = 1.0 - tau * e
    g_by_phi /= square + 1.0
    phi = xp.exp(-0.5 * square)
    phi *= INV_SQRT_2PI
    phi *= tau < (12.3 if single else 37.5)
    q = tau * g_by_phi
    q += e
    q *= phi
    g = phi * g_by_phi
    r = e - g * g_by_phi
    r *= phi
    return s, tau, phi, q, g, r
