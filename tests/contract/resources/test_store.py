"""What every resource store must do, whichever system is behind it."""

import threading
import time

import pytest

from chandlery.errors import ConflictError, InvalidDocumentError, NotFoundError, UserError
from chandlery.resources import EXPERIMENT, SELDON_DEPLOYMENT, TRIAL, ResourceStore


def trial(namespace: str, name: str = "one", **spec):
    return {
        "apiVersion": TRIAL.api_version,
        "kind": "Trial",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"objective": {"type": "maximize", "objectiveMetricName": "accuracy"}, **spec},
    }


def deployment(namespace: str, predictors: list[dict]):
    return {
        "apiVersion": SELDON_DEPLOYMENT.api_version,
        "kind": "SeldonDeployment",
        "metadata": {"name": "one", "namespace": namespace},
        "spec": {"predictors": predictors},
    }


class TestApply:
    def test_a_new_document_gets_what_the_server_sets(self, store: ResourceStore, namespace: str):
        stored = store.apply(trial(namespace, retainRun=True))
        metadata = stored["metadata"]
        assert metadata["generation"] == 1
        assert len(metadata["uid"]) == 36
        assert metadata["resourceVersion"].isdecimal()
        assert metadata["creationTimestamp"].endswith("Z")
        assert stored["spec"]["retainRun"] is True
        assert store.get(TRIAL, "one", namespace) == stored

    def test_the_same_again_changes_nothing(self, store: ResourceStore, namespace: str):
        assert store.apply(trial(namespace)) == store.apply(trial(namespace))

    def test_generation_counts_changes_of_the_spec_only(self, store: ResourceStore, namespace: str):
        document = trial(namespace)
        store.apply(document)
        document["metadata"]["labels"] = {"a": "b"}
        labelled = store.apply(document)
        assert labelled["metadata"]["generation"] == 1
        document["spec"]["retainRun"] = True
        changed = store.apply(document)
        assert changed["metadata"]["generation"] == 2
        assert changed["metadata"]["uid"] == labelled["metadata"]["uid"]
        assert int(changed["metadata"]["resourceVersion"]) > int(labelled["metadata"]["resourceVersion"])

    def test_its_status_is_ignored(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace))
        store.update_status({**trial(namespace), "status": {"startTime": "2026-01-01T00:00:00Z"}})
        stored = store.apply({**trial(namespace), "status": {"startTime": "2030-01-01T00:00:00Z"}})
        assert stored["status"] == {"startTime": "2026-01-01T00:00:00Z"}

    def test_a_field_no_longer_applied_goes_away(self, store: ResourceStore, namespace: str):
        document = trial(namespace, retainRun=True)
        document["metadata"]["annotations"] = {"a": "1", "b": "2"}
        store.apply(document)
        document = trial(namespace)
        document["metadata"]["annotations"] = {"a": "1"}
        stored = store.apply(document)
        assert "retainRun" not in stored["spec"]
        assert stored["metadata"]["annotations"] == {"a": "1"}

    def test_owners_share_a_document_field_by_field(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace), owner="submitter")
        note = {**trial(namespace), "spec": {}}
        note["metadata"]["annotations"] = {"note": "mine"}
        store.apply(note, owner="annotator")
        stored = store.apply(trial(namespace, retainRun=True), owner="submitter")
        assert stored["metadata"]["annotations"] == {"note": "mine"}
        assert stored["spec"]["retainRun"] is True

    def test_changing_a_field_of_another_owner_is_a_conflict(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace, successCondition="a"), owner="first")
        with pytest.raises(ConflictError, match=r"first.*\.spec\.successCondition"):
            store.apply(trial(namespace, successCondition="b"), owner="second")
        assert store.get(TRIAL, "one", namespace)["spec"]["successCondition"] == "a"

    def test_the_same_value_is_shared_and_outlives_one_owner(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace, successCondition="a"), owner="first")
        store.apply(trial(namespace, successCondition="a"), owner="second")
        assert store.apply(trial(namespace), owner="first")["spec"]["successCondition"] == "a"
        assert "successCondition" not in store.apply(trial(namespace), owner="second")["spec"]

    def test_force_takes_the_field_over(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace, successCondition="a"), owner="first")
        stored = store.apply(trial(namespace, successCondition="b"), owner="second", force=True)
        assert stored["spec"]["successCondition"] == "b"
        with pytest.raises(ConflictError):
            store.apply(trial(namespace, successCondition="a"), owner="first")

    def test_a_list_is_one_field(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace, parameterAssignments=[{"name": "a", "value": "1"}]), owner="first")
        with pytest.raises(ConflictError):
            store.apply(trial(namespace, parameterAssignments=[{"name": "b", "value": "2"}]), owner="second")
        stored = store.apply(
            trial(namespace, parameterAssignments=[{"name": "b", "value": "2"}]), owner="first"
        )
        assert stored["spec"]["parameterAssignments"] == [{"name": "b", "value": "2"}]

    def test_what_was_read_can_be_applied_again(self, store: ResourceStore, namespace: str):
        stored = store.apply(trial(namespace))
        assert store.apply(stored)["metadata"]["generation"] == 1

    def test_a_stale_resource_version_is_a_conflict(self, store: ResourceStore, namespace: str):
        stale = store.apply(trial(namespace))
        store.apply(trial(namespace, retainRun=True))
        stale["spec"]["retainRun"] = False
        with pytest.raises(ConflictError):
            store.apply(stale, force=True)

    def test_a_version_that_is_gone_is_a_conflict(self, store: ResourceStore, namespace: str):
        """What names the version of a document that is gone is a conflict and makes nothing."""
        gone = store.apply(trial(namespace))
        store.delete(TRIAL, "one", namespace)
        with pytest.raises(ConflictError):
            store.apply(gone)
        assert store.list(TRIAL, namespace) == []

    def test_each_owner_is_listed_with_its_fields(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace), owner="first")
        note = {**trial(namespace), "spec": {"retainRun": True}}
        note["metadata"]["labels"] = {"a": "b"}
        stored = store.apply(note, owner="second")
        assert {
            entry["manager"]: entry["fieldsV1"]
            for entry in stored["metadata"]["managedFields"]
            if entry["operation"] == "Apply" and entry["apiVersion"] == TRIAL.api_version
        } == {
            "first": {
                "f:spec": {".": {}, "f:objective": {".": {}, "f:type": {}, "f:objectiveMetricName": {}}}
            },
            "second": {
                "f:metadata": {"f:labels": {"f:a": {}}},
                "f:spec": {".": {}, "f:retainRun": {}},
            },
        }

    def test_in_a_kind_with_a_schema_a_map_has_no_owner_of_its_own(
        self, store: ResourceStore, namespace: str
    ):
        predictors = [{"name": "a", "graph": {"name": "m"}}]
        stored = store.apply(deployment(namespace, predictors), owner="first")
        assert [entry["fieldsV1"] for entry in stored["metadata"]["managedFields"]] == [
            {"f:spec": {"f:predictors": {}}}
        ]

    def test_a_map_stays_while_one_who_applied_it_does(self, store: ResourceStore, namespace: str):
        """A map outlives its last field while an owner who applied it is left."""
        store.apply(trial(namespace, extra={"a": 1}), owner="first")
        other = {**trial(namespace), "spec": {"extra": {"a": 2}}}
        store.apply(other, owner="second", force=True)
        stored = store.apply({**other, "spec": {}}, owner="second")
        assert not stored["spec"]["extra"]
        assert "extra" not in store.apply(trial(namespace), owner="first")["spec"]

    def test_a_list_of_maps_is_one_field_even_when_they_have_names(
        self, store: ResourceStore, namespace: str
    ):
        predictors = [{"name": name, "graph": {"name": "m"}, "traffic": 50} for name in ("a", "b")]
        store.apply(deployment(namespace, predictors), owner="first")
        predictors[0]["traffic"], predictors[1]["traffic"] = 90, 10
        with pytest.raises(ConflictError, match=r"first.*\.spec\.predictors"):
            store.apply(deployment(namespace, predictors), owner="second")
        stored = store.apply(deployment(namespace, predictors[:1]), owner="first")
        assert [(p["name"], p["traffic"]) for p in stored["spec"]["predictors"]] == [("a", 90)]
        assert stored["metadata"]["generation"] == 2

    def test_a_map_gives_way_to_a_value_and_back(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace, extra={"a": {"b": 1}}))
        assert store.apply(trial(namespace, extra={"a": 1}))["spec"]["extra"] == {"a": 1}
        assert store.apply(trial(namespace, extra={"a": {"c": 2}}))["spec"]["extra"] == {"a": {"c": 2}}

    def test_empty_maps_and_lists_are_kept(self, store: ResourceStore, namespace: str):
        stored = store.apply(trial(namespace, map={}, list=[], text=""))
        assert (stored["spec"]["map"], stored["spec"]["list"], stored["spec"]["text"]) == ({}, [], "")

    def test_a_null_is_a_field_not_given(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace, successCondition="a"))
        assert "successCondition" not in store.apply(trial(namespace, successCondition=None))["spec"]

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"kind": "Tryal"}, "Tryal"),
            ({"apiVersion": ""}, "apiVersion"),
            ({"metadata": {}}, "None"),
            ({"metadata": {"name": "Upper"}}, "Upper"),
            ({"metadata": {"name": "a" * 254}}, "aaa"),
            ({"metadata": {"name": "a/b"}}, "a/b"),
            ({"metadata": {"name": "a", "namespace": "b.c"}}, "b.c"),
            ({"metadata": {"name": "a", "labels": {"k": "x" * 64}}}, "label 'k'"),
            ({"metadata": {"name": "a", "labels": {"k": 1}}}, "not a string"),
            ({"metadata": {"name": "a", "annotations": {"a b": ""}}}, "a b"),
            ({"metadata": {"name": "a", "finalizers": ["no good"]}}, "no good"),
            ({"spec": {"objective": {"goal": float("nan")}}}, "JSON"),
            ({"spec": {"objective": object()}}, "JSON"),
        ],
    )
    def test_a_malformed_document_is_refused(
        self, store: ResourceStore, namespace: str, change: dict, says: str
    ):
        with pytest.raises(InvalidDocumentError, match=says):
            store.apply({**trial(namespace), **change})
        assert store.list(TRIAL, namespace) == []


