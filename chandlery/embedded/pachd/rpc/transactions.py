"""Transactions: opened, listed, and carried out with one commit id for all their requests."""

from __future__ import annotations

import uuid
from typing import Any

from betterproto.lib.google.protobuf import Empty
from pachyderm_sdk.api import transaction

from chandlery.embedded.pachd.rpc import messages
from chandlery.embedded.pachd.rpc.calls import Call, rpc
from chandlery.embedded.pachd.rpc.joining import carry_out, stored
from chandlery.embedded.pachd.store.database import now
from chandlery.embedded.pachd.store.graph import Work


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
        return _info(*stored(Work(db, call.store.chunks), request.transaction.id), request.transaction.id)


@rpc("/transaction_v2.API/ListTransaction", transaction.ListTransactionRequest)
def list_transaction(call: Call, request: Any) -> Any:
    """Describe all open transactions, oldest first."""
    with call.store.database.reading() as db:
        ids = [row[0] for row in db.execute("SELECT id FROM transactions ORDER BY started")]
        work = Work(db, call.store.chunks)
        return transaction.TransactionInfos(transaction_info=[_info(*stored(work, id_), id_) for id_ in ids])


@rpc("/transaction_v2.API/DeleteTransaction", transaction.DeleteTransactionRequest)
def delete_transaction(call: Call, request: Any) -> Any:
    """Forget a transaction."""
    with call.store.work() as work:
        stored(work, request.transaction.id)
        work.db.execute("DELETE FROM transactions WHERE id = ?", (request.transaction.id,))
    return Empty()


@rpc("/transaction_v2.API/FinishTransaction", transaction.FinishTransactionRequest)
def finish_transaction(call: Call, request: Any) -> Any:
    """Carry out all requests of a transaction, or none of them."""
    id_ = request.transaction.id
    with call.store.chunks.in_use(), call.store.work(id_) as work:
        gathered, started = stored(work, id_)
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
        answer = carry_out(work, each)
        is_commit = type(answer).__name__ == "Commit"
        info.responses.append(
            transaction.TransactionResponse(commit=answer) if is_commit else transaction.TransactionResponse()
        )
    return info


def _info(gathered: Any, started: int, id_: str) -> Any:
    return transaction.TransactionInfo(
        transaction=transaction.Transaction(id=id_),
        requests=gathered.requests,
        started=messages.time_of(started),
    )
