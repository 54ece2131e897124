"""MONAI bundles: imported, they make what MONAI's own inferers make of the same noise; code in them is never run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bundles_of_others import LAYOUTS, Layout, reference, write_bundle
from monai.inferers.inferer import LatentDiffusionInferer
from monai.networks.schedulers import DDIMScheduler
from torch import Tensor

from meddiff.asking import Asked, tell
from meddiff.bundle_import import import_bundle
from meddiff.models import Model, load
from meddiff.networks.turned import Turned
from meddiff.noises import gaussian
from meddiff.recipes.synthesise import Wanted
from meddiff.registry import find_recipe
from meddiff.sampling import drain

Cli = Callable[..., tuple[int, str, str]]
STEPS = 10


def brought_in(layout: Layout, folder: Path, **more: Any) -> Model:
    return load(import_bundle(write_bundle(layout, folder / "bundle", **more), layout.answers).folder, "cpu", "fp32")


# ---------------------------------------------------------------- the same images as MONAI's


def scheduler_of(layout: Layout, model: Model, kind: type = DDIMScheduler, **more: Any) -> Any:
    """MONAI's scheduler on the levels of our path: its own choice of them does not fit the step that it then makes."""
    config = layout.config.get("noise_scheduler") or layout.config["scheduler"]
    betas = {"beta_start": config["beta_start"], "beta_end": config["beta_end"], "clip_sample": False}
    scheduler = kind(num_train_timesteps=1000, schedule="scaled_linear_beta", **{**betas, **more})
    scheduler.num_inference_steps = STEPS
    scheduler.timesteps = torch.tensor([int(level.time) for level in model.prior.path(STEPS)[:-1]])
    return scheduler


class Told(torch.nn.Module):
    """A network that is told the same of every image, beside it and by cross-attention (Pinaya 2022)."""

    def __init__(self, network: torch.nn.Module, numbers: Tensor):
        super().__init__()
        self.network, self.numbers = network, numbers

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor | None = None) -> Tensor:
        beside = self.numbers[:, :, None, None, None].expand(-1, -1, *x.shape[2:])
        return self.network(torch.cat([x, beside], 1), timesteps, context=self.numbers[:, None])


def theirs(layout: Layout, scheduler: Any, noise: Tensor, numbers: Tensor | None = None) -> Tensor:
    autoencoder, unet = reference(layout)
    network = unet if numbers is None else Told(unet, numbers)
    inferer = LatentDiffusionInferer(scheduler, scale_factor=float(layout.answers["scale"]))
    with torch.no_grad():
        return inferer.sample(noise, autoencoder, network, scheduler, verbose=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_imported_bundle_makes_what_monai_makes_of_it(name: str, tmp_path: Path) -> None:
    """Our volumes are (Z, Y, X) and lead to the left and to the back; those of the bundle lead where it was told."""
    layout, axes = LAYOUTS[name], LAYOUTS[name].answers["axes"]
    model = brought_in(layout, tmp_path)
    asked = Asked(covariates={"gender": 1.0, "age": 63.0}) if name == "brain" else Asked()
    numbers = torch.tensor([[1.0, 0.5]] * 2) if name == "brain" else None
    turned = Turned(torch.nn.Identity(), axes)
    x = gaussian(3, 2)(torch.zeros(2, *layout.latent))
    size = turned.back(
        torch.zeros(1, 1, *(n * 2 ** (len(layout.files) if name == "brain" else 1) for n in layout.latent[1:]))
    )
    data = Wanted(
        torch.zeros(2, *size.shape[1:]),
        tell(model.card, [asked] * 2, turned.back(x).shape[2:], model.device),
        space=model.space,
    )

    def noise(like: Tensor) -> Tensor:
        assert like.shape == turned.back(x).shape
        return turned.back(x)

    method = find_recipe("synthesise")
    ours = drain(method.run(model.prior, data, noise=noise, **method.settings({"steps": STEPS, "solver": "ddim"})))
    expected = theirs(layout, scheduler_of(layout, model), x, numbers)
    assert expected.std() > 0.01  # random weights say something
    torch.testing.assert_close(turned.there(ours), expected, rtol=1e-4, atol=1e-4)
