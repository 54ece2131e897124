"""What the tests of the tabs that make images share: tiny models with random weights, and the tabs of the hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
CONTRASTS = ("T1", "T2", "FLAIR")
WINDOW = {"kind": "window", "lower": 0.0, "upper": 255.0, "target": [0.0, 2.0], "linear": True}


def models(folder: Path) -> Path:
    """A folder with models, all random: of classes, of covariates, of label maps in 3D, of healthy and diseased images,
    of images that nobody asked anything of, and of contrasts, with a network of one pass beside it."""
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
    painted: dict[str, Any] = {"recipes": {"repaint": {}, "guided-repaint": {}}}
    channels = [{"name": name, "unit": "1"} for name in CONTRASTS]
    labels = {"names": CONTRASTS, "null": 3}
    several = {"task": "translate", "channels": channels, "labels": labels}
    beside = {"concat_channels": 6, "labels": 4}
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
        "tiny-health": {
            **painted,
            "task": "anomaly",
            "labels": {"names": CONTRASTS, "states": ["healthy", "diseased"], "null": 6},
            "arguments": {"labels": 7},
        },
        "tiny-anything": {**painted, "task": "reconstruct", "arguments": {"labels": None}},
        "tiny-contrasts": {
            **several,
            "recipes": {"translate": {}, "regression": {}},
            "companions": {"baseline": "tiny-contrasts-unet"},
            "arguments": beside,
        },
        "tiny-contrasts-unet": {
            **several,
            "recipes": {},
            "predicts": "image",
            "schedule": None,
            "arguments": beside,
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


def set_up(tab: SimpleNamespace, **values: Any) -> None:
    """Parameters of the tab as a person would choose them: one after the other."""
    for name, value in {"preset": "fast", "seed": 5, "keepWarm": False, **values}.items():
        setattr(tab.parameters, name, value)
        tab.widget.onEdited(name)


def apply(tab: SimpleNamespace) -> None:
    """Press Apply and wait for the end, which is to be a good one."""
    panels.press(tab.widget, "applyButton")
    tab.host.wait(panels.finished(tab.widget), 120)
    assert panels.find(tab.widget, "problemText").text == ""


def run_as_command(tab: SimpleNamespace, models: Path, folder: Path) -> None:
    """Save the job that the tab copies for a terminal, and run it there."""
    comment, text = tab.widget.logic.command(tab.widget.arguments()).rsplit("\n{", 1)
    assert comment.splitlines()[-1].endswith("meddiff run job.json")
    (folder / "job.json").write_text("{" + text, encoding="utf-8")
    told = {**os.environ, "MEDDIFF_MODELS": str(models), "PYTHONPATH": str(panels.ROOT / "MedDiffusion")}
    words = [sys.executable, "-m", "meddiff", "run", "job.json"]
    subprocess.run(words, check=True, env=told, cwd=folder, capture_output=True)
