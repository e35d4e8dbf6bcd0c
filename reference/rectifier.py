"""The law of Y = max(0, Z) for one Gaussian Z ~ N(mu, sigma²): as the noise paper prints it, and as it is.

sigma > 0, v = sigma², t = mu/sigma. The rules that carry a mean and a variance through ReLU are in `plain`.
"""

from collections.abc import Callable
from math import erfc, exp, inf, log, pi, sqrt
from typing import TypeAlias

from scipy.integrate import quad
from scipy.special import erfcx

from .plain import Moments2, Phi, phi, rectified_moments

Partials: TypeAlias = tuple[float, float, float, float]

SERIES_TERMS = 16


def eta_printed(mu: float, sigma: float) -> float:
    """eta = 1 - Φ(-mu/sigma) (noise paper Sec. 2.1, audit N6): P(Z > 0), with no correct digit from t = -9 on."""
    return 1 - Phi(-mu / sigma)


def eta(mu: float, sigma: float) -> float:
    """eta = Φ(mu/sigma) = ½ erfc(-mu/(sigma√2)), the same without cancellation (audit N6, N7)."""
    return erfc(-mu / (sigma * sqrt(2))) / 2


def atom(mu: float, sigma: float) -> float:
    """P(Y = 0) = P(Z <= 0) = Φ(-mu/sigma), which Eq. 4 leaves out (audit N5)."""
    return eta(-mu, sigma)


def density(xi: float, mu: float, sigma: float) -> float:
    """The density of Y on xi > 0, φ((xi - mu)/sigma)/sigma; the rest of the mass is the atom at 0 (audit N5)."""
    return phi((xi - mu) / sigma) / sigma if xi > 0 else 0.0


def density_printed(xi: float, mu: float, sigma: float) -> float:
    """Noise paper Eq. 4 as printed, φ((xi - mu)/sigma) 1[xi > 0]/(sigma eta): the law of Z given Z > 0 (audit N5)."""
    return density(xi, mu, sigma) / eta(mu, sigma)


def distribution(y: float, mu: float, sigma: float) -> float:
    """P(Y <= y) = Φ((y - mu)/sigma) for y >= 0, else 0 (audit N5)."""
    return atom(mu - y, sigma) if y >= 0 else 0.0


def distribution_printed(y: float, mu: float, sigma: float) -> float:
    """The distribution function of Eq. 4, (Φ((y - mu)/sigma) - Φ(-mu/sigma))/eta for y > 0 (audit N5)."""
    return (atom(mu - y, sigma) - atom(mu, sigma)) / eta(mu, sigma) if y > 0 else 0.0


def truncated_moments(mu: float, v: float) -> Moments2:
    """Mean and variance of Eq. 4: mu + s h and v (1 - h (t + h)), h = φ(t)/Φ(t), for t > -100 (audit N5, N8)."""
    s = sqrt(v)
    t = mu / s
    h = sqrt(2 / pi) / float(erfcx(-t / sqrt(2)))
    return mu + s * h, v * (1 - h * (t + h))


def moments_by_integration(f: Callable[[float], float], low: float, high: float) -> Moments2:
    """∫ xi f dxi and ∫ xi² f dxi - (∫ xi f dxi)² over [low, high]; what f lacks in mass lies at 0 (audit N5)."""
    first = integral(lambda xi: xi * f(xi), low, high)
    return first, integral(lambda xi: xi * xi * f(xi), low, high) - first * first


def integral(f: Callable[[float], float], low: float, high: float) -> float:
    """∫ f over [low, high] to 1e-12 of its value."""
    return float(quad(f, low, high, epsabs=0, epsrel=1e-12, limit=200)[0])


def reach(mu: float, sigma: float) -> float:
    """Where the density has ended on xi > 0: far below 0 it falls e-fold every sigma²/|mu| (audit N11)."""
    return mu + 10 * sigma if mu > -3 * sigma else 40 * sigma**2 / -mu


def total_variation(mu: float, sigma: float) -> float:
    """½ [P(Y = 0) + ∫_{xi>0} |Eq. 4 - density| dxi], the most that the two laws differ on any event (audit N5)."""
    end = reach(mu, sigma)
    gap = integral(lambda xi: abs(density_printed(xi, mu, sigma) - density(xi, mu, sigma)), 0, end)
    return (atom(mu, sigma) + gap) / 2


def wasserstein(mu: float, sigma: float, m: float, s: float) -> float:
    """∫ |P(Y <= y) - P(X <= y)| dy for X ~ N(m, s²): how far that Gaussian is from the law of Y (audit N12)."""
    end = abs(mu) + abs(m) + 10 * (sigma + s)

    def gap(y: float) -> float:
        return abs(distribution(y, mu, sigma) - atom(m - y, s))

    return integral(gap, -end, 0) + integral(gap, 0, end)


