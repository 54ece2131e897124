"""MONAI's networks as bundles of others describe them: with all their arguments, and axes in an order of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.networks.nets.autoencoderkl import AutoencoderKL
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor, nn

from ..errors import BadInput
from .autoencoder import KLAutoencoder
from .unet import DiffusionUNet

OURS = {2: "PL", 3: "SPL"}  # where the axes (Y, X) and (Z, Y, X) of LPS-canonical volumes lead to
_LINES = {"L": "LR", "R": "LR", "P": "PA", "A": "PA", "S": "SI", "I": "SI"}


class Turned(nn.Module):
    """A MONAI network that was trained on images whose axes lead to `axes` ("RAS": right, front, up; as in nibabel's
    axcodes), fed with ours (B, C, Z, Y, X). Nothing is resampled: axes are put in order and turned round."""

    def __init__(self, network: nn.Module, axes: str):
        super().__init__()
        self.network = network
        self._order, self._flips = turns(axes, len(axes))
        self._back = tuple(self._order.index(k) for k in range(len(axes)))

    def there(self, x: Tensor) -> Tensor:
        """Ours as the network knows them."""
        return x.flip([k + 2 for k in self._flips]).permute(0, 1, *(k + 2 for k in self._order)).contiguous()

    def back(self, x: Tensor) -> Tensor:
        """The inverse of `there`."""
        return x.permute(0, 1, *(k + 2 for k in self._back)).flip([k + 2 for k in self._flips])

    def forward(self, x: Tensor, *told: Any, **more: Any) -> Tensor:
        return self.back(self.network(self.there(x), *told, **more))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = self.network.encode(self.there(x))  # type: ignore[operator]
        return self.back(mean), self.back(spread)

    def decode(self, z: Tensor) -> Tensor:
        return self.back(self.network.decode(self.there(z)))  # type: ignore[operator]


def turns(axes: str, dims: int) -> tuple[list[int], list[int]]:
    """Which of our axes stands at each place of `axes`, and which of ours are turned round; raises BadInput."""
    ours = OURS.get(dims, "")
    lines, mine = [_LINES.get(letter, "") for letter in axes], [_LINES[letter] for letter in ours]
    if sorted(lines) != sorted(mine):
        raise BadInput(
            f"axes {axes!r} came; expected where each axis of the bundle's images leads to: R or L, A or P, and for "
            "volumes S or I, in their order, as in RAS"
        )
    order = [mine.index(line) for line in lines]
    return order, [k for k in range(dims) if axes[order.index(k)] != ours[k]]


WIDTHS = (32, 64, 64, 64)  # MONAI's default


def monai_unet(
    *,
    axes: str,
    channels: tuple[int, ...] = WIDTHS,
    concat_channels: int = 0,
    context_features: int | None = None,
    **arguments: Any,
) -> DiffusionUNet:
    """MONAI's UNet with its own arguments. `concat_channels` of its channels are for what stands beside the image, and
    `context_features` is its cross_attention_dim."""
    told: dict[str, Any] = {"with_conditioning": context_features is not None, "cross_attention_dim": context_features}
    unet = DiffusionModelUNet(channels=tuple(channels), **_tuples(arguments), **told)
    if unet.in_channels != unet.out_channels + concat_channels:
        raise ValueError(
            f"{unet.in_channels} channels go in and {unet.out_channels} come out; expected {concat_channels} more in"
        )
    return DiffusionUNet(
        Turned(unet, axes),  # type: ignore[arg-type]
        channels=unet.out_channels,
        patch=1,
        multiple=2 ** (len(channels) - 1),
        labels=unet.num_class_embeds,
    )


def monai_autoencoder_kl(
    *, axes: str, channels: tuple[int, ...] = WIDTHS, in_channels: int = 1, out_channels: int = 1, **arguments: Any
) -> KLAutoencoder:
    """MONAI's AutoencoderKL with its own arguments."""
    if in_channels != out_channels:
        raise ValueError(f"{in_channels} channels go in and {out_channels} come out; expected as many")
    kl = AutoencoderKL(
        channels=tuple(channels), in_channels=in_channels, out_channels=out_channels, **_tuples(arguments)
    )
    return KLAutoencoder(
        Turned(kl, axes),  # type: ignore[arg-type]
        channels=in_channels,
        code_channels=kl.latent_channels,
        downsample=2 ** (len(channels) - 1),
    )


def _tuples(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of JSON as MONAI has them."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
