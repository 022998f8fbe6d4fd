"""Sources at their edge: real S3, HTTP and Cloud Storage conversations on loopback."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from chandlery import data
from chandlery.data.sources import CHUNK, open_source
from chandlery.errors import ChandleryError, DataError, NotFoundError, PlatformError
from tests.unit.data.conftest import contents

pytestmark = pytest.mark.slow  # servers

BIG = bytes(range(256)) * (CHUNK // 256) + b"end"
FILES = {"train/image (1).txt": b"one", "train/deep/big": BIG, "train/deep/empty": b"", "train.txt": b"other"}
BELOW = {"image (1).txt": b"one", "deep/big": BIG, "deep/empty": b""}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


class Quiet(BaseHTTPRequestHandler):
    """A handler that keeps connections and does not log."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# HTTP


class Site(Quiet):
    """Files with and without ETag, and everything that can go wrong with one."""

    files: dict[str, bytes] = {}  # noqa: RUF012 (set anew by the fixture)

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Serve by path."""
        path = unquote(urlsplit(self.path).path)
        if path == "/nohead.csv" and self.command == "HEAD":
            self.answer(405)
        elif path == "/moved.csv":
            self.answer(302, Location="/data%20(1).csv")
        elif path == "/secret.csv":
            self.answer(401)
        elif path == "/broken.csv":
            self.answer(500)
        elif path == "/short.csv":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(b"only this")
            self.close_connection = True
        elif path == "/moving.csv":
            etag = '"1"' if self.command == "HEAD" else '"2"'
            self.answer(200, b"abc", ETag=etag)
        elif path in self.files:
            body = self.files[path]
            self.answer(200, body, ETag=f'"{hashlib.md5(body).hexdigest()}"')
        else:
            self.answer(404)


@pytest.fixture
def site() -> Iterator[str]:
    Site.files = {"/data (1).csv": b"1,2\n", "/nohead.csv": b"3\n", "/big.bin": BIG}
    with serving(Site) as address:
        yield address


@pytest.mark.parametrize(
    ("path", "name", "content"),
    [
        ("/data%20(1).csv?token=x", "data (1).csv", b"1,2\n"),
        ("/moved.csv", "moved.csv", b"1,2\n"),
        ("/nohead.csv", "nohead.csv", b"3\n"),
        ("/big.bin", "big.bin", BIG),
    ],
)
def test_http_files(site: str, path: str, name: str, content: bytes) -> None:
    made = data.commit(site + path, "web")
    assert contents(data.checkout("web", made.commit)) == {name: content}
    again = data.commit(site + path, "web")
    assert (again.commit, again.changed) == (made.commit, False)


def test_http_files_that_change_are_committed_again(site: str) -> None:
    first = data.commit(f"{site}/big.bin", "web")
    Site.files["/big.bin"] = b"new"
    second = data.commit(f"{site}/big.bin", "web")
    assert second.commit != first.commit
    assert contents(data.checkout("web", "master")) == {"big.bin": b"new"}


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("/none.csv", NotFoundError, "HTTP 404"),
        ("/secret.csv", PlatformError, "HTTP 401"),
        ("/broken.csv", DataError, "HTTP 500"),
        ("/short.csv", DataError, "broke off"),
        ("/moving.csv", DataError, "changed while it was read"),
    ],
)
def test_http_failures_commit_nothing(site: str, path: str, kind: type[ChandleryError], text: str) -> None:
    first = data.commit(f"{site}/data%20(1).csv", "web")
    with pytest.raises(kind, match=text) as caught:
        data.commit(site + path, "web")
    assert len(str(caught.value).splitlines()) == 2
    with data.connect() as client:
        assert data.resolve(client, "web", "master").commit == first.commit


def test_http_without_a_server() -> None:
    with pytest.raises(PlatformError, match="cannot be reached"):
        data.commit("http://127.0.0.1:1/x.csv", "web")


# S3


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="scans")
    for key, body in {**FILES, "train/": b""}.items():
        client.put_object(Bucket="scans", Key=key, Body=body)
    yield client
    listed = client.list_objects_v2(Bucket="scans").get("Contents", [])
    for item in listed:
        client.delete_object(Bucket="scans", Key=item["Key"])
    client.delete_bucket(Bucket="scans")


def test_s3_prefix_object_and_bucket(s3: Any) -> None:
    made = data.commit("s3://scans/train", "digits")
    assert made.files == 3
    assert contents(data.checkout("digits", "master")) == BELOW
    assert data.commit("s3://scans/train/", "digits").changed is False
    data.commit("s3://scans/train.txt", "digits")
    assert contents(data.checkout("digits", "master")) == {"train.txt": b"other"}
    data.commit("s3://scans", "digits")
    assert contents(data.checkout("digits", "master")) == FILES


def test_s3_listing_has_more_than_one_page(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chandlery.data.sources.s3.PAGE", 2)
    assert [entry.path for entry in open_source("s3://scans/").entries()] == sorted(FILES)


def test_an_s3_object_that_changes_is_not_read(s3: Any) -> None:
    (entry,) = open_source("s3://scans/train.txt").entries()
    s3.put_object(Bucket="scans", Key="train.txt", Body=b"newer")
    with pytest.raises(DataError, match="changed while it was read"):
        list(entry.read())


@pytest.mark.parametrize(
    ("address", "text"), [("s3://nobody/x", "no such bucket"), ("s3://scans/none", "no object there")]
)
def test_s3_things_that_are_not_there(s3: Any, address: str, text: str) -> None:
    with pytest.raises(NotFoundError, match=text):
        data.commit(address, "digits")


def test_s3_without_server_or_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PlatformError, match="no AWS credentials"):
        data.commit("s3://scans/x", "digits")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(PlatformError) as caught:
        data.commit("s3://scans/x", "digits")
    assert "AWS_ENDPOINT_URL" in caught.value.hint


# Google Cloud Storage: the two calls of its JSON API that a source needs


class Storage(Quiet):
    """A bucket named `scans`."""

    objects: dict[str, tuple[bytes, int]] = {}  # noqa: RUF012 (set anew by the fixture)

    def do_GET(self) -> None:
        """List objects, or download a range of one generation."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        elements = parts.path.strip("/").split("/")
        if "/b/scans/o" not in parts.path:
            self.answer(
                404, b'{"error": {"code": 404, "message": "no bucket"}}', Content_Type="application/json"
            )
        elif elements[-1] == "o":
            self.listing(query)
        else:
            self.media(unquote(elements[-1]), query)

    def listing(self, query: dict[str, str]) -> None:
        """Answer two objects a page."""
        names = [name for name in sorted(self.objects) if name.startswith(query.get("prefix", ""))]
        start = int(query.get("pageToken", 0))
        stop = start + min(2, int(query.get("maxResults", 2)))
        items = [
            {"name": name, "bucket": "scans", "size": str(len(body)), "generation": str(generation)}
            for name in names[start:stop]
            for body, generation in [self.objects[name]]
        ]
        page: dict[str, object] = {"kind": "storage#objects", "items": items}
        if stop < len(names):
            page["nextPageToken"] = str(stop)
        self.answer(200, json.dumps(page).encode(), Content_Type="application/json")

    def media(self, name: str, query: dict[str, str]) -> None:
        """Answer a range of an object."""
        body, generation = self.objects[name]
        if query.get("ifGenerationMatch", str(generation)) != str(generation):
            self.answer(412)
            return
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        part = body[int(first) : int(last) + 1]
        self.answer(206, part, Content_Range=f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}")


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Storage.objects = {name: (body, 7) for name, body in {**FILES, "train/": b""}.items()}
    with serving(Storage) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
        yield


