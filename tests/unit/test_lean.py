"""What our own processes do not load."""

import subprocess
import sys

PROGRAM = """
import sys
from pathlib import Path
from chandlery.lean import load_kfp
load_kfp()
from kfp import components, dsl

@dsl.component(base_image="python:3.11", install_kfp_package=False)
def add(a: int, b: int) -> int:
    return a + b

from chandlery.embedded.pipelines.once import run_once
assert run_once(add, Path(sys.argv[1]), {"a": 1, "b": 2}).check().outputs == {"Output": 3}
loaded = [name for name in ("kubernetes", "kfp_server_api", "google.auth") if name in sys.modules]
assert not loaded, loaded
"""


def test_kfp_runs_a_component_without_its_client_of_a_cluster(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """The client is 80 % of the time that `import kfp` takes, before every first step."""
    program = tmp_path / "program.py"  # a file, for kfp reads a component's source
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_bringing_data_in_and_out_needs_no_numpy() -> None:
    steps = ", ".join(
        f"chandlery.steps.data.{name}" for name in ("commit_dataset", "checkout_dataset", "resolve_inputs")
    )
    program = f"import sys; import {steps}; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=100, check=False).returncode == 0
