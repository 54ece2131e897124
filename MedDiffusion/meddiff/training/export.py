"""From a checkpoint to a model folder: averaged weights in half precision, and a card that says how they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .. import __version__
from ..card import Card
from ..errors import BadInput
from ..models import save
from ..networks import build
from ..store import ModelFolder
from .adversaries import shipped
from .course import Course, read_course
from .fit import averaged_weights
from .latent import Halves, split
from .plan import PLANS

CARDS = PLANS.parent / "cards"


def export(checkpoint: Path, folder: Path, *, device: str, command: str) -> ModelFolder:
    """Write the model of `checkpoint` to `folder`; what no checkpoint knows (licence, citation, use) comes from
    `training/cards/<id>.json`, and `<id>.md` beside it becomes the README. Raises BadInput where these are missing."""
    weights, run = averaged_weights(checkpoint)
    plan = read_course(run["plan"])
    about = _about(plan.id)
    network = build(plan.network["name"], plan.network["arguments"])
    halves = split(plan, weights) if plan.autoencoder else Halves(shipped(weights, network))
    card = Card.model_validate(
        {
            **about,
            "id": plan.id,
            "network": plan.network,
            "schedule": plan.schedule,
            "predicts": plan.predicts,
            "intensity": plan.intensity,
            "spacing_mm": plan.spacing_mm,
            "shape_multiple": halves.downsample * getattr(network, "multiple", 1),
            "latent": halves.latent,
            "labels": _labels(plan),
            "covariates": plan.covariates,
            "companions": plan.companions,
            "training": {
                "data": about["training"]["data"],
                "command": command,
                "seed": plan.seed,
                "steps": run["step"],
                "seconds": round(run["seconds"], 1),
                "device": device,
                "code_version": __version__,
            },
            "quality": [],
            "files": {},
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text((CARDS / f"{plan.id}.md").read_text(encoding="utf-8"), encoding="utf-8")
    return save(card, halves.weights, folder, halves.autoencoder)


def _labels(plan: Course) -> dict[str, Any] | None:
    if not plan.labels:
        return None
    return {"names": plan.labels[:-1], "states": list(plan.states), "null": plan.classes - 1}


def _about(model: str) -> dict[str, Any]:
    path = CARDS / f"{model}.json"
    if not path.is_file():
        raise BadInput(f"there is no {path.name} in {CARDS}; a model needs a licence, a citation and an intended use")
    return json.loads(path.read_text(encoding="utf-8"))
