"""MONAI bundles: imported, they make what MONAI's own inferers make of the same noise; code in them is never run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles_of_others import BRAIN, BRATS_2D, BRATS_3D, LAYOUTS, Layout, reference, write_bundle
from monai.bundle.config_parser import ConfigParser
from monai.inferers.inferer import LatentDiffusionInferer
from monai.networks.schedulers.ddim import DDIMScheduler
from torch import Tensor

from meddiff import devices
from meddiff.asking import Asked, tell
from meddiff.bundle_export import export_bundle
from meddiff.bundle_import import import_bundle
from meddiff.bundle_questions import questions
from meddiff.bundles import read_bundle
from meddiff.card import Card
from meddiff.errors import BadInput, BadModel, Notice
from meddiff.levels import make_schedule
from meddiff.models import Model, load
from meddiff.networks.turned import Turned
from meddiff.noises import gaussian
from meddiff.recipes.synthesise import Wanted
from meddiff.registry import find_recipe
from meddiff.sampling import drain
from meddiff.store import ModelFolder, find
from meddiff.synthesis import synthesise
from meddiff.volume import read

Cli = Callable[..., tuple[int, str, str]]
STEPS = 10
AGE = {"unit": "years", "min": 20.0, "max": 60.0}


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


@pytest.mark.parametrize(
    ("theirs", "ours", "arguments"),
    [
        ("linear_beta", "vp-linear", {}),
        ("scaled_linear_beta", "vp-scaled-linear", {"beta_start": 1e-4, "beta_end": 2e-2}),
        ("sigmoid_beta", "vp-sigmoid", {}),
        ("cosine", "vp-cosine-betas", {}),
    ],
)
def test_levels_are_those_of_monais_schedules(theirs: str, ours: str, arguments: dict[str, float]) -> None:
    levels = make_schedule(ours, steps=100, **arguments).levels
    squares = torch.tensor([level.alpha**2 for level in levels])
    torch.testing.assert_close(squares, DDIMScheduler(100, theirs).alphas_cumprod, rtol=2e-4, atol=1e-7)


# ---------------------------------------------------------------- where things are


def test_axes_are_put_in_order_and_turned_round() -> None:
    """A bundle of axes RAS: its array runs right, to the front and up; ours (Z, Y, X) up, back and left."""
    theirs = torch.arange(2 * 3 * 4.0).reshape(1, 1, 2, 3, 4)
    turned = Turned(torch.nn.Identity(), "RAS")
    ours = turned.back(theirs)
    assert ours.shape == (1, 1, 4, 3, 2)
    for r, a, s in [(0, 0, 0), (1, 0, 0), (0, 2, 1), (1, 1, 3)]:
        assert ours[0, 0, s, 2 - a, 1 - r] == theirs[0, 0, r, a, s]
    assert torch.equal(turned.there(ours), theirs)
    for axes in ("LAS", "SPL", "PIR", "IAR"):
        there = Turned(torch.nn.Identity(), axes).there(ours)
        assert torch.equal(Turned(torch.nn.Identity(), axes).back(there), ours)
    with pytest.raises(BadInput, match="expected where each axis"):
        Turned(torch.nn.Identity(), "RLS")


def test_an_imported_model_keeps_its_weights_to_the_last_bit(tmp_path: Path) -> None:
    model = brought_in(BRATS_2D, tmp_path)
    assert model.card.spacing_mm == (1.0, 1.0) and model.card.window == (24, 16) and model.card.licence == "Apache-2.0"
    _, unet = reference(BRATS_2D)
    state = unet.state_dict()
    found = model.prior.network.network.state_dict()  # type: ignore[attr-defined]
    assert {name.removeprefix("unet.network.") for name in found} == set(state)
    assert all(torch.equal(found[f"unet.network.{name}"], value) for name, value in state.items())


# ---------------------------------------------------------------- what a bundle leaves out


def test_what_a_bundle_leaves_out_is_asked_and_what_its_files_suggest_is_told(tmp_path: Path) -> None:
    asked = {
        name: {q.name: q.hint for q in questions(read_bundle(write_bundle(layout, tmp_path / name)))}
        for name, layout in LAYOUTS.items()
    }
    assert asked["brats-3d"] == {"spacing": "1.1,1.1,1.1", "axes": "RAS", "licence": "Apache-2.0", "scale": ""}
    assert asked["brats-2d"] == {"spacing": "1,1", "axes": "", "licence": "Apache-2.0", "scale": ""}
    assert asked["brain"]["size"] == "16,24,8" and asked["brain"]["covariates"] == "gender=MIN:MAX, age=MIN:MAX"
    with pytest.raises(BadInput, match="--spacing.*1.1,1.1,1.1.*--axes.*--scale"):
        import_bundle(tmp_path / "brats-3d", {})


@pytest.mark.parametrize(
    ("name", "answer", "sentence"),
    [
        ("brats-3d", {"spacing": "1,1"}, "expected 3 positive numbers in mm"),
        ("brats-3d", {"axes": "RAA"}, "expected where each axis"),
        ("brats-2d", {"axes": "RAS"}, "expected where each axis"),
        ("brats-3d", {"scale": "none"}, "expected a positive number"),
        ("brats-3d", {"size": "8,8,8"}, "needs none; leave it out"),
        ("brats-3d", {"licence": "free as in beer"}, "licence.*SPDX"),
        ("brain", {"size": "16,0,8"}, "expected 3 numbers of voxels"),
        ("brain", {"covariates": "gender=0:1"}, "1 covariates came; the network of bundle is told 2"),
        ("brain", {"covariates": "gender=MIN:MAX, age=0:1"}, "expected NAME=MIN:MAX:UNIT"),
        ("brain", {"covariates": "gender=1:0, age=0:1"}, "expected NAME=MIN:MAX:UNIT"),
    ],
)
def test_answers_that_are_none(name: str, answer: dict[str, str], sentence: str, tmp_path: Path) -> None:
    folder = write_bundle(LAYOUTS[name], tmp_path / "bundle")
    with pytest.raises(BadInput, match=sentence):
        import_bundle(folder, {**LAYOUTS[name].answers, **answer})


def test_covariates_must_be_told_and_lie_in_their_range(tmp_path: Path) -> None:
    model = brought_in(BRAIN, tmp_path)
    fast: dict[str, Any] = {"samples": 1, "parameters": {"steps": 1}}
    with pytest.raises(BadInput, match="must be told gender, age, and age did not come"):
        drain(synthesise(model, covariates={"gender": 1}, **fast))
    with pytest.raises(BadInput, match="age is 90 years; bundle knows 44 to 82"):
        drain(synthesise(model, covariates={"gender": 1, "age": 90}, **fast))
    with pytest.raises(BadInput, match="has learnt none; choose the method synthesise, or guidance 1"):
        drain(synthesise(model, method="guided-synthesis", covariates={"gender": 1, "age": 50}, **fast))
    made = drain(synthesise(model, covariates={"gender": 1, "age": 50}, **fast)).images[0]
    assert made.shape == (8, 24, 16) and made.spacing == (1.0, 1.0, 1.0)


# ---------------------------------------------------------------- bundles that are not taken


def setting(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        for key in keys[:-1]:
            config = config[key]
        config[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (setting("network_def", "_target_", to="os.system"), "'os.system', which is not among the networks"),
        (setting("network_def", "_target_", to="monai.networks.nets.UNet"), "expected MONAI's DiffusionModelUNet"),
        (setting("autoencoder_def", "_target_", to="scripts.net.VAE"), "expected MONAI's AutoencoderKL"),
        (setting("noise_scheduler", "_target_", to="scripts.S"), "expected MONAI's DDIMScheduler"),
        (setting("noise_scheduler", "schedule", to="wavy"), "unknown schedule of noise_scheduler 'wavy'"),
        (setting("noise_scheduler", "prediction_type", to="y"), "unknown prediction_type"),
        (setting("network_def", "channels", to="$__import__('os').mkdir('/tmp/x')"), "an expression, and none is run"),
        (setting("latent_channels", to="@latent_channels"), "refers to itself"),
        (setting("network_def", "in_channels", to="@nowhere"), "refers to @nowhere, which is not there"),
        (setting("latent_shape", to=[3, 4, 8, 6]), "latent_shape has 3 channels, and the network makes 2"),
        (setting("network_def", "in_channels", to=1), "1 channels in, 2 out"),
        (setting("latent_channels", to=3), r"model(_autoencoder)?\.pt|latent_shape"),
        (setting("network_def", "magic", to=1), "cannot be built"),
        (setting("network_def", "num_class_embeds", to=3), "conditioned on classes"),
        (setting("network_def", "channels", to=[16, 8]), "model.pt: .* has shape"),
    ],
)
def test_configurations_that_are_refused(change: Any, sentence: str, tmp_path: Path) -> None:
    folder = write_bundle(BRATS_3D, tmp_path / "bundle", change)
    with pytest.raises(BadInput, match=sentence):
        import_bundle(folder, BRATS_3D.answers)


def test_expressions_that_nothing_needs_are_left_alone_and_plain_ones_are_read(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config |= {"evil": f"$open({str(tmp_path / 'evil')!r}, 'w')", "groups": "$2 * 2"}
        config["network_def"] |= {"channels": "$[8, 8]", "num_res_blocks": "$@blocks"}
        config["blocks"] = 1

    bundle = read_bundle(write_bundle(BRATS_3D, tmp_path / "bundle", change))
    assert bundle.unet["channels"] == [8, 8] and bundle.unet["num_res_blocks"] == 1
    assert not (tmp_path / "evil").exists()


class Evil:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_weights_with_code_in_them_are_not_read(tmp_path: Path) -> None:
    folder, trace = write_bundle(BRATS_3D, tmp_path / "bundle"), tmp_path / "trace"
    torch.save({"model": Evil(trace)}, folder / "models" / "model.pt")
    with pytest.raises(BadModel, match="holds more than tensors"):
        import_bundle(folder, BRATS_3D.answers)
    assert not trace.exists()
    torch.load(folder / "models" / "model.pt", weights_only=False)  # it would have worked
    assert trace.exists()


def test_weights_that_are_missing_or_too_many(tmp_path: Path) -> None:
    folder = write_bundle(BRATS_3D, tmp_path / "bundle")
    path = folder / "models" / "model.pt"
    state = torch.load(path, weights_only=True)
    torch.save({**state, "over.weight": torch.ones(2)}, path)
    with pytest.raises(BadModel, match="the weights hold over.weight"):
        import_bundle(folder, BRATS_3D.answers)
    torch.save({name: value for name, value in state.items() if name != "out.2.conv.bias"}, path)
    with pytest.raises(BadModel, match="the weights lack out.2.conv.bias"):
        import_bundle(folder, BRATS_3D.answers)
    path.unlink()
    with pytest.raises(BadModel, match="model.pt is missing; bundles keep large weights apart"):
        import_bundle(folder, BRATS_3D.answers)
    with pytest.raises(BadModel, match="has no configs/inference.json"):
        read_bundle(tmp_path)


def test_a_network_that_is_too_large_says_how_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def large(config: dict[str, Any]) -> None:
        config["network_def"]["channels"] = [4096, 8192]

    monkeypatch.setattr(devices, "memory", lambda: (8 * 10**9, 2 * 10**9))
    folder = write_bundle(BRATS_3D, tmp_path / "bundle", large)
    with pytest.raises(BadInput, match=r"bundle needs [\d.]+ GB of memory for its weights alone, and 2.0 GB are free"):
        import_bundle(folder, BRATS_3D.answers)


def test_a_sampler_that_clips_is_told(tmp_path: Path) -> None:
    folder = write_bundle(BRATS_3D, tmp_path / "bundle", setting("noise_scheduler", "clip_sample", to=True))
    with pytest.warns(Notice, match="clips its estimates"):
        import_bundle(folder, BRATS_3D.answers)
    with pytest.raises(BadInput, match="is there already"):
        import_bundle(folder, BRATS_3D.answers)


# ---------------------------------------------------------------- bundles of ours


def sampled(folder: Path, **changes: Any) -> tuple[Tensor, Tensor]:
    """Noise, and the image that MONAI makes of it by the configuration of a bundle."""
    parser = ConfigParser()
    parser.read_config(folder / "configs" / "inference.json")
    parser.read_meta(folder / "configs" / "metadata.json")
    for key, value in {"bundle_root": str(folder), **changes}.items():
        parser[key] = value
    return parser.get_parsed_content("noise"), parser.get_parsed_content("sample")


def test_a_bundle_that_was_imported_is_exported_as_it_was(tmp_path: Path, cli: Cli) -> None:
    """There and back: the same weights, and MONAI makes the same image of the copy as of the original."""
    model = brought_in(BRAIN, tmp_path)
    code, out, err = cli("models", "export", "bundle", tmp_path / "copy", "--bundle")
    assert code == 0 and "is a MONAI bundle" in out, err
    x, made = sampled(tmp_path / "copy", steps=STEPS, times="$torch.arange(999, -1, -100)", gender=1.0, age=0.5)
    expected = theirs(BRAIN, scheduler_of(BRAIN, model, beta_end=0.0205), x, torch.tensor([[1.0, 0.5]]))
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)
    code, out, _ = cli("models", "import", tmp_path / "copy", "--ask", "--json")
    asked = {q["name"]: q["hint"] for q in json.loads(out.splitlines()[-1])["questions"]}
    assert (asked["axes"], asked["spacing"], asked["scale"]) == ("LAS", "1,1,1", "1")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"predicts": "image", "schedule": None}, "no diffusion model that MONAI samples"),
        ({"schedule": {"name": "ve", "arguments": {}}}, "do not preserve the variance"),
        ({"segments": [{"name": "a"}]}, "label maps"),
    ],
)
def test_models_that_are_no_bundles(tiny_model: Path, change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    card, folder = find(tiny_model)
    other = Card.model_validate({**card.model_dump(), "segments": [], **change})
    with pytest.raises(BadModel, match=sentence):
        export_bundle(ModelFolder(other, folder), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_the_command_line_imports_and_samples(tmp_path: Path, cli: Cli) -> None:
    folder = write_bundle(BRATS_2D, tmp_path / "bundle")
    code, _, err = cli("models", "import", folder)
    assert code == 2 and "leaves something out that must be told" in err and "--scale" in err
    told = [word for name, text in BRATS_2D.answers.items() for word in (f"--{name}", text)]
    code, out, err = cli("models", "import", folder, "--id", "slices", "--json", *told)
    assert code == 0, err
    result = json.loads(out.splitlines()[-1])
    assert result["id"] == "slices" and result["notes"] == []
    fast = ("--set", "steps=2", "--samples", 2, "--device", "cpu")
    code, out, err = cli("synthesise", "-o", tmp_path / "out", "--model", "slices", *fast)
    assert code == 0 and "2 images of slices" in out, err
    made = read(tmp_path / "out" / "samples.nrrd")
    assert made.shape == (2, 24, 16) and np.isfinite(made.array).all() and made.array.std() > 0
    code, out, _ = cli("models", "show", "slices")
    assert code == 0 and "imported from the MONAI bundle bundle 1.0.0" in " ".join(out.split())
