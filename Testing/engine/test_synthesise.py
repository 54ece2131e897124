"""Synthesis: samples of Gaussian images have their mean and variance, guidance moves the mean as its formula says, and
a way between two seeds ends where they are."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gaussians import SCHEDULES, Normal, exact_prior, scalar, white
from torch import Tensor

from meddiff import models
from meddiff.asking import Asked, beside_image, tell
from meddiff.card import Card
from meddiff.codes import encode
from meddiff.errors import BadInput, BadModel, Notice
from meddiff.job import Job, run
from meddiff.levels import Level
from meddiff.models import Model, load
from meddiff.networks import build
from meddiff.noises import Blend, gaussian, slerp
from meddiff.prior import Condition
from meddiff.recipes.synthesise import SOLVED, Wanted
from meddiff.registry import find_recipe
from meddiff.sampling import drain
from meddiff.synthesis import BRIGHT, synthesise, units
from meddiff.volume import Volume, canonical, read, write

Cli = Callable[..., tuple[int, str, str]]
DEVICE = torch.device("cpu")

# ---------------------------------------------------------------- recipes, on problems with exact answers


def drawn(data: Wanted, prior: Any, name: str = "synthesise", seed: int = 0, **settings: Any) -> Tensor:
    method = find_recipe(name)
    return drain(method.run(prior, data, noise=gaussian(seed, len(data.blank)), **method.settings(settings)))


@pytest.mark.parametrize("schedule", ["vp", "cosine"])
@pytest.mark.parametrize("solver", SOLVED)
def test_samples_have_the_mean_and_the_variance_of_the_images(solver: str, schedule: str) -> None:
    truth, steps = scalar(0.7, 0.3), {"ancestral": 200, "ddim": 100, "dpm-solver-2m": 40}[solver]
    blank = torch.zeros(4, 1, 64, 64, dtype=torch.float64)
    x = drawn(Wanted(blank), truth.prior(SCHEDULES[schedule]), steps=steps, solver=solver)
    assert x.mean() == pytest.approx(0.7, abs=0.01)  # four standard errors, of 0.3 / 128
    assert x.std() == pytest.approx(0.3, rel=0.06)  # few steps lose some of it


def test_guidance_moves_the_mean_and_leaves_the_variance() -> None:
    """Classes that differ in their means alone: x0_null + w (x0_told - x0_null) is the denoiser of a class whose mean
    is m_null + w (m_told - m_null), so that both are sampled alike, to rounding."""
    null, told, weight = 0.2, 0.5, 2.5

    def denoise(x: Tensor, level: Level, cond: Condition | None) -> Tensor:
        assert cond is not None and cond.label is not None
        means = torch.tensor([null, told, null + weight * (told - null)], dtype=x.dtype)[cond.label]
        rest = Normal(means[:, None, None, None], torch.tensor(0.09, dtype=x.dtype))
        return rest.denoise(x, level)

    prior = exact_prior(denoise, SCHEDULES["cosine"])
    blank = torch.zeros(3, 1, 8, 8, dtype=torch.float64)
    classes = [Condition(label=torch.full((3,), k)) for k in range(3)]
    guided = Wanted(blank, classes[1], classes[0])
    x = drawn(guided, prior, "guided-synthesis", steps=12, guidance=weight)
    torch.testing.assert_close(x, drawn(Wanted(blank, classes[2]), prior, steps=12), rtol=1e-9, atol=1e-9)
    once = drawn(guided, prior, "guided-synthesis", steps=12, guidance=1.0)
    torch.testing.assert_close(once, drawn(Wanted(blank, classes[1]), prior, steps=12), rtol=1e-9, atol=1e-9)


def test_strong_guidance_is_kept_in_the_range_of_images() -> None:
    prior = scalar(1.9, 0.3).prior(SCHEDULES["cosine"])
    data = Wanted(torch.zeros(1, 1, 8, 8, dtype=torch.float64), limits=(0.0, 2.0))
    assert drawn(data, prior, "guided-synthesis", steps=8).max() <= 2
    assert drawn(data, prior, "guided-synthesis", steps=8, clip=False).max() > 2


# ---------------------------------------------------------------- the way between two noises


def test_a_turn_keeps_the_norm_and_ends_at_both() -> None:
    a, b = white(5, 1, 6, 7, seed=1), white(5, 1, 6, 7, seed=2)
    b = b / b.flatten(1).norm(dim=1)[:, None, None, None] * a.flatten(1).norm(dim=1)[:, None, None, None]
    shares = (0.0, 0.3, 0.5, 0.9, 1.0)
    found = slerp(a, b, shares)
    assert torch.equal(found[0], a[0]) and torch.equal(found[4], b[4])
    torch.testing.assert_close(found.flatten(1).norm(dim=1), a.flatten(1).norm(dim=1))
    angle = torch.acos(torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1)))
    turned = torch.acos(torch.nn.functional.cosine_similarity(a.flatten(1), found.flatten(1)).clamp(-1, 1))
    torch.testing.assert_close(turned[1:], (angle * torch.tensor(shares))[1:], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVED)
def test_the_ends_of_a_way_are_the_images_of_both_seeds(solver: str) -> None:
    prior, method = scalar().prior(SCHEDULES["vp"]), find_recipe("synthesise")
    settings = method.settings({"steps": 5, "solver": solver})

    def made(noise: Any, batch: int) -> Tensor:
        blank = torch.zeros(batch, 1, 4, 4, dtype=torch.float64)
        return drain(method.run(prior, Wanted(blank), noise=noise, **settings))

    ends = [gaussian(seed, 3) for seed in (3, 4)]
    frames = made(Blend(ends[0], ends[1], (0.0, 0.5, 1.0)), 3)
    assert torch.equal(frames[0], made(gaussian(3, 3), 3)[0]) and torch.equal(frames[2], made(gaussian(4, 3), 3)[2])


# ---------------------------------------------------------------- what a network is told


AGE = {"unit": "years", "min": 20.0, "max": 60.0, "null": 10.0}
SIZE = {"unit": "ml", "min": 0.0, "max": 2.0, "null": 0.0}
TWO = [{"name": "One"}, {"name": "Two"}]
SMALL = {"widths": [8, 8], "blocks": 1, "groups": 4, "head_channels": 8, "patch": 2}
KINDS: dict[str, dict[str, Any]] = {
    "classes": {
        "labels": {"names": ["a", "b"], "null": 2},
        "network": {"name": "diffusion-unet", "arguments": {**SMALL, "labels": 3}},
        "intensity": {"kind": "window", "lower": -100.0, "upper": 300.0, "target": [-1.0, 1.0]},
    },
    "covariates": {
        "covariates": {"age": AGE, "size": SIZE},
        "network": {
            "name": "diffusion-unet",
            "arguments": {**SMALL, "concat_channels": 2, "context_features": 2, "attention": [False, True]},
        },
    },
    "volumes": {
        "segments": TWO,
        "spacing_mm": [1.0, 1.0, 1.0],
        "window": [8, 8, 12],
        "network": {"name": "diffusion-unet", "arguments": {**SMALL, "spatial_dims": 3, "concat_channels": 3}},
    },
    "codes": {
        "latent": {
            "autoencoder": {
                "name": "autoencoder-kl",
                "arguments": {"widths": [8, 8], "blocks": 1, "code_channels": 2, "groups": 4},
            },
            "weights": "autoencoder.safetensors",
            "scale": 0.5,
        },
        "network": {"name": "diffusion-unet", "arguments": {**SMALL, "channels": 2, "patch": 1}},
    },
}


@pytest.fixture
def card_of(card_data: dict[str, Any]) -> Callable[[str], Card]:
    """The card of a small model of one of the kinds."""
    plain = {"task": "synthesise", "recipes": {"synthesise": {}}, "covariates": {}, "labels": None, "segments": []}
    schedule = {"name": "vp-cosine", "arguments": {"steps": 50}}
    plain |= {"schedule": schedule, "window": [16, 12], "healthy": {}, "companions": {}, "uncertainty": {}}
    plain |= {
        "intensity": {"kind": "percentile", "upper": 99.9, "target": [0.0, 2.0], "linear": True},
        "modality": "CT",
    }
    return lambda kind: Card.model_validate({**card_data, **plain, "id": f"small-{kind}", **KINDS[kind]})


@pytest.fixture
def model_of(card_of: Callable[[str], Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Model]:
    """A small model with random weights, where the engine finds it by its id."""
    monkeypatch.setenv("MEDDIFF_MODELS", str(tmp_path / "models"))

    def random(name: str, arguments: dict[str, Any]) -> dict[str, Tensor]:
        g = torch.Generator().manual_seed(0)
        state = build(name, dict(arguments)).state_dict()
        return {key: 0.2 * torch.randn(value.shape, generator=g) for key, value in sorted(state.items())}

    def made(kind: str) -> Model:
        card = card_of(kind)
        inner = random(card.latent.autoencoder.name, card.latent.autoencoder.arguments) if card.latent else None
        folder = tmp_path / "models" / card.id
        models.save(card, random(card.network.name, card.network.arguments), folder, inner)
        return load(folder, "cpu", "fp32")

    return made


def test_covariates_are_told_in_their_range_and_beside_the_image(card_of: Callable[[str], Card]) -> None:
    card = card_of("covariates")
    told = tell(card, [Asked(covariates={"age": 50, "size": 1.0}), Asked()], (4, 6), DEVICE)
    assert told is not None and told.concat is not None and told.context is not None and told.label is None
    expected = torch.tensor([[0.75, 0.5], [-0.25, 0.0]])  # the null values of the card, in the same units
    assert torch.equal(told.context, expected[:, None])
    assert torch.equal(told.concat, expected[:, :, None, None].expand(2, 2, 4, 6))


def test_a_label_map_stands_beside_the_image_or_nothing_does(card_of: Callable[[str], Card]) -> None:
    card, labels = card_of("volumes"), torch.randint(3, (4, 4, 4), generator=torch.Generator().manual_seed(0))
    told, untold = (tell(card, [Asked()] * 2, (4, 4, 4), DEVICE, each) for each in (labels, None))
    assert told is not None and told.concat is not None and untold is not None and untold.concat is not None
    assert torch.equal(told.concat, encode(labels[None], 3, "one-hot").expand(2, -1, -1, -1, -1))
    assert untold.concat.shape == told.concat.shape and not untold.concat.any()
    assert tell(card_of("codes"), [Asked()], (4, 4), DEVICE) is None


def test_channels_that_nothing_is_known_of(card_of: Callable[[str], Card]) -> None:
    card = card_of("covariates").model_copy(update={"covariates": {}})
    with pytest.raises(BadModel, match="2 channels beside the image; expected"):
        beside_image(card)


@pytest.mark.parametrize(
    ("kind", "asked", "sentence"),
    [
        ("classes", Asked("c"), "unknown label 'c'; choose one of: a, b"),
        ("classes", Asked(covariates={"age": 3}), "unknown covariate of small-classes 'age'"),
        ("classes", Asked(state="healthy"), "asked for without a class"),
        ("covariates", Asked("a"), "knows no classes, and 'a' was asked for"),
        ("covariates", Asked(covariates={"age": 61}), "age is 61 years; small-covariates knows 20 to 60"),
        ("covariates", Asked(covariates={"age": "old"}), "age is 'old'; expected a number in years"),  # type: ignore[dict-item]
    ],
)
def test_what_the_model_cannot_be_told(card_of: Callable[[str], Card], kind: str, asked: Asked, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        asked.check(card_of(kind))


# ---------------------------------------------------------------- images


def test_units_are_those_of_a_window_or_a_thousand(model_of: Callable[[str], Model]) -> None:
    window, plain = (units(model_of(kind).intensity) for kind in ("classes", "covariates"))
    assert window.inverse(np.array([-1.0, 1.0])) == pytest.approx([-100, 300])
    assert plain.inverse(np.array([0.0, 2.0])) == pytest.approx([0, BRIGHT])


def test_an_image_is_the_same_in_any_batch_and_among_any_others(model_of: Callable[[str], Model]) -> None:
    model = model_of("classes")
    made = drain(synthesise(model, label="a", samples=5, batch=2, parameters={"steps": 3}))
    other = drain(synthesise(model, label="a", samples=2, batch=16, parameters={"steps": 3}))
    assert made.stack.array.shape == (5, 16, 12) and made.dims == 2 and made.calls == 15
    np.testing.assert_allclose(made.stack.array[:2], other.stack.array, rtol=1e-4, atol=1e-2)
    assert np.abs(made.stack.array[0] - made.stack.array[1]).max() > 1
    b = drain(synthesise(model, label="b", samples=1, parameters={"steps": 3}))
    assert np.abs(b.stack.array - made.stack.array[:1]).max() > 1e-3


def test_frames_lead_from_a_seed_and_an_age_to_others(model_of: Callable[[str], Model]) -> None:
    model, steps = model_of("covariates"), {"steps": 3}
    ends: dict[str, Any] = {"covariates": {"age": 30, "size": 1}, "covariates_to": {"age": 50, "size": 1}}
    made = drain(synthesise(model, samples=3, other_seed=9, batch=3, parameters=steps, **ends))
    assert [a.covariates["age"] for a in made.asked] == [30, 40, 50]
    first = drain(synthesise(model, samples=1, seed=0, covariates={"age": 30, "size": 1}, parameters=steps))
    last = drain(synthesise(model, samples=1, seed=9, covariates={"age": 50, "size": 1}, parameters=steps))
    np.testing.assert_allclose(made.images[0].array, first.images[0].array, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(made.images[2].array, last.images[0].array, rtol=1e-4, atol=1e-2)
    with pytest.raises(BadInput, match="expected the same covariates at both ends"):
        drain(synthesise(model, covariates={"age": 30}, covariates_to={"size": 1}))
    with pytest.raises(BadInput, match="1 frame came for a way"):
        drain(synthesise(model, samples=1, other_seed=2))


def test_codes_become_images_of_any_size(model_of: Callable[[str], Model]) -> None:
    made = drain(synthesise(model_of("codes"), samples=2, size_x=10, size_y=14, parameters={"steps": 2}))
    assert made.images[0].shape == (1, 14, 10) and np.isfinite(made.stack.array).all()


def test_a_volume_of_a_label_map_lies_where_that_lies(model_of: Callable[[str], Model]) -> None:
    model = model_of("volumes")
    array = np.zeros((8, 9, 10))
    array[2:5, 3:6, 2:8] = 1
    labels = Volume(array, (1.0, 1.0, 1.0), (5.0, 6.0, 7.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    made = drain(synthesise(model, labels=labels, samples=2, parameters={"steps": 2}))
    placed, _ = canonical(labels)
    assert made.dims == 3 and made.images[1].shape == array.shape
    np.testing.assert_allclose(made.images[0].affine, placed.affine)
    with pytest.warns(Notice, match="no label map came; small-volumes then makes any"):
        free = drain(synthesise(model, samples=1, parameters={"steps": 2}))
    assert free.images[0].shape == (8, 8, 12) and free.images[0].spacing == (1.0, 1.0, 1.0)
    np.testing.assert_allclose(free.images[0].affine @ [5.5, 3.5, 3.5, 1], [0, 0, 0, 1])
    coarse = Volume(array, (2.0, 2.0, 2.0), (0, 0, 0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    with pytest.warns(Notice, match="resampled to the spacing of the model"):
        fine = drain(synthesise(model, labels=coarse, samples=1, parameters={"steps": 1}))
    assert fine.images[0].shape == (16, 18, 20)


@pytest.mark.parametrize(
    ("kind", "told", "sentence"),
    [
        ("volumes", {"size_x": 8}, "a label map came, and a size with it"),
        ("classes", {}, "small-classes cannot be told of one"),
        ("volumes", {"labels": 0}, "the label map is empty; expected 1 One, 2 Two"),
        ("volumes", {"labels": 5}, r"has the labels \[5\], which small-volumes does not know"),
    ],
)
def test_label_maps_that_cannot_be_shown(
    model_of: Callable[[str], Model], kind: str, told: dict[str, Any], sentence: str
) -> None:
    array = np.zeros((8, 8, 8))
    array[2:4] = told.pop("labels", 1)
    labels = Volume(array, (1.0, 1.0, 1.0), (0, 0, 0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    with pytest.raises(BadInput, match=sentence):
        drain(synthesise(model_of(kind), labels=labels, **told))


def test_sizes_that_cannot_be(model_of: Callable[[str], Model]) -> None:
    with pytest.raises(BadInput, match="size_z 8 came, and small-classes makes slices"):
        drain(synthesise(model_of("classes"), size_z=8))
    model = model_of("classes")
    unknown = Model(**{**model.__dict__, "card": model.card.model_copy(update={"window": ()})})
    with pytest.raises(BadInput, match="does not say how large its images are; give size_x, size_y$"):
        drain(synthesise(unknown))


# ---------------------------------------------------------------- jobs


def test_a_job_needs_no_volume_and_is_made_again(model_of: Callable[[str], Model], tmp_path: Path) -> None:
    model_of("classes")
    job = Job("synthesise", "small-classes", {}, str(tmp_path / "out"), {"label": "b", "samples": 3}, {"steps": 2}, 7)
    result = run(job)
    assert read(result.outputs["samples"]).shape == (3, 16, 12)
    with result.outputs["table"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["seed"], row["label"]) for row in rows] == [(str(k), "7", "b") for k in (1, 2, 3)]
    again = run(Job.from_json(json.dumps({**result.provenance["job"], "output": str(tmp_path / "again")})))
    assert np.array_equal(read(again.outputs["samples"]).array, read(result.outputs["samples"]).array)
    assert result.figures == {"network_calls": 6.0, "images": 3.0}


def test_the_command_line(model_of: Callable[[str], Model], tmp_path: Path, cli: Cli) -> None:
    for kind in ("covariates", "volumes"):
        model_of(kind)
    fast = ("--set", "steps=2", "--samples", 2, "--device", "cpu")
    told = ("--model", "small-covariates", "--covariate", "age=30", "--covariate-to", "age=40", *fast)
    code, out, _ = cli("synthesise", "-o", tmp_path / "frames", *told)
    assert code == 0 and "2 images of small-covariates, 4 network calls" in out
    assert {p.name for p in (tmp_path / "frames").glob("*.nrrd")} == {"frame-0.nrrd", "frame-1.nrrd"}
    labels = Volume(np.ones((8, 8, 8), np.uint8), (1.0, 1.0, 1.0), (0, 0, 0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    write(labels, tmp_path / "labels.nrrd")
    shown = ("--model", "small-volumes", "--labels", tmp_path / "labels.nrrd", "--method", "guided-synthesis", *fast)
    code, out, _ = cli("synthesise", "-o", tmp_path / "volumes", *shown, "--json")
    assert code == 0 and {"sample-1", "sample-2", "table"} <= set(json.loads(out)["outputs"])
    code, _, err = cli("synthesise", "-o", tmp_path / "bad", "--model", "small-covariates", "--covariate", "age")
    assert code == 2 and "expected NAME=NUMBER" in err