class TestRead:
    def test_get_of_what_is_not_there(self, store: ResourceStore, namespace: str):
        with pytest.raises(NotFoundError, match="nobody"):
            store.get(EXPERIMENT, "nobody", namespace)

    def test_list_is_in_name_order_and_by_kind_and_namespace(self, store: ResourceStore, namespace: str):
        for name in ("b", "a", "c"):
            store.apply(trial(namespace, name))
        names = [document["metadata"]["name"] for document in store.list(TRIAL, namespace)]
        assert names == ["a", "b", "c"]
        assert store.list(SELDON_DEPLOYMENT, namespace) == []
        assert store.list(TRIAL, f"{namespace}-other") == []

    @pytest.mark.parametrize(
        ("selector", "names"),
        [
            ("", ["a", "b", "c"]),
            ("x=1", ["a"]),
            ("x==2", ["b"]),
            ("x!=1", ["b", "c"]),
            ("x", ["a", "b"]),
            ("!x", ["c"]),
            ("x,y=z", ["b"]),
            ("x=1,x=2", []),
        ],
    )
    def test_list_by_selector(self, store: ResourceStore, namespace: str, selector: str, names: list[str]):
        for name, labels in {"a": {"x": "1"}, "b": {"x": "2", "y": "z"}, "c": {}}.items():
            document = trial(namespace, name)
            document["metadata"]["labels"] = labels
            store.apply(document)
        assert [d["metadata"]["name"] for d in store.list(TRIAL, namespace, selector)] == names

    def test_list_by_a_label_that_changes(self, store: ResourceStore, namespace: str):
        document = trial(namespace)
        for value in ("old", "new"):
            document["metadata"]["labels"] = {"chandlery.io/run": value}
            store.apply(document)
        assert store.list(TRIAL, namespace, "chandlery.io/run=old") == []
        assert len(store.list(TRIAL, namespace, "chandlery.io/run=new")) == 1

    @pytest.mark.parametrize("selector", ["a b", ",", "=1", "!", "x in (1,2)", "x=1,"])
    def test_a_malformed_selector_is_refused(self, store: ResourceStore, namespace: str, selector: str):
        with pytest.raises(UserError, match="selector"):
            store.list(TRIAL, namespace, selector)


