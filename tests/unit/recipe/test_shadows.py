"""A file beside a recipe takes the place of no library."""

import numpy as np

from chandlery.recipe_import import import_recipe


def test_a_file_named_as_a_library_is_not_what_a_recipe_imports(tmp_path):
    for name in ("numpy", "pandas", "json"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('of the working directory')\n")
    (tmp_path / "helpers.py").write_text(
        "import json\nimport numpy\n\nLIMIT = int(numpy.int64(json.loads('7')))\n"
    )
    (tmp_path / "mine.py").write_text(
        "import numpy as np\nfrom helpers import LIMIT\n\nFOUND = np.__file__\n"
    )
    module = import_recipe(tmp_path, "mine.py", "0" * 8)
    assert module.LIMIT == 7
    assert np.__file__ == module.FOUND
