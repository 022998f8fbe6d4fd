"""Plan: which routes and which servers there should be, from the documents and the running servers. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable

from chandlery.embedded.deployments.desired import Desired, Predictor
from chandlery.embedded.deployments.servers import Record, Server
from chandlery.embedded.gateway.table import Backend, Routes


def complete(predictor: Predictor, servers: Iterable[Server]) -> bool:
    """Return whether every replica of the predictor's newest form is ready; one that is being stopped is not."""
    ready = {
        s.record.index for s in servers if _answers(s, predictor.name) and s.record.digest == predictor.digest
    }
    return ready.issuperset(range(predictor.replicas))


def routes(wanted: Desired, before: Routes | None, servers: list[Server]) -> Routes | None:
    """Return the routes that a deployment should have now; None while no server can answer.

    A predictor gets traffic when all its servers are ready, and keeps it when they die later: the gateway's 503 are
    then its own. Until all predictors of a new document can answer, the split of the document before stays in force.

    Args:
        wanted: what the document asks for.
        before: routes so far.
        servers: the deployment's servers.
    """
    routed = {backend.name for backend in before.backends} if before else set()
    if all(p.name in routed or complete(p, servers) for p in wanted.predictors):
        backends = tuple(_backend(p.name, p.weight, p, servers, shadow=p.shadow) for p in wanted.predictors)
        return Routes(wanted.namespace, wanted.name, backends)
    if before is None:
        return None
    by_name = {p.name: p for p in wanted.predictors}
    return Routes(
        wanted.namespace,
        wanted.name,
        tuple(
            _backend(b.name, b.weight, by_name.get(b.name), servers, shadow=b.shadow) for b in before.backends
        ),
    )


def keeps(record: Record, wanted: Desired | None, target: Routes | None, servers: list[Server]) -> bool:
    """Return whether a server should run: it is asked for, or it answers until its successor does."""
    predictors = {p.name: p for p in wanted.predictors} if wanted else {}
    predictor = predictors.get(record.predictor)
    if predictor and record.digest == predictor.digest:
        return record.index < predictor.replicas
    routed = target is not None and any(backend.name == record.predictor for backend in target.backends)
    if predictor is None:
        return routed
    return routed and not complete(predictor, servers)


def _answers(server: Server, name: str) -> bool:
    return server.ready and not server.stopping and server.record.predictor == name


def _backend(
    name: str, weight: int, predictor: Predictor | None, servers: list[Server], *, shadow: bool
) -> Backend:
    chosen = _chosen(name, predictor, servers)
    return Backend(
        name,
        weight,
        tuple(sorted(s.record.endpoint for s in chosen)),
        shadow,
        # Also while none runs: its calls are then its own failures.
        rpc=any(s.record.rpc_port for s in servers if s.record.predictor == name),
        rpc_endpoints=tuple(sorted(s.record.rpc_endpoint for s in chosen if s.record.rpc_port)),
    )


def _chosen(name: str, predictor: Predictor | None, servers: list[Server]) -> list[Server]:
    ready = [s for s in servers if _answers(s, name)]
    if predictor is None:
        return ready
    newest = [s for s in ready if s.record.digest == predictor.digest and s.record.index < predictor.replicas]
    older = [s for s in ready if s.record.digest != predictor.digest]
    return newest if complete(predictor, servers) or not older else older
