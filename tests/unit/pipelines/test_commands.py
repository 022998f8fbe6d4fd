"""What a task executes: placeholders, Python components, environments, shares of the machine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from chandlery.embedded.pipelines import commands, environments, settings
from chandlery.embedded.pipelines.cache import fingerprint
from chandlery.embedded.pipelines.machine import Machine
from chandlery.embedded.pipelines.settings import MissingReferenceError, Share
from tests.unit.pipelines.components import job

GIVEN: dict[str, Any] = {
    "inputs": {
        "parameterValues": {"n": 2.0, "text": "a b", "hole": None, "list": [1]},
        "artifacts": {"data": {"artifacts": [{"name": "d", "uri": "/x/data", "metadata": {"rows": 3.0}}]}},
    },
    "outputs": {
        "parameters": {"o": {"outputFile": "/x/o"}},
        "artifacts": {"m": {"artifacts": [{"name": "m", "uri": "/x/m"}]}},
        "outputFile": "/x/out.json",
    },
}


def words(*command: str) -> list[str]:
    return commands.command_line({"command": list(command), "image": "i"}, GIVEN, {"d": "default"})


@pytest.mark.parametrize(
    ("word", "filled"),
    [
        ("{{$.inputs.parameters['n']}}", "2"),
        ("-{{$.inputs.parameters['text']}}-{{$.inputs.parameters['d']}}", "-a b-default"),
        ("{{$.inputs.parameters['list']}}", "[1]"),
        ("{{$.inputs.artifacts['data'].path}}", "/x/data"),
        ("{{$.inputs.artifacts['data'].metadata['rows']}}", "3"),
        ("{{$.outputs.parameters['o'].output_file}}", "/x/o"),
        ("{{$.outputs.artifacts['m'].uri}}", "/x/m"),
        ("{{$.unknown}}", "{{$.unknown}}"),
        ("$(rm -rf ~) `x`", "$(rm -rf ~) `x`"),
    ],
)
def test_placeholders(word: str, filled: str) -> None:
    assert words(word) == [filled]


def test_what_is_put_in_is_not_looked_at_again() -> None:
    given = {**GIVEN, "inputs": {"parameterValues": {"a": "{{$.inputs.parameters['b']}}", "b": "secret"}}}
    assert commands.command_line({"command": ["{{$.inputs.parameters['a']}}"]}, given, {}) == [
        "{{$.inputs.parameters['b']}}"
    ]


def test_structures_of_a_container_component() -> None:
    assert words('{"IfPresent": {"InputName": "n", "Then": ["--n", "{{$.inputs.parameters[\'n\']}}"]}}') == [
        "--n",
        "2",
    ]
    assert words("x", '{"IfPresent": {"InputName": "hole", "Then": "a", "Else": "b"}}') == ["x", "b"]
    assert words("x", '{"IfPresent": {"InputName": "nothing", "Then": "a"}}') == ["x"]
    assert words(
        '{"Concat": ["a=", "{{$.inputs.parameters[\'n\']}}", {"IfPresent": {"InputName": "n", "Then": "!"}}]}'
    ) == ["a=2!"]


def test_a_python_component_is_told_from_a_command() -> None:
    container = job.component_spec.implementation.container
    found = commands.python_component(
        {"command": container.command, "args": container.args, "image": container.image}
    )
    assert found is not None
    assert found.function == "job"
    assert "return n" in found.source
    assert found.requirements[:2] == ("numpy>=2", "x[y]==1")
    assert any(text.startswith("kfp==") for text in found.requirements)
    assert found.options[:2] == ("--index-url", "https://i/simple")
    assert commands.python_component({"command": ["sh", "-c", "echo"], "args": []}) is None


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("kfp==2.12.1", True),
        ("pyyaml>=6", True),
        ("pyyaml<1", False),
        ("no-such-package", False),
        ('x; python_version<"3.9"', True),
        ("git+https://x/y", False),
        ("pip-url @ https://x/y.whl", False),
    ],
)
def test_requirements_that_are_met(text: str, met: bool) -> None:
    assert environments._is_met(text) is met


@pytest.mark.parametrize(
    ("resources", "share"),
    [
        ({}, Share(1.0, 0.0)),
        ({"resourceCpuRequest": "200m", "resourceMemoryRequest": "512Mi"}, Share(0.2, 512 * 2**20)),
        ({"cpuRequest": 2.0, "memoryRequest": 1.5}, Share(2.0, 1.5e9)),
        ({"resourceCpuRequest": "{{$.inputs.parameters['c']}}"}, Share(1.0, 0.0)),
        ({"resourceMemoryRequest": "2G"}, Share(1.0, 2e9)),
    ],
)
def test_shares(resources: dict[str, Any], share: Share) -> None:
    found = settings.share({"resources": resources})
    assert found == pytest.approx(share) or (found.cpus, found.memory) == pytest.approx(
        (share.cpus, share.memory)
    )


def test_references_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = {"secretName": "s", "keyToEnv": [{"envVar": "TOKEN", "secretKey": "token"}]}
    container = {"env": [{"name": "A", "value": "{{$.inputs.parameters['n']}}"}]}
    monkeypatch.delenv("TOKEN", raising=False)
    known = {"{{$.inputs.parameters['n']}}": "2"}
    with pytest.raises(MissingReferenceError, match="Secret s has no key token"):
        settings.environment(container, {"secretAsEnv": [reference]}, {}, known, {})
    found = settings.environment(container, {"secretAsEnv": [{**reference, "optional": True}]}, {}, known, {})
    assert found["A"] == "2"
    assert "TOKEN" not in found
    monkeypatch.setenv("TOKEN", "t")
    assert settings.environment(container, {"secretAsEnv": [reference]}, {}, known, {})["TOKEN"] == "t"


def changed(**parts: Any) -> str:
    base = {
        "task": {},
        "component": {"outputDefinitions": {"parameters": {"o": {"parameterType": "STRING"}}}},
    }
    container = {"image": "i", "command": ["c"], "args": ["a"]}
    return fingerprint(
        {**base["task"], **parts.get("task", {})},
        parts.get("component", base["component"]),
        {**container, **parts.get("container", {})},
        parts.get("given", GIVEN),
    )


def test_a_fingerprint_changes_with_what_a_result_depends_on() -> None:
    other = {**GIVEN, "inputs": {**GIVEN["inputs"], "parameterValues": {"n": 3.0}}}
    whole = {
        **GIVEN,
        "inputs": {**GIVEN["inputs"], "parameterValues": {**GIVEN["inputs"]["parameterValues"], "n": 2}},
    }
    moved = {
        **GIVEN,
        "outputs": {
            **GIVEN["outputs"],
            "artifacts": {"m": {"artifacts": [{"name": "m", "uri": "/elsewhere"}]}},
        },
    }
    assert changed(given=whole) == changed(given=moved) == changed()
    different = [
        changed(given=other),
        changed(container={"image": "j"}),
        changed(container={"args": ["b"]}),
        changed(component={"outputDefinitions": {"parameters": {"o": {"parameterType": "LIST"}}}}),
        changed(task={"cachingOptions": {"cacheKey": "k"}}),
    ]
    assert len({changed(), *different}) == 6
    assert changed(task={"cachingOptions": {"cacheKey": "k"}}) == changed(
        task={"cachingOptions": {"cacheKey": "k"}}, container={"image": "j"}
    )


@limits(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.floats(0.1, 3), st.integers(0, 300), st.booleans()),
        max_size=12,
    ),
    st.integers(0, 3),
)
def test_the_machine_is_never_overbooked_and_nothing_is_lost(
    jobs: list[tuple[float, int, bool]], most: int
) -> None:
    async def run() -> None:
        machine = Machine(2.0, 200.0, most)
        running: list[Share] = []

        async def job(cpus: float, memory: float) -> None:
            async with machine.taken(Share(cpus, memory)):
                running.append(Share(min(cpus, 2.0), min(memory, 200.0)))
                assert sum(share.cpus for share in running) <= 2.0 + 1e-6
                assert sum(share.memory for share in running) <= 200.0
                assert not most or len(running) <= most
                await asyncio.sleep(0)
                running.pop()

        tasks = [asyncio.create_task(job(cpus, memory)) for cpus, memory, _ in jobs]
        await asyncio.sleep(0)
        for task, (_, _, cancelled) in zip(tasks, jobs, strict=True):
            if cancelled:
                task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        async with machine.taken(Share(2.0, 200.0)):
            pass  # the whole machine is free again

    asyncio.run(run())
