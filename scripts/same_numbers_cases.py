"""What `scripts/same-numbers` computes on both sides, as one table: command lines, and one snippet of Python."""

from dataclasses import astuple, dataclass
from hashlib import sha256

DATA = {"mnist": "MNIST/raw", "cifar10": "cifar-10-batches-bin"}
"""Where real data are under NPSNN_DATA; cases on them are left out where they are not."""
NOISE = "noise"
"""Data in the form of cifar10, made of random pixels for the case."""


@dataclass(frozen=True)
class Case:
    """Commands of npsnn, in a folder of their own.

    name: for people, and of the case's folder.
    commands: command lines after `npsnn`.
    after: name of the case whose runs this case begins with.
    stopped: a training that goes first, and is interrupted when an epoch is done.
    script: Python that goes last; the script prints one JSON document.
    old_run: whether the new side, too, begins with the runs that the old side has written.
    data: a key of DATA, or NOISE, where the built-in digits do not do.
    """

    name: str
    commands: tuple[str, ...] = ()
    after: str = ""
    stopped: str = ""
    script: str = ""
    old_run: bool = False
    data: str = ""

    @property
    def digest(self) -> str:
        """Digest of the case and of the cases before it: kept figures of another digest are of another case."""
        before = BY_NAME[self.after].digest if self.after else ""
        return sha256(repr((astuple(self), before)).encode()).hexdigest()


TRAIN = "train --name run --limit 160 --batch-size 96 --epochs 2 --threads 1 --json"
SMALL = "--model lenet5 --lr 0.01"
FEATURES = "--noise features --sigma 1 --learn-sigma --propagation sampled --loss cross-entropy"
PLAIN = "--noise none --loss cross-entropy"
LONG = "--limit 1200 --batch-size 64 --epochs 4"

TRAININGS = {
    "lenet5": "",
    "exact": "--propagation exact",
    "linear": "--propagation linear",
    "sampled": "--propagation sampled",
    "sampled-cross-entropy": "--propagation sampled --loss cross-entropy",
    "mse": "--loss mse",
    "cross-entropy": "--loss cross-entropy",
    "cross-entropy-exact": "--loss cross-entropy --propagation exact",
    "expected-cross-entropy": "--loss expected-cross-entropy --propagation exact",
    "expected-cross-entropy-laplace": "--loss expected-cross-entropy",
    "learn-sigma": "--learn-sigma --sigma-reward 0.1",
    "learn-sigma-exact": "--learn-sigma --sigma-reward 0.1 --propagation exact --lr 0.01",
    "sigma-max": "--learn-sigma --sigma-reward 5 --sigma 0.6 --sigma-max 0.602",
    "l1": "--first-layer-norm l1",
    "l2": "--first-layer-norm l2 --learn-sigma --sigma-reward 1",
    "sigma-0": "--sigma 0",
    "plain": PLAIN,
    "direct": "--conv direct",
    "winograd": "--conv winograd",
    "threads": "--threads 2",
    "seed": "--seed 7",
    "crop-flip": "--augmentation crop-flip",
    "fgsm": "--adversarial fgsm --adversarial-eps 0.1",
    "pgd": "--adversarial pgd --adversarial-eps 0.1 --adversarial-mix 0.3",
    "pgd-plain": f"--adversarial pgd --adversarial-mix 1 {PLAIN}",
    "pgd-features": f"--adversarial pgd {FEATURES} --max-entropy 0.1",
    "adam-step": "--schedule step --epochs 4 --weight-decay 0.01",
    "adam-cosine": "--schedule cosine --epochs 3",
    "sgd": "--optimizer sgd --lr 0.01",
    "sgd-step": "--optimizer sgd --lr 0.01 --schedule step --epochs 4 --momentum 0.5 --weight-decay 0.01",
    "sgd-cosine": "--optimizer sgd --lr 0.01 --schedule cosine --epochs 3 --momentum 0",
    "cnn5": "--model cnn5 --limit 60",
    "cnn5-exact": "--model cnn5 --limit 60 --propagation exact --learn-sigma --sigma-reward 0.1",
    "features-diagonal": f"{FEATURES} --covariance diagonal --max-entropy 0.1 --alignment 0.5",
    "features-scalar": f"{FEATURES} --covariance scalar --max-entropy 0.1 --bottleneck 16",
    "features-exact": "--noise features --sigma 1 --learn-sigma --propagation exact --loss expected-cross-entropy",
    "features-noise-aware": "--noise features --sigma 1 --learn-sigma --propagation laplace",
    "features-fixed": "--noise features --sigma 0.5 --propagation linear",
    "pairwise": f"{FEATURES} --max-entropy 0.1 --alignment 0.5 --pairwise",
    "unit-classes": f"{FEATURES} --alignment 0.5 --unit-classes --optimizer sgd --lr 0.01",
    **{f"a2snn-m{i}": f"--recipe a2snn-m{i} {SMALL}" for i in range(6)},
    **{f"authors-m{i}": f"--recipe a2snn-m{i} {SMALL} --authors-code b9824db --schedule step" for i in (3, 4, 5)},
    **{f"papers-m{i}": f"--recipe a2snn-m{i} {SMALL} --authors-code 4f752b8" for i in (3, 5)},
    "authors-code": f"{FEATURES} --authors-code b9824db --max-entropy 1 --alignment 1",
    "trained": f"{LONG} --lr 0.003",
    "trained-features": f"--recipe a2snn-m5 {SMALL} {LONG}",
    "trained-plain": f"{PLAIN} {LONG} --lr 0.003",
}
"""Options of trainings, added to TRAIN: where an option comes twice, the later one counts."""

