"""Small sound files of every kind that npsnn reads, and how each kind is read: what scripts/fuzz.py mutates."""

import gzip
import io
import json
import pickle
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from fuzz_exchange import PACKAGES, sources
from scipy.io import savemat

from npsnn import certify
from npsnn.attacks.parts import Parts, Waiting
from npsnn.certify import table
from npsnn.classifier import Classifier
from npsnn.cli import train as train_command
from npsnn.data import Dataset, Split, cifar, digits, idx, own, svhn
from npsnn.files import journal, json_files
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.containers import Sequential
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.params import flatten
from npsnn.layers.reshape import Flatten
from npsnn.models import Model
from npsnn.runs import checkpoint, provenance
from npsnn.train.config import Config
from npsnn.train.epochs import Epoch, State
from npsnn.train.run_folder import RunFolder
from npsnn.train.saved import read_run
from npsnn.train.training import Training

RNG = np.random.default_rng(3)
COUNT = 10  # images a file


@dataclass(frozen=True)
class Reader:
    """One kind of file. contents: sound ones, by turns; others: sound files beside it; read: raises what is wrong."""

    name: str
    target: str
    contents: tuple[bytes, ...]
    read: Callable[[Path], Any]
    others: dict[str, bytes]


def images(count: int = COUNT) -> np.ndarray:
    return RNG.integers(0, 256, (count, 1, 28, 28), np.uint8)


def idx_readers() -> list[Reader]:
    arrays = {"train": images(), "t10k": images()}
    contents = {}
    for part, array in arrays.items():
        contents[f"{part}-images-idx3-ubyte"] = b"\0\0\x08\x03" + b"\0\0\0\x0a" + 2 * b"\0\0\0\x1c" + array.tobytes()
        contents[f"{part}-labels-idx1-ubyte"] = b"\0\0\x08\x01" + b"\0\0\0\x0a" + bytes(range(COUNT))
    spec = replace(idx.SETS["mnist"], digests={name: sha256(c).hexdigest() for name, c in contents.items()})
    found = []
    for suffix, pack in (("", bytes), (".gz", lambda c: gzip.compress(c, 1, mtime=0))):
        packed = {f"MNIST/raw/{name}{suffix}": pack(content) for name, content in contents.items()}
        for name in ("train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
            target = f"MNIST/raw/{name}{suffix}"
            title = f"IDX {'images' if 'images' in name else 'labels'}{suffix}"
            found.append(Reader(title, target, (packed[target],), lambda folder: idx.load(spec, folder), packed))
    return found


def cifar_readers() -> list[Reader]:
    spec = replace(cifar.SETS["cifar10-unverified"], count=COUNT)
    labels, pixels = list(range(COUNT)), RNG.integers(0, 256, (COUNT, cifar.PIXELS), np.uint8)
    binary = b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, pixels, strict=True))
    pickles = tuple(pickle.dumps({b"data": pixels, b"labels": labels}, protocol) for protocol in range(6))
    python, plain = spec.versions
    found = []
    for name, version, contents in (("CIFAR pickle", python, pickles), ("CIFAR binary", plain, (binary,))):
        others = {f"{version.folder}/{file}{version.suffix}": contents[-1] for file in cifar.FILES}
        target = next(iter(others))
        found.append(Reader(name, target, contents, lambda folder: cifar.load(spec, folder), others))
        archive = _archive(others)
        found.append(
            Reader(f"{name} archive", version.archive, (archive,), lambda folder: cifar.load(spec, folder), {})
        )
    return found


def _archive(contents: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), 1, mtime=0)


def svhn_reader() -> Reader:
    file = io.BytesIO()
    x = RNG.integers(0, 256, (32, 32, 3, COUNT), np.uint8)
    savemat(file, {"X": x, "y": np.arange(1, COUNT + 1, dtype=np.uint8)[:, None]}, do_compression=True)
    content = b"MATLAB 5.0 MAT-file".ljust(116) + file.getvalue()[116:]  # without the time it was written
    spec = replace(svhn.SETS["svhn"], digests=dict.fromkeys((svhn.TRAIN, svhn.TEST), sha256(content).hexdigest()))
    others = {svhn.TRAIN: content, svhn.TEST: content}
    return Reader("SVHN", svhn.TRAIN, (content,), lambda folder: svhn.load(spec, folder), others)


