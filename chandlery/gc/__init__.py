"""Frees what nothing needs any more: see `plan` and `collect`."""

from chandlery.gc.candidate import Candidate
from chandlery.gc.collect import Collected, collect
from chandlery.gc.policy import Policy, parse_age

__all__ = ["Candidate", "Collected", "Policy", "collect", "parse_age"]