class TestStatus:
    def test_it_is_replaced_alone(self, store: ResourceStore, namespace: str):
        before = store.apply(trial(namespace))
        store.update_status({**before, "status": {"startTime": "2026-01-01T00:00:00Z", "observation": {}}})
        changed = trial(namespace, retainRun=True)
        after = store.update_status({**changed, "status": {"startTime": "2026-01-02T00:00:00Z"}})
        assert after["status"] == {"startTime": "2026-01-02T00:00:00Z"}
        assert after["spec"] == before["spec"]
        assert after["metadata"]["generation"] == 1

    def test_from_a_stale_document_is_a_conflict(self, store: ResourceStore, namespace: str):
        stale = store.apply(trial(namespace))
        store.update_status({**stale, "status": {"startTime": "2026-01-01T00:00:00Z"}})
        with pytest.raises(ConflictError):
            store.update_status({**stale, "status": {"startTime": "2027-01-01T00:00:00Z"}})

    def test_the_same_again_changes_nothing(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace))
        status = {**trial(namespace), "status": {"startTime": "2026-01-01T00:00:00Z"}}
        first = store.update_status(status)
        assert (
            store.update_status(status)["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        )

    def test_it_touches_neither_labels_nor_what_is_wanted(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace))
        other = trial(namespace, retainRun=True)
        other["metadata"] |= {"labels": {"a": "b"}, "annotations": {"a": "b"}}
        after = store.update_status({**other, "status": {"startTime": "2026-01-01T00:00:00Z"}})
        assert "labels" not in after["metadata"]
        assert "annotations" not in after["metadata"]
        assert "retainRun" not in after["spec"]

    def test_it_survives_an_apply_by_another_owner(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace))
        store.update_status({**trial(namespace), "status": {"startTime": "2026-01-01T00:00:00Z"}})
        stored = store.apply(trial(namespace, retainRun=True), owner="other", force=True)
        assert stored["status"] == {"startTime": "2026-01-01T00:00:00Z"}

    def test_it_can_be_taken_away(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace))
        store.update_status({**trial(namespace), "status": {"startTime": "2026-01-01T00:00:00Z"}})
        assert "status" not in store.update_status(trial(namespace))

    def test_of_what_is_not_there(self, store: ResourceStore, namespace: str):
        with pytest.raises(NotFoundError):
            store.update_status({**trial(namespace), "status": {}})


