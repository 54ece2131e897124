"""A model as a MONAI bundle: MONAI's ConfigParser loads it and samples from it, and none of our code is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch

from .bundles import PREDICTS, SCHEDULES
from .card import Card, Named
from .errors import BadInput, BadModel
from .levels import Schedule, make_schedule
from .networks import build
from .networks.autoencoder import kl_arguments, vq_arguments
from .networks.turned import OURS, Turned
from .networks.unet import unet_arguments
from .store import ModelFolder, load_weights, verify

STEPS = 50  # at most
SIZE = 128  # voxels along an axis, about, of images of a model that takes any
UNETS = {"diffusion-unet": "unet", "monai-unet": "unet"}  # and where MONAI's network is in ours
AUTOENCODERS = {"vqvae": "vqvae", "autoencoder-kl": "kl", "monai-autoencoder-kl": "kl"}
PAIRED = "(@noise_scheduler.set_timesteps(@steps), setattr(@noise_scheduler, 'timesteps', @times))"


@dataclass(frozen=True)
class Half:
    """One network of a bundle: its `_target_`, MONAI's arguments, and its weights under MONAI's names."""

    target: str
    arguments: Mapping[str, Any]
    state: Mapping[str, torch.Tensor]

    @property
    def definition(self) -> dict[str, Any]:
        return {"_target_": f"monai.networks.nets.{self.target}", **self.arguments}


def export_bundle(model: ModelFolder, target: Path) -> Path:
    """Write the model to the new folder `target` as a bundle. Raises BadInput for a folder that is there, and BadModel
    for networks and levels that MONAI does not have."""
    card, folder = model
    if target.exists():
        raise BadInput(f"{target} is there already; expected the name of a new folder")
    verify(folder)
    schedule = _levels(card)
    halves = {"model.pt": _half(card.network, load_weights(folder), UNETS, card)}
    if card.latent is not None:
        weights = load_weights(folder, card.latent.weights)
        halves["model_autoencoder.pt"] = _half(card.latent.autoencoder, weights, AUTOENCODERS, card)
    config = _config(card, schedule, list(halves.values()))
    for place in ("configs", "models", "docs"):
        (target / place).mkdir(parents=True)
    for name, data in (("inference", config), ("metadata", _metadata(card, config))):
        (target / "configs" / f"{name}.json").write_text(f"{json.dumps(data, indent=2)}\n", encoding="utf-8")
    for name, half in halves.items():
        torch.save(dict(half.state), target / "models" / name)
    for name, place in (("LICENSE", target), ("README.md", target / "docs")):
        if (folder / name).is_file():
            (place / name).write_bytes((folder / name).read_bytes())
    return target


def _levels(card: Card) -> Schedule:
    """Raises BadModel for what no scheduler of MONAI's samples."""
    if card.schedule is None or card.predicts not in PREDICTS.values():
        raise BadModel(f"{card.id} is no diffusion model that MONAI samples: its network makes {card.predicts}")
    if card.segments:
        raise BadModel(f"{card.id} is told label maps, which MONAI's inferers do not pass on; it cannot be a bundle")
    schedule = make_schedule(card.schedule.name, **card.schedule.arguments)
    if any(abs(level.alpha**2 + level.sigma**2 - 1) > 1e-9 for level in schedule.levels):
        raise BadModel(f"the levels of {card.id} do not preserve the variance; MONAI's DDIM and DDPM know no others")
    return schedule


def _half(named: Named, weights: Mapping[str, torch.Tensor], known: Mapping[str, str], card: Card) -> Half:
    """A network of ours as MONAI's; raises BadModel for what is none."""
    if named.name not in known:
        raise BadModel(f"{card.id} has a network {named.name}, which MONAI does not have; expected {', '.join(known)}")
    ours = build(named.name, dict(named.arguments))
    ours.load_state_dict({name: value.float() for name, value in weights.items()})
    inner = getattr(ours, known[named.name])
    inner = inner.network if isinstance(inner, Turned) else inner
    return Half(type(inner).__name__, _arguments(named), inner.state_dict())