def own_readers() -> list[Reader]:
    """Data of a user's own: arrays, and a folder of images where Pillow is there to read it."""
    arrays = {f"{part}_images": images() for part in ("train", "test")}
    arrays |= {f"{part}_labels": np.arange(COUNT) for part in ("train", "test")}
    contents = []
    for save in (np.savez, np.savez_compressed):
        save(stream := io.BytesIO(), **arrays)
        contents.append(stream.getvalue())
    found = [Reader("own npz", "a.npz", tuple(contents), lambda folder: own.load(str(folder / "a.npz")), {})]
    if find_spec("PIL"):
        draw = import_module("PIL.Image").fromarray
        others, pixels = {}, iter(images(8)[:, 0])
        for part in ("train", "test"):
            for name in ("a/0", "a/1", "b/0", "b/1"):
                draw(next(pixels)).save(stream := io.BytesIO(), "PNG")
                others[f"{part}/{name}.png"] = stream.getvalue()
        target = "train/a/0.png"
        found.append(Reader("own images", target, (others[target],), lambda folder: own.load(str(folder)), others))
    return found


def digits_reader() -> Reader:
    """The digits of the worker's process are few, and drawn once; a cache is read as it was or not at all."""
    drawn = {name: Split(images(size), np.arange(size) % 10) for name, size in (("train", 30), ("test", 10))}
    before = digits.SIZES
    digits.SIZES = {name: len(split) for name, split in drawn.items()}
    content = io.BytesIO()
    digits.write_npz(content, **digits._arrays(drawn))
    digits.SIZES = before
    expected = digits._digests(drawn)

    def read(folder: Path) -> None:
        digits.SIZES, digits.generate = {name: len(split) for name, split in drawn.items()}, drawn.__getitem__
        if digits.verify(folder).digests != expected or digits.load(folder).digests != expected:
            raise AssertionError("other digits are taken for those that were drawn")

    return Reader("digits cache", "digits/digits.npz", (content.getvalue(),), read, {})


@cache
def run_files() -> tuple[Model, Config, dict[str, bytes]]:
    """A small network, the options of its training, and the files of its run."""
    layers = ("conv", Conv2d(2, 5, stride=4)), ("noise", PreactivationNoise(0.5)), ("flatten", Flatten())
    model = Model("small", Sequential((*layers, ("fc", Linear(10, joint=True)))), (1, 28, 28), 10)
    config = Config(epochs=3)
    params = flatten(model.init(np.random.default_rng(0)))
    moments = Training(model).optimizer.init(params)
    last = Epoch(3, 2.5, 0.1, 0.1, 0.1, 0.5, 0.0, None, 1e-3, 1.0, 10.0)
    with TemporaryDirectory() as name:
        folder = Path(name)
        about = {"train": asdict(config), "spec": model.spec(), "arrays": provenance.of_data(dataset())}
        json_files.write_json(folder / checkpoint.CONFIG, about)
        RunFolder(folder, about, [asdict(last)] * 2).save(State(params, moments, 3, 6, 0.5), last)
        journal.append(folder / "attacks.jsonl", {"plan": {"eps": [0.1]}, "result": {"attack": "pgd", "mean": 0.5}})
        return model, config, {f"run/{path.name}": path.read_bytes() for path in folder.iterdir()}


@cache
def dataset() -> Dataset:
    split = Split(images(), np.arange(COUNT))
    return Dataset("digits", split, split, 10, {"train": "0", "test": "1"})


def read_arrays(folder: Path) -> None:
    model, _, others = run_files()
    Classifier.load(folder / "run")
    document, records = json.loads(others[f"run/{checkpoint.CONFIG}"]), others[f"run/{checkpoint.METRICS}"].splitlines()
    RunFolder(folder / "run", document, [json.loads(line) for line in records]).load(Training(model))


def read_config(folder: Path) -> None:
    about, _ = read_run(folder / "run")
    provenance.difference(about, dataset())
    Classifier.load(folder / "run")


