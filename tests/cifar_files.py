"""Small files of CIFAR-10's true formats, written without the reader: Python 2's pickles byte by byte, and archives."""

import gzip
import io
import tarfile

import numpy as np

COUNT = 20
FOLDERS = {"py": "cifar-10-batches-py", "bin": "cifar-10-batches-bin"}
ARCHIVES = {"py": "cifar-10-python.tar.gz", "bin": "cifar-10-binary.tar.gz"}
NAMES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def small_records(count=COUNT):
    """name -> (labels, pixels): random images of each file, each class equally often over all five and in the test.

    As in the official set, a single training file is not balanced.
    """
    rng = np.random.default_rng(7)
    labels = np.concatenate([rng.permutation(5 * count) % 10, rng.permutation(count) % 10]).astype(np.uint8)
    pixels = rng.integers(0, 256, (len(labels), 3072), np.uint8)
    parts = [slice(i * count, (i + 1) * count) for i in range(6)]
    return {name: (labels[part], pixels[part]) for name, part in zip(NAMES, parts, strict=True)}


def binary(labels, pixels):
    return b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, pixels, strict=True))


def short(text):
    return b"U" + bytes([len(text)]) + text


def python2(labels, pixels):
    """What Python 2's cPickle writes, protocol 2, of one batch with its array, memo and file names."""
    n, raw = len(labels), pixels.tobytes()
    return b"".join(
        [
            b"\x80\x02}q\x01(" + short(b"batch_label") + b"q\x02" + short(b"training batch 1 of 5") + b"q\x03",
            short(b"labels") + b"q\x04]q\x05(" + b"".join(b"K" + bytes([k]) for k in labels) + b"e",
            short(b"data") + b"q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08",
            b"K\x00\x85" + short(b"b") + b"\x87Rq\x09(K\x01M" + n.to_bytes(2, "little") + b"M\x00\x0c\x86",
            b"cnumpy\ndtype\nq\x0a" + short(b"u1") + b"K\x00K\x01\x87Rq\x0b(K\x03" + short(b"|") + b"NNN",
            b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + len(raw).to_bytes(4, "little") + raw + b"tb",
            short(b"filenames") + b"q\x0c]q\x0d(" + b"".join(short(b"a_%d.png" % i) for i in range(n)) + b"eu.",
        ]
    )


def archive(folder, contents):
    """A .tar.gz with the files in another order, and with others, as the official ones have them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        entry = tarfile.TarInfo(folder)
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
        for name, content in [("readme.html", b"<html>"), *reversed(contents.items())]:
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), 1)
