"""From a MONAI bundle to a model folder."""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import __version__
from .bundle_questions import Answers, answered
from .bundle_weights import read_state, renamed
from .bundles import Bundle, read_bundle, size_of, sketch
from .card import AXIAL, Card
from .devices import check_room
from .errors import BadInput, Notice
from .models import save
from .networks.turned import Turned
from .places import installed
from .store import ModelFolder

AUTOENCODER = "autoencoder.safetensors"
NOT_TOLD = "not told"


def import_bundle(folder: Path, answers: Answers, name: str = "", root: Path | None = None) -> ModelFolder:
    """Install the bundle in `folder` as the model `name` (or as the bundle is called), whole or not at all. Raises
    BadInput for what is left open, in one sentence, and BadModel for what cannot be read."""
    bundle = read_bundle(folder)
    card = _card(bundle, answered(bundle, answers), name or re.sub(r"[^a-z0-9]+", "-", bundle.name.lower()).strip("-"))
    root = root or installed()
    target = root / card.id
    if target.exists():
        raise BadInput(f"model {card.id!r} is there already, in {target}; remove it first, or give another --id")
    check_room(size_of(bundle), torch.device("cpu"), f"the bundle {bundle.name}")
    if bundle.noise.clips:
        told = "the bundle's own sampler clips its estimates to a range; here they are left as they are"
        warnings.warn(told, Notice, stacklevel=2)
    weights = {part: _weights(bundle, part, card) for part in bundle.parts()}
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".install-{os.getpid()}-", dir=root) as temporary:
        stage = Path(temporary, card.id)
        stage.mkdir()
        _texts(bundle.config.folder, stage)
        found = save(card, weights["unet"], stage, weights.get("autoencoder"), half=False)
        stage.rename(target)
    return ModelFolder(found.card, target)


def _weights(bundle: Bundle, part: str, card: Card) -> dict[str, Tensor]:
    """The weights of a part under the names of our own network."""
    path, named = bundle.weights(part), bundle.parts()[part]
    ours = sketch(named)
    inner, place = next((m, name) for name, m in ours.named_modules() if isinstance(m, Turned))
    shapes = {name: value.shape for name, value in inner.network.state_dict().items()}
    state = renamed(read_state(path), shapes, path.name)
    return {f"{place}.network.{name}": value for name, value in state.items()}


def _texts(bundle: Path, stage: Path) -> None:
    """The bundle's licence and its words about itself."""
    for source, name in ((bundle / "LICENSE", "LICENSE"), (bundle / "docs" / "README.md", "README.md")):
        if source.is_file():
            (stage / name).write_bytes(source.read_bytes())


def _card(bundle: Bundle, told: Mapping[str, Any], name: str) -> Card:
    """The card: what the bundle says of itself, and what was answered."""
    parts = bundle.parts(told["axes"])
    latent = None
    if bundle.autoencoder is not None:
        latent = {"autoencoder": parts["autoencoder"], "weights": AUTOENCODER, "scale": told["scale"]}
    size = told.get("size") or _in_ours(bundle, told["axes"])
    try:
        return Card.model_validate(
            {
                **_words(bundle),
                "id": name,
                "task": "synthesise",
                "recipes": {"synthesise": {}},
                "orientation": AXIAL if bundle.dims == 2 else "LPS-canonical volumes",
                "spacing_mm": told["spacing"],
                "spacing_tolerance": 0.1,
                "shape_multiple": bundle.downsample * 2 ** (len(bundle.unet["channels"]) - 1),
                "intensity": {"kind": "none"},
                "network": parts["unet"],
                "predicts": bundle.noise.predicts,
                "schedule": bundle.noise.schedule,
                "latent": latent,
                "covariates": told.get("covariates", {}),
                "quality": [],
                "licence": told["licence"],
                "window": size[::-1],
                "files": {},
            }
        )
    except ValueError as error:  # pydantic's: of many lines, the second names the key and the third what is wrong
        why = " ".join(line.strip() for line in str(error).splitlines()[1:3]).split(" [")[0]
        raise BadInput(f"the card of {name} cannot be written with these answers: {why}") from None


def _words(bundle: Bundle) -> dict[str, Any]:
    """What the bundle says of itself, and "not told" where it is silent."""
    about = bundle.config.metadata

    def word(key: str, other: str = NOT_TOLD) -> str:
        text = about.get(key)
        return text if isinstance(text, str) and text.strip() else other

    cited = about.get("references")
    version, shows = word("version"), word("image_classes")
    return {
        "version": version,
        "name": word("name", bundle.name),
        "summary": word("description", f"Imported from the MONAI bundle {bundle.name}."),
        "modality": shows,
        "anatomy": NOT_TOLD,
        "channels": [{"name": shows, "unit": "1"}],
        "training": {
            "data": [{"name": word("data_source"), "licence": NOT_TOLD}],
            "command": f"imported from the MONAI bundle {bundle.name} {version}",
            "seed": None,
            "steps": None,
            "seconds": None,
            "device": NOT_TOLD,
            "code_version": __version__,
        },
        "citation": "; ".join(map(str, cited)) if isinstance(cited, list) and cited else word("authors"),
        "intended_use": word("intended_use"),
        "limitations": "Imported from a MONAI bundle: its images were not looked at here, and nothing was measured.",
    }


def _in_ours(bundle: Bundle, axes: str) -> list[int]:
    """The size of an image along x, y(, z), from that of its codes along the bundle's axes."""
    lines = ("LR", "PA", "SI")[: bundle.dims]
    places = [next(k for k, letter in enumerate(axes) if letter in line) for line in lines]
    return [bundle.latent_shape[k] * bundle.downsample for k in places]
