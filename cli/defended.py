"""A run's network as attacks meet it: its noise, and its accuracy before any attack."""

from dataclasses import asdict, dataclass
from typing import Any

from npsnn.attacks.judging import Judging
from npsnn.cli.common import averaged, interval, percent
from npsnn.cli.runs import Run
from npsnn.cli.terminal import say
from npsnn.runs.caveats import Caveat, of_network


@dataclass(frozen=True)
class Defended:
    """A network with the noise that it has when it is judged.

    judging: how success is judged, with the one number of its noise.
    clean: its accuracy without an attack.
    off: the accuracy with the noise off as well.
    caveats: what qualifies every number of it.
    """

    run: Run
    judging: Judging
    clean: Any
    off: Any
    caveats: list[Caveat]

    @staticmethod
    def of(run: Run, judging: Judging, x: Any, labels: Any) -> "Defended":
        """Measure the network on some images; judging names its sigma."""
        from npsnn.attacks import accuracy

        network, sigma = run.classifier, judging.sigma or 0.0
        clean = accuracy(judging.defended(network), x, labels, judging.draws, judging.seed)
        off = accuracy(network.with_sigma(0), x, labels) if sigma else clean
        return Defended(run, judging, clean, off, run.caveats + of_network(network.sigma, sigma, clean, labels))

    @property
    def about(self) -> dict[str, Any]:
        """Entries of every record."""
        about = self.run.about | {"inference_sigma": self.judging.sigma, "draws": self.judging.draws}
        about |= {"average": self.judging.average, "examples": len(self.clean.each)}
        return about | {"clean_accuracy": self.clean.mean, "noise_off_accuracy": self.off.mean}

    @property
    def qualified(self) -> dict[str, Any]:
        """The caveats as an entry of a record."""
        return {"caveats": [asdict(caveat) for caveat in self.caveats]}

    def print_heading(self, images: str) -> None:
        """Print the noise and the accuracy of the network; images: the images in words."""
        sigma, off = self.judging.sigma, ""
        noise = "noise off"
        if sigma:
            noise = f"noise {sigma:g}, {self.judging.draws} draws{averaged(self.judging.average or 1)}"
            off = f"; {percent(self.off.mean)} with the noise off"
        say(f"{self.run.heading}: {images}, {noise}")
        say(f"clean accuracy {percent(self.clean.mean)}, 95 % interval {interval(self.clean.ci95)}{off}")
