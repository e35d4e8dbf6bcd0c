"""What a rank computes on: its CPU, or the GPU that is its own."""

from dataclasses import dataclass

from npsnn.backend import on_own_gpu, use_device
from npsnn.gpu import blas


@dataclass(frozen=True)
class Unit:
    """The processors that all ranks compute on, as rank 0 tells the others.

    device: "cpu" or "cuda", which is another GPU for each rank of a host.
    tf32: whether a GPU rounds the factors of a product to TF32.
    """

    device: str = "cpu"
    tf32: bool = False

    def use(self) -> None:
        """Let the calling thread compute there; raises ValueError where there is no such GPU."""
        use_device(self.device)
        if self.device != "cpu":
            blas.tf32(self.tf32)


CPU = Unit()


def shared(device: str) -> Unit | None:
    """What all ranks may compute on where this thread computes on a device; None for a GPU that is not its rank's own.

    device: "cpu", or the name of the GPU that is current.
    """
    if device == "cpu":
        return CPU
    return Unit("cuda", blas.uses_tf32()) if on_own_gpu() else None
