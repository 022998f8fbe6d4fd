"""Two columns, embedded and real: which of them a test runs in, and the table of both.

A suite names its back ends as parameters of a fixture. One that stands for the real system carries the mark `real` with the
variable that holds its address; everything else is the embedded column:

    @pytest.fixture(params=["embedded", pytest.param("pachd", marks=pytest.mark.real("CHANDLERY_TEST_PACHD"))])

That mark skips where the variable is not set, with the reason, and adds `network`. A test never asks which back end it has. Where one
column is known to behave otherwise, the test says so: it then must fail there, and the table shows why.

    @pytest.mark.differs("embedded", "files over 1,000,000 bytes have another digest")

A row of the table is a test function: the first line of its docstring, or its name in words. `pytest tests/contract --contract-table`
prints it, `--contract-markdown FILE` writes it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .table import Place, Table, column_of, place_of

PROPERTY = "contract"
ADDRESSES = {
    "CHANDLERY_TEST_PACHD": "a pachd",
    "CHANDLERY_TEST_KUBECONFIG": "a cluster",
    "CHANDLERY_TEST_MLFLOW": "an MLflow server",
    "CHANDLERY_TEST_SELDON_GATEWAY": "a cluster's gateway to Seldon deployments",
}
TABLE = pytest.StashKey[Table]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("contract")
    group.addoption("--contract-table", action="store_true", help="print embedded and real side by side")
    group.addoption("--contract-markdown", type=Path, metavar="FILE", help="write the same as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real(variable): the real system, whose address is in this variable")
    config.addinivalue_line("markers", "differs(column, reason): fails in this column, and why that is known")
    config.stash[TABLE] = Table()
    config.pluginmanager.register(Collector(config.stash[TABLE]), "contract-table")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give the item what its marks stand for, and its place in the table, which travels with its reports."""
    column = column_of(item)
    for mark in item.iter_markers("real"):
        item.add_marker(pytest.mark.network)
        (variable,) = mark.args
        if not os.environ.get(variable):
            item.add_marker(pytest.mark.skip(reason=f"needs {ADDRESSES[variable]}: {variable}"))
    for mark in item.iter_markers("differs"):
        where, reason = mark.args
        assert where in ("embedded", "real")
        if where == column:
            item.add_marker(pytest.mark.xfail(strict=True, reason=reason))
    item.user_properties.append((PROPERTY, list(place_of(item))))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    table = config.stash[TABLE]
    if config.getoption("--contract-table", False):
        terminalreporter.section("contract")
        terminalreporter.write_line(table.text())
    if path := config.getoption("--contract-markdown", None):
        path.write_text(table.markdown(), encoding="utf-8")


class Collector:
    """Fills the table in the process that reports, wherever a test ran."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, place in report.user_properties:
            if name == PROPERTY:
                self.table.add(Place(*place), report)
