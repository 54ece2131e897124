"""Latent models: one folder with two weight files, the lessons that make them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from meddiff import models
from meddiff.card import Card
from meddiff.errors import BadInput, BadModel
from meddiff.networks import build
from meddiff.networks.autoencoder import VQAutoencoder
from meddiff.noises import gaussian
from meddiff.sampling import drain, sample
from meddiff.spaces import Latent, Pixel
from meddiff.training import export as exporting
from meddiff.training.fit import averaged_weights, fit
from meddiff.training.kinds import lesson
from meddiff.training.latent import LatentNetwork, revive
from meddiff.training.plan import Plan, read_plan

VQ = {"name": "vqvae", "arguments": {"widths": [8, 8], "blocks": 1, "codes": 16, "code_channels": 3}}
KL = {"name": "autoencoder-kl", "arguments": {"widths": [8, 8], "code_channels": 3, "groups": 4}}
UNET = {
    "name": "diffusion-unet",
    "arguments": {"channels": 3, "widths": [8, 8], "blocks": 1, "groups": 4, "head_channels": 8, "labels": 3},
}
SCHEDULE: dict[str, Any] = {"schedule": {"name": "vp-cosine", "arguments": {"steps": 1000}}}


def image(*shape: int, seed: int = 0) -> Tensor:
    return gaussian(seed, shape[0])(torch.empty(shape))


def random_state(named: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = build(named["name"], named["arguments"]).state_dict()
    return {name: 0.2 * torch.randn(value.shape, generator=generator) for name, value in sorted(state.items())}


@pytest.fixture
def latent_card(tiny_card: Card) -> Card:
    latent = {"autoencoder": VQ, "weights": "autoencoder.safetensors", "scale": 0.5}
    return Card.model_validate({**tiny_card.model_dump(), "id": "tiny-latent", "network": UNET, "latent": latent})


@pytest.fixture
def latent_folder(latent_card: Card, tmp_path: Path) -> Path:
    return models.save(latent_card, random_state(UNET), tmp_path / "tiny-latent", random_state(VQ, 1)).folder


def test_a_latent_model_comes_back_with_its_space(latent_folder: Path) -> None:
    model, state = models.load(latent_folder, "cpu", "fp32"), random_state(VQ, 1)
    assert isinstance(model.space, Latent)
    assert (model.space.scale, model.space.multiple) == (0.5, 2)
    twin = build("vqvae", VQ["arguments"])
    twin.load_state_dict({name: value.half().float() for name, value in state.items()})
    assert isinstance(twin, VQAutoencoder)
    x = image(2, 1, 18, 25)
    torch.testing.assert_close(model.space.encode(x), Latent(twin, 0.5, 2).encode(x))
    z = drain(sample(model.prior, image(*model.space.shape(x.shape)), model.prior.path(3), noise=gaussian(0, 2)))
    out = model.space.decode(z, x.shape[2:])
    assert out.shape == x.shape and out.isfinite().all()
    assert not any(p.requires_grad for p in model.space.autoencoder.network.parameters())  # type: ignore[attr-defined]


def test_a_model_of_images_lives_in_pixels(tiny_model: Path) -> None:
    assert models.load(tiny_model, "cpu").space == Pixel()


def test_an_altered_autoencoder_is_refused(latent_folder: Path) -> None:
    path = latent_folder / "autoencoder.safetensors"
    state = load_file(path)
    name = "vqvae.encoder.blocks.0.conv.weight"
    save_file({**state, name: state[name] + 0.01}, path)
    with pytest.raises(BadModel, match=r"autoencoder\.safetensors was altered"):
        models.load(latent_folder, "cpu")
    path.unlink()
    with pytest.raises(BadModel, match=r"autoencoder\.safetensors is missing"):
        models.load(latent_folder, "cpu")


def test_weights_of_another_autoencoder_are_refused(latent_card: Card, tmp_path: Path) -> None:
    other = {"name": "vqvae", "arguments": {**VQ["arguments"], "codes": 32}}
    folder = models.save(latent_card, random_state(UNET), tmp_path / "other", random_state(other)).folder
    with pytest.raises(BadModel, match=r"has shape \(32,\); the network of the card expects \(16,\)"):
        models.load(folder, "cpu")


def test_a_latent_model_without_its_autoencoder_is_refused(latent_card: Card, tmp_path: Path) -> None:
    folder = models.save(latent_card, random_state(UNET), tmp_path / "half").folder
    with pytest.raises(BadModel, match=r"lists no autoencoder\.safetensors"):
        models.load(folder, "cpu")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"network": {**UNET, "arguments": {**UNET["arguments"], "channels": 4}}}, "has 4 channels; its codes have 3"),
        ({"latent": {"autoencoder": UNET, "weights": "autoencoder.safetensors", "scale": 1.0}}, "which is none"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    latent_card: Card, tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    card = Card.model_validate({**latent_card.model_dump(), **change})
    assert card.latent is not None
    other = random_state(card.latent.autoencoder.model_dump())
    folder = models.save(card, random_state(card.network.model_dump()), tmp_path / "odd", other).folder
    with pytest.raises(BadModel, match=complaint):
        models.load(folder, "cpu")


def test_numbers_too_large_for_half_precision_stay_whole(latent_card: Card, tmp_path: Path) -> None:
    state = random_state(VQ)
    name = "vqvae.quantizer.quantizer.ema_cluster_size"
    state[name] = torch.full_like(state[name], 1e6)  # uses of a code, of a large batch
    folder = models.save(latent_card, random_state(UNET), tmp_path / "large", state).folder
    found = load_file(folder / "autoencoder.safetensors")
    assert torch.equal(found[name], state[name])
    assert found["vqvae.quantizer.quantizer.ema_w"].dtype is torch.float16
    models.load(folder, "cpu")


# --- training ---------------------------------------------------------------------------------------------------------


def course(kind: str, network: dict[str, Any], **more: Any) -> Plan:
    still = {"flip": 0.0, "affine": 0.0, "gamma": 0.0, "gain": 0.1}
    return Plan.model_validate(
        {
            "id": f"tiny-{kind}",
            "kind": kind,
            "spacing_mm": [1.0, 1.0],
            "intensity": {
                "kind": "percentile",
                "upper": 99.9,
                "target": [0.0, 2.0],
                "foreground": True,
                "linear": True,
            },
            "images": [{"files": "*_T1.nii.gz", "label": "T1"}],
            "network": network,
            "predicts": "image",
            "training": {
                **{"crop": [16, 16], "batch": 4, "steps": 60, "learning_rate": 3e-3, "warmup": 5, "ema": 0.9},
                "augment": still,
            },
            **more,
        }
    )


def cached(plan: Plan, path: Path) -> Path:
    """A cache as `meddiff train prepare` makes it: smooth blobs on a dark ground."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 20), torch.linspace(-1, 1, 20), indexing="ij")
    stack = torch.stack([torch.exp(-((x - 0.1 * k) ** 2 + y**2) / 0.2) for k in range(-3, 4)])
    rows = [{"key": "images.000", "file": "a", "sha256": "", "label": "T1", "weight": 1.0, "slices": 7, "white": 0.0}]
    about = {"plan": plan.model_dump_json(), "images": json.dumps(rows), "split": "train"}
    save_file({"images.000": stack.half()}, path, metadata=about)
    return path


