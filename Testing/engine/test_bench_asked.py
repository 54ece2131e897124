"""The benchmark of what was asked for: images that are as asked score as real ones do, and others do not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_segment_task import data as crops  # noqa: F401 - a fixture

from meddiff import bench_asked
from meddiff.bench_asked import Entry, _joined, _nearest, _slices, bars, compare
from meddiff.bench_segment import Known
from meddiff.bench_segment import crops as known_crops
from meddiff.errors import BadInput
from meddiff.volume import IDENTITY, Volume, canonical, write

TILTED = (-1.0, 0, 0, 0, 0.96, 0.28, 0, -0.28, 0.96)  # a header that runs the other way, and is turned


def model(**card: Any) -> Any:
    """As much of a model as the benchmark looks at."""
    about = {
        "id": "toy",
        "segments": (),
        "covariates": {},
        "labels": None,
        "spacing_mm": (1.0, 1.0),
        "window": (20, 16),
    }
    return SimpleNamespace(card=SimpleNamespace(**{**about, **card}), device="cpu")


def turned(volume: Volume) -> Volume:
    return Volume(volume.array, volume.spacing, volume.origin, TILTED)


def by_brightness(image: Volume, judge: Any, **_: Any) -> Any:
    """A judge of what `test_segment_task.crop` draws, in place of a network."""
    yield from ()
    return SimpleNamespace(labels=image.with_array(np.digitize(image.array, [300, 700]).astype(np.uint8)))


def test_images_that_show_the_label_map_score_as_real_ones_do(
    crops: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the header of the crop turns its axes: what is made has its own."""
    known = [Known(*(turned(v) for v in each[:2])) for each in known_crops(crops)]
    monkeypatch.setattr(bench_asked, "crops", lambda _: known)
    images = {each.truth.array.tobytes(): each.image for each in known}

    def perfect(_model: Any, entry: Entry, number: int, **asked: Any) -> Volume:
        if entry.told:
            return canonical(images[asked["labels"].array.tobytes()])[0]
        shape = asked["size_z"], asked["size_y"], asked["size_x"]
        return Volume(np.random.default_rng(number).random(shape, np.float32), (1, 1, 1), (0, 0, 0), IDENTITY)

    monkeypatch.setattr(bench_asked, "_made", perfect)
    monkeypatch.setattr(bench_asked, "segment", by_brightness)
    rows = list(compare(crops, model(segments=("A", "P")), quick=False, say=lambda _: None))
    real, told, *_, untold = rows
    assert real["recipe"] == "real images" and 0.98 < told["dice"] == pytest.approx(real["dice"])
    assert told["likeness"] == pytest.approx(1, abs=1e-5) and abs(untold["likeness"]) < 0.3
    assert untold["dice"] < 0.1
    assert [bar["met"] for bar in bars(rows)] == [True]


def brain(contrast: int) -> Volume:
    """Slices of air, then of a brain whose stripes change from slice to slice, otherwise in each contrast."""
    z, y, x = np.indices((12, 20, 16))
    stripes = 500 + 300 * np.sin((1 + z / 4) * y / 3 + contrast * x / 2)
    return Volume(np.where((z > 1) & (z < 10), stripes, 0).astype(np.float32), (1, 1, 1), (0, 0, 0), IDENTITY)


def test_the_nearest_slice_is_found_whatever_its_contrast() -> None:
    real = {name: _slices(brain(k), model()) for k, name in enumerate(("FLAIR", "T1", "T2"))}
    rows, heights = real["T1"]
    among = _joined([*real.values()])
    assert len(rows) == 8 and heights[[0, -1]].tolist() == [0, 1]
    for k in range(3):
        for number in (2, 5, 9):
            found = _nearest(3 * brain(k).array[number] + 7, among)
            assert found[0] == pytest.approx((number - 2) / 7) and found[1] > 0.999
    with pytest.raises(BadInput, match=r"an image of \(3, 4\) voxels was made, and the slices have \(20, 16\)"):
        _nearest(np.zeros((3, 4)), among)


def test_heights_that_are_obeyed_and_such_that_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, rows = ("FLAIR", "T1", "T2"), ["file,split"]
    (tmp_path / "brain_ms_mni").mkdir()
    for k, name in enumerate(names):
        for person, split in (("patient07", "test"), ("patient19", "train")):
            write(brain(k), tmp_path / f"brain_ms_mni/{person}_{name}.nii.gz")
            rows.append(f"brain_ms_mni/{person}_{name}.nii.gz,{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))

    def obeys(_model: Any, entry: Entry, number: int, **asked: Any) -> Volume:
        height = asked["covariates"]["height"] if entry.told else (0.37 * number) % 1
        image = brain(names.index(asked.get("label", "T2"))).array[2 + round(7 * height)]
        return Volume(image[None], (1, 1, 1), (0, 0, 0), IDENTITY)

    monkeypatch.setattr(bench_asked, "_made", obeys)
    labels = SimpleNamespace(names=names)
    told_both = model(covariates={"height": 1}, labels=labels)
    rows = list(compare(tmp_path, told_both, quick=False, say=lambda _: None))
    real, _, told, *_, untold = rows
    assert real["contrast"] == told["contrast"] == 1 and told["rank"] > 0.98
    assert real["off"] == pytest.approx(told["off"]) and told["off"] < 0.5 / 7
    assert untold["contrast"] == pytest.approx(1 / 3) and untold["off"] > 0.2 and abs(untold["rank"]) < 0.4
    assert [bar["met"] for bar in bars(rows)] == [True, True]
    (tmp_path / "manifest.csv").write_text("file,split\nbrain_ms_mni/patient19_T1.nii.gz,train")
    with pytest.raises(BadInput, match="no FLAIR in the train split"):
        next(compare(tmp_path, told_both, quick=False, say=lambda _: None))


def test_other_models_are_refused(tmp_path: Path) -> None:
    for toy in (model(), model(covariates={"height": 1}, window=None)):
        with pytest.raises(BadInput, match="toy is told neither label maps nor, of images of one size, a height"):
            list(compare(tmp_path, toy, quick=True, say=lambda _: None))
