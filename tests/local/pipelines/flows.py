"""Pipelines as users write them, for the engine; kfp cannot read annotations that are postponed."""

from typing import List, NamedTuple, Optional  # noqa: UP035 (kfp reads these)

from kfp import dsl

python = dsl.component(base_image="python:3.11", install_kfp_package=False)


@python
def echo(text: str) -> str:
    """Return a text."""
    return text


@python
def number(n: int, extra: float = 0.5) -> float:
    """Add a half."""
    return n + extra


@python
def total(xs: List[float]) -> float:  # noqa: UP006
    """Add up."""
    return sum(xs)


@python
def optional(text: Optional[str] = None) -> str:  # noqa: UP045
    """Tell whether a text was given."""
    return "none" if text is None else text


@python
def two(n: int) -> NamedTuple("Two", [("first", int), ("second", str)]):
    """Return a number and a text."""
    return (n, str(n * 2))


@python
def write(n: int, data: dsl.Output[dsl.Dataset]):
    """Write a number to a file."""
    with open(data.path, "w") as file:
        file.write(str(n))
    data.metadata["n"] = n


@python
def read(data: dsl.Input[dsl.Dataset]) -> int:
    """Read a number and its metadata."""
    with open(data.path) as file:
        return int(file.read()) + int(data.metadata["n"])


@python
def read_all(data: dsl.Input[List[dsl.Dataset]]) -> int:  # noqa: UP006
    """Add up the numbers of several files."""
    found = 0
    for each in data:
        with open(each.path) as file:
            found += int(file.read())
    return found


@python
def sleep(seconds: float, after: str = "") -> str:
    """Sleep."""
    import time

    time.sleep(seconds)
    return "slept"


@python
def fail(message: str) -> str:
    """Fail."""
    raise ValueError(message)


@python
def flaky(path: str, times: int) -> int:
    """Fail so many times, then tell how often it ran."""
    import os

    with open(path, "a") as file:
        file.write("x")
    ran = os.path.getsize(path)
    if ran <= times:
        raise RuntimeError(f"attempt {ran}")
    return ran


@python
def mark(path: str, text: str, wait: float = 0.0) -> str:
    """Append a line to a file, after a while."""
    import time

    time.sleep(wait)
    with open(path, "a") as file:
        file.write(text + "\n")
    return text


@python
def final(path: str, status: dsl.PipelineTaskFinalStatus, text: Optional[str] = None):  # noqa: UP045
    """Leave how it ended."""
    with open(path, "a") as file:
        file.write(f"{status.state} {status.pipeline_task_name} {status.error_message} {text}\n")


@python
def stubborn(path: str):
    """Ignore the request to end."""
    import signal
    import time

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(path, "a") as file:
        file.write("began\n")
    time.sleep(600)


@python
def chatty(megabytes: int) -> int:
    """Print a lot."""
    line = "x" * 1023
    for _ in range(megabytes * 1024):
        print(line)
    return megabytes


@python
def leaves_a_child(seconds: float) -> str:
    """Leave a process behind that holds standard output."""
    import subprocess

    subprocess.Popen(["sleep", str(seconds)], start_new_session=True)
    return "left"


@python
def dies():
    """Be killed."""
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def counting(image):
    """Return a container component that counts the bytes of a text."""

    @dsl.container_component
    def count(text: str, size: dsl.OutputPath(int)):
        command = ["sh", "-c", 'printf %s "$0" | wc -c > "$1"']
        return dsl.ContainerSpec(image=image, command=command, args=[text, size])

    return count


def sleeping(image):
    """Return a container component that sleeps for a minute."""

    @dsl.container_component
    def sleeper():
        return dsl.ContainerSpec(image=image, command=["sleep", "60"])

    return sleeper


count = counting("alpine")


def using(wheel):
    """Return a component that imports what a wheel holds."""

    @dsl.component(
        base_image="python:3.11", install_kfp_package=False, packages_to_install=["kfp", str(wheel)]
    )
    def uses() -> str:
        import tiny

        return str(tiny.WORD)

    return uses


@dsl.pipeline
def inner(n: int, data: dsl.Input[dsl.Dataset]) -> float:
    """Read, and add a half."""
    return number(n=read(data=data).output).output


@dsl.pipeline(name="constructs")
def constructs(path: str, coin: str = "heads", note: Optional[str] = None, xs: List[int] = [1, 2, 3]):  # noqa: UP006, UP045, B006
    """Everything at once."""
    with dsl.ExitHandler(final(path=path, text=note)):
        with dsl.ParallelFor([1, 2, 3]) as item:
            made = write(n=item)
            halves = number(n=item)
        total(xs=dsl.Collected(halves.output)).set_display_name("sum")
        read_all(data=dsl.Collected(made.outputs["data"]))
        with dsl.ParallelFor(xs, parallelism=1) as x, dsl.If(x > 1):
            number(n=x, extra=10.0)
        with dsl.ParallelFor([{"a": 1, "b": 5}, {"a": 2, "b": 6}]) as row:
            number(n=row.b).after(number(n=row.a))
        inner(n=1, data=write(n=5).outputs["data"])
        pair = two(n=4)
        with dsl.If(pair.outputs["second"] == "8"):
            echo(text="second is 8")
        optional(text=note)
        with dsl.If(coin == "heads"):
            heads = echo(text="h")
        with dsl.Elif(coin == "tails"):
            tails = echo(text="t")
        with dsl.Else():
            edge = echo(text="e")
        mark(path=path, text=dsl.OneOf(heads.output, tails.output, edge.output))


@dsl.pipeline(name="nested-loops")
def nested_loops() -> List[float]:  # noqa: UP006
    """Collect from a loop in a loop."""
    with dsl.ParallelFor([1, 2]), dsl.ParallelFor([10, 20]) as inside:
        found = number(n=inside)
    return dsl.Collected(found.output)


@dsl.pipeline(name="broken")
def broken(path: str):
    """Fail while others run, with an exit handler."""
    with dsl.ExitHandler(final(path=path)):
        fail(message="no column 'price'")
        slow = mark(path=path, text="slow ended", wait=0.5)
        mark(path=path, text="never").after(slow)


@dsl.pipeline(name="wide")
def wide(seconds: float, count: List[int] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]):  # noqa: UP006, B006
    """Independent steps that only wait."""
    with dsl.ParallelFor(count):
        sleep(seconds=seconds)


@dsl.pipeline(name="chain")
def chain(path: str):
    """Steps one after another, each leaving a mark."""
    before = None
    for index in range(6):
        task = mark(path=path, text=f"step {index}", wait=0.4).set_caching_options(False)
        if before is not None:
            task.after(before)
        before = task


@dsl.pipeline(name="many")
def many(items: List[int]):  # noqa: UP006
    """One small step for each item."""
    with dsl.ParallelFor(items) as item:
        number(n=item)
