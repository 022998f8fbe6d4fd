"""The frame of the benchmarks: who takes turns when, what is made of the figures, and what a failure costs."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import __main__ as command
from benchmarks.harness import (
    BEST_PEER,
    LIMIT,
    NEAREST_LIMIT,
    OURS,
    PEER,
    Aim,
    Contender,
    Figure,
    Figures,
    Open,
    Row,
    Run,
    Setting,
    measure,
    plain,
)
from benchmarks.summary import ratios, spread
from benchmarks.table import number, page, table


def fixed(values: list[float], log: list[str], name: str = "", figure: str = "time") -> Open:
    """A contender that gives these values in turn, for the warm-up as well, and writes down what is done with it."""

    @contextmanager
    def opened() -> Iterator[Run]:
        log.append(f"open {name}")

        def run(number: int) -> Figures:
            log.append(f"{name}{number}")
            return {figure: values[number % len(values)]}

        yield run
        log.append(f"close {name}")

    return opened


def broken(after: int, log: list[str]) -> Open:
    """A contender that fails in round `after`."""

    def run(number: int) -> Figures:
        log.append(f"broken{number}")
        if number >= after:
            raise RuntimeError("no more | of this")
        return {"time": 1.0}

    @contextmanager
    def opened() -> Iterator[Run]:
        yield run

    return opened


def row(*contenders: Contender, aims: tuple[Aim, ...] = (), more_is_better: bool = False) -> Row:
    return Row("r", "a row", lambda setting: contenders, (Figure("time", "s", more_is_better),), aims)


def test_contenders_take_turns_after_a_warm_up_and_are_closed() -> None:
    log: list[str] = []
    made = [Contender(n, r, fixed([1.0], log, n)) for n, r in (("A", OURS), ("B", PEER), ("C", LIMIT))]
    entry = measure(row(*made), rounds=2)
    assert log == [
        *("open A", "open B", "open C"),
        *("A0", "B0", "C0", "A1", "B1", "C1", "A2", "B2", "C2"),
        *("close C", "close B", "close A"),
    ]
    assert len(entry["contenders"]["A"]["rounds"]) == 2  # the warm-up does not count


def test_quick_is_one_round_and_the_row_knows_it() -> None:
    log: list[str] = []
    seen: list[Setting] = []

    def contenders(setting: Setting) -> list[Contender]:
        assert setting.scratch.is_dir()
        seen.append(setting)
        return [Contender("A", OURS, fixed([1.0], log, "A"))]

    measure(Row("r", "a row", contenders, (Figure("time", "s"),)), rounds=7, quick=True)
    assert log == ["open A", "A1", "close A"]
    assert seen[0].quick
    assert seen[0].rounds == 1
    assert not seen[0].scratch.exists()


def test_ratios_are_taken_round_by_round() -> None:
    # A machine that is ten times slower in round 2 hits both, so the ratio of pairs does not see it.
    ours = Contender("A", OURS, fixed([9.0, 1.0, 10.0, 1.2], []))
    peer = Contender("B", PEER, fixed([9.0, 2.0, 20.0, 2.0], []))
    entry = measure(row(ours, peer), rounds=3)
    assert entry["ratios"]["B"]["time"] == {"min": 0.5, "median": 0.5, "max": 0.6}
    assert entry["contenders"]["A"]["summary"]["time"] == {"min": 1.0, "median": 1.2, "max": 10.0}


@pytest.mark.parametrize(
    ("aim", "more_is_better", "against", "verdict"),
    [
        (Aim("time", at_most=2.0), False, "", "met"),
        (Aim("time", at_most=1.9), False, "", "missed: 2 s is over 1.9 s"),
        (Aim("time", at_least=2.1), False, "", "missed: 2 s is under 2.1 s"),
        (Aim("time", at_most=0.5, against="slow"), False, "slow", "met"),
        (Aim("time", at_most=0.4, against="slow"), False, "slow", "missed: 0.5x is over 0.4x"),
        (Aim("time", at_most=2.0, against=BEST_PEER), False, "fast", "met"),
        (Aim("time", at_least=1.0, against=BEST_PEER), True, "slow", "missed: 0.5x is under 1x"),
        (Aim("time", at_most=2.0, against=NEAREST_LIMIT), False, "near", "met"),
        (Aim("time", at_most=1.0, against=NEAREST_LIMIT), True, "far", "missed: 4x is over 1x"),
        (Aim("time", at_most=1.0, against="nobody"), False, "nobody", "not measured: no figure of nobody"),
    ],
)
def test_aims(aim: Aim, more_is_better: bool, against: str, verdict: str) -> None:
    contenders = [
        Contender(name, role, fixed([value], []))
        for name, role, value in (
            ("ours", OURS, 2.0),
            ("fast", PEER, 1.0),
            ("slow", PEER, 4.0),
            ("near", LIMIT, 1.0),
            ("far", LIMIT, 0.5),
        )
    ]
    (told,) = measure(row(*contenders, aims=(aim,), more_is_better=more_is_better), rounds=1)["aims"]
    assert (told["against"], told["verdict"]) == (against, verdict)


def test_a_peer_that_fails_loses_neither_its_rounds_nor_the_others() -> None:
    log: list[str] = []
    ours = Contender("A", OURS, fixed([1.0], log, "A"))
    entry = measure(row(ours, Contender("B", PEER, broken(2, log)), aims=(Aim("time", 1.0, against="B"),)), 3)
    assert log == ["open A", "A0", "broken0", "A1", "broken1", "A2", "broken2", "A3", "close A"]
    assert entry["contenders"]["B"]["error"] == "RuntimeError: no more | of this"
    assert len(entry["contenders"]["A"]["rounds"]) == 3
    assert entry["aims"][0]["verdict"] == "met"  # by the rounds that both have
    assert "| r |  | B | failed: RuntimeError: no more / of this |" in table({"r": entry})


def test_a_failure_of_ours_is_a_missed_aim() -> None:
    entry = measure(row(Contender("A", OURS, broken(0, [])), aims=(Aim("time", at_most=1.0),)), 2)
    assert entry["aims"][0]["verdict"] == "missed: not measured (RuntimeError: no more | of this)"
    assert "failed: RuntimeError" in table({"r": entry})


def test_a_set_up_that_fails_is_told_and_the_others_go_on() -> None:
    @contextmanager
    def opened() -> Iterator[Run]:
        raise OSError("not installed")
        yield lambda number: {}

    ours = Contender("A", OURS, plain(lambda: {"time": 1.0}))
    entry = measure(row(ours, Contender("B", PEER, opened)), 1)
    assert entry["contenders"]["B"]["error"] == "OSError: not installed"
    assert entry["contenders"]["A"]["rounds"] == [{"time": 1.0}]


def test_a_row_has_one_contender_of_ours() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        measure(row(Contender("B", PEER, fixed([1.0], []))), 1)


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=9), st.floats(0.001, 1e3))
def test_a_constant_factor_is_found_in_every_pair(theirs: list[float], factor: float) -> None:
    found = spread(ratios([factor * value for value in theirs], theirs))
    assert found is not None
    assert all(math.isclose(v, factor) for v in (found.min, found.median, found.max))
    assert found.min <= found.median <= found.max


def test_no_value_has_no_spread_and_nothing_is_divided_by_zero() -> None:
    assert spread([]) is None
    assert ratios([1.0, 2.0, 3.0], [0.0, 2.0]) == [1.0]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.5, "1,234"), (12.345, "12.3"), (0.0451, "0.0451"), (0.00012, "0.00012")],
)
def test_numbers_are_printed_without_exponent(value: float, text: str) -> None:
    assert number(value) == text


def test_results_are_kept_row_by_row_beside_older_ones(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps({"older": {"time": "then"}}))
    made = [Contender("A", OURS, fixed([1.0], [])), Contender("B", PEER, fixed([2.0], []), {"b": "1.2"})]
    command.keep(tmp_path, "r", measure(row(*made, aims=(Aim("time", 1.1, against="B"),)), 1))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["older"] == {"time": "then"}
    assert results["r"]["contenders"]["B"]["versions"] == {"b": "1.2"}
    assert results["r"]["machine"]["cores"]
    written = (tmp_path / "README.md").read_text()
    assert written == page(results)
    assert "| r: time | 1 s [1-1] | B | 2 s [2-2] | 0.5x [0.5-0.5] | <= 1.1x B: met |" in written
    assert "Versions: b 1.2." in written


def test_a_row_that_cannot_be_set_up_is_told_and_the_next_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def impossible(setting: Setting) -> list[Contender]:
        raise RuntimeError("no network")

    rows = {
        "bad": Row("bad", "a bad row", impossible, (Figure("time", "s"),)),
        "r": row(Contender("A", OURS, fixed([1.0], []))),
    }
    monkeypatch.setattr(command, "rows", lambda: rows)
    assert command.main(["bad", "r", "--rounds", "2", "--folder", str(tmp_path)]) == 1
    assert command.main(["r", "--quick", "--folder", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["bad"]["error"] == "RuntimeError: no network"
    assert results["r"]["rounds"] == 2  # the quick round kept nothing
    assert "| bad | failed: RuntimeError: no network |" in capsys.readouterr().out


def test_a_wrong_name_is_refused_with_the_valid_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["nothing"]) == 2
    said = capsys.readouterr().err
    assert "no row 'nothing'" in said
    assert "prediction" in said


def test_every_row_can_be_found_and_its_aims_speak_of_its_figures() -> None:
    for name, found in command.rows().items():
        assert name == found.name
        assert {aim.figure for aim in found.aims} <= {figure.name for figure in found.figures}
        for aim in found.aims:
            assert (aim.at_most is None) != (aim.at_least is None)


def test_shares_stand_in_one_line_without_a_ratio() -> None:
    made = [
        Contender(n, r, fixed([v], [])) for n, r, v in (("A", OURS, 0.02), ("B", PEER, 0.5), ("C", PEER, 0.0))
    ]
    figures = (Figure("time", "", ratio=False),)
    entry = measure(Row("r", "a row", lambda setting: made, figures, (Aim("time", at_most=0.05),)), 1)
    line = table({"r": entry}).splitlines()[2]
    assert line == "| r: time | 0.02 [0.02-0.02] | all of them | B: 0.5; C: 0 |  | <= 0.05: met |"


def test_an_entry_from_before_a_field_is_still_told() -> None:
    entry = measure(row(Contender("A", OURS, fixed([1.0], []))), 1)
    for figure in entry["figures"]:
        del figure["ratio"]
    assert "| r: time | 1 s [1-1] |" in page({"r": entry})