class TestDelete:
    def test_it_is_gone_and_a_second_time_is_no_error(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace))
        store.delete(TRIAL, "one", namespace)
        store.delete(TRIAL, "one", namespace)
        with pytest.raises(NotFoundError):
            store.get(TRIAL, "one", namespace)

    def test_a_new_one_of_the_same_name_is_another(self, store: ResourceStore, namespace: str):
        first = store.apply(trial(namespace))
        store.update_status({**first, "status": {"startTime": "2026-01-01T00:00:00Z"}})
        store.delete(TRIAL, "one", namespace)
        second = store.apply(trial(namespace))
        assert second["metadata"]["uid"] != first["metadata"]["uid"]
        assert "status" not in second

    def test_finalizers_hold_it_until_the_last_is_removed(self, store: ResourceStore, namespace: str):
        held = trial(namespace)
        held["metadata"]["finalizers"] = ["chandlery.io/clean-up"]
        store.apply(held)
        store.delete(TRIAL, "one", namespace)
        marked = store.get(TRIAL, "one", namespace)
        assert marked["metadata"]["deletionTimestamp"].endswith("Z")
        store.delete(TRIAL, "one", namespace)
        assert store.get(TRIAL, "one", namespace) == marked
        store.apply(trial(namespace))
        with pytest.raises(NotFoundError):
            store.get(TRIAL, "one", namespace)

    def test_marking_it_for_deletion_is_a_new_generation(self, store: ResourceStore, namespace: str):
        held = trial(namespace)
        held["metadata"]["finalizers"] = ["chandlery.io/clean-up"]
        before = store.apply(held)["metadata"]
        store.delete(TRIAL, "one", namespace)
        marked = store.get(TRIAL, "one", namespace)["metadata"]
        assert (before["generation"], marked["generation"]) == (1, 2)
        assert marked["deletionGracePeriodSeconds"] == 0
        store.apply(trial(namespace))

    def test_what_is_marked_still_takes_a_status(self, store: ResourceStore, namespace: str):
        held = trial(namespace)
        held["metadata"]["finalizers"] = ["chandlery.io/clean-up"]
        store.apply(held)
        store.delete(TRIAL, "one", namespace)
        status = {"startTime": "2026-01-01T00:00:00Z"}
        assert store.update_status({**trial(namespace), "status": status})["status"] == status
        store.apply(trial(namespace))
        with pytest.raises(NotFoundError):
            store.get(TRIAL, "one", namespace)

    def test_no_finalizer_can_be_added_while_it_is_deleted(self, store: ResourceStore, namespace: str):
        held = trial(namespace)
        held["metadata"]["finalizers"] = ["chandlery.io/a"]
        store.apply(held)
        store.delete(TRIAL, "one", namespace)
        held["metadata"]["finalizers"] = ["chandlery.io/a", "chandlery.io/b"]
        with pytest.raises(InvalidDocumentError):
            store.apply(held)
        store.apply(trial(namespace))

    def test_finalizers_of_two_owners_add_up(self, store: ResourceStore, namespace: str):
        for owner in ("a", "b"):
            document = trial(namespace)
            document["metadata"]["finalizers"] = [f"chandlery.io/{owner}"]
            stored = store.apply(document, owner=owner)
        assert sorted(stored["metadata"]["finalizers"]) == ["chandlery.io/a", "chandlery.io/b"]
        stored = store.apply(trial(namespace), owner="a")
        assert stored["metadata"]["finalizers"] == ["chandlery.io/b"]
        assert "finalizers" not in store.apply(trial(namespace), owner="b")["metadata"]


