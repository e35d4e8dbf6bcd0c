"""A run's network as attacks meet it: its noise, and its accuracy before any attack."""

from dataclasses import asdict, dataclass
from typing import Any

from npsnn.attacks.plan import Plan
from npsnn.cli.common import averaged, interval, percent
from npsnn.cli.runs import Run
from npsnn.cli.terminal import say
from npsnn.runs.caveats import Caveat, of_network


@dataclass(frozen=True)
class Defended:
    """A network with the noise that a plan leaves it.

    clean: its accuracy without an attack.
    off: the accuracy with the noise off as well.
    caveats: what qualifies every number of it.
    """

    run: Run
    plan: Plan
    clean: Any
    off: Any
    caveats: list[Caveat]

    @staticmethod
    def of(run: Run, plan: Plan, x: Any, labels: Any) -> "Defended":
        """Measure the network on some images; the plan names its sigma."""
        from npsnn.attacks import accuracy

        network, sigma = run.classifier, plan.sigma or 0.0
        clean = accuracy(plan.defended(network), x, labels, plan.draws, plan.seed)
        off = accuracy(network.with_sigma(0), x, labels) if sigma else clean
        return Defended(run, plan, clean, off, run.caveats + of_network(network.sigma, sigma, clean, labels))

    @property
    def about(self) -> dict[str, Any]:
        """Entries of every record."""
        about = self.run.about | {"inference_sigma": self.plan.sigma, "draws": self.plan.draws}
        about |= {"average": self.plan.average, "examples": len(self.clean.each)}
        return about | {"clean_accuracy": self.clean.mean, "noise_off_accuracy": self.off.mean}

    @property
    def qualified(self) -> dict[str, Any]:
        """The caveats as an entry of a record."""
        return {"caveats": [asdict(caveat) for caveat in self.caveats]}

    def print_heading(self, images: str) -> None:
        """Print the noise and the accuracy of the network; images: the images in words."""
        sigma, off = self.plan.sigma, ""
        noise = "noise off"
        if sigma:
            noise = f"noise {sigma:g}, {self.plan.draws} draws{averaged(self.plan.average or 1)}"
            off = f"; {percent(self.off.mean)} with the noise off"
        say(f"{self.run.heading}: {images}, {noise}")
        say(f"clean accuracy {percent(self.clean.mean)}, 95 % interval {interval(self.clean.ci95)}{off}")
