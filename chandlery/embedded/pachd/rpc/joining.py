"""Requests that join a client's transaction: kept, tried out as they come, carried out together when it is finished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import betterproto
from pachyderm_sdk.api import transaction

from chandlery.embedded.pachd.store.failure import not_found, unimplemented
from chandlery.embedded.pachd.store.graph import Work
from chandlery.embedded.pachd.store.store import Store

# Field of `TransactionRequest` -> what such a request does within a database transaction. The decorator `calls.rpc`
# enters the functions.
WORK: dict[str, Callable[[Work, Any], Any]] = {}


def add_request(store: Store, transaction_id: str, kind: str, request: Any) -> Any:
    """Add a request to a transaction; return its answer in a trial run of all requests so far.

    Args:
        store: the store.
        transaction_id: id of the client's transaction.
        kind: field of `TransactionRequest`.
        request: the request.

    Raises:
        ServiceError: there is no such transaction, or the trial refused a request; then it is not kept.
    """
    with store.work() as work:
        gathered, _ = stored(work, transaction_id)
        gathered.requests.append(transaction.TransactionRequest(**{kind: request}))
        work.db.execute(
            "UPDATE transactions SET requests = ? WHERE id = ?", (bytes(gathered), transaction_id)
        )
        # The trial runs within the same database transaction: a refused request is not kept.
        work.db.execute("SAVEPOINT trial")
        trial = Work(work.db, work.chunks, transaction_id)
        answers = [carry_out(trial, each) for each in gathered.requests]
        trial.start_downstream()
        work.db.execute("ROLLBACK TO trial")
        work.db.execute("RELEASE trial")
    return answers[-1]


def carry_out(work: Work, request: Any) -> Any:
    """Carry out one `TransactionRequest` and return its answer."""
    for kind, run in WORK.items():
        message = getattr(request, kind)
        if betterproto.serialized_on_wire(message):
            return run(work, message)
    raise unimplemented("this request within a transaction")


def stored(work: Work, transaction_id: str) -> tuple[Any, int]:
    """Return the requests of a transaction and when it was started.

    Raises:
        ServiceError: NOT_FOUND.
    """
    row = work.db.execute(
        "SELECT requests, started FROM transactions WHERE id = ?", (transaction_id,)
    ).fetchone()
    if row is None:
        raise not_found(f"transaction {transaction_id} not found")
    return transaction.BatchTransactionRequest().parse(row[0]), row[1]
