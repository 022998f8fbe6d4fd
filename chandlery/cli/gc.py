"""`gc`: free what nothing needs any more."""

from __future__ import annotations

import sys

from chandlery.cli.output import print_json, print_table
from chandlery.gc import Policy, collect, parse_age


def gc(older_than: str, keep_runs: int, *, dry_run: bool, as_json: bool) -> None:
    """Free, or print what would be freed.

    Raises:
        UserError: the age is none.
        ConflictError: another collection is in progress in this home.
    """
    outcome = collect(Policy(older_than=parse_age(older_than), keep_runs=keep_runs), dry_run=dry_run)
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "bytes": outcome.bytes,
                "freed": [candidate.to_json() for candidate in outcome.freed],
                "left": list(outcome.left),
            }
        )
        return
    if outcome.freed:
        rows = [(c.kind, c.name, _size(c.bytes), c.reason) for c in outcome.freed]
        print_table(["kind", "name", "size", "reason"], rows)
    for line in outcome.left:
        print(f"left alone: {line}", file=sys.stderr)
    verb = "would free" if dry_run else "freed"
    print(f"{verb} {_size(outcome.bytes)} in {len(outcome.freed)} things")


def _size(count: int) -> str:
    return (
        f"{count} B"
        if count < 1024
        else f"{count / 2**20:.1f} MiB"
        if count >= 2**20
        else f"{count / 1024:.1f} KiB"
    )
