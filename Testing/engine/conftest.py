"""What every engine test can count on: no model of the user in sight, no network, examples that repeat."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from meddiff.card import Card
from meddiff.volume import Volume, write

# No deadline: a busy machine is not a bug. Derandomised: a red test is red again when one looks at it.
settings.register_profile("engine", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("engine")


@pytest.fixture(autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives each test an empty home for models, and refuses connections to other machines."""
    monkeypatch.setenv("MEDDIFF_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("MEDDIFF_MODELS", raising=False)
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise RuntimeError(f"a test reached for {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)


@pytest.fixture
def card_data() -> dict[str, Any]:
    """A complete card as it stands in JSON; no file is listed yet."""
    return {
        "id": "toy-brain",
        "version": "1.2.0",
        "name": "Toy brain prior",
        "summary": "Four numbers that stand for a network.",
        "task": "reconstruct",
        "recipes": {"ccdf": {"steps": 20, "start": 0.2}},
        "modality": "MR",
        "anatomy": "brain",
        "orientation": "axial slices of LPS-canonical volumes",
        "spacing_mm": [1.0, 1.0],
        "spacing_tolerance": 0.2,
        "shape_multiple": 16,
        "channels": [{"name": "magnitude", "unit": "1"}],
        "intensity": {"kind": "percentile", "upper": 99.5},
        "network": {"name": "unet", "arguments": {"channels": [32, 64]}},
        "predicts": "v",
        "schedule": {"name": "cosine", "arguments": {}},
        "latent": None,
        "labels": {"names": ["FLAIR", "T1"], "states": ["healthy", "diseased"], "null": 6},
        "covariates": {"age": {"unit": "years", "min": 18.0, "max": 90.0, "null": -1.0}},
        "training": {
            "data": [{"name": "a public brain set", "licence": "CC-BY-4.0"}],
            "command": "meddiff train prior --plan brain-mr",
            "seed": 0,
            "steps": 1000,
            "seconds": 60.5,
            "device": "cpu",
            "code_version": "0.1.0",
        },
        "quality": [
            {"dataset": "held out", "metric": "PSNR", "value": 30.5, "command": "meddiff", "code_version": "0.1.0"}
        ],
        "healthy": {
            "anoddpm": {
                "quantile": 0.995,
                "levels": {"FLAIR": 0.2, "T1": 0.1},
                "smoothing_mm": 1.0,
                "limits": {"FLAIR": {"low": 0.2, "high": 1.1}},
                "dataset": "brain_ms_mni/patient19",
                "command": "meddiff train thresholds",
                "code_version": "0.1.0",
            }
        },
        "companions": {"classifier": "toy-classifier"},
        "uncertainty": {
            "ccdf": {"scale": 2.5, "smoothing": 2.0, "dataset": "train", "command": "meddiff", "code_version": "0.1.0"}
        },
        "licence": "CC-BY-4.0",
        "citation": "Doe et al. 2026",
        "intended_use": "Research.",
        "limitations": "Not for diagnosis.",
        "segments": [{"name": "Lesion", "code": ["SCT", "52988006", "Lesion"], "colour": [1.0, 0.5, 0.0]}],
        "window": [64, 48],
        "files": {},
    }


@pytest.fixture
def card(card_data: dict[str, Any]) -> Card:
    return Card.model_validate(card_data)


@pytest.fixture
def model_folder(card: Card, tmp_path: Path) -> Path:
    """A whole, sealed model of a few bytes."""
    import torch
    from safetensors.torch import save_file

    from meddiff.store import WEIGHTS, seal

    folder = tmp_path / "toy-brain"
    folder.mkdir()
    save_file({"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}, folder / WEIGHTS)
    (folder / "README.md").write_text("# Toy\n", encoding="utf-8")
    (folder / "LICENSE").write_text("CC-BY-4.0\n", encoding="utf-8")
    seal(card, folder)
    return folder


@pytest.fixture
def tiny_card(card_data: dict[str, Any]) -> Card:
    """The card of a network that runs in milliseconds: two levels of eight channels, at 1 mm."""
    arguments = {"widths": [8, 8], "blocks": 1, "groups": 4, "head_channels": 8, "patch": 2, "labels": 3}
    linear = {"kind": "percentile", "upper": 99.9, "target": [0.0, 2.0], "foreground": True, "linear": True}
    tiny = {
        "id": "tiny-brain",
        "recipes": {},
        "intensity": linear,
        "network": {"name": "diffusion-unet", "arguments": arguments},
        "schedule": {"name": "vp-cosine", "arguments": {"steps": 1000, "shift": 0.5}},
        "labels": {"names": ["FLAIR", "T1"], "null": 2},
        "covariates": {},
    }
    return Card.model_validate({**card_data, **tiny})


@pytest.fixture
def tiny_model(tiny_card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a model `tiny-brain` with random weights, where the engine finds it by its id."""
    import torch

    from meddiff import models
    from meddiff.networks import build

    random = torch.Generator().manual_seed(0)
    state = build(tiny_card.network.name, dict(tiny_card.network.arguments)).state_dict()
    weights = {name: 0.2 * torch.randn(value.shape, generator=random) for name, value in sorted(state.items())}
    monkeypatch.setenv("MEDDIFF_MODELS", str(tmp_path / "models"))
    return models.save(tiny_card, weights, tmp_path / "models" / "tiny-brain").folder


@pytest.fixture
def small_volume() -> Volume:
    """A textured head on an oblique, left-handed, anisotropic grid: four slices of 20 x 24 voxels near 1 mm."""
    random = np.random.default_rng(0)
    z, y, x = np.ogrid[-1:1:4j, -1:1:24j, -1:1:20j]
    inside = y**2 + (1.2 * x) ** 2 + 0.3 * z**2 < 0.7
    array = np.where(inside, 500 + 200 * np.sin(6 * x + 4 * y) + 50 * random.standard_normal((4, 24, 20)), 0.0)
    a, b = 0.3, 0.2
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    direction = about_z @ about_x @ np.diag([-1.0, 1.0, 1.0])
    return Volume(array.astype(np.float32), (1.0, 1.1, 3.0), (-31.5, 17.25, 1003.125), tuple(direction.ravel()))


@pytest.fixture
def small_file(small_volume: Volume, tmp_path: Path) -> Path:
    """`small_volume` as a file."""
    write(small_volume, tmp_path / "small.nrrd")
    return tmp_path / "small.nrrd"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: its exit code, standard output and standard error."""

    from meddiff.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        caught = capsys.readouterr()
        return int(end.value.code or 0), caught.out, caught.err

    return call
