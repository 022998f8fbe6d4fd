"""What the embedded store promises beyond the port: many processes, any of which may be killed."""

import multiprocessing
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandlery.embedded.resources import EmbeddedStore, ownership, store
from chandlery.errors import ConflictError, PlatformError
from chandlery.resources import TRIAL

# "spawn": SQLite connections must not be carried through a fork.
PROCESSES = multiprocessing.get_context("spawn")


def trial(name: str = "one", **spec):
    return {"apiVersion": TRIAL.api_version, "kind": "Trial", "metadata": {"name": name}, "spec": spec}


def apply_own_field(folder: Path, who: int, times: int) -> None:
    opened = EmbeddedStore(folder)
    for turn in range(times):
        opened.apply(trial(**{f"field{who}": turn}), owner=f"writer{who}")
    opened.close()


def apply_for_ever(folder: Path) -> None:
    opened = EmbeddedStore(folder)
    turn = 0
    while True:
        opened.apply(trial(turn=turn, again=turn))
        turn += 1


def test_writers_in_several_processes_lose_nothing(tmp_path: Path):
    workers = [PROCESSES.Process(target=apply_own_field, args=(tmp_path, who, 40)) for who in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    opened = EmbeddedStore(tmp_path)
    stored = opened.get(TRIAL, "one", "default")
    assert stored["spec"] == {"field0": 39, "field1": 39, "field2": 39}
    assert stored["metadata"]["resourceVersion"] == "120"
    assert stored["metadata"]["generation"] == 120
    opened.close()


def test_a_killed_writer_leaves_a_whole_document_and_no_lock(tmp_path: Path):
    opened = EmbeddedStore(tmp_path)
    for _ in range(3):
        worker = PROCESSES.Process(target=apply_for_ever, args=(tmp_path,), daemon=True)
        worker.start()
        next(opened.watch(TRIAL, "default", deadline=90))
        time.sleep(0.1)
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        stored = opened.get(TRIAL, "one", "default")
        assert stored["spec"]["turn"] == stored["spec"]["again"]
        start = time.monotonic()
        opened.delete(TRIAL, "one", "default")
        assert time.monotonic() - start < 5
    opened.close()


def test_a_full_disk_is_a_clear_error_and_changes_nothing(tmp_path: Path):
    opened = EmbeddedStore(tmp_path)
    before = opened.apply(trial(size="small"))
    connection = opened._database._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")  # SQLite then answers as on a full disk
    with pytest.raises(PlatformError, match="full") as caught:
        opened.apply(trial(size="x" * 1_000_000))
    assert "room" in caught.value.hint
    connection.execute("PRAGMA max_page_count=1000000")
    assert opened.get(TRIAL, "one", "default") == before
    assert opened.apply(trial(size="medium"))["metadata"]["generation"] == 2
    opened.close()


def test_a_store_of_another_version_is_refused(tmp_path: Path):
    EmbeddedStore(tmp_path).close()
    with sqlite3.connect(tmp_path / "resources.sqlite") as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(PlatformError, match="version 99"):
        EmbeddedStore(tmp_path)


def test_a_folder_that_cannot_be(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PlatformError, match="cannot be made"):
        EmbeddedStore(tmp_path / "file" / "resources")


def test_old_events_are_forgotten_and_a_watch_from_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(store, "_EVENTS_KEPT", 5)
    opened = EmbeddedStore(tmp_path)
    versions = [opened.apply(trial(turn=turn))["metadata"]["resourceVersion"] for turn in range(9)]
    with pytest.raises(ConflictError, match="too old"):
        list(opened.watch(TRIAL, "default", since=versions[2], deadline=0))
    events = list(opened.watch(TRIAL, "default", since=versions[3], deadline=0))
    assert [event.document["spec"]["turn"] for event in events] == [4, 5, 6, 7, 8]
    opened.close()


def test_an_empty_namespace_means_all(tmp_path: Path):
    opened = EmbeddedStore(tmp_path)
    for namespace in ("b", "a"):
        document = trial()
        document["metadata"]["namespace"] = namespace
        opened.apply(document)
    assert [d["metadata"]["namespace"] for d in opened.list(TRIAL, "")] == ["a", "b"]
    assert len(list(opened.watch(TRIAL, "", deadline=0))) == 2
    opened.close()


keys = st.sampled_from("abc")
values = st.recursive(
    st.integers(0, 2) | st.booleans() | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
configs = st.fixed_dictionaries({"spec": st.dictionaries(keys, values, max_size=3)})
steps = st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), configs), max_size=8)


def replay(history: list) -> tuple[dict, ownership.Owners]:
    document: dict = {"metadata": {"name": "n"}}
    owners: ownership.Owners = {}
    for owner, config in history:
        document, owners = ownership.merged(document, owners, config, owner)
    return document, owners


class TestOwnership:
    @given(steps, st.sampled_from(["x", "y"]), configs)
    @settings(max_examples=200, deadline=None)
    def test_what_is_applied_is_there_and_again_changes_nothing(self, history, owner, config):
        document, owners = replay([*history, (owner, config)])
        assert not [
            path for path, value in ownership.owned(config) if ownership._changes(document, path, value)
        ]
        assert ownership.conflicts(document, owners, config, owner) == {}
        assert ownership.merged(document, owners, config, owner) == (document, owners)

    @given(steps)
    @settings(max_examples=200, deadline=None)
    def test_every_field_has_an_owner_and_every_owned_field_is_there(self, history):
        document, owners = replay(history)
        owned = frozenset().union(*owners.values())
        present = {path for path, _ in ownership.owned(document)}
        assert present <= owned
        for path in owned:
            assert ownership._lookup(document, path) is not ownership._MISSING

    @given(steps)
    @settings(max_examples=100, deadline=None)
    def test_when_every_owner_lets_go_nothing_is_left(self, history):
        letting_go = [(owner, {}) for owner in ("x", "y", "z")]
        assert replay([*history, *letting_go]) == ({"metadata": {"name": "n"}}, {})

    @given(steps)
    @settings(max_examples=100, deadline=None)
    def test_fields_survive_their_written_form(self, history):
        _, owners = replay(history)
        for fields in owners.values():
            assert ownership.from_fields(ownership.to_fields(fields)) == fields
