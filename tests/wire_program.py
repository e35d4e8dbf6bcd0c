"""A program for several ranks that count what they send in a step of a small network with BatchNorm, or of LeNet-5."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent.parent / "scripts")]

from scaling_content import TRAININGS
from scaling_wire import main
from small_networks import normalised

from npsnn.train import CrossEntropy, Training

NAMES = ["lenet5", "normalised"]
TRAININGS["normalised"] = lambda: Training(normalised(2), CrossEntropy())

if __name__ == "__main__":
    main()
