"""Contents: append and overwrite, deletion, copies, offsets, digests, paths that are refused."""

from __future__ import annotations

import io
import random
from hashlib import blake2b

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs


def digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()


def file(commit, path):
    return pfs.File(commit=commit, path=path)


def read(client, commit, path):
    return client.pfs.pfs_file(file(commit, path)).read()


def names(client, commit, path="/"):
    return [
        info.file.path
        for info in client.pfs.walk_file(file=file(commit, path))
        if info.file_type == pfs.FileType.FILE
    ]


def modify(client, commit, *operations):
    client.pfs.modify_file(iter([pfs.ModifyFileRequest(set_commit=commit), *operations]))


def add(path, data):
    return pfs.ModifyFileRequest(add_file=pfs.AddFile(path=path, raw=data))


def delete(path):
    return pfs.ModifyFileRequest(delete_file=pfs.DeleteFile(path=path))


def test_overwrite_and_append(client, master, put):
    put(master, {"/a": b"one"})
    assert read(client, put(master, {"/a": b"two"}), "/a") == b"two"
    assert read(client, put(master, {"/a": b"+three"}, append=True), "/a") == b"two+three"


def test_adds_of_one_stream_append_to_each_other(client, master):
    commit = client.pfs.start_commit(branch=master)
    modify(client, commit, add("/a", b"1"), add("/b", b"x"), add("/a", b"2"), add("/a", b"3"))
    assert read(client, commit, "/a") == b"123"
    modify(client, commit, add("/a", b"4"), delete("/a"), add("/a", b"5"), add("/a", b"6"))
    assert read(client, commit, "/a") == b"56"
    client.pfs.finish_commit(commit=commit)
    assert read(client, commit, "/a") == b"56"


def test_delete_needs_the_slash_for_a_directory(client, master, put):
    put(master, {"/d/a": b"1", "/d/e/b": b"2", "/da": b"3", "/d.x": b"4"})
    assert names(client, put(master, {}, delete=("/d",))) == ["/d.x", "/d/a", "/d/e/b", "/da"]
    assert names(client, put(master, {}, delete=("/d/",))) == ["/d.x", "/da"]
    assert names(client, put(master, {}, delete=("/da/", "/nothing", "/nothing/"))) == ["/d.x", "/da"]


def test_replacing_everything_leaves_no_stale_file(client, master, put):
    put(master, {"/d/a": b"1", "/b": b"2"})
    commit = put(master, {"/d/c": b"3"}, delete=("/",))
    assert names(client, commit) == ["/d/c"]
    assert client.pfs.inspect_commit(commit=commit).details.size_bytes == 1


def test_a_stream_that_breaks_off_leaves_nothing(client, master):
    commit = client.pfs.start_commit(branch=master)
    modify(client, commit, add("/kept", b"1"))

    def breaking():
        yield pfs.ModifyFileRequest(set_commit=commit)
        yield add("/lost", b"1" * 100_000)
        yield delete("/kept")
        raise OSError("the source broke off")

    with pytest.raises(Exception, match=r"Exception iterating requests|Iterating requests|broke off"):
        client.pfs.modify_file(breaking())
    client.pfs.finish_commit(commit=commit)
    assert names(client, commit) == ["/kept"]


def test_a_refused_operation_undoes_the_whole_stream(client, master, refused):
    commit = client.pfs.start_commit(branch=master)
    refused(StatusCode.UNKNOWN, lambda: modify(client, commit, add("/good", b"1"), add("/b*d", b"2")))
    client.pfs.finish_commit(commit=commit)
    assert names(client, commit) == []


