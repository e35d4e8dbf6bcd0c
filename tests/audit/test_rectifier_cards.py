"""The cards of the rectified Gaussian notice what breaks them."""

from mutants import Mutant, mutation_test

from npsnn.layers.moments import Moments
from npsnn.layers.noise import PreactivationNoise
from npsnn.ops import gaussian
from npsnn.reference import plain, rectifier


class StandardDeviationForVariance(PreactivationNoise):
    def _propagated(self, sigma, m):
        return super()._propagated(sigma**0.5, m)


class TwiceTheNoise(PreactivationNoise):
    def _sampled(self, sigma, m, noise):
        return super()._sampled(2 * sigma, m, noise)


class UniformNoise(PreactivationNoise):
    """Of the right mean and variance, but not Gaussian."""

    def _sampled(self, sigma, m, noise):
        return Moments(m.mean + sigma * 12**0.5 * (noise.stream.uniform(m.mean) - 0.5), m.var), None


def output(i, change):
    """Breaks entry i of what a rule returns, where (m, v, *partial derivatives) are counted through."""

    def mutate(f):
        def broken(mean, var):
            m, v, saved = f(mean, var)
            entries = [m, v, *saved]
            entries[i] = change(entries[i])
            return entries[0], entries[1], tuple(entries[2:])

        return broken

    return mutate


def ignore_the_variance_channel(f):
    return lambda dm, dv, partials: f(dm, None, partials)


EXACT, PRINTED = "npsnn.ops.gaussian.rectified_moments", "npsnn.ops.gaussian.rectified_laplace"
REFERENCE, LAW = "npsnn.reference.plain.rectified_moments", "npsnn.reference.rectifier."

MUTANTS: list[Mutant] = [
    ("N4", "npsnn.layers.noise.PreactivationNoise", lambda f: StandardDeviationForVariance),
    ("N4", "npsnn.layers.noise.PreactivationNoise", lambda f: TwiceTheNoise),
    ("N4", "npsnn.layers.noise.PreactivationNoise", lambda f: UniformNoise),
    ("N4", "npsnn.reference.plain.linear_covariance", lambda f: lambda v, W: f(v, W.T)),
    ("N4", "npsnn.reference.plain.linear", lambda f: lambda x, W, b: f(x, W, -b)),
    ("N5", REFERENCE, lambda f: rectifier.truncated_moments),
    ("N5", LAW + "truncated_moments", lambda f: plain.rectified_moments),
    ("N5", LAW + "density_printed", lambda f: rectifier.density),
    ("N5", LAW + "distribution", lambda f: rectifier.distribution_printed),
    ("N5", LAW + "distribution_printed", lambda f: rectifier.distribution),
    ("N5", LAW + "atom", lambda f: lambda mu, sigma: f(-mu, sigma)),
    ("N5", EXACT, lambda f: lambda mean, var: f(-mean, var)),
    ("N5", EXACT, lambda f: gaussian.rectified_laplace),
    ("N6", LAW + "eta_printed", lambda f: rectifier.atom),
    ("N6", LAW + "eta_printed", lambda f: rectifier.eta),
    ("N6", LAW + "eta", lambda f: rectifier.eta_printed),
    ("N6", EXACT, output(2, lambda x: 1 - x)),
    ("N7", "npsnn.reference.plain.Phi", lambda f: lambda t: f(t * 2**0.5)),
    ("N7", "npsnn.reference.plain.phi", lambda f: lambda t: f(t * 2**0.5)),
    ("N7", EXACT, output(3, lambda x: 2 * x)),
    ("N8", LAW + "truncated_moments", lambda f: plain.rectified_moments),
    ("N8", REFERENCE, lambda f: rectifier.truncated_moments),
    ("N8", EXACT, output(1, lambda x: x**0.5)),
    ("N9", REFERENCE, lambda f: rectifier.truncated_moments),
    ("N9", EXACT, lambda f: gaussian.rectified_laplace),
    ("N9", PRINTED, lambda f: gaussian.rectified_moments),
    ("N9", PRINTED, output(1, lambda x: x * 0 + 1)),
    ("N10", "npsnn.reference.plain.Phi", lambda f: lambda t: f(t / 2**0.5)),
    ("N10", LAW + "atom", lambda f: rectifier.eta),
    ("N10", PRINTED, lambda f: gaussian.rectified_linear),
    ("N10", PRINTED, lambda f: lambda mean, var: f(mean * (1 + 1e-12), var)),
    ("N11", LAW + "expansion", lambda f: rectifier.expansion_printed),
    ("N11", LAW + "expansion_printed", lambda f: rectifier.log_density),
    ("N11", LAW + "curvature_printed", lambda f: lambda sigma: -f(sigma)),
    ("N11", LAW + "curvature_printed", lambda f: lambda sigma: f(sigma**0.5)),
    ("N12", REFERENCE, lambda f: rectifier.truncated_moments),
    ("N12", REFERENCE, lambda f: plain.rectified_laplace),
    ("N12", LAW + "laplace_density_printed", lambda f: rectifier.density_printed),
    ("N12", EXACT, lambda f: gaussian.rectified_laplace),
    ("N12", PRINTED, lambda f: gaussian.rectified_moments),
    ("N13", LAW + "mode_printed", lambda f: lambda mu, sigma: mu),
    ("N13", LAW + "log_density", lambda f: lambda xi, mu, sigma: f(xi, -mu, sigma)),
    ("N13", PRINTED, lambda f: gaussian.rectified_moments),
    ("N13", "npsnn.ops.gaussian.LAPLACE", lambda f: gaussian.EXACT),
    ("N14", PRINTED, lambda f: gaussian.rectified_linear),
    ("N14", PRINTED, lambda f: gaussian.rectified_moments),
    # one sigma for all units, and the variance compared in place of its root
    ("N14", PRINTED, lambda f: lambda mean, var: (*f(mean, var)[:1], var * (mean >= -3), None)),
    ("N14", PRINTED, lambda f: lambda mean, var: (*f(mean, var)[:1], var * (mean >= -3 * var), None)),
    ("N14", PRINTED, lambda f: lambda mean, var: (*f(mean, var)[:1], var * (mean > -3 * var**0.5), None)),
    ("N14", EXACT, output(0, lambda x: x * 1.001)),
    ("N14", REFERENCE, lambda f: rectifier.truncated_moments),
    ("N14", LAW + "variance_lost", lambda f: lambda cut: f(cut - 1)),
    ("E1", EXACT, lambda f: lambda mean, var: f(mean, var**0.5)),
    ("E1", EXACT, lambda f: lambda mean, var: f(mean * (1 + 1e-9), var)),
    *(("E1", EXACT, output(i, lambda x: x * (1 + 1e-9))) for i in range(6)),
    ("E1", "npsnn.ops.gaussian.rectified_moments_backward", ignore_the_variance_channel),
    ("E1", LAW + "rectified_gradients", lambda f: lambda mu, v: f(-mu, v)),
    ("E1", LAW + "mills_series", lambda f: lambda tau: (1 / tau**2, 2 / tau**3)),
    ("E1", LAW + "log_mean", lambda f: lambda mu, v: f(mu, v) + 0.01),
]

test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS)
