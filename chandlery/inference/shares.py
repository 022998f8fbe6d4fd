"""How much of the feedback one client may give: a bound, so that one of many cannot decide a release alone."""

from __future__ import annotations

from collections import OrderedDict

FREE = 50  # judged predictions of a client that count whatever the others do: a release begins with a few
MOST_CLIENTS = 10_000  # that are remembered; the one not heard of for longest is forgotten first


class Shares:
    """Judged predictions by client.

    Args:
        most: part of all judged predictions that one client may give, above 0; 1: no bound.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._total = 0

    def take(self, client: str, predictions: int) -> bool:
        """Count a client's judged predictions, and return whether they are within its share; if not, nothing is counted."""
        if self._most >= 1:
            return True
        given = self._counts.get(client, 0) + predictions
        if given > max(FREE, self._most * (self._total + predictions)):
            return False
        self._counts[client] = given
        self._counts.move_to_end(client)
        self._total += predictions
        if len(self._counts) > MOST_CLIENTS:
            self._counts.popitem(last=False)
        return True