def log_density(xi: float, mu: float, sigma: float) -> float:
    """h(xi) = ln of Eq. 4 on xi >= 0 (noise paper Sec. 2.1, audit N11); -inf below."""
    if xi < 0:
        return -inf
    return -(((xi - mu) / sigma) ** 2) / 2 - log(sigma * sqrt(2 * pi)) - log(eta(mu, sigma))


def mode_printed(mu: float, sigma: float) -> float:
    """xi_0 = 0 if -3 sigma <= mu < 0, mu if 0 <= mu <= 3 sigma (noise paper Sec. 2.1, audit N13)."""
    if abs(mu) > 3 * sigma:
        raise ValueError(f"the paper gives a mode for |mu| <= 3 sigma, got {mu} and {sigma}")
    return 0.0 if mu < 0 else mu


def curvature_printed(sigma: float) -> float:
    """h'' = -1/sigma² (noise paper Sec. 2.1, audit N11)."""
    return -1 / sigma**2


def expansion_printed(xi: float, mu: float, sigma: float) -> float:
    """h(xi_0) + h'' (xi - xi_0)²/2, without the first-order term (noise paper Sec. 2.1, wrong for mu < 0: N11)."""
    mode = mode_printed(mu, sigma)
    return log_density(mode, mu, sigma) + curvature_printed(sigma) * (xi - mode) ** 2 / 2


def expansion(xi: float, mu: float, sigma: float) -> float:
    """The same with h'(xi_0) (xi - xi_0), h'(xi_0) = (mu - xi_0)/sigma²: exact, for h is quadratic (audit N11)."""
    mode = mode_printed(mu, sigma)
    return expansion_printed(xi, mu, sigma) + (mu - mode) / sigma**2 * (xi - mode)


def laplace_density_printed(xi: float, mu: float, sigma: float) -> float:
    """Noise paper Eq. 5, normalised: the density of N(xi_0, sigma²), on the whole line (audit N12)."""
    return phi((xi - mode_printed(mu, sigma)) / sigma) / sigma


def rectified_gradients(mu: float, v: float) -> Partials:
    """∂m/∂mu = Φ(t), ∂m/∂v = φ(t)/(2s), ∂V/∂mu = 2m Φ(-t), ∂V/∂v = Φ(t) - (m/s) φ(t) (extension E1)."""
    s = sqrt(v)
    t = mu / s
    m = mu * eta(t, 1) + s * phi(t)
    return eta(t, 1), phi(t) / (2 * s), 2 * m * eta(-t, 1), eta(t, 1) - m / s * phi(t)


def mills_series(tau: float) -> Moments2:
    """1 - tau R and (1 + tau²) R - tau for tau > 10, R = Φ(-tau)/φ(tau), by their asymptotic series (extension E1).

    Σ_{j>=1} (-1)^(j+1) (2j-1)!! tau^-2j and its companion with 2j (2j-1)!!, divided by tau; 16 terms.
    """
    first, second, term = 0.0, 0.0, -1.0
    for j in range(1, SERIES_TERMS + 1):
        term *= -(2 * j - 1) / tau**2
        first += term
        second += 2 * j * term
    return first, second / tau


def rectified_tails(mu: float, v: float) -> tuple[float, float, float, float, float, float]:
    """m, V and `rectified_gradients` for |t| > 10, in the two-branch form of extension E1, with `mills_series`.

    With tau = |t|, q = Φ(-tau), g = φ(tau) (1 - tau R), e = φ(tau) ((1 + tau²) R - tau):
    t < 0: m = s g, V = v (e - g²); t > 0: m = s (t + g), V = v (1 - e - 2 tau g - g²).
    """
    s = sqrt(v)
    tau = abs(mu) / s
    first, second = mills_series(tau)
    height = exp(-tau * tau / 2) / sqrt(2 * pi)
    q, g, e = height * (1 - first) / tau, height * first, height * second
    if mu < 0:
        m = s * g
        return m, v * (e - g * g), q, height / (2 * s), 2 * m * (1 - q), q - g * height
    m = s * (tau + g)
    return m, v * (1 - e - 2 * tau * g - g * g), 1 - q, height / (2 * s), 2 * m * q, 1 - q - m / s * height


def log_mean(mu: float, v: float) -> float:
    """ln E[Y] = ln s + ln φ(tau) + ln(1 - tau R) for t < -10, where E[Y] itself may underflow (extension E1)."""
    tau = -mu / sqrt(v)
    return log(v) / 2 - tau * tau / 2 - log(2 * pi) / 2 + log(mills_series(tau)[0])


def variance_lost(cut: float, end: float = 12.0) -> float:
    """∫ (1[t >= cut] - Var max(0, N(t, 1)))² dt over |t| <= end: what a hard variance mask gets wrong (N14)."""

    def gap(t: float) -> float:
        return (float(t >= cut) - rectified_moments(t, 1.0)[1]) ** 2

    return integral(gap, -end, cut) + integral(gap, cut, end)
