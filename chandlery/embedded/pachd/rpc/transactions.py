"""Transactions: requests that are gathered, tried out as they come, and carried out together with one commit id."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import betterproto
from betterproto.lib.google.protobuf import Empty
from pachyderm_sdk.api import transaction

from chandlery.embedded.pachd.rpc import messages
from chandlery.embedded.pachd.rpc.branches import create_branch_in, delete_branch_in
from chandlery.embedded.pachd.rpc.calls import Call, rpc
from chandlery.embedded.pachd.rpc.commits import finish_commit_in, start_commit_in
from chandlery.embedded.pachd.rpc.repos import create_repo_in, delete_repo_in
from chandlery.embedded.pachd.store.database import now
from chandlery.embedded.pachd.store.failure import not_found, unimplemented
from chandlery.embedded.pachd.store.graph import Work

_STEPS: dict[str, Callable[[Work, Any], Any]] = {
    "create_repo": create_repo_in,
    "delete_repo": delete_repo_in,
    "start_commit": start_commit_in,
    "finish_commit": finish_commit_in,
    "create_branch": create_branch_in,
    "delete_branch": delete_branch_in,
}


def append(call: Call, kind: str, request: Any) -> Any:
    """Add a request to the client's transaction; returns what it answers, from a trial run of all so far."""
    id_ = call.transaction
    with call.store.work() as work:
        gathered, _ = _stored(work, id_)
        gathered.requests.append(transaction.TransactionRequest(**{kind: request}))
        work.db.execute("UPDATE transactions SET requests = ? WHERE id = ?", (bytes(gathered), id_))
        # Tried within the same database transaction: a request that is refused is not kept.
        work.db.execute("SAVEPOINT trial")
        trial = Work(work.db, work.chunks, id_)
        answers = [_step(trial, each) for each in gathered.requests]
        trial.settle()
        work.db.execute("ROLLBACK TO trial")
        work.db.execute("RELEASE trial")
    return answers[-1]


@rpc("/transaction_v2.API/StartTransaction", transaction.StartTransactionRequest)
def start_transaction(call: Call, request: Any) -> Any:
    """Open a transaction."""
    id_ = uuid.uuid4().hex
    with call.store.work() as work:
        work.db.execute("INSERT INTO transactions (id, started, requests) VALUES (?, ?, x'')", (id_, now()))
    return transaction.Transaction(id=id_)


@rpc("/transaction_v2.API/InspectTransaction", transaction.InspectTransactionRequest)
def inspect_transaction(call: Call, request: Any) -> Any:
    """Describe an open transaction."""
    with call.store.database.reading() as db:
        return _info(*_stored(Work(db, call.store.chunks), request.transaction.id), request.transaction.id)


@rpc("/transaction_v2.API/ListTransaction", transaction.ListTransactionRequest)
def list_transaction(call: Call, request: Any) -> Any:
    """Describe all open transactions, oldest first."""
    with call.store.database.reading() as db:
        ids = [row[0] for row in db.execute("SELECT id FROM transactions ORDER BY started")]
        work = Work(db, call.store.chunks)
        return transaction.TransactionInfos(transaction_info=[_info(*_stored(work, id_), id_) for id_ in ids])


@rpc("/transaction_v2.API/DeleteTransaction", transaction.DeleteTransactionRequest)
def delete_transaction(call: Call, request: Any) -> Any:
    """Forget a transaction."""
    with call.store.work() as work:
        _stored(work, request.transaction.id)
        work.db.execute("DELETE FROM transactions WHERE id = ?", (request.transaction.id,))
    return Empty()


@rpc("/transaction_v2.API/FinishTransaction", transaction.FinishTransactionRequest)
def finish_transaction(call: Call, request: Any) -> Any:
    """Carry out all requests of a transaction, or none of them."""
    id_ = request.transaction.id
    with call.store.chunks.in_use(), call.store.work(id_) as work:
        gathered, started = _stored(work, id_)
        work.db.execute("DELETE FROM transactions WHERE id = ?", (id_,))
        return _run(work, gathered, id_, started)


@rpc("/transaction_v2.API/BatchTransaction", transaction.BatchTransactionRequest)
def batch_transaction(call: Call, request: Any) -> Any:
    """Carry out requests within one transaction."""
    id_ = uuid.uuid4().hex
    with call.store.chunks.in_use(), call.store.work(id_) as work:
        gathered = transaction.BatchTransactionRequest(requests=request.requests)
        return _run(work, gathered, id_, now())


def _run(work: Work, gathered: Any, id_: str, started: int) -> Any:
    info = _info(gathered, started, id_)
    for each in gathered.requests:
        answer = _step(work, each)
        is_commit = type(answer).__name__ == "Commit"
        info.responses.append(
            transaction.TransactionResponse(commit=answer) if is_commit else transaction.TransactionResponse()
        )
    return info


def _stored(work: Work, id_: str) -> tuple[Any, int]:
    row = work.db.execute("SELECT requests, started FROM transactions WHERE id = ?", (id_,)).fetchone()
    if row is None:
        raise not_found(f"transaction {id_} not found")
    return transaction.BatchTransactionRequest().parse(row[0]), row[1]


def _info(gathered: Any, started: int, id_: str) -> Any:
    return transaction.TransactionInfo(
        transaction=transaction.Transaction(id=id_),
        requests=gathered.requests,
        started=messages.time_of(started),
    )


def _step(work: Work, request: Any) -> Any:
    for kind, run in _STEPS.items():
        message = getattr(request, kind)
        if betterproto.serialized_on_wire(message):
            return run(work, message)
    raise unimplemented("this request within a transaction")