LARGE = {
    "lenetpp": f"--model lenetpp {FEATURES}",
    "lenetpp-plain": f"--model lenetpp {PLAIN}",
    "lenetpp-authors": "--recipe a2snn-m5 --authors-code b9824db --model lenetpp-authors",
    "resnet18": f"--model resnet18 {FEATURES} --max-entropy 0.1 --alignment 0.5 --augmentation crop-flip",
}
"""Those whose accuracy on all test images would take long: the training is interrupted when it is done."""

FEW = "--limit 24 --batch-size 12 --epochs 1"

SHOWN = [
    f"train --show --dataset {dataset} --recipe a2snn-m{i}{authors}"
    for dataset in ("digits", "fashion-mnist", "cifar10", "svhn")
    for i in range(6)
    for authors in ("", " --authors-code 4f752b8", " --authors-code b9824db")
    if i > 2 or not authors
]

ATTACK = "attack run --threads 1 --json --save images.npz --draws 4"
FAST = f"{ATTACK} --limit 16 --steps 4 --eot 3"
ONE_STEP = f"{ATTACK} --limit 16 --eot 3 --fgsm --adaptive-fgsm --eps 0.1"
ADAPTIVE = f"{ATTACK} --limit 16 --steps 3 --adaptive-fgsm --adaptive-pgd --eps 0.1"
FIVE = "--fgsm --bim --pgd --adaptive-fgsm --adaptive-pgd"
SEARCHES = "--random --samples 12 --one-pixel --adaptive-one-pixel --population 6 --generations 3"
NEAREST = "--cw --adaptive-cw --cw-steps 6 --cw-searches 2"
ALL = f"{FIVE} {SEARCHES} {NEAREST} --eps 0.1"
TWO = f"{ATTACK} --limit 4 --eot 2 --fgsm --adaptive-fgsm --eps 0.05"

