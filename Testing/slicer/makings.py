"""What the tests of the tabs that make images share: tiny models with random weights, and the tabs of the hub."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anomalies
import panels

SIDE = 16  # pixels of an image of the tiny models
CLASSES = ("Hand", "Head")
RANGES = {
    "age": {"unit": "years", "min": 40.0, "max": 80.0, "null": 60.0},
    "volume": {"unit": "1", "min": 0.0, "max": 1.0, "null": 0.5},
}
SEGMENTS = ("Anterior hippocampus", "Posterior hippocampus")
WINDOW = {"kind": "window", "lower": 0.0, "upper": 255.0, "target": [0.0, 2.0], "linear": True}


def models(folder: Path) -> Path:
    """A folder with models, all random: of classes, of covariates, and of label maps in 3D."""
    from meddiff import models as engine
    from meddiff.card import Card

    for id, more in _cards().items():
        base = anomalies.card_of(id)
        network = {**base["network"], "arguments": {**base["network"]["arguments"], **more.pop("arguments")}}
        card = Card.model_validate_json(json.dumps({**base, "network": network, "labels": None, **more}))
        engine.save(card, anomalies.weights(card), folder / id)
    return folder


def _cards() -> dict[str, dict[str, Any]]:
    made: dict[str, Any] = {"task": "synthesise", "recipes": {"synthesise": {}, "guided-synthesis": {}}}
    flat = {**made, "window": [SIDE, SIDE], "intensity": WINDOW}
    return {
        "tiny-classes": {
            **flat,
            "name": "Tiny classes (two)",
            "labels": {"names": CLASSES, "null": 2},
            "arguments": {"labels": 3},
        },
        "tiny-ages": {**flat, "covariates": RANGES, "arguments": {"labels": None, "concat_channels": 2}},
        "tiny-shapes": {
            **made,
            "segments": [{"name": name} for name in SEGMENTS],
            "spacing_mm": [1.0, 1.0, 1.0],
            "window": [8, 12, 16],
            "arguments": {"labels": None, "concat_channels": 3, "spatial_dims": 3},
        },
    }


def open_tab(host: Any, name: str) -> SimpleNamespace:
    """A tab of the hub, as a click on it opens it; the panel in it is that of a task."""
    module = host.load_module(panels.ROOT / "MedDiffusion" / "MedDiffusion.py")
    hub = module.enter()
    tab = next(tab for title, tab in hub._tabs.items() if title == name)
    hub.tabs.setCurrentWidget(tab.widget)
    widget = tab.panel
    return SimpleNamespace(host=host, module=module, hub=hub, widget=widget, parameters=widget._parameterNode)
