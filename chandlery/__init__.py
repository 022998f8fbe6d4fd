"""Chandlery: Kubeflow Pipelines components that carry a model through its whole life."""

import os as _os

__version__ = "0.1.0"

# Inside a step of a run, an error that we understand ends the step with its two lines, not with a traceback.
if _os.environ.get("CHANDLERY_TASK"):
    from chandlery.errors import end_steps_plainly as _end_steps_plainly

    _end_steps_plainly()