ATTACKS = {
    "linf": ("trained", f"{FAST} {FIVE} --eps 0.05 --eps 0.2 --restarts 2"),
    "l2": ("trained", f"{FAST} {FIVE} --random --samples 12 --norm l2 --eps 1 --eps 2"),
    "eot-0": ("trained", f"{FAST} --fgsm --pgd --one-pixel --population 6 --generations 3 {NEAREST} --eps 0.1 --eot 0"),
    **{
        f"objective-{name}": ("trained", f"{ADAPTIVE} --objective {name}")
        for name in ("noise-aware", "mse", "cross-entropy", "expected-cross-entropy", "win-probability")
    },
    **{
        rule: (
            "trained",
            f"{ATTACK} --limit 16 --steps 4 --adaptive-pgd --adaptive-one-pixel --adaptive-cw --eps 0.1 "
            f"--propagation {rule} --cw-steps 6 --cw-searches 2 --population 6 --generations 3",
        )
        for rule in ("laplace", "exact", "linear")
    },
    "noise-aware-laplace": ("trained", f"{ADAPTIVE} --objective noise-aware --propagation laplace"),
    "random": ("trained", f"{ATTACK} --limit 16 --random --samples 40 --eps 0.1 --eps 0.3"),
    "one-pixel": ("trained", f"{ATTACK} --limit 16 --eot 3 {SEARCHES} --pixels 1 --pixels 3 --eps 0.1"),
    "cw": ("trained", f"{ATTACK} --limit 16 --eot 3 {NEAREST} --kappa 0 --kappa 1 --cw-lr 0.1 --cw-constant 0.5"),
    "average": ("trained", f"{FAST} {ALL} --average 3"),
    "inference-sigma-0": ("trained", f"{FAST} {ALL} --inference-sigma 0"),
    "inference-sigma": ("trained", f"{FAST} {FIVE} --eps 0.1 --inference-sigma 0.25"),
    "best": ("trained", f"{ONE_STEP} --checkpoint best"),
    "direct": ("trained", f"{ONE_STEP} --conv direct"),
    "winograd": ("trained", f"{ONE_STEP} --conv winograd"),
    "seed-and-threads": ("trained", f"{FAST} {ALL} --limit 150 --cw-steps 2 --steps 2 --seed 5 --threads 2"),
    "features": ("trained-features", f"{FAST} {ALL}"),
    "features-l2": ("trained-features", f"{FAST} {FIVE} --norm l2 --eps 1 --average 2"),
    "features-laplace": ("trained-features", f"{ADAPTIVE} --propagation laplace"),
    "features-win": ("trained-features", f"{ADAPTIVE} --objective win-probability"),
    "plain": ("trained-plain", f"{FAST} {ALL}"),
    "learn-sigma": ("learn-sigma", f"{FAST} --pgd --adaptive-pgd --eps 0.1"),
    "cnn5": ("cnn5", TWO),
    "features-diagonal": ("features-diagonal", f"{FAST} --pgd --adaptive-pgd --eps 0.1"),
    "features-scalar": ("features-scalar", f"{FAST} --pgd --adaptive-pgd --eps 0.1"),
    "a2snn-m0": ("a2snn-m0", f"{FAST} --pgd --adaptive-pgd --eps 0.1"),
    "lenetpp": ("lenetpp", TWO),
    "resnet18": ("resnet18", f"{TWO} --limit 2"),
}

COLOUR = "train --name run --dataset cifar10-unverified --augmentation crop-flip --limit 20 --batch-size 10 --epochs 1"
COLOUR_ATTACK = "attack run --json --save images.npz --draws 2 --limit 2 --eot 1 --fgsm --adaptive-fgsm --eps 8/255"

EVALUATE = "evaluate run --limit 300 --threads 1 --json"
CHECKLIST = "checklist run --threads 1 --json --limit 24 --steps 3 --eot 2 --draws 3 --samples 6 --population 5"
CHECKLIST += " --generations 2"
AUDIT_RUN = "audit N1 --run run --images 2 --draws 60 --json"

SCRIPT = """
import dataclasses, hashlib, json
import numpy as np
from npsnn import Classifier, bounds, data

def digest(*arrays):
    return [f"{a.dtype} {a.shape} {hashlib.sha256(a.tobytes()).hexdigest()}" for a in arrays]

found, test = {}, data.load("digits").test
x, labels = data.as_float(test.images[:20]), test.labels[:20]
for kind, network in (("float32", Classifier.load("runs/run")), ("float64", Classifier.load("runs/run").astype(float))):
    found[kind, "predict"] = digest(network.predict(x))
    found[kind, "sample"] = digest(network.sample(x, rng=0, draws=3), network.averaging(2).sample(x, rng=1, draws=2))
    for rule in ("laplace", "exact", "linear"):
        found[kind, rule] = digest(*network.moments(x, propagation=rule))
    for objective in ("noise-aware", "mse", "cross-entropy", "expected-cross-entropy", "win-probability"):
        found[kind, objective] = digest(network.input_gradient(x, labels, objective=objective))
if "FeatureNoise" in json.dumps(network.spec):
    for name, values in dataclasses.asdict(bounds.gap(network, x, x[::-1], labels, draws=200)).items():
        found["bounds", name] = digest(np.asarray(values))
print(json.dumps({" ".join(k): v for k, v in found.items()}))
"""

