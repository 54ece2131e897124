"""The networks that a model card may name. A name in this table is the only way to reach one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ..errors import BadModel, choose
from .autoencoder import autoencoder_kl, vqvae
from .classifier import NoisedClassifier
from .darl import darl
from .medsegdiff import medsegdiff
from .morpher import morpher, one_pass_morpher
from .segmenter import mask_denoiser, one_pass
from .turned import monai_autoencoder_kl, monai_unet
from .unet import diffusion_unet

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "diffusion-unet": diffusion_unet,
    "noised-classifier": NoisedClassifier,
    "vqvae": vqvae,
    "autoencoder-kl": autoencoder_kl,
    "mask-denoiser": mask_denoiser,
    "one-pass-unet": one_pass,
    "medsegdiff": medsegdiff,
    "morpher": morpher,
    "one-pass-morpher": one_pass_morpher,
    "darl": darl,
    "monai-unet": monai_unet,
    "monai-autoencoder-kl": monai_autoencoder_kl,
}


def build(name: str, arguments: dict[str, Any]) -> nn.Module:
    """The network `name` with the card's arguments; raises BadInput for a name or arguments it does not know."""
    builder = NETWORKS[choose(name, NETWORKS, "network")]
    try:
        return builder(**arguments)
    except (TypeError, ValueError) as error:
        raise BadModel(f"network {name!r} cannot be built with {arguments}: {error}") from None
