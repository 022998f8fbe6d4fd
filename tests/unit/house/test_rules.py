"""Rules of the house that a reader would otherwise have to trust."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from chandlery import catalog
from chandlery.addresses import SECRET

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "chandlery"
SOURCES = sorted(PACKAGE.rglob("*.py"))
ENTRIES = catalog.entries()

HEAVY = {
    "tensorflow",
    "keras",
    "mlflow",
    "kfp",
    "pandas",
    "matplotlib",
    "pandera",
    "optuna",
    "hyperopt",
    "sklearn",
    "skops",
    "xgboost",
}


def imports(path: Path, *, top_level: bool) -> set[str]:
    """Modules that a file imports: everywhere, or only when it is itself imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if typing_only or (top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            skipped.update(child for child in ast.walk(node) if child is not node)
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_platform_opens_what_is_embedded(path: Path) -> None:
    inside = path.relative_to(PACKAGE).parts[0] == "embedded"
    if inside or path == PACKAGE / "platform.py":
        return
    assert not [name for name in imports(path, top_level=False) if name.startswith("chandlery.embedded")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_libraries_are_imported_inside_functions(path: Path) -> None:
    heavy = {name.partition(".")[0] for name in imports(path, top_level=True)} & HEAVY
    assert not heavy


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_one_name_everywhere(entry: catalog.Entry) -> None:
    assert entry.metadata["name"] == entry.name == entry.folder.name
    if entry.kind == "component":
        assert entry.metadata["family"] == entry.family
    tree = ast.parse(entry.source.read_text(encoding="utf-8"))
    assert entry.name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert catalog.load_package(entry.package)["pipelineInfo"]["name"] == entry.name.replace("_", "-")


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.kind == "component"], ids=lambda e: e.name)
def test_a_component_is_a_thin_shell(entry: catalog.Entry) -> None:
    tree = ast.parse(entry.source.read_text(encoding="utf-8"))
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == entry.name)
    body = [
        node
        for node in function.body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    assert len(body) <= 6, "an import, a call, and at most the naming of outputs"
    assert not [
        n for part in body for n in ast.walk(part) if isinstance(n, ast.If | ast.For | ast.While | ast.Try)
    ]
    imports_of_body = [n for part in body for n in ast.walk(part) if isinstance(n, ast.ImportFrom)]
    assert [n.module for n in imports_of_body if str(n.module).startswith("chandlery")] == [
        f"chandlery.steps.{entry.family}.{entry.name}"
    ]
    executor = next(iter(catalog.load_package(entry.package)["deploymentSpec"]["executors"].values()))
    assert executor["container"]["image"] == catalog.IMAGE
    assert "pip install" not in " ".join(executor["container"]["command"])


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.kind == "component"], ids=lambda e: e.name)
def test_a_component_names_the_systems_that_it_talks_to(entry: catalog.Entry) -> None:
    assert "systems" in entry.metadata
    assert set(entry.systems) <= set(catalog.SYSTEMS)


def test_families_are_a_closed_list() -> None:
    assert {e.family for e in ENTRIES if e.kind == "component"} == set(catalog.FAMILIES)
    assert {path.parent.name for path in (PACKAGE / "steps").glob("*/__init__.py")} == set(catalog.FAMILIES)


PIPELINES = [e for e in ENTRIES if e.kind == "pipeline"]


@pytest.mark.parametrize("entry", PIPELINES, ids=lambda e: e.name)
def test_every_task_has_resources_timeout_caching_and_retries_as_its_metadata_says(
    entry: catalog.Entry,
) -> None:
    spec, platform = yaml.safe_load_all(entry.package.read_text(encoding="utf-8"))
    kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    executors = spec["deploymentSpec"]["executors"]
    dags = [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]
    seen = 0
    for dag in dags:
        for task in dag["tasks"].values():
            part = spec["components"][task["componentRef"]["name"]]
            if "dag" in part:
                continue
            seen += 1
            label = part["executorLabel"]
            container = executors[label]["container"]
            component = catalog.find({v["name"]: v["value"] for v in container["env"]}["CHANDLERY_TASK"])
            resources = container["resources"]
            assert {
                "resourceCpuRequest",
                "resourceCpuLimit",
                "resourceMemoryRequest",
                "resourceMemoryLimit",
            } <= set(resources)
            assert task.get("cachingOptions", {}).get("enableCache", False) == component.pure
            retries = component.metadata.get("retries", 0)
            assert task.get("retryPolicy", {}).get("maxRetryCount", 0) == retries
            platform_config = kubernetes[label]
            assert platform_config["activeDeadlineSeconds"] == str(component.metadata["timeout_seconds"])
            assert any(f["name"] == "CHANDLERY_RUN_ID" for f in platform_config["fieldPathAsEnv"])
            assert platform_config["secretAsEnv"][0]["optional"]
    assert seen == len(executors)


CREDENTIAL = re.compile(r"TOKEN|PASSWORD|SECRET|KEY|CREDENTIAL", re.IGNORECASE)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_compiled_yaml_refers_to_secrets_and_pins_every_image(entry: catalog.Entry) -> None:
    documents = list(yaml.safe_load_all(entry.package.read_text(encoding="utf-8")))
    for executor in documents[0]["deploymentSpec"]["executors"].values():
        container = executor.get("container", {})
        for variable in container.get("env", ()):
            assert not CREDENTIAL.search(variable["name"]), "a credential comes from a Secret, not as a value"
        if "image" in container:
            _, _, tag = container["image"].rpartition("/")[2].partition(":")
            assert "@sha256:" in container["image"] or (tag and tag not in ("latest", "main", "dev"))
    for document in documents[1:]:
        executors = document["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        for settings in executors.values():
            for secret in settings.get("secretAsEnv", ()):
                assert secret["secretName"] == SECRET
                assert all(pair.keys() == {"secretKey", "envVar"} for pair in secret["keyToEnv"])
            assert not [
                m
                for m in settings.get("configMapAsEnv", ())
                for k in m["keyToEnv"]
                if CREDENTIAL.search(k["envVar"])
            ]
