"""The live view of a run: a line for each step, and below it the progress of the running step."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from chandlery.cli.output import visible
from chandlery.runs.record import RunRecord

# Events whose message is worth a line of its own in the scrollback.
LASTING = (
    "trial.finished",
    "epoch",
    "deployment.no_traffic",
    "canary.no_traffic",
    "canary.no_feedback",
    "canary.evidence",
    "canary.stage",
    "canary.verdict",
)
EPOCH_SECONDS = 1.0  # epochs that follow each other faster do not each get a line
MARKS = {
    "succeeded": ("✓", "green"),
    "cached": ("≡", "cyan"),
    "failed": ("✗", "red"),
    "skipped": ("-", "dim"),
}


class Display:
    """Follows the events of a run; on a terminal with a moving line, elsewhere with plain lines."""

    def __init__(self, out: TextIO, *, verbose: bool = False) -> None:
        """Write to `out`; `verbose` prints every message of every step."""
        self._console = Console(file=out, highlight=False, soft_wrap=True)
        self._verbose = verbose
        self._pipeline = ""
        self._task = ""
        self._since = 0.0
        self._message = ""
        self._epoch_shown_at = -EPOCH_SECONDS
        self._live: Live | None = None

    def __enter__(self) -> Display:
        """Begin the moving line."""
        if self._console.is_terminal:
            self._live = Live(
                console=self._console, get_renderable=self._current, refresh_per_second=8, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        if self._live is not None:
            self._live.stop()

    def line(self, text: str) -> None:
        """Print a lasting line."""
        self._console.print(Text(visible(text)))

    def start(self, record: RunRecord, resumed: bool) -> None:
        """Print the run's id."""
        self._pipeline = record.pipeline
        verb = (
            f"carrying on run {record.run_id} (attempt {record.attempts})"
            if resumed
            else f"run {record.run_id}"
        )
        self.line(verb)

    def event(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind, task, message = event["event"], event.get("task", ""), event.get("message", "")
        if kind == "task.started":
            self._task, self._since, self._message = task, time.monotonic(), ""
            if self._live is None:
                self.line(f"  > {task}")
        elif kind == "task.finished":
            self._finish(
                task, "succeeded" if event["ok"] else "failed", f"{time.monotonic() - self._since:.1f} s"
            )
        elif kind == "task.cached":
            self._finish(task, "cached", "from the cache")
        elif kind == "task.skipped":
            # kfp names the branches of a pipeline `condition-1`, `condition-2`.
            gate = task.startswith("condition_")
            self._finish("gate" if gate else task, "skipped", "closed" if gate else "not run")
        elif kind == "task.retried":
            self.line(f"    {task} failed, again in {event['seconds']:.0f} s")
        elif kind != "step.failed" and message:
            self._message = message
            if self._verbose or (kind in LASTING and not self._passed_over(event)):
                self.line(f"      {message}")

    def _passed_over(self, event: dict[str, Any]) -> bool:
        """Return whether a lasting event gets no line: an epoch, not the last, that comes fast after another.

        Nor does missing traffic where a step follows that brings its own, or says the same. The log has them all.
        """
        if event["event"] == "deployment.no_traffic":
            return self._pipeline != "deploy_model"
        if event["event"] != "epoch":
            return False
        now = time.monotonic()
        if now - self._epoch_shown_at < EPOCH_SECONDS and event.get("epoch") != event.get("epochs"):
            return True
        self._epoch_shown_at = now
        return False

    def _finish(self, task: str, state: str, detail: str) -> None:
        mark, style = MARKS[state]
        self._console.print(Text.assemble((f"  {mark} ", style), task.ljust(24), (detail, "dim")))
        self._task, self._message = "", ""

    def _current(self) -> RenderableType:
        if not self._task:
            return Text("")
        elapsed = f"{self._task}  {time.monotonic() - self._since:.0f} s"
        return Group(Spinner("dots", Text(f" {elapsed}")), Text(f"      {self._message}"[:200], style="dim"))
