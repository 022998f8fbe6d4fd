"""The live view of a run: a line for each step, and below them the progress of those that run."""

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
LIVE_STEPS = 4  # running steps that are shown at a time
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
        self._running: dict[str, float] = {}  # when each running step began
        self._messages: dict[str, str] = {}  # the last message of each
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
            self._running[task] = time.monotonic()
            if self._live is None:
                self.line(f"  > {task}")
        elif kind == "task.finished":
            self._finish(task, "succeeded" if event["ok"] else "failed", f"{event.get('seconds', 0.0):.1f} s")
        elif kind == "task.cached":
            self._finish(task, "cached", "from the cache")
        elif kind == "task.skipped":
            # kfp names the branches of a pipeline `condition-1`, `condition-2`.
            gate = task.startswith("condition_")
            turn = task[task.index("[") :] if "[" in task else ""
            self._finish(f"gate{turn}" if gate else task, "skipped", "closed" if gate else "not run")
        elif kind == "task.retried":
            self.line(f"    {task} failed, again in {event['seconds']:.0f} s")
        elif kind != "step.failed" and message:
            self._messages[task] = message
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
        self._running.pop(task, None)
        self._messages.pop(task, None)

    def _current(self) -> RenderableType:
        now = time.monotonic()
        shown: list[RenderableType] = []
        for task, since in list(self._running.items())[:LIVE_STEPS]:
            shown.append(Spinner("dots", Text(f" {task}  {now - since:.0f} s")))
            if message := self._messages.get(task):
                shown.append(Text(f"      {message}"[:200], style="dim"))
        if len(self._running) > LIVE_STEPS:
            shown.append(Text(f"  and {len(self._running) - LIVE_STEPS} more", style="dim"))
        return Group(*shown)