@pytest.mark.parametrize(
    "path",
    ["/image (1).jpg", "/a+b.csv", "/naïve.txt", "/a*b", "/a?b", "/[x]", "/{x}", "/a!b", "/a@b", "/a^b", "/tab\tx",
     "/a/../b", "/./a", ".."],
)  # fmt: skip
def test_paths_that_are_refused(client, master, refused, path):
    commit = client.pfs.start_commit(branch=master)
    text = refused(
        StatusCode.UNKNOWN, lambda: client.pfs.put_file_from_bytes(commit=commit, path=path, data=b"1")
    )
    assert f"path ({path}) invalid: " in text
    client.pfs.finish_commit(commit=commit)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("a", "/a"),
        ("//a//b", "/a/b"),
        ("/with space", "/with space"),
        ("/~a,b;c=d%20&e#f$'g\"", "/~a,b;c=d%20&e#f$'g\""),
    ],
)
def test_paths_that_are_cleaned(client, master, put, given, stored):
    assert names(client, put(master, {given: b"1"})) == [stored]


def test_first_message_must_set_the_commit(client, refused):
    refused(StatusCode.INVALID_ARGUMENT, lambda: client.pfs.modify_file(iter([add("/a", b"1")])))


def test_empty_file_and_offsets(client, master, put):
    commit = put(master, {"/empty": b"", "/ten": b"0123456789"})
    assert read(client, commit, "/empty") == b""

    def from_(offset):
        return b"".join(
            piece.value for piece in client.pfs.get_file(file=file(commit, "/ten"), offset=offset)
        )

    assert [from_(0), from_(3), from_(9), from_(10)] == [b"0123456789", b"3456789", b"9", b""]


def test_get_file_takes_a_glob(client, master, put, refused):
    commit = put(master, {"/d/a.txt": b"1", "/d/b.txt": b"2", "/e/c.csv": b"3"})
    assert read(client, commit, "/*/*.csv") == b"3"

    def get(path):
        return lambda: client.pfs.get_file(file=file(commit, path))

    assert "matched multiple files" in refused(StatusCode.UNKNOWN, get("/d/*.txt"))
    assert "Use GetFileTAR instead" in refused(StatusCode.UNKNOWN, get("/d"))
    assert "Use GetFileTAR instead" in refused(StatusCode.UNKNOWN, get("/d/"))
    refused(StatusCode.NOT_FOUND, get("/nothing"))
    refused(StatusCode.NOT_FOUND, get("/d/*.csv"))


def test_digests_of_files_and_directories(client, master, put):
    commit = put(master, {"/a": b"hello", "/d/b": b"", "/d/c": b"x" * 999_999})

    def hash_of(path):
        return client.pfs.inspect_file(file=file(commit, path)).hash

    hello, empty, large = digest(digest(b"hello")), digest(b""), digest(digest(b"x" * 999_999))
    assert (hash_of("/a"), hash_of("/d/b"), hash_of("/d/c")) == (hello, empty, large)
    assert hash_of("/d/") == digest(empty + large)
    assert hash_of("/") == digest(hello + digest(empty + large))


def test_equal_content_has_equal_digest_however_it_was_written(client, master, put):
    data = random.Random(7).randbytes(1_500_000)
    put(master, {"/once": data, "/pieces": data[:400_000]})
    put(master, {"/pieces": data[400_000:1_000_001]}, append=True)
    commit = put(master, {"/pieces": data[1_000_001:]}, append=True)
    once, pieces = (client.pfs.inspect_file(file=file(commit, path)) for path in ("/once", "/pieces"))
    assert once.size_bytes == pieces.size_bytes == len(data)
    assert once.hash == pieces.hash
    assert read(client, commit, "/pieces") == data


def test_a_file_of_several_messages(client, master):
    data = random.Random(1).randbytes(21 * 1024 * 1024 + 17)
    with client.pfs.commit(branch=master) as commit:
        commit.put_file_from_file(path="/large", file=io.BytesIO(data))
    assert read(client, commit, "/large") == data
    info = client.pfs.inspect_file(file=file(commit, "/large"))
    assert info.size_bytes == len(data)
    tail = b"".join(p.value for p in client.pfs.get_file(file=file(commit, "/large"), offset=len(data) - 5))
    assert tail == data[-5:]


