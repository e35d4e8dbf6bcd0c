"""A run's network as attacks meet it: its noise, and its accuracy before any attack."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from npsnn.attacks.judging import Judging
from npsnn.cli.common import averaged, interval, percent
from npsnn.cli.runs import Run
from npsnn.cli.terminal import say
from npsnn.models import sigmas
from npsnn.models.sigmas import brief
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
    network: Any
    clean: Any
    off: Any
    caveats: list[Caveat]

    @staticmethod
    def of(run: Run, judging: Judging, x: Any, labels: Any) -> "Defended":
        """Measure the network on some images; judging names its sigma."""
        from npsnn.attacks import accuracy

        network = judging.defended(run.classifier)
        clean = accuracy(network, x, labels, judging.draws, judging.stream)
        off = accuracy(network.with_sigma(0), x, labels) if network.random else clean
        found = run.caveats + of_network(run.classifier, network, clean, labels)
        return Defended(run, judging, network, clean, off, found)

    @property
    def sigma(self) -> float | Mapping[str, float]:
        """The noise of the network: the number that was asked for, or what the layers say."""
        return brief(self.network.sigmas) if self.judging.sigma is None else self.judging.sigma

    @property
    def about(self) -> dict[str, Any]:
        """Entries of every record."""
        about = self.run.about | {"inference_sigma": self.sigma, "draws": self.judging.draws}
        about |= {"average": self.judging.average, "answer": self.judging.answer, "examples": len(self.clean.each)}
        about |= {"clean_accuracy": self.clean.mean, "clean_ci95": list(self.clean.ci95)}
        return about | {"noise_off_accuracy": self.off.mean}

    @property
    def qualified(self) -> dict[str, Any]:
        """The caveats as an entry of a record."""
        return {"caveats": [asdict(caveat) for caveat in self.caveats]}

    def print_heading(self, images: str) -> None:
        """Print the noise and the accuracy of the network; images: the images in words."""
        noise, off = "noise off", ""
        if self.network.random:
            draws = f"{self.judging.draws} draws{averaged(self.network.average, self.network.answer)}"
            noise = f"{sigmas.of_network(self.sigma)}, {draws}"
            off = f"; {percent(self.off.mean)} with the noise off"
        grid = "; adversarial images have 8 bits" if self.judging.on_grid else ""
        say(f"{self.run.heading}: {images}, {noise}{grid}")
        say(f"clean accuracy {percent(self.clean.mean)}, 95 % interval {interval(self.clean.ci95)}{off}")
