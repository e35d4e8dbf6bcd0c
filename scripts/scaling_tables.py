"""The tables of the cost model, each a head and rows of cells."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from scaling_costs import NETWORKS, Case, Network, Seconds, hosts
from scaling_dry_run import Step, formula
from scaling_wire import sent

Table = tuple[tuple[str, ...], list[list[str]]]
NAMES = {"lenet5": "LeNet-5", "cnn5": "CNN5", "resnet18": "ResNet-18"}
RUNS = (
    *(("lenet5", 128, ranks) for ranks in (2, 3, 8, 100, 128, 1024)),
    *(("cnn5", 1024, ranks) for ranks in (8, 1000, 1024)),
    *(("resnet18", 128, ranks) for ranks in (8, 128, 1024)),
)
"""The dry runs: a training, the micro-batches of its batch, and the ranks."""
CASES = tuple(Case(name, *sizes) for name in NAMES for sizes in ((128, 8), (1024, 8), (8192, 64), (8192, 8)))
SHOWN = (2, 8, 64, 256, 1024)
MIDDLE = NETWORKS[1]


def megabytes(count: float) -> str:
    return f"{count / 1e6:.3g} MB"


def dry_runs() -> Table:
    """Messages and bytes of a rank in a step, beside the formula: of the mean rank, and of the one that sends most."""
    head = ("network", "M", "ranks", "messages", "sent, mean", "formula, M/R", "sent, most", "formula, ⌈M/R⌉", "apart")
    rows = []
    for name, parts, ranks in RUNS:
        content = hosts()[name].content
        step = Step.of(content, parts, ranks)
        summed, met = step.summed, step.met
        mean, most = (formula(content, m, ranks) for m in (parts / ranks, -(-parts // ranks)))
        figures = map(megabytes, (summed.sent.mean(), mean, summed.sent.max(), most))
        apart = max(abs(summed.sent.mean() - mean), abs(summed.sent.max() - most))
        cells = [NAMES[name], f"{parts}", f"{ranks:,}", f"{summed.messages.max():,}", *figures, f"{apart:.0f} B"]
        others = (megabytes(summed.received.max()), f"{met.messages.max():,}", megabytes(met.sent.mean()))
        rows.append([*cells, *others])
    return (*head, "received, most", "meetings' messages", "meetings, sent"), rows


def wires(ranks: int, parts: int = 4) -> Table:
    """Bytes that the connections of each rank really carried in a step, beside the dry run."""
    head = ("network", "M", "rank", "sent, bytes", "dry run", "more")
    rows = []
    for name, real in sent(ranks, list(NAMES), parts).items():
        step = Step.of(hosts()[name].content, parts, ranks)
        for rank, (count, dry) in enumerate(zip(real, step.met.sent + step.summed.sent, strict=True)):
            more = f"{100 * (count - dry) / dry:.2f} %"
            rows.append([NAMES[name], f"{parts}", f"{rank} of {ranks}", f"{count:,.0f}", f"{dry:,}", more])
    return head, rows


def best(case: Case, network: Network) -> str:
    count, speedup = case.best(network)
    return f"{speedup:.1f} at {count}"


def speedups() -> Table:
    """How many times as fast as one host with micro-batches of 64."""
    own = (f"{network.name.split(' ')[0]} G" for network in NETWORKS)
    head = ("network", "batch", "micro", "1 host", *(f"{n:,}" for n in SHOWN), *(f"best, {name}" for name in own))
    rows = []
    for case in CASES:
        values = [f"{case.speedup(n, MIDDLE):.1f}" for n in (1, *SHOWN)]
        cells = [NAMES[case.training], f"{case.batch}", f"{case.micro}", *values]
        rows.append([*cells, *(best(case, network) for network in NETWORKS)])
    return head, rows


def shares() -> Table:
    """Where the time of a step goes, in milliseconds."""
    head = ("network", "micro", "hosts", *(f.name for f in fields(Seconds)), "all")
    rows = []
    for name in NAMES:
        for micro, count in ((64, 8), (8, 64), (8, 1024)):
            found = Case(name, 8192, micro).seconds(count, MIDDLE)
            values = [getattr(found, f.name) for f in fields(Seconds)]
            milliseconds = (f"{1e3 * v:.1f}" if v < 1 else f"{1e3 * v:.0f}" for v in (*values, found.total))
            rows.append([NAMES[name], f"{micro}", f"{count:,}", *milliseconds])
    return head, rows


@dataclass(frozen=True)
class Change:
    """What might be chosen or built otherwise, and what becomes of a case by it; hosts: None for the best number."""

    name: str
    of: Callable[[Case], Case]
    hosts: int | None = None

    def effect(self, name: str, network: Network) -> str:
        case = self.of(Case(name, 8192, 64))
        return best(case, network) if self.hosts is None else f"{case.speedup(self.hosts, network):.1f} at {self.hosts}"


def changed(**fields: Any) -> Callable[[Case], Case]:
    return lambda case: replace(case, **fields)


CHANGES = (
    Change("none, on 8 hosts", changed(), 8),
    Change("a chain, on 8 hosts", changed(chain=True), 8),
    Change("none", changed()),
    Change("batch 65,536", changed(batch=65536)),
    Change("micro-batch 16", changed(micro=16)),
    Change("micro-batch 8", changed(micro=8)),
    Change("micro-batch 8, sums sent directly", changed(micro=8, direct=True)),
    Change("micro-batch 8, woken by MPI", changed(micro=8, patient=True)),
    Change("micro-batch 8, both", changed(micro=8, direct=True, patient=True)),
    Change("both, and the owner updates its piece", changed(micro=8, direct=True, patient=True, own=True)),
)


def past() -> Table:
    """The speed-up that each change allows, and on how many hosts."""
    columns = [(name, network) for name in NAMES for network in NETWORKS[:2]]
    head = ("change", *(f"{NAMES[name]}, {network.name.split(' ')[0]} G" for name, network in columns))
    return head, [[change.name, *(change.effect(*column) for column in columns)] for change in CHANGES]


TABLES: dict[str, Callable[[], Table]] = {"dry-run": dry_runs, "speed-up": speedups, "shares": shares, "past": past}
