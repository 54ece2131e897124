"""What every engine test can count on: no model of the user in sight, no network, examples that repeat."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from meddiff.card import Card

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
        "labels": {"names": ["FLAIR", "T1", "T1POST", "T2", "unknown"], "null": 5},
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
        "licence": "CC-BY-4.0",
        "citation": "Doe et al. 2026",
        "intended_use": "Research.",
        "limitations": "Not for diagnosis.",
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
