"""A component as users write them; kfp cannot read annotations that are postponed."""

from kfp import dsl


@dsl.component(
    base_image="python:3.12",
    packages_to_install=["numpy>=2", "x[y]==1"],
    pip_index_urls=["https://i/simple"],
)
def job(n: int) -> int:
    """Return its input."""
    return n