def read_lines(folder: Path) -> None:
    json_files.read_lines(folder / "run" / checkpoint.METRICS)
    with suppress(FileNotFoundError):  # no run is finished
        checkpoint.newest_run(folder)


def run_readers() -> list[Reader]:
    contents = run_files()[2]
    reads: dict[str, Callable[[Path], Any]] = {
        checkpoint.LAST: read_arrays,
        checkpoint.CONFIG: read_config,
        checkpoint.METRICS: read_lines,
        "attacks.jsonl": lambda folder: journal.read(folder / "run" / "attacks.jsonl"),
    }
    return [Reader(name, f"run/{name}", (contents[f"run/{name}"],), read, contents) for name, read in reads.items()]


def parts_reader() -> Reader:
    """Parts of an unfinished attack; those that are read are those that were written."""
    x, right = RNG.uniform(size=(4, 1, 2, 2)).astype(np.float32), np.arange(4) / 4
    with TemporaryDirectory() as name:
        parts = Parts(Path(name) / "unfinished.parts")
        parts.begin()
        parts.say(about={"version": "1"}, rounding=["a"])
        waiting, judged = Waiting("pgd-linf-0.1"), Waiting("")
        for n in range(2):
            half = slice(2 * n, 2 * n + 2)
            parts.take(waiting, f"attacked {n}", 2, (x[half], x[half, 0, 0, 0] > 0.5), 1.0)
            parts.take(judged, f"judged {n}", 2, right[half], 1.0)
        parts.flush()
        parts.close()
        content = parts.path.read_bytes()

    def read(folder: Path) -> None:
        found = Parts(folder / "unfinished.parts")
        try:
            keys = [key for key in ("attacked 0", "attacked 1", "judged 0", "judged 1") if key in found]
            loaded, _ = found.load(keys)
            for key, part in loaded.items():
                half = slice(0, 2) if key[-1] == "0" else slice(2, 4)
                same = part == right[half] if key[0] == "j" else part[0] == x[half]
                if not same.all():
                    raise AssertionError("a part is another than was written")
        finally:
            found.close()

    return Reader("unfinished attack", "unfinished.parts", (content,), read, {})


def option_readers() -> list[Reader]:
    toml = b"[train]\nmodel = 'lenet5'\nsigma = 0.5\nlearn-sigma = true\nepochs = 3\n\n[attack]\neps = [0.1, '8/255']\n"
    texts = {"toml": toml, "json": json.dumps({"train": asdict(run_files()[1]), "spec": {}}).encode()}

    def read(path: Path) -> None:
        train_command.command().make_context("train", ["--config", str(path)], auto_envvar_prefix="NPSNN_NONE")

    def reader(kind: str, text: bytes) -> Reader:
        return Reader(
            f"--config {kind}", f"options.{kind}", (text,), lambda folder: read(folder / f"options.{kind}"), {}
        )

    return [reader(kind, text) for kind, text in texts.items()]


def certificate_reader() -> Reader:
    rows = [certify.Certificate(i, i, i - 1, 0.1 * i, 0.9, i, 0.5) for i in range(COUNT)]
    content = (table.HEADER + "".join(map(table.line, rows))).encode()
    return Reader("certificates", "some.tsv", (content,), lambda folder: certify.read(folder / "some.tsv"), {})


def exchange_readers() -> list[Reader]:
    """Networks of other libraries, where the packages are there that read them."""
    kinds = [kind for kind, package in PACKAGES.items() if find_spec(package)]
    made = {kind: sources(kind) for kind in kinds}
    return [Reader(kind, target, some, read, others) for kind, (target, some, read, others) in made.items()]


def left_out() -> dict[str, str]:
    """The kinds of files that nothing here can read, and the package that each lacks."""
    needed = {"own images": ("PIL", "images")} | {kind: (package, package) for kind, package in PACKAGES.items()}
    return {kind: extra for kind, (package, extra) in needed.items() if find_spec(package) is None}


@cache
def readers() -> dict[str, Reader]:
    """All kinds of files by name."""
    every = [*idx_readers(), *cifar_readers(), svhn_reader(), *own_readers(), digits_reader(), *run_readers()]
    every += [parts_reader(), *option_readers(), certificate_reader(), *exchange_readers()]
    return {reader.name: reader for reader in every}
