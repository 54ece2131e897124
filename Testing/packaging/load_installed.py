"""Loads all modules from an installed extension's flat folder in the test host, and says how it went, as JSON.

python load_installed.py FOLDER MODULE...
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

OURS = ("MedDiffusionLib", "meddiff")


def main(flat: Path, names: list[str]) -> None:
    """Load the modules, open their panels, and look at what that brought in."""
    import setup_system

    if absent := setup_system.missing():
        sys.exit(setup_system.sentence(absent))
    import host

    application = host.start()
    before = set(sys.modules)
    began = time.perf_counter()
    modules = [application.load_module(flat / f"{name}.py") for name in names]
    seconds = time.perf_counter() - began
    for module in modules:
        module.enter()
    application.process_events(0.2)
    from MedDiffusionLib import catalogue, install

    found = sorted(set(sys.modules) - before)
    told = {
        "seconds": seconds,
        "packages": sorted({name.split(".")[0] for name in found}),
        "files": [str(sys.modules[name].__file__) for name in found if name.split(".")[0] in (*OURS, *names)],
        "icons": [not module.instance.icon.isNull() for module in modules],
        "titles": [module.instance.title for module in modules],
        "models": [str(model.folder) for model in catalogue.models()],
        "recipes": len(catalogue.recipes()),
        "requirements": install.requirements(),
        "errors": [str(error) for error in application.slot_errors],
    }
    application.reset()
    sys.stdout.write(f"\ntold:{json.dumps(told)}\n")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    sys.path[:0] = [str(folder), str(Path(__file__).parents[1] / "slicer")]
    main(folder, sys.argv[2:])
