"""The command that model cards print, `python -m chandlery.registry.reproduce`; the work is in `chandlery.reproduce`.

Registered model cards and bundles name this module, so the command stays here. It is run and not imported: training
a model again needs data, training and registry, which stand above this room.
"""

import runpy

if __name__ == "__main__":
    runpy.run_module("chandlery.reproduce", run_name="__main__")