def test_gcs_prefix_object_and_bucket(gcs: None) -> None:
    made = data.commit("gs://scans/train", "digits")
    assert made.files == 3
    assert contents(data.checkout("digits", "master")) == BELOW
    assert data.commit("gs://scans/train/", "digits").changed is False
    data.commit("gs://scans/train.txt", "digits")
    assert contents(data.checkout("digits", "master")) == {"train.txt": b"other"}
    data.commit("gs://scans", "digits")
    assert contents(data.checkout("digits", "master")) == FILES


def test_a_new_generation_is_committed_and_an_old_one_not_read(gcs: None) -> None:
    data.commit("gs://scans/train.txt", "digits")
    (entry,) = open_source("gs://scans/train.txt").entries()
    Storage.objects["train.txt"] = (b"newer", 8)
    with pytest.raises(DataError, match="changed while it was read"):
        list(entry.read())
    assert data.commit("gs://scans/train.txt", "digits").changed


@pytest.mark.parametrize(
    ("address", "text"), [("gs://nobody/x", "no such bucket"), ("gs://scans/none", "no object there")]
)
def test_gcs_things_that_are_not_there(gcs: None, address: str, text: str) -> None:
    with pytest.raises(NotFoundError, match=text):
        data.commit(address, "digits")


def test_gcs_without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(PlatformError, match="no Google credentials"):
        data.commit("gs://scans/x", "digits")


def test_a_circle_of_redirects_ends_in_two_lines() -> None:
    import http.server
    import threading

    class Circle(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("location", "/again")
            self.send_header("content-length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815 (the names of the standard library)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Circle)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        with pytest.raises(PlatformError, match="redirects"):
            list(open_source(f"http://127.0.0.1:{server.server_port}/x").entries())
    finally:
        server.shutdown()
        server.server_close()
