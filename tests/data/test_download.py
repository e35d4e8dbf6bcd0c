import gzip
import http.server
import re
import socket
import threading
from hashlib import sha256
from urllib.request import Request

import pytest

from npsnn.data import cifar, fetch, idx, load, svhn
from npsnn.data.download import BLOCK, _Encrypted
from npsnn.data.download import download as download_within

CONTENT = bytes(range(256)) * 1000  # 256 000 bytes: several blocks
DIGEST = sha256(CONTENT).hexdigest()


def download(url, target, sha256, progress=None, as_is=False, limit=512_000):
    download_within(url, target, sha256, limit, progress, as_is)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.bin"
    path.write_bytes(CONTENT)
    return path.as_uri()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "to" / "file.bin"


def left(target):
    """What lies in the target's folder."""
    return sorted(p.name for p in target.parent.iterdir()) if target.parent.exists() else []


@pytest.fixture
def server(monkeypatch):
    """A web server on this machine, with an address for each kind of answer."""
    monkeypatch.setenv("no_proxy", "*")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            kind = self.path.removeprefix("/")
            if kind in ("to-file", "to-other"):
                self.send_response(302)
                self.send_header("Location", "file:///etc/hostname" if kind == "to-file" else "/whole")
                return self.end_headers()
            announced = {"whole": None, "short": str(len(CONTENT) + 5), "endless": None, "odd": "\xb2" * 5000}
            announced |= {"long": str(10**9), "endless-odd": "1e3"}
            if kind not in announced:
                return self.send_error(404, "\x1b[2Jgone")
            self.send_response(200)
            if announced[kind]:
                self.send_header("Content-Length", announced[kind])
            self.end_headers()
            try:
                self.wfile.write(CONTENT)
                while kind.startswith("endless"):
                    self.wfile.write(CONTENT)
            except ConnectionError:
                pass

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def test_file_arrives_and_progress_is_told(source, target):
    calls = []
    download(source, target, DIGEST, lambda done, total: calls.append((done, total)))
    assert target.read_bytes() == CONTENT and left(target) == ["file.bin"]
    sizes = [*range(BLOCK, len(CONTENT), BLOCK), len(CONTENT)]
    assert calls == [(done, len(CONTENT)) for done in sizes]


def test_digest_is_of_the_unpacked_content(tmp_path, target):
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(CONTENT, 1))
    download(packed.as_uri(), target.with_name("file.gz"), DIGEST)
    assert target.with_name("file.gz").read_bytes() == packed.read_bytes()


def test_digest_is_of_the_file_itself_where_it_is_taken_as_it_is(tmp_path, target):
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(CONTENT, 1))
    target = target.with_name("file.tar.gz")
    with pytest.raises(ValueError, match="has the wrong content"):
        download(packed.as_uri(), target, DIGEST, as_is=True)
    assert left(target) == []
    download(packed.as_uri(), target, sha256(packed.read_bytes()).hexdigest(), as_is=True)
    assert target.read_bytes() == packed.read_bytes()


@pytest.mark.parametrize("before", [None, b"older"])
def test_wrong_content_leaves_what_was_there(source, target, before):
    if before is not None:
        target.parent.mkdir()
        target.write_bytes(before)
    with pytest.raises(ValueError) as caught:
        download(source, target, sha256(b"other").hexdigest())
    text = str(caught.value)
    assert text.startswith(f"{source} has the wrong content") and DIGEST[:12] in text and "\n" not in text
    assert str(target.parent) in text
    assert left(target) == ([] if before is None else ["file.bin"])
    assert before is None or target.read_bytes() == before


def test_no_gzip_file_leaves_nothing(source, target):
    with pytest.raises(ValueError, match=r"source\.bin is not a gzip file"):
        download(source, target.with_suffix(".gz"), DIGEST)
    assert left(target) == []


def test_interruption_leaves_nothing(source, target):
    def stop(done, total):
        assert (done, total) == (BLOCK, len(CONTENT)) and len(left(target)) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(source, target, DIGEST, stop)
    assert left(target) == []


