"""MONAI bundles at reduced size with random weights, saved as the public ones are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets.autoencoderkl import AutoencoderKL
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor, nn

HEAD = {
    "imports": ["$import torch", "$from pathlib import Path"],
    "bundle_root": ".",
    "model_dir": "$@bundle_root + '/models'",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "output_postfix": "$datetime.now().strftime('sample_%Y%m%d_%H%M%S')",
}
SAVER = {"saver": {"_target_": "scripts.of.mine.Saver", "output_dir": "@output_dir"}, "run": ["$@saver(@sample[0])"]}
SLICES_2D = {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}


@dataclass(frozen=True)
class Layout:
    """A public bundle: its configuration, what it leaves out, and how its weights are called and wrapped."""

    config: Mapping[str, Any]
    answers: Mapping[str, str]
    latent: tuple[int, ...]  # channels, and sizes along its own axes
    files: tuple[str, str]  # of the autoencoder and of the network
    keys: tuple[str, str]
    old: bool  # weights under the names of GenerativeModels
    metadata: Mapping[str, Any]
    train: Mapping[str, Any] | None = None
    wrapped: bool = False


def _autoencoder(target: str, words: str, dims: Any, latent: Any, channels: list[int], **more: Any) -> dict[str, Any]:
    levels = [False] * len(channels)
    shape = {"spatial_dims": dims, "in_channels": 1, "out_channels": 1, "latent_channels": latent, words: channels}
    rest = {"num_res_blocks": 1, "norm_num_groups": 4, "norm_eps": 1e-6, "attention_levels": levels}
    return {"_target_": target, **shape, **rest, **more}


BRATS_3D = Layout(
    config={
        **HEAD,
        "spatial_dims": 3,
        "image_channels": 1,
        "latent_channels": 2,
        "latent_shape": ["@latent_channels", 4, 8, 6],
        "autoencoder_def": _autoencoder(
            "monai.networks.nets.autoencoderkl.AutoencoderKL",
            "channels",
            "@spatial_dims",
            "@latent_channels",
            [4, 8],
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
            include_fc=False,
        ),
        "network_def": {
            "_target_": "monai.networks.nets.diffusion_model_unet.DiffusionModelUNet",
            "spatial_dims": "@spatial_dims",
            "in_channels": "@latent_channels",
            "out_channels": "@latent_channels",
            "channels": [8, 8],
            "attention_levels": [False, True],
            "num_head_channels": [0, 4],
            "num_res_blocks": 1,
            "norm_num_groups": 4,
            "include_fc": False,
            "use_combined_linear": False,
        },
        "load_autoencoder_path": "$@bundle_root + '/models/model_autoencoder.pt'",
        "load_autoencoder": "$@autoencoder_def.load_old_state_dict(torch.load(@load_autoencoder_path))",
        "load_diffusion_path": "$@model_dir + '/model.pt'",
        "noise_scheduler": {
            "_target_": "monai.networks.schedulers.ddim.DDIMScheduler",
            "_requires_": ["@load_diffusion", "@load_autoencoder"],
            "num_train_timesteps": 1000,
            "beta_start": 0.0015,
            "beta_end": 0.0195,
            "schedule": "scaled_linear_beta",
            "clip_sample": False,
        },
        "noise": "$torch.randn([1]+@latent_shape).to(@device)",
        **SAVER,
    },
    answers={"spacing": "1.1,1.1,1.1", "axes": "RAS", "scale": "0.8", "licence": "Apache-2.0"},
    latent=(2, 4, 8, 6),
    files=("model_autoencoder.pt", "model.pt"),
    keys=("autoencoder_def", "network_def"),
    old=True,
    metadata={
        "version": "1.1.5",
        "name": "BraTS MRI",
        "image_classes": "Flair brain MRI with 1.1x1.1x1.1 mm voxel size",
    },
    train={"spacing": [1.1, 1.1, 1.1], "preprocessing": [{"_target_": "Orientationd", "axcodes": "RAS"}]},
)
BRATS_2D = Layout(
    config={
        **HEAD,
        "spatial_dims": 2,
        "latent_channels": 1,
        "latent_shape": ["@latent_channels", 8, 12],
        "autoencoder_def": _autoencoder(
            "generative.networks.nets.AutoencoderKL",
            "num_channels",
            "@spatial_dims",
            "@latent_channels",
            [4, 8],
            use_checkpointing=True,
            with_encoder_nonlocal_attn=True,
            with_decoder_nonlocal_attn=True,
        ),
        "network_def": {
            "_target_": "generative.networks.nets.DiffusionModelUNet",
            "spatial_dims": "@spatial_dims",
            "in_channels": "@latent_channels",
            "out_channels": "@latent_channels",
            "num_channels": [8, 8, 16],
            "attention_levels": [False, True, True],
            "num_head_channels": [0, 4, 8],
            "num_res_blocks": 1,
            "norm_num_groups": 4,
            "use_flash_attention": True,
        },
        "load_autoencoder_path": "$@bundle_root + '/models/model_autoencoder.pt'",
        "load_diffusion_path": "$@model_dir + '/model.pt'",
        "noise_scheduler": {
            "_target_": "generative.networks.schedulers.DDIMScheduler",
            "num_train_timesteps": 1000,
            "beta_start": 0.0015,
            "beta_end": 0.0195,
            "schedule": "scaled_linear_beta",
            "clip_sample": False,
        },
        **SAVER,
    },
    answers={"spacing": "1,1", "axes": "RA", "scale": "1.2", "licence": "Apache-2.0"},
    latent=(1, 8, 12),
    files=("model_autoencoder.pt", "model.pt"),
    keys=("autoencoder_def", "network_def"),
    old=True,
    metadata={"version": "1.0.0", "image_classes": "Flair brain MRI axial slices with 1x1 mm voxel size"},
    wrapped=True,
)
BRAIN = Layout(
    config={
        **HEAD,
        "gender": 0.0,
        "age": 0.1,
        "conditioning": "$torch.tensor([[@gender, @age]]).to(@device).unsqueeze(1)",
        "autoencoder_def": _autoencoder(
            "generative.networks.nets.AutoencoderKL",
            "num_channels",
            3,
            3,
            [4, 4, 8],
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        ),
        "network_def": "@autoencoder_def",  # as the bundle has it in the model zoo
        "diffusion_def": {
            "_target_": "generative.networks.nets.DiffusionModelUNet",
            "spatial_dims": 3,
            "in_channels": 5,
            "out_channels": 3,
            "num_channels": [8, 12],
            "num_res_blocks": 1,
            "attention_levels": [False, True],
            "norm_num_groups": 4,
            "norm_eps": 1e-6,
            "resblock_updown": True,
            "num_head_channels": [0, 12],
            "with_conditioning": True,
            "transformer_num_layers": 1,
            "cross_attention_dim": 2,
            "upcast_attention": True,
            "use_flash_attention": False,
        },
        "load_autoencoder_path": "$@model_dir + '/autoencoder.pth'",
        "load_diffusion_path": "$@model_dir + '/diffusion_model.pth'",
        "scheduler": {
            "_target_": "generative.networks.schedulers.DDIMScheduler",
            "beta_start": 0.0015,
            "beta_end": 0.0205,
            "num_train_timesteps": 1000,
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
        },
        "noise": "$torch.randn((1, 3, 4, 6, 2)).to(@device)",
        **SAVER,
    },
    answers={
        "spacing": "1,1,1",
        "axes": "LAS",
        "scale": "1",
        "licence": "Apache-2.0",
        "size": "16,24,8",
        "covariates": "gender=0:1, age=44:82:years",
    },
    latent=(3, 4, 6, 2),
    files=("autoencoder.pth", "diffusion_model.pth"),
    keys=("autoencoder_def", "diffusion_def"),
    old=True,
    metadata={
        "image_classes": "T1w head MRI with 1x1x1 mm voxel size",
        "references": ["Pinaya 2022"],
        "network_data_format": {"outputs": {"pred": {"spatial_shape": ["16", "24", "8"]}}},
    },
)
LAYOUTS = {"brats-3d": BRATS_3D, "brats-2d": BRATS_2D, "brain": BRAIN}


def reference(layout: Layout) -> tuple[AutoencoderKL, DiffusionModelUNet]:
    """MONAI's own networks of a layout, with random weights. Where GenerativeModels' attention had a last layer that it
    never called, they have none."""
    random, made = torch.Generator().manual_seed(0), []
    for key, kind in zip(layout.keys, (AutoencoderKL, DiffusionModelUNet), strict=True):
        told = {k: v for k, v in layout.config[key].items() if k[:1] != "_"}
        told = {k: layout.config[v[1:]] if isinstance(v, str) else v for k, v in told.items()}
        for name in ("use_checkpointing", "use_flash_attention"):
            told.pop(name, None)
        if "num_channels" in told:
            told |= {"channels": told.pop("num_channels"), "include_fc": told.get("with_conditioning", False)}
        network = kind(**told).eval()
        network.load_state_dict(
            {k: 0.15 * torch.randn(v.shape, generator=random) for k, v in network.state_dict().items()}
        )
        made.append(network)
    return made[0], made[1]


def old_names(network: nn.Module) -> dict[str, Tensor]:
    """The weights of a network as GenerativeModels named them, with the layer of its attention that it never called."""
    found = {}
    for name, value in network.state_dict().items():
        name = name.replace(".attn.to_", ".to_").replace(".attn.out_proj.", ".proj_attn.")
        found[name.replace(".out_proj.", ".to_out.0.").replace(".postconv.", ".conv.")] = value
        if ".to_q.bias" in name and ".transformer_blocks." not in name:
            place = name.removesuffix("to_q.bias")
            found |= {f"{place}proj_attn.bias": torch.randn(len(value)), f"{place}proj_attn.weight": torch.ones(2, 2)}
    return found


def write_bundle(layout: Layout, folder: Path, change: Callable[[dict[str, Any]], object] | None = None) -> Path:
    """The bundle of a layout in `folder`; `change` edits its configuration."""
    config = json.loads(json.dumps(layout.config))
    if change is not None:
        change(config)
    for name, data in {"inference": config, "metadata": layout.metadata, "train_autoencoder": layout.train}.items():
        if data is not None:
            (folder / "configs").mkdir(parents=True, exist_ok=True)
            (folder / "configs" / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")
    (folder / "models").mkdir()
    for name, network in zip(layout.files, reference(layout), strict=True):
        state = old_names(network) if layout.old else network.state_dict()
        torch.save({"model": state} if layout.wrapped else state, folder / "models" / name)
    (folder / "LICENSE").write_text("Apache License\nVersion 2.0, January 2004\n", encoding="utf-8")
    (folder / "docs").mkdir()
    (folder / "docs" / "README.md").write_text("# A bundle\n", encoding="utf-8")
    return folder