def test_copy_file_and_directory(client, master, put, refused):
    first = put(master, {"/d/a": b"1", "/d/e/b": b"2"})
    with client.pfs.commit(branch=master) as commit:
        commit.copy_file(src=file(first, "/d"), dst="/copy")
        commit.copy_file(src=file(first, "/d/a"), dst="/one")
        commit.copy_file(src=file(first, "/d/e/b"), dst="/one", append=True)
        refused(
            StatusCode.NOT_FOUND,
            lambda: client.pfs.copy_file(
                commit=pfs.Commit(repo=commit.repo, id=commit.id), src=file(first, "/no"), dst="/x"
            ),
        )
    assert names(client, commit) == ["/copy/a", "/copy/e/b", "/d/a", "/d/e/b", "/one"]
    assert read(client, commit, "/one") == b"12"


def test_put_files_of_a_folder(client, master, tmp_path):
    for name, content in {"x/a.txt": b"1", "x/y/b.txt": b"2", "c.txt": b""}.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with client.pfs.commit(branch=master) as commit:
        commit.put_files(source=tmp_path / "source", path="/in")
    assert names(client, commit) == ["/in/c.txt", "/in/x/a.txt", "/in/x/y/b.txt"]


def test_file_sets_are_staged_and_added_in_one_step(client, master, put, refused):
    put(master, {"/a": b"1", "/b": b"2"})
    staged = client.pfs.create_file_set(
        iter([pfs.ModifyFileRequest(delete_file=pfs.DeleteFile(path="/a")), add("/b", b"3"), add("/c", b"4")])
    ).file_set_id
    commit = client.pfs.start_commit(branch=master)
    assert names(client, commit) == ["/a", "/b"]
    client.pfs.add_file_set(commit=commit, file_set_id=staged)
    client.pfs.finish_commit(commit=commit)
    assert names(client, commit) == ["/b", "/c"]
    assert read(client, commit, "/b") == b"23"
    refused(StatusCode.UNKNOWN, lambda: client.pfs.add_file_set(commit=commit, file_set_id=staged))


def test_tar_has_directories_and_absolute_names(client, master, put, refused):
    commit = put(master, {"/d/a": b"1", "/d/e/b": b"22", "/z": b"", "/" + "long/" * 40 + "name": b"deep"})
    with client.pfs.pfs_tar_file(file(commit, "/d")) as tar:
        assert [(member.name, member.size, member.isdir()) for member in tar] == [
            ("", 0, True),
            ("d", 0, True),
            ("d/a", 1, False),
            ("d/e", 0, True),
            ("d/e/b", 2, False),
        ]
    contents = {}
    with client.pfs.pfs_tar_file(file(commit, "/")) as tar:
        for member in tar:
            if member.isfile():
                contents[member.name] = tar.extractfile(member).read()
    assert contents == {"d/a": b"1", "d/e/b": b"22", "z": b"", "long/" * 40 + "name": b"deep"}
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.get_file_tar(file=file(commit, "/nothing")))


def test_tar_of_a_range_of_paths(client, master, put):
    commit = put(master, {f"/f{n}": b"x" * n for n in range(6)})
    stream = client.pfs.get_file_tar(
        file=file(commit, "/"), path_range=pfs.PathRange(lower="/f2", upper="/f4")
    )
    data = b"".join(piece.value for piece in stream)
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [member.name for member in tar if member.isfile()] == ["/f2", "/f3"]


@pytest.mark.parametrize(
    "call",
    [
        lambda c, f: c.pfs.get_file(file=f, url="s3://bucket/key"),
        lambda c, f: c.pps.list_pipeline(),
        lambda c, f: c.pfs.fsck(),
    ],
    ids=["egress", "pipelines", "fsck"],
)
def test_what_is_not_there_says_so(client, master, put, refused, request, call):
    if "pachd" in request.node.name.split("[")[1].split("-"):
        pytest.skip("a real pachd has these")
    commit = put(master, {"/a": b"1"})
    assert "not implemented" in refused(StatusCode.UNIMPLEMENTED, lambda: call(client, file(commit, "/a")))