def _arguments(named: Named) -> dict[str, Any]:
    """What MONAI's network is built with."""
    told: dict[str, Any] = dict(named.arguments)
    match named.name:
        case "diffusion-unet":
            return unet_arguments(**told)
        case "vqvae":
            return vq_arguments(**told)
        case "autoencoder-kl":
            return kl_arguments(**told)
    del told["axes"]
    if named.name == "monai-unet":
        del told["concat_channels"]
        features = told.pop("context_features")
        told |= {"with_conditioning": features is not None, "cross_attention_dim": features}
    return told


def _config(card: Card, schedule: Schedule, halves: list[Half]) -> dict[str, Any]:
    """`configs/inference.json`: the entry `sample` is an image (1, C, *spatial), in network units."""
    count = len(schedule.levels)
    steps = next(n for n in range(min(STEPS, count), 0, -1) if count % n == 0)
    ready = ["@load_network", "@set_levels", "@set_times", *(["@load_autoencoder"] if len(halves) > 1 else [])]
    config = {
        "imports": ["$import torch", "$import einops"],
        "bundle_root": ".",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "spacing": list(card.spacing_mm),
        "axcodes": _axes(card),
        "latent_shape": _shape(card),
        "network_def": halves[0].definition,
        "load_network_path": "$@bundle_root + '/models/model.pt'",
        "load_network": _loading("network"),
        "network": "$@network_def.to(@device).eval()",
        **_told(card),
        "network_call": _call(card),
        **_scheduler(card, schedule, steps),
        "inferer": {
            "_target_": "monai.inferers.DiffusionInferer",
            "scheduler": "@noise_scheduler",
            "_requires_": ready,
        },
        "noise": "$torch.randn([1] + @latent_shape).to(@device)",
        "sample": "$@inferer.sample(@noise, @network_call, @noise_scheduler, verbose=False)",
        "run": ["$@sample"],
    }
    if len(halves) > 1 and card.latent is not None:
        config |= {
            "autoencoder_def": halves[1].definition,
            "load_autoencoder_path": "$@bundle_root + '/models/model_autoencoder.pt'",
            "load_autoencoder": _loading("autoencoder"),
            "autoencoder": "$@autoencoder_def.to(@device).eval()",
            "scale_factor": card.latent.scale,
            "sample": "$@inferer.sample(@noise, @autoencoder, @network_call, @noise_scheduler, verbose=False)",
        }
        config["inferer"] |= {"_target_": "monai.inferers.LatentDiffusionInferer", "scale_factor": "@scale_factor"}
    return config


def _loading(name: str) -> str:
    return f"$@{name}_def.load_state_dict(torch.load(@load_{name}_path, weights_only=True))"


def _scheduler(card: Card, schedule: Schedule, steps: int) -> dict[str, Any]:
    """MONAI's DDIM on our levels, which are written out: it has no name for all of ours. It is given the times that its
    step, of `count // steps`, fits; those that it would choose by itself end elsewhere."""
    count, said = len(schedule.levels), {ours: theirs for theirs, ours in PREDICTS.items()}[card.predicts]
    about: dict[str, Any] = {"_target_": "monai.networks.schedulers.DDIMScheduler", "num_train_timesteps": count}
    about |= {"clip_sample": False, "prediction_type": said}
    named = card.schedule
    known = {ours: (theirs, words) for theirs, (ours, words) in SCHEDULES.items()}
    if named is not None and named.name in known:
        theirs, words = known[named.name]
        about |= {"schedule": theirs}
        about |= {word: named.arguments[ours] for word, ours in words.items() if ours in named.arguments}
        levels = {"set_levels": None}
    else:
        squares = [level.alpha**2 for level in schedule.levels]
        setting = "$setattr(@noise_scheduler, 'alphas_cumprod', torch.tensor(@alphas_cumprod))"
        levels = {"alphas_cumprod": squares, "set_levels": setting}
    times = f"$torch.arange({count - 1}, -1, -{count // steps})"
    return {"steps": steps, "times": times, "noise_scheduler": about, **levels, "set_times": f"${PAIRED}"}