def learnt(path: Path, run: Path, steps: int | None = None) -> list[float]:
    """Losses of a run, broken off after `steps`."""
    losses: list[float] = []
    plan_run = fit(lesson(path), run, should_stop=lambda: steps is not None and len(losses) >= steps)
    for report in plan_run:
        losses.append(report.loss)
    return losses


@pytest.fixture
def vq_model(tiny_card: Card, tmp_path: Path) -> Path:
    """An autoencoder as a model of its own."""
    own = {"id": "tiny-vq", "network": VQ, "predicts": "image", "schedule": None, "labels": None}
    card = Card.model_validate({**tiny_card.model_dump(), **own})
    return models.save(card, random_state(VQ, 1), tmp_path / "models" / "tiny-vq").folder


@pytest.mark.parametrize("named", [VQ, KL], ids=["vq", "kl"])
def test_an_autoencoder_learns_its_images(named: dict[str, Any], tmp_path: Path) -> None:
    plan = course("autoencoder", named)
    plan = plan.model_copy(update={"training": plan.training.model_copy(update={"steps": 120})})
    cache, run = cached(plan, tmp_path / "c.safetensors"), tmp_path / "checkpoint.pt"
    first = learnt(cache, run, 1)[0]
    learnt(cache, run)
    network = build(named["name"], named["arguments"]).eval()
    network.load_state_dict(averaged_weights(run)[0])
    x = lesson(cache).cache.batch(999).images  # type: ignore[attr-defined]
    with torch.no_grad():
        error = (network(x) - x).abs().mean()
    assert error < 0.4 * (x - x.mean()).abs().mean() and error < first / 2


def test_an_interrupted_run_keeps_the_book(tmp_path: Path) -> None:
    plan = course("autoencoder", VQ)
    plan = plan.model_copy(update={"training": plan.training.model_copy(update={"steps": 30})})
    cache = cached(plan, tmp_path / "c.safetensors")
    learnt(cache, tmp_path / "whole.pt")
    learnt(cache, tmp_path / "parts.pt", 13)
    learnt(cache, tmp_path / "parts.pt")
    whole, parts = (averaged_weights(tmp_path / f"{name}.pt")[0] for name in ("whole", "parts"))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, msg=name)


