"""MONAI bundles of generative models: what they are, read as data. What they leave out is asked for, never guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from .bundle_config import CONFIG, Config, read_config
from .card import Named
from .errors import BadModel, choose
from .levels import make_schedule
from .networks import build

ANY_AXES = {2: "PL", 3: "SPL"}  # until it is told; they change no size
OLD = "generative."  # the archived package that the public bundles were trained with
KINDS = {"unet": "DiffusionModelUNet", "autoencoder": "AutoencoderKL"}
TARGETS = {
    kind: {
        f"{place}{name}"
        for place in ("", "monai.networks.nets.", f"monai.networks.nets.{file}.", "generative.networks.nets.")
    }
    | {f"generative.networks.nets.{file}.{name}"}
    for (kind, name), file in zip(KINDS.items(), ("diffusion_model_unet", "autoencoderkl"), strict=True)
}
SCHEDULERS = {
    f"{package}.networks.schedulers.{module}{kind.upper()}Scheduler"
    for package in ("monai", "generative")
    for kind in ("ddim", "ddpm", "pndm")
    for module in ("", f"{kind}.")
}
BETAS = {"beta_start": 1e-4, "beta_end": 2e-2}  # MONAI's defaults
SCHEDULES: dict[str, tuple[str, dict[str, str]]] = {
    "linear_beta": ("vp-linear", {"beta_start": "beta_start", "beta_end": "beta_end"}),
    "scaled_linear_beta": ("vp-scaled-linear", {"beta_start": "beta_start", "beta_end": "beta_end"}),
    "sigmoid_beta": ("vp-sigmoid", {"beta_start": "beta_start", "beta_end": "beta_end", "sig_range": "sharpness"}),
    "cosine": ("vp-cosine-betas", {"s": "offset"}),
}
PREDICTS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
WEIGHTS = {
    "autoencoder": ("model_autoencoder.pt", "autoencoder.pt", "autoencoder.pth"),
    "unet": ("model.pt", "diffusion_model.pt", "diffusion_model.pth"),
}
PATHS = {"autoencoder": ("load_autoencoder_path",), "unet": ("load_diffusion_path", "load_network_path")}
# Not a matter of what a network computes.
FOR_TRAINING = ("use_checkpointing", "use_checkpoint", "use_flash_attention")


class Noise(NamedTuple):
    """How a bundle's network was trained: on which levels, to say what, and whether its sampler clips estimates."""

    schedule: Named
    predicts: str
    clips: bool


@dataclass(frozen=True)
class Bundle:
    """A bundle whose networks are ours to build; weights are still on disk. `arguments` are those of `monai-unet` and
    `monai-autoencoder-kl` but their axes, which a bundle does not tell."""

    config: Config
    unet: Mapping[str, Any]
    autoencoder: Mapping[str, Any] | None
    noise: Noise
    dims: int
    latent_shape: tuple[int, ...]  # along the bundle's own axes; empty where it is not told

    @property
    def name(self) -> str:
        return self.config.folder.resolve().name

    @property
    def covariates(self) -> int:
        """How many numbers the network is conditioned on."""
        return max(self.unet["concat_channels"], self.unet["context_features"] or 0)

    @property
    def downsample(self) -> int:
        return 1 if self.autoencoder is None else 2 ** (len(self.autoencoder["channels"]) - 1)

    def parts(self, axes: str = "") -> dict[str, Named]:
        """The networks as a card names them."""
        told = {"axes": axes or ANY_AXES[self.dims]}
        found = {"unet": Named(name="monai-unet", arguments={**self.unet, **told})}
        if self.autoencoder is not None:
            found["autoencoder"] = Named(name="monai-autoencoder-kl", arguments={**self.autoencoder, **told})
        return found

    def weights(self, part: str) -> Path:
        """The file of the weights of a part: the one that the configuration names, or a name that bundles use."""
        models, names = self.config.folder / "models", WEIGHTS[part]
        for key in PATHS[part]:
            text = self.config.entries.get(key)
            found = re.findall(r"[\w.-]+\.pth?\b", text) if isinstance(text, str) else []
            if found:  # the last one, of "$@model_dir + '/model.pt'", is a name and no path
                return models / found[-1]
        return next((models / name for name in names if (models / name).is_file()), models / names[0])


