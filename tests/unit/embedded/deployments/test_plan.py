"""Who gets traffic and what keeps running, in every order in which servers can come up and go."""

from __future__ import annotations

from chandlery.embedded.deployments import plan
from chandlery.embedded.deployments.desired import Desired, Predictor
from chandlery.embedded.deployments.servers import Record, Server
from chandlery.embedded.gateway.table import Backend, Routes


def predictor(name: str, weight: int = 100, *, digest: str = "a", replicas: int = 1) -> Predictor:
    return Predictor(name, weight, False, replicas, "digits", {}, 600.0, digest)


def wanted(*predictors: Predictor) -> Desired:
    return Desired("default", "digits", "uid", 1, predictors)


def server(name: str, port: int, *, ready: bool = True, digest: str = "a", index: int = 0) -> Server:
    return Server(Record("default", "digits", name, digest, index, port, {}, ""), ready=ready)


def routed(*backends: tuple[str, int, tuple[int, ...]]) -> Routes:
    return Routes(
        "default",
        "digits",
        tuple(Backend(n, w, tuple(f"127.0.0.1:{p}" for p in ports)) for n, w, ports in backends),
    )


def test_nobody_is_routed_before_all_servers_are_ready() -> None:
    want = wanted(predictor("v1", replicas=2))
    assert plan.routes(want, None, [server("v1", 1), server("v1", 2, index=1, ready=False)]) is None
    assert plan.routes(want, None, [server("v1", 1), server("v1", 2, index=1)]) == routed(("v1", 100, (1, 2)))


def test_the_old_split_stays_until_the_newcomer_is_ready() -> None:
    before = routed(("v1", 100, (1,)))
    want = wanted(predictor("v1", 95), predictor("v2", 5))
    assert plan.routes(want, before, [server("v1", 1), server("v2", 2, ready=False)]) == before
    both = plan.routes(want, before, [server("v1", 1), server("v2", 2)])
    assert both == routed(("v1", 95, (1,)), ("v2", 5, (2,)))


def test_one_that_is_being_stopped_and_is_asked_for_again_gets_no_traffic_before_its_successor_is_ready() -> (
    None
):
    before, want = routed(("v1", 100, (1,))), wanted(predictor("v1", 70), predictor("v2", 30))
    leaving = server("v2", 2)
    leaving.stopping = True
    assert plan.routes(want, before, [server("v1", 1), leaving]) == before
    both = plan.routes(want, before, [server("v1", 1), leaving, server("v2", 3)])
    assert both == routed(("v1", 70, (1,)), ("v2", 30, (3,)))


def test_a_predictor_that_died_keeps_its_share_and_weights_can_still_move() -> None:
    before = routed(("v1", 95, (1,)), ("v2", 5, (2,)))
    servers = [server("v1", 1), server("v2", 2, ready=False)]
    want = wanted(predictor("v1", 50), predictor("v2", 50))
    assert plan.routes(want, before, servers) == routed(("v1", 50, (1,)), ("v2", 50, ()))
    assert plan.routes(wanted(predictor("v1")), before, servers) == routed(("v1", 100, (1,)))


def test_a_replaced_version_answers_and_runs_until_its_successor_does() -> None:
    before, want = routed(("v1", 100, (1,))), wanted(predictor("v2"))
    old, new = server("v1", 1), server("v2", 2, ready=False)
    target = plan.routes(want, before, [old, new])
    assert target == before
    assert plan.keeps(old.record, want, target, [old, new])
    new.ready = True
    target = plan.routes(want, before, [old, new])
    assert target == routed(("v2", 100, (2,)))
    assert not plan.keeps(old.record, want, target, [old, new])
    assert plan.keeps(new.record, want, target, [old, new])


def test_the_same_predictor_in_a_new_form_rolls_over() -> None:
    before, want = routed(("v1", 100, (1,))), wanted(predictor("v1", digest="b", replicas=2))
    old = server("v1", 1)
    new = [server("v1", 2, digest="b"), server("v1", 3, digest="b", index=1, ready=False)]
    assert plan.routes(want, before, [old, *new]) == before
    assert plan.keeps(old.record, want, before, [old, *new])
    new[1].ready = True
    assert plan.routes(want, before, [old, *new]) == routed(("v1", 100, (2, 3)))
    assert not plan.keeps(old.record, want, before, [old, *new])


def test_fewer_replicas() -> None:
    before, want = routed(("v1", 100, (1, 2))), wanted(predictor("v1"))
    servers = [server("v1", 1), server("v1", 2, index=1)]
    assert plan.routes(want, before, servers) == routed(("v1", 100, (1,)))
    assert [plan.keeps(s.record, want, before, servers) for s in servers] == [True, False]


def test_a_deleted_deployment_keeps_nothing() -> None:
    assert not plan.keeps(server("v1", 1).record, None, None, [])
