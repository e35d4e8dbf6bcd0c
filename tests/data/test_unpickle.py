"""Pickles of CIFAR-10's Python version are read as data: what a hostile one asks for is named and never done."""

import collections
import os
import pickle
import warnings

import numpy as np
import pytest
from cifar_files import binary, python2, small_records
from hypothesis import given
from hypothesis import strategies as st

from npsnn.data.cifar_records import parse_pickle
from npsnn.data.unpickle import loads

COUNT = 3
PIXELS = np.random.default_rng(1).integers(0, 256, (COUNT, 3072), np.uint8)
LABELS = [3, 0, 9]
BATCH = {b"data": PIXELS, b"labels": LABELS}
SOUND = python2(LABELS, PIXELS)


class Hostile:
    """Pickled as a call of `function`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def refused(content, *said):
    """The one line of error of a file named the/file."""
    with pytest.raises(ValueError) as caught:
        parse_pickle(content, "the/file", COUNT)
    text = str(caught.value)
    assert text.startswith("the/file ") and "\n" not in text and all(s in text for s in said), text


def test_the_bytes_written_here_are_what_pickle_reads():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's module has another name by now
        batch = pickle.loads(SOUND, encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], PIXELS)
    assert batch[b"labels"] == LABELS and batch[b"filenames"][2] == b"a_2.png"


def test_sound_batches():
    assert parse_pickle(SOUND, "f", COUNT).tobytes() == binary(LABELS, PIXELS)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["bytes keys", "text keys", "read-only", "file names", "names of NumPy 1"])
def test_sound_batches_of_every_protocol(protocol, kind):
    pixels = PIXELS.copy()
    pixels.flags.writeable = kind != "read-only"
    batch = {"data": pixels, "labels": LABELS} if kind == "text keys" else BATCH | {b"data": pixels}
    if kind == "file names":
        batch = {b"batch_label": b"training", b"filenames": [f"ü_{i}.png" for i in range(COUNT)]} | batch
    content = pickle.dumps(batch, protocol)
    if kind == "names of NumPy 1":
        content = content.replace(b"numpy._core", b"numpy.core").replace(b"\x8c\x16numpy.core", b"\x8c\x15numpy.core")
        content = content.replace(b"\x8c\x13numpy.core", b"\x8c\x12numpy.core")
    assert parse_pickle(content, "f", COUNT).tobytes() == binary(LABELS, PIXELS)


def test_sound_batches_of_python_2s_protocol_0():
    """Strings in quotation marks and numbers in decimals, with escapes for most of the bytes."""
    raw = repr(PIXELS.tobytes())[1:].encode()
    content = b"".join(
        [
            b"(dp1\nS'labels'\np2\n(lp3\n" + b"".join(b"I%d\na" % k for k in LABELS) + b"sS'data'\np4\n",
            b"cnumpy.core.multiarray\n_reconstruct\np5\n(cnumpy\nndarray\np6\n(I0\ntp7\nS'b'\np8\ntp9\nRp10\n",
            b"(I1\n(L%dL\nI3072\ntp11\ncnumpy\ndtype\np12\n(S'u1'\np13\nI0\nI1\ntp14\nRp15\n(I3\nS'|'\np16\n" % COUNT,
            b"NNNI-1\nI-1\nI0\ntp17\nbI00\nS" + raw + b"\np18\ntp19\nbs.",
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's module has another name by now
        np.testing.assert_array_equal(pickle.loads(content, encoding="bytes")[b"data"], PIXELS)
    assert parse_pickle(content, "f", COUNT).tobytes() == binary(LABELS, PIXELS)


def test_the_many_references_of_a_real_batch():
    labels, pixels = small_records()["data_batch_2"]
    assert parse_pickle(python2(labels, pixels), "f", len(labels)).tobytes() == binary(labels, pixels)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("place", ["top", "value", "nested", "after the batch"])
def test_a_call_is_named_and_not_made(tmp_path, protocol, place):
    call = Hostile(os.system, f"touch {tmp_path / 'done'}")
    content = {"top": call, "value": {"data": call}, "nested": {"x": [[call]]}, "after the batch": [[1], call]}[place]
    packed = pickle.dumps(content, protocol)
    refused(packed, f"'{os.system.__module__}.system'")
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Hostile(eval, "1"), "builtins.eval"),
        (Hostile(getattr, "x", "upper"), "builtins.getattr"),
        (Hostile(np.fromfile, "/etc/hostname"), "fromfile"),
        (collections.OrderedDict(a=1), "collections.OrderedDict"),
        ({1, 2}, "opcode"),
        (2.5, "opcode"),
        (bytearray(b"x"), "bytearray"),
    ],
)
def test_other_types_and_functions(value, name):
    refused(pickle.dumps({"data": value}, 4), name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x02(S'a'\ni" + b"os\nsystem\n.", "'os.system'"),
        (b"S'a\n.", "without quotation marks"),
        (b"S'\\xg0'\n.", "no whole and sound pickle"),
        (b"c_codecs\nencode\n(Va\nVrot13\ntR.", "encodes what is no text of bytes"),
        (b"c_codecs\nencode\n(V\\u0100\nVlatin1\ntR.", "no whole and sound pickle"),
        (b"c_codecs\ndecode\n.", "'_codecs.decode'"),
        (b"c__builtin__\nbytes\n.", "'__builtin__.bytes'"),
        (b"\x80\x02(ios\nsystem\n.", "'os.system'"),
        (b"\x80\x02cnumpy\nload\n.", "'numpy.load'"),
        (b"\x80\x02cnumpy.core.multiarray\nfrombuffer\n.", "'numpy.core.multiarray.frombuffer'"),
        (b"\x80\x04\x8c\x05numpyK\x01\x93.", "names a global by what is no string"),
        (b"\x80\x02Pabc\n.", "opcode PERSID"),
        (b"\x80\x02\x82\x01.", "opcode EXT1"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "opcode NEWOBJ"),
        (b"\x80\x05\x97.", "opcode NEXT_BUFFER"),
        (b"\x80\x02K\x01)R.", "calls what is no function"),
        (b"\x80\x02cnumpy\ndtype\n)R)R.", "calls what is no function"),
        (b"\x80\x02cnumpy\ndtype\nK\x01R.", "calls what is no function"),
        (b"\x80\x02cnumpy\ndtype\n}b.", "gives a state to what is no object"),
        (b"\x80\x02}}b.", "gives a state to what is no object"),
        (b"\x80\x02K\x01(K\x02e.", "appends to what is no list"),
        (b"\x80\x02](K\x01K\x02u.", "sets an item of what is no dictionary"),
        (b"\x80\x02}K\x01K\x02s.", "strings for keys"),
        (b"\x80\x02}(X\x01\x00\x00\x00au.", "no whole and sound pickle"),
        (b"\x80\x02e.", "no whole and sound pickle"),
        (b"\x80\x02(]K\x01\x86.", "dictionary, got tuple"),
        (b"\x80\x02]((K\x01\x86.", "stack runs empty"),
        (b"\x80\x02h\x05.", "no whole and sound pickle"),
        (b"\x80\x02K\x01K\x02.", "no whole and sound pickle"),
        (b"\x80\x02T\xff\xff\xff\x7fabc.", "no whole and sound pickle"),
        (b"\xff", "no whole and sound pickle"),
        (b"", "no whole and sound pickle"),
        (b"<html>not found</html>", "no whole and sound pickle"),
        (b"\x80\x02N.", "must hold a dictionary, got NoneType"),
    ],
)
def test_programs_that_no_batch_holds(content, said):
    refused(content, said)


@pytest.mark.slow
def test_little_files_cannot_take_much(monkeypatch):
    # A memo of two thousand million entries, and a tuple nested too deep to be hashed by recursion.
    assert loads(b"\x80\x02]r\xff\xff\xff\x7f.", "f") == []
    refused(b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s.", "strings for keys")
    # Half a million lists, and a text that becomes bytes a thousand times.
    refused(b"\x80\x02(" + b"]" * (1 << 19) + b"l.", "it has more than 524,288 instructions")
    text = b"X" + (10_000).to_bytes(4, "little") + b"a" * 10_000
    again = (
        b"(c_codecs\nencode\n"
        + text
        + b"q\x01X\x06\0\0\0latin1q\x02\x86R"
        + b"c_codecs\nencode\nh\x01h\x02\x86R" * 1000
    )
    refused(again + b"l.", "it encodes more than it holds")


def changed(old, new):
    assert old in SOUND
    return SOUND.replace(old, new)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed(b"U\x02u1", b"U\x02i1"), r"uint8 array of shape (3, 3072)"),
        (changed(b"U\x02u1", b"U\x02O8"), "uint8 array"),
        (changed(b"K\x01M\x03\x00M\x00\x0c", b"K\x01M\x00\x0cM\x03\x00"), "uint8 array"),
        (changed(b"K\x01M\x03\x00M\x00\x0c", b"K\x01M\x04\x00M\x00\x0c"), "uint8 array"),
        (changed(b"tb\x89T", b"tb\x88T"), "row-major"),
        (changed(b"U\x04data", b"U\x04dat_"), "must hold data"),
        (changed(b"U\x06labels", b"U\x06label_"), "must hold labels, a list of 3 numbers, got NoneType"),
        (changed(b"K\x03K\x00K\x09e", b"K\x03K\x00K\x0ae"), "must hold labels 0 to 9, got 10"),
        (changed(b"K\x03K\x00K\x09e", b"K\x03K\x00J\xff\xff\xff\xffe"), "must hold labels 0 to 9, got -1"),
        (changed(b"K\x03K\x00K\x09e", b"K\x03K\x00K\x09K\x09e"), "a list of 3 numbers, got 4 of them"),
        (changed(b"K\x03K\x00K\x09e", b"K\x03K\x00\x88e"), "must hold labels 0 to 9, got bool"),
        (changed(b"K\x03K\x00K\x09e", b"K\x03K\x00U\x019e"), "must hold labels 0 to 9, got bytes"),
        (pickle.dumps({"data": PIXELS.tolist(), "labels": LABELS}, 4), "must hold data"),
        (pickle.dumps({"data": PIXELS.astype(np.int16), "labels": LABELS}, 4), "must hold data"),
    ],
)
def test_batches_of_another_content(content, said):
    refused(content, said)


@given(end=st.integers(0, len(SOUND) - 1))
def test_truncated_anywhere(end):
    refused(SOUND[:end])


@given(where=st.integers(0, 250) | st.integers(1, 80).map(lambda i: len(SOUND) - i), byte=st.integers(0, 255))
def test_a_changed_byte_is_an_array_or_one_line(where, byte):
    content = bytearray(SOUND)
    content[where] = byte
    try:
        assert parse_pickle(bytes(content), "the/file", COUNT).shape == (COUNT, 3073)
    except ValueError as error:
        assert str(error).startswith("the/file ") and "\n" not in str(error)


@given(content=st.binary(max_size=40) | st.binary(max_size=40).map(lambda tail: b"\x80\x02}]()" + tail))
def test_any_bytes_are_one_line(content):
    refused(content)