def read_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`; raises BadModel for networks and schedulers that are not MONAI's, for channels that do
    not belong together, and for expressions that would have to be run."""
    config = read_config(folder)
    key = config.first("diffusion_def", "network_def")
    if not key:
        raise BadModel(f"configs/{CONFIG} has neither diffusion_def nor network_def; expected a generative model")
    unet = _unet(config, key)
    autoencoder = _autoencoder(config, "autoencoder_def") if "autoencoder_def" in config else None
    dims = unet["spatial_dims"]
    codes = 1 if autoencoder is None else autoencoder["latent_channels"]
    if autoencoder is not None and (codes, dims) != (unet["out_channels"], autoencoder["spatial_dims"]):
        raise BadModel(
            f"the autoencoder has codes of {codes} channels in {autoencoder['spatial_dims']}D, and the network makes "
            f"{unet['out_channels']} in {dims}D; expected as many"
        )
    bundle = Bundle(config, unet, autoencoder, _noise(config), dims, _latent_shape(config, dims, unet["out_channels"]))
    for named in bundle.parts().values():
        sketch(named)
    return bundle


def sketch(named: Named) -> nn.Module:
    """The network without memory for its weights: what they are called, and how large they are."""
    with torch.device("meta"):
        return build(named.name, dict(named.arguments))


def size_of(bundle: Bundle) -> int:
    """Bytes of all weights in single precision."""
    networks = (sketch(named) for named in bundle.parts().values())
    return sum(4 * prod(value.shape) for network in networks for value in network.state_dict().values())


def _network(config: Config, key: str, kind: str) -> tuple[bool, dict[str, Any]]:
    """Whether a network is of the old package, and its arguments as MONAI calls them today."""
    target, told = config.definition(key)
    if target not in TARGETS[kind]:
        raise BadModel(
            f"{key} is {target!r}, which is not among the networks that bundles may name here; expected MONAI's "
            f"{KINDS[kind]}"
        )
    if "num_channels" in told:
        told["channels"] = told.pop("num_channels")
    for name in FOR_TRAINING:
        told.pop(name, None)
    numbers = ("spatial_dims", *(("in_channels", "out_channels") if kind == "unet" else ()))
    for name in numbers:
        if not isinstance(told.get(name), int) or told[name] < 1:
            raise BadModel(f"{key} has the {name} {told.get(name)!r}; expected a number of 1 or more")
    if told["spatial_dims"] not in ANY_AXES or not isinstance(told.setdefault("channels", [32, 64, 64, 64]), list):
        raise BadModel(f"{key} has {told['spatial_dims']} dimensions and {told['channels']} channels; expected 2 or 3")
    return target.startswith(OLD), told


def _unet(config: Config, key: str) -> dict[str, Any]:
    old, told = _network(config, key, "unet")
    if told.get("num_class_embeds") is not None:
        raise BadModel(f"{key} has num_class_embeds; bundles conditioned on classes are not read by this version")
    conditioned, features = told.pop("with_conditioning", False), told.pop("cross_attention_dim", None)
    features = features if conditioned else None
    beside = told["in_channels"] - told["out_channels"]
    if beside < 0 or (beside and features not in (None, beside)):
        raise BadModel(
            f"{key} has {told['in_channels']} channels in, {told['out_channels']} out, and {features or 'no'} features "
            "for cross-attention; expected as many out as in, or as many more in as there are features"
        )
    if old:  # the self-attention of that package never called its last layer; its cross-attention did
        told["include_fc"] = conditioned
    return {**told, "concat_channels": beside, "context_features": features}


def _autoencoder(config: Config, key: str) -> dict[str, Any]:
    old, told = _network(config, key, "autoencoder")
    told.setdefault("latent_channels", 3)
    return {**told, "include_fc": False} if old else told


def _noise(config: Config) -> Noise:
    key = config.first("noise_scheduler", "scheduler")
    if not key:
        raise BadModel(f"configs/{CONFIG} has neither noise_scheduler nor scheduler; expected one of MONAI's")
    target, told = config.definition(key)
    if target not in SCHEDULERS:
        raise BadModel(f"{key} is {target!r}; expected MONAI's DDIMScheduler, DDPMScheduler or PNDMScheduler")
    given = str(told.get("schedule", told.get("beta_schedule", "linear_beta")))
    kinds = {**{name.removesuffix("_beta"): name for name in SCHEDULES}, **{name: name for name in SCHEDULES}}
    name, words = SCHEDULES[kinds[choose(given, kinds, f"schedule of {key}")]]
    told = {**BETAS, **told}
    arguments = {ours: told[theirs] for theirs, ours in words.items() if theirs in told}
    arguments["steps"] = told.get("num_train_timesteps", 1000)
    make_schedule(name, **arguments)  # refuses what is none
    said = choose(str(told.get("prediction_type", "epsilon")), PREDICTS, f"prediction_type of {key}")
    return Noise(Named(name=name, arguments=arguments), PREDICTS[said], bool(told.get("clip_sample", True)))


def _latent_shape(config: Config, dims: int, channels: int) -> tuple[int, ...]:
    """The size of a sample in its own space, where the configuration says it plainly."""
    if "latent_shape" not in config:
        return ()
    shape = config.value("latent_shape")
    if not isinstance(shape, list) or len(shape) != dims + 1 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise BadModel(f"latent_shape is {shape}; expected the channels and {dims} sizes")
    if shape[0] != channels:
        raise BadModel(f"latent_shape has {shape[0]} channels, and the network makes {channels}")
    return tuple(shape[1:])
