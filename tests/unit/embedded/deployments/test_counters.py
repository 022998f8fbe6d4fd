"""Counters only grow, whatever restarts, and nothing is counted twice."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from chandlery.deployments.evidence import count
from chandlery.embedded.deployments.counters import Counters
from chandlery.embedded.gateway.statistics import ClusterCounts, parse_counts, parse_versions
from chandlery.resources.counters import parse_text
from chandlery.resources.counts import Counts

KEY, CLUSTER = "default/digits", "default/digits/v1/0a1b2c3d"


def counts(ok: float, bad: float = 0.0) -> ClusterCounts:
    buckets = {"1": ok / 2, "250": ok, "+Inf": ok + bad}
    return ClusterCounts({"200": ok, "503": bad}, buckets, ok)


def counters(path: Path) -> Counters:
    made = Counters(path)
    made.follow({KEY: "uid"})
    return made


def told(made: Counters) -> Counts:
    return count(parse_text(made.text(KEY) or ""), "digits", 0.25)["v1"]


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=12
    )
)
def test_sums_survive_every_restart(tmp_path_factory, steps) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("counters") / "counters.json"
    made, total, raw, pid, feedback, process = counters(path), 0, 0, 1, 0, 1
    for new, gateway_restarts, server_restarts, controller_restarts in steps:
        if gateway_restarts:
            raw, pid = 0, pid + 1
        if server_restarts:
            feedback, process = 0, process + 1
        raw, total, feedback = raw + new, total + new, feedback + new
        made.add_gateway(pid, {CLUSTER: counts(raw)})
        made.add_gateway(pid, {CLUSTER: counts(raw)})
        made.add_feedback(f"v1#{process}", KEY, "v1", {"wrong": float(feedback)})
        made.save()
        if controller_restarts:
            made = counters(path)
    found = told(made) if total else Counts()
    assert (found.requests, found.judged, found.wrong, found.slow) == (total, total, total, 0)


def test_a_cluster_made_anew_starts_at_zero(tmp_path: Path) -> None:
    made = counters(tmp_path / "c.json")
    made.add_gateway(1, {CLUSTER: counts(10, 2)})
    made.add_gateway(1, {CLUSTER: counts(3, 1)})
    assert told(made) == Counts(requests=16, errors=3, slow=3)


def test_a_deployment_made_anew_starts_at_zero_and_an_unknown_one_is_not_counted(tmp_path: Path) -> None:
    made = counters(tmp_path / "c.json")
    made.add_gateway(1, {CLUSTER: counts(10), "default/other/v1": counts(5)})
    made.follow({KEY: "another"})
    made.add_gateway(1, {CLUSTER: counts(12)})
    assert told(made).requests == 2
    assert made.text("default/other") is None


def test_envoys_words_are_read() -> None:
    text = """\
# TYPE envoy_cluster_upstream_rq counter
envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="default/digits/v1/0a1b2c3d"} 79
envoy_cluster_upstream_rq{envoy_response_code="503",envoy_cluster_name="default/digits/v1/0a1b2c3d"} 2
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="default/digits/v1/0a1b2c3d",le="1"} 43
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="default/digits/v1/0a1b2c3d",le="+Inf"} 79
envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="default/digits/v1/0a1b2c3d"} 1342.94
"""
    assert parse_counts(text) == {
        CLUSTER: ClusterCounts({"200": 79, "503": 2}, {"1": 43, "+Inf": 79}, 1342.94)
    }
    assert parse_versions(
        'cluster_manager.cds.version_text: "7"\nhttp.gateway.rds.seldon.version_text: "3"\n'
    ) == (7, 3)
    assert parse_versions('cluster_manager.cds.version_text: ""\n') == (0, 0)