class TestWatch:
    def test_existing_ones_come_first(self, store: ResourceStore, namespace: str):
        store.apply(trial(namespace, "b"))
        store.apply(trial(namespace, "a"))
        events = list(store.watch(TRIAL, namespace, deadline=0.2))
        assert [(e.type, e.document["metadata"]["name"]) for e in events] == [("ADDED", "a"), ("ADDED", "b")]

    def test_every_change_since_a_version_in_order(self, store: ResourceStore, namespace: str):
        since = store.apply(trial(namespace))["metadata"]["resourceVersion"]
        store.apply(trial(namespace, retainRun=True))
        store.update_status({**trial(namespace), "status": {"startTime": "2026-01-01T00:00:00Z"}})
        store.apply(trial(namespace, "two"))
        store.delete(TRIAL, "one", namespace)
        events = list(store.watch(TRIAL, namespace, since=since, deadline=0.5))
        assert [e.type for e in events] == ["MODIFIED", "MODIFIED", "ADDED", "DELETED"]
        versions = [int(e.document["metadata"]["resourceVersion"]) for e in events]
        assert versions == sorted(versions)
        assert versions[0] > int(since)
        assert events[-1].document["status"] == {"startTime": "2026-01-01T00:00:00Z"}

    def test_it_goes_on_from_the_version_of_any_event(self, store: ResourceStore, namespace: str):
        since = store.apply(trial(namespace))["metadata"]["resourceVersion"]
        for turn in range(3):
            store.apply(trial(namespace, turn=turn))
        first = next(store.watch(TRIAL, namespace, since=since, deadline=20))
        later = store.watch(
            TRIAL, namespace, since=first.document["metadata"]["resourceVersion"], deadline=20
        )
        assert [next(later).document["spec"]["turn"] for _ in range(2)] == [1, 2]

    def test_a_finalizer_shows_as_a_change_before_the_end(self, store: ResourceStore, namespace: str):
        held = trial(namespace)
        held["metadata"]["finalizers"] = ["chandlery.io/clean-up"]
        since = store.apply(held)["metadata"]["resourceVersion"]
        store.delete(TRIAL, "one", namespace)
        store.apply(trial(namespace))
        events = store.watch(TRIAL, namespace, since=since, deadline=20)
        marked, gone = next(events), next(events)
        assert (marked.type, gone.type) == ("MODIFIED", "DELETED")
        assert "deletionTimestamp" in marked.document["metadata"]

    def test_it_sees_its_own_kind_and_namespace_alone(self, store: ResourceStore, namespace: str):
        since = store.apply(trial(namespace))["metadata"]["resourceVersion"]
        store.apply(deployment(namespace, [{"name": "a", "graph": {"name": "m"}}]))
        store.apply(trial(namespace, "two"))
        event = next(store.watch(TRIAL, namespace, since=since, deadline=20))
        assert event.document["metadata"]["name"] == "two"

    def test_a_change_that_changes_nothing_is_no_event(self, store: ResourceStore, namespace: str):
        since = store.apply(trial(namespace))["metadata"]["resourceVersion"]
        store.apply(trial(namespace))
        store.apply(trial(namespace, "two"))
        event = next(store.watch(TRIAL, namespace, since=since, deadline=20))
        assert event.document["metadata"]["name"] == "two"

    def test_a_change_of_another_thread_arrives_at_once(self, store: ResourceStore, namespace: str):
        threading.Timer(0.3, lambda: store.apply(trial(namespace))).start()
        start = time.monotonic()
        event = next(store.watch(TRIAL, namespace, deadline=20))
        assert event.document["metadata"]["name"] == "one"
        assert time.monotonic() - start < 10

    def test_it_ends_at_its_deadline(self, store: ResourceStore, namespace: str):
        start = time.monotonic()
        assert list(store.watch(TRIAL, namespace, deadline=0.3)) == []
        assert 0.25 < time.monotonic() - start < 5


class TestSchema:
    """What the real API server does by the kind's schema, and the embedded store does not."""

    @pytest.mark.differs("embedded", "it has no schemas: it keeps a field that the kind does not have")
    def test_an_unknown_field_is_refused(self, store: ResourceStore, namespace: str):
        document = deployment(namespace, [{"name": "a", "graph": {"name": "m"}, "colour": "red"}])
        with pytest.raises(InvalidDocumentError, match="colour"):
            store.apply(document)

    @pytest.mark.differs("embedded", "it has no schemas: it takes a value of any type")
    def test_a_value_of_the_wrong_type_is_refused(self, store: ResourceStore, namespace: str):
        document = deployment(namespace, [{"name": "a", "graph": {"name": "m"}, "traffic": "all"}])
        with pytest.raises(InvalidDocumentError, match="traffic"):
            store.apply(document)