def _told(card: Card) -> dict[str, Any]:
    """What the network is told, to be edited: a class by its number, covariates from 0 to 1."""
    middle = {name: 0.5 if about.null is None else _at(about.null, about) for name, about in card.covariates.items()}
    numbers = ", ".join(f"@{name}" for name in middle)
    told: dict[str, Any] = dict(middle)
    if middle:
        told["conditioning"] = f"$torch.tensor([[{numbers}]]).to(@device).unsqueeze(1)"
    if card.labels is not None:
        told["label"] = card.labels.null
    return told


def _at(value: float, about: Any) -> float:
    return (value - about.min) / (about.max - about.min)


def _call(card: Card) -> str:
    """The network as MONAI's inferers call it, told of everything; neighbours become channels where ours has it so."""
    arguments = card.network.arguments
    beside, patch, dims = arguments.get("concat_channels", 0), arguments.get("patch", 1), len(card.spacing_mm)
    shape = "(len(x), -1, *x.shape[2:])"
    numbers = f"@conditioning[:, 0, :{', None' * dims}].expand{shape}"
    x = f"torch.cat([x, {numbers}], 1)" if beside else "x"
    whole, parts = " ".join(f"({axis} {axis}n)" for axis in "zyx"[-dims:]), " ".join("zyx"[-dims:])
    inner, sizes = " ".join(f"{axis}n" for axis in "zyx"[-dims:]), ", ".join(f"{a}n={patch}" for a in "zyx"[-dims:])
    if patch != 1:
        x = f"einops.rearrange({x}, 'b c {whole} -> b (c {inner}) {parts}', {sizes})"
    more = ", context=@conditioning.expand(len(x), -1, -1)" if arguments.get("context_features") else ""
    if card.labels is not None:
        more += ", class_labels=torch.full((len(x),), @label, device=x.device)"
    out = f"@network({x}, timesteps{more})"
    if patch != 1:
        out = f"einops.rearrange({out}, 'b (c {inner}) {parts} -> b c {whole}', {sizes})"
    return f"$lambda x, timesteps, context=None: {out}"


def _axes(card: Card) -> str:
    """Where the axes of the bundle's images lead to."""
    return str(card.network.arguments.get("axes", OURS[len(card.spacing_mm)]))


def _shape(card: Card) -> list[int]:
    """Channels and sizes of the noise, along the axes of the bundle."""
    unit = card.shape_multiple
    size = [-(-n // unit) * unit for n in card.window or (SIZE,) * len(card.spacing_mm)]
    made, down = build(card.network.name, dict(card.network.arguments)), 1
    if card.latent is not None:
        down = getattr(build(card.latent.autoencoder.name, dict(card.latent.autoencoder.arguments)), "downsample", 1)
    like = torch.empty(1, 1, *(n // down for n in size), device="meta")
    return [getattr(made, "channels", 1), *Turned(torch.nn.Identity(), _axes(card)).there(like).shape[2:]]


def _metadata(card: Card, config: Mapping[str, Any]) -> dict[str, Any]:
    """`configs/metadata.json`, in the words that MONAI's schema has."""
    made = "x".join(f"{n:g}" for n in card.spacing_mm)
    return {
        "version": card.version,
        "changelog": {card.version: "exported by MedDiffusion"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__,
        "numpy_version": np.__version__,
        "required_packages_version": {"einops": "0.8"},
        "name": card.name,
        "task": card.task,
        "description": card.summary,
        "authors": card.citation,
        "copyright": card.licence,
        "data_source": "; ".join(f"{data.name} ({data.licence})" for data in card.training.data),
        "image_classes": f"{card.modality} of the {card.anatomy}, {made} mm, axes {config['axcodes']}",
        "covariates": {name: about.model_dump() for name, about in card.covariates.items()},
        "labels": [*(card.labels.names if card.labels else ())],
        "intended_use": f"{card.intended_use} {card.limitations}",
        "references": [card.citation],
    }
