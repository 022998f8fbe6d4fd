"""A pipeline small enough to run in a test: a pure step, a step that may fail or sleep, a gate, an exit handler."""

from kfp import dsl


@dsl.component(base_image="python:3.11-slim", install_kfp_package=False)
def double_number(number: int, page: dsl.Output[dsl.Markdown]) -> int:
    """Double a number and leave a page."""
    import pathlib

    pathlib.Path(page.path).write_text(f"twice {number}")
    return 2 * number


@dsl.component(base_image="python:3.11-slim", install_kfp_package=False)
def touch_world(number: int, marks: str, mood: str) -> str:
    """Append a line to a file, then behave as `mood` says."""
    import os
    import time

    import chandlery
    from chandlery.errors import UserError
    from chandlery.progress import report

    report("epoch", f"number is {number} with {chandlery.__version__}")
    with open(marks, "a") as out:
        out.write(f"{os.environ['CHANDLERY_RUN_ID']} {os.getpid()}\n")
    if mood == "angry" and not os.path.exists(marks + ".calm"):
        raise UserError("the number is wrong", "give another number")
    if mood == "slow" and not os.path.exists(marks + ".calm"):
        time.sleep(60)
    return "yes" if number > 10 else "no"


@dsl.component(base_image="python:3.11-slim", install_kfp_package=False)
def cheer_loudly(marks: str):
    """Leave a mark that the gate was passed."""
    with open(marks + ".cheer", "a") as out:
        out.write("hurrah\n")


@dsl.component(base_image="python:3.11-slim", install_kfp_package=False)
def tell_end(marks: str, status: dsl.PipelineTaskFinalStatus):
    """Leave how it ended."""
    with open(marks + ".end", "a") as out:
        out.write(status.state + "\n")


@dsl.pipeline(name="small-pipeline")
def small_pipeline(marks: str, number: int = 7, mood: str = "calm"):
    """Double, act, and cheer when the number is large."""
    with dsl.ExitHandler(tell_end(marks=marks)):
        doubled = double_number(number=number)
        touched = touch_world(number=doubled.outputs["Output"], marks=marks, mood=mood)
        touched.set_caching_options(False).set_env_variable("CHANDLERY_TASK", "touch_world")
        with dsl.If(touched.output == "yes"):
            cheer_loudly(marks=marks).set_caching_options(False)