def test_dead_codes_go_where_codes_are_missing() -> None:
    network = build("vqvae", VQ["arguments"])
    assert isinstance(network, VQAutoencoder)
    quantiser = network.vqvae.quantizer.quantizer
    with torch.no_grad():
        quantiser.embedding.weight[:] = 0.01 * image(16, 3)
        quantiser.ema_cluster_size[:] = 5
        quantiser.ema_cluster_size[3:7] = 0
    z = torch.zeros(2, 3, 4, 4)
    z[0, :, 1, 2], z[1, :, 3, 0] = torch.tensor([4.0, 0, 0]), torch.tensor([0, -4.0, 0])
    kept = network.book.clone()
    assert revive(network, z, seed=0) == 4
    alive = [k for k in range(16) if not 3 <= k < 7]
    assert torch.equal(network.book[alive], kept[alive])
    assert torch.cdist(torch.tensor([[4.0, 0, 0], [0, -4.0, 0]]), network.book).amin(1).max() == 0
    assert revive(network, z, seed=1) == 0  # they are alive now
    network.train()
    network.vqvae.quantizer(z)  # and stay where they were put, as moving averages
    assert torch.cdist(torch.tensor([[4.0, 0, 0]]), network.book).min() < 0.01


def test_codes_are_scaled_to_unit_variance_and_stay_frozen(vq_model: Path, tmp_path: Path) -> None:
    plan = course("latent", UNET, autoencoder=str(vq_model), predicts="v", labels=["T1", "T2", "null"], **SCHEDULE)
    cache = cached(plan, tmp_path / "c.safetensors")
    taught = lesson(cache)
    network = taught.build()
    assert isinstance(network, LatentNetwork)
    codes = torch.cat([network.encode(taught.cache.batch(k).images) for k in range(40, 60)])  # type: ignore[attr-defined]
    assert float(codes.std()) == pytest.approx(1, rel=0.1)
    losses = learnt(cache, tmp_path / "checkpoint.pt")
    assert losses[-1] < 0.9 * losses[0]  # a running mean
    state, _ = averaged_weights(tmp_path / "checkpoint.pt")
    for name, value in random_state(VQ, 1).items():
        assert torch.equal(state[f"autoencoder.{name}"], value.half().float()), name


def test_the_exported_model_has_both_halves(vq_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = course("latent", UNET, autoencoder=str(vq_model), predicts="v", labels=["T1", "T2", "null"], **SCHEDULE)
    cache, run = cached(plan, tmp_path / "c.safetensors"), tmp_path / "checkpoint.pt"
    learnt(cache, run, 3)
    about = json.loads((exporting.CARDS / "brain-mr.json").read_text(encoding="utf-8"))
    (tmp_path / "tiny-latent.json").write_text(json.dumps({**about, "recipes": {}}), encoding="utf-8")
    (tmp_path / "tiny-latent.md").write_text("# Tiny\n", encoding="utf-8")
    monkeypatch.setattr(exporting, "CARDS", tmp_path)
    found = exporting.export(run, tmp_path / "out", device="CPU", command="meddiff train fit")
    assert found.card.latent is not None and found.card.shape_multiple == 8  # 4 pixels a code, 2 codes a cell
    model, state = models.load(found.folder, "cpu", "fp32"), averaged_weights(run)[0]
    assert isinstance(model.space, Latent)
    assert model.space.scale == pytest.approx(float(state["scale"]), rel=1e-5)
    taught = lesson(cache)
    x = taught.cache.batch(5).images  # type: ignore[attr-defined]
    network = taught.build()
    assert isinstance(network, LatentNetwork)
    torch.testing.assert_close(model.space.encode(x), network.encode(x), rtol=1e-3, atol=1e-4)


def test_a_latent_plan_needs_an_autoencoder(tiny_model: Path, tmp_path: Path) -> None:
    for named, complaint in [("", "names no autoencoder"), (str(tiny_model), "expected an autoencoder")]:
        plan = course("latent", UNET, autoencoder=named, predicts="v", **SCHEDULE)
        cache = cached(plan, tmp_path / f"{len(named)}.safetensors")
        with pytest.raises(BadInput, match=complaint):
            lesson(cache).build()


def test_the_plans_of_this_package_make_a_small_model() -> None:
    size = 0
    for name, kind in (("brain-vqvae", "autoencoder"), ("brain-latent", "latent")):
        plan = read_plan(name)
        assert plan.kind == kind
        network = build(plan.network["name"], plan.network["arguments"])
        size += 2 * sum(value.numel() for value in network.state_dict().values())
    assert size < 8e6  # bytes, in half precision
    assert plan.autoencoder == "brain-vqvae" and plan.network["arguments"]["labels"] == plan.classes
    assert plan.network["arguments"]["channels"] == read_plan("brain-vqvae").network["arguments"]["code_channels"]