def refused(url, target, reason):
    with pytest.raises(OSError) as caught:
        download(url, target, DIGEST)
    text = str(caught.value)
    assert text.startswith(f"cannot download {url} (") and reason in text and "\n" not in text
    assert text.endswith(f"try again, or put the files into {target.parent}")
    assert left(target) == []


def test_absent_address(server, target, tmp_path):
    refused(f"{server}/absent", target, "the server answered 404 ")
    refused((tmp_path / "absent").as_uri(), target, "No such file")


def test_connection_that_closes_early(server, target):
    refused(f"{server}/short", target, "")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("long", "the server announces 1,000,000,000 bytes, the file has at most 512,000"),
        ("endless", "the server sends more than 512,000 bytes"),
        ("endless-odd", "the server sends more than 512,000 bytes"),
        ("to-file", "Redirection to url 'file:///etc/hostname' is not allowed"),
    ],
)
def test_a_server_that_sends_too_much_or_points_elsewhere(server, target, kind, reason):
    calls = []
    with pytest.raises(OSError, match=re.escape(reason)):
        download(f"{server}/{kind}", target, DIGEST, lambda *call: calls.append(call))
    assert left(target) == [] and all(done <= 512_000 for done, _ in calls) and (kind != "long" or calls == [])


@pytest.mark.parametrize("kind", ["odd", "to-other"])
def test_a_length_that_is_no_number_and_a_redirection(server, target, kind):
    download(f"{server}/{kind}", target, DIGEST)
    assert target.read_bytes() == CONTENT


def test_no_way_leads_from_an_encrypted_address_to_an_open_one():
    for newurl in ("http://example.org/x", "ftp://example.org/x"):
        with pytest.raises(OSError, match="which is not encrypted"):
            _Encrypted().redirect_request(Request("https://example.org/"), None, 302, "Found", {}, newurl)
    for start in ("https", "http"):
        followed = _Encrypted().redirect_request(
            Request(f"{start}://example.org/"), None, 302, "Found", {}, "https://example.org/x"
        )
        assert followed.full_url == "https://example.org/x"


def test_all_sets_are_fetched_by_encrypted_connections():
    assert {spec.url.partition(":")[0] for m in (cifar, idx, svhn) for spec in m.SETS.values() if spec.url} == {"https"}


def test_unreachable_server(target, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as taken:  # bound but not listening: nobody answers
        taken.bind(("127.0.0.1", 0))
        refused(f"http://127.0.0.1:{taken.getsockname()[1]}/x", target, "refused")


def test_unknown_length(server, target):
    calls = []
    download(f"{server}/whole", target, DIGEST, lambda done, total: calls.append((done, total)))
    assert target.read_bytes() == CONTENT
    assert calls[-1] == (len(CONTENT), None)


def test_fetch_gets_the_four_files(small, tmp_path):
    folder, calls = tmp_path / "new", []
    raw = fetch("mnist", folder, lambda done, total: calls.append((done, total)))
    assert raw == folder / "MNIST" / "raw"
    assert sorted(p.name for p in raw.iterdir()) == sorted(f"{name}.gz" for name in small.digests)
    assert load("mnist", folder).digests == small.digests
    assert calls == [(size, size) for size in (len((small.source / f"{n}.gz").read_bytes()) for n in small.digests)]


def test_fetch_gets_only_what_is_missing_or_wrong(small, write):
    good, missing, wrong, truncated = small.digests
    kept = (small.raw / f"{good}.gz").read_bytes()
    (small.raw / f"{missing}.gz").unlink()
    write(wrong, b"something else")
    (small.raw / f"{truncated}.gz").write_bytes((small.source / f"{truncated}.gz").read_bytes()[:-4])
    calls = []
    fetch("mnist", small.folder, lambda *call: calls.append(call))
    assert len(calls) == 3 and (small.raw / f"{good}.gz").read_bytes() == kept
    assert load("mnist", small.folder).digests == small.digests


def test_fetch_overrules_a_wrong_plain_file(small):
    name = next(iter(small.digests))
    (small.raw / f"{name}.gz").unlink()
    (small.raw / name).write_bytes(b"wrong")
    fetch("mnist", small.folder)
    assert load("mnist", small.folder).digests == small.digests