OLD_RUNS = ("trained", "trained-features", "trained-plain", "learn-sigma", "l1", "a2snn-m4", "authors-m5", "sgd", "pgd")
GO_ON = (
    EVALUATE,
    f"{FAST} --fgsm --pgd --adaptive-pgd --eps 0.1",
    "train --resume run --epochs {epochs} --threads 1 --json",
)


def _case(name: str, options: str) -> Case:
    return Case(f"train/{name}", (f"{TRAIN} {options}".strip(),))


def _old(name: str) -> Case:
    epochs = 5 if name.startswith("trained") else 3
    commands = tuple(command.format(epochs=epochs) for command in GO_ON)
    commands = commands[:2] if name == "authors-m5" else commands  # its schedule is over all epochs
    return Case(f"old-run/{name}", commands, after=f"train/{name}", old_run=True)


CASES = (
    Case("digits", ("data verify digits",)),
    Case("recipes", tuple(SHOWN)),
    *(_case(name, options) for name, options in TRAININGS.items()),
    *(Case(f"train/{name}", stopped=f"{TRAIN} {options} {FEW}") for name, options in LARGE.items()),
    Case("train/longer", ("train --resume run --epochs 4 --threads 1 --json",), after="train/lenet5"),
    Case("train/longer-sgd", ("train --resume run --epochs 4 --threads 1 --json",), after="train/sgd"),
    Case("train/longer-m4", ("train --resume run --epochs 4 --threads 1 --json",), after="train/a2snn-m4"),
    Case(
        "train/stopped",
        ("train --resume run --threads 1 --json",),
        stopped=f"{TRAIN} --epochs 30 --schedule cosine --learn-sigma --sigma-reward 0.1",
    ),
    Case("train/noise-only", (f"{TRAIN} --train-noise-only run --name noise --lr 0.01",), after="train/trained"),
    Case(
        "train/noise-only-features",
        (f"{TRAIN} --train-noise-only run --name noise {FEATURES} --max-entropy 0.1 --alignment 0.5 --lr 0.01",),
        after="train/trained-features",
    ),
    Case("train/mnist", stopped=f"{TRAIN} --dataset mnist", data="mnist"),
    Case("train/cifar10", stopped=f"{TRAIN} --recipe a2snn-m5 --dataset cifar10 {FEW}", data="cifar10"),
    Case("train/colour-resnet18", (COLOUR_ATTACK,), stopped=f"{COLOUR} --recipe a2snn-m5 --model resnet18", data=NOISE),
    Case("train/colour-cnn5", (COLOUR_ATTACK,), stopped=f"{COLOUR} --model cnn5 --adversarial pgd", data=NOISE),
    *(Case(f"attack/{name}", (command,), after=f"train/{run}") for name, (run, command) in ATTACKS.items()),
    Case(
        "evaluate/trained",
        (
            EVALUATE,
            f"{EVALUATE} --average 3 --draws 3",
            f"{EVALUATE} --inference-sigma 0",
            f"{EVALUATE} --conv winograd",
        ),
        after="train/trained",
    ),
    Case("evaluate/features", (EVALUATE, f"{EVALUATE} --checkpoint best --seed 3"), after="train/trained-features"),
    Case("checklist/trained", (CHECKLIST,), after="train/trained"),
    Case("checklist/features", (f"{CHECKLIST} --average 2 --pixels 1 --pixels 2",), after="train/trained-features"),
    Case("checklist/plain", (CHECKLIST,), after="train/trained-plain"),
    Case("audit/all", ("audit --json",)),
    Case("audit/trained", (AUDIT_RUN,), after="train/trained"),
    *(Case(f"python/{name}", script=SCRIPT, after=f"train/{name}") for name in ("trained", "trained-features")),
    *(_old(name) for name in OLD_RUNS),
)

BY_NAME = {case.name: case for case in CASES}


def with_needed(chosen: list[Case]) -> list[Case]:
    """Those cases and the cases whose runs they begin with, in the order of the table."""
    names = set[str]()
    for case in chosen:
        while case.name not in names:
            names.add(case.name)
            case = BY_NAME.get(case.after, case)
    return [case for case in CASES if case.name in names]
