"""Nothing reads pickled code: not by the pickle module, not by a library that reads pickles when it is allowed to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("chandlery", "components", "pipelines", "examples", "scripts", "images")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "shelve",
    "marshal",
    "pickletools",
}
# Argument -> the values of it that keep a reader from running what it reads.
SAFE = {"allow_pickle": (False,), "safe_mode": (True,), "weights_only": (True,)}
# Functions that read pickles, or code, unless an argument says otherwise.
READERS = {"np.load": "allow_pickle", "numpy.load": "allow_pickle", "torch.load": "weights_only"}
UNSAFE = {"read_pickle", "to_pickle", "enable_unsafe_deserialization", "unsafe_load"}


def findings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(alias.name for alias in node.names)]
            yield from (name for name in names if name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            for name, allowed in SAFE.items():
                value = given.get(name)
                if value is not None and not (isinstance(value, ast.Constant) and value.value in allowed):
                    yield f"{name}={ast.unparse(value)}"
            called = ast.unparse(node.func)
            if called in READERS and READERS[called] not in given:
                yield f"{called} without {READERS[called]}"
            if called.rpartition(".")[2] in UNSAFE:
                yield called


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_reads_pickles(path: Path) -> None:
    assert not list(findings(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import sklearn, joblib",
        "from joblib import load",
        "from sklearn.externals import joblib",
        "import dill as d",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "keras.models.load_model(path, safe_mode=False)",
        "keras.config.enable_unsafe_deserialization()",
        "pd.read_pickle(path)",
    ],
)
def test_the_rule_finds(source: str) -> None:
    assert list(findings(source))
