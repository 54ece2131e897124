"""A job gives the same voxels wherever it runs, puts them where the input was, and is done wholly or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from meddiff import job as job_module
from meddiff import models
from meddiff.card import Card
from meddiff.errors import BadInput, Cancelled, Notice
from meddiff.job import Job, read_job, run
from meddiff.masks import make_mask
from meddiff.registry import recipes
from meddiff.store import load_weights
from meddiff.tasks import read_mask
from meddiff.volume import Volume, read, write

FILES = ["provenance.json", "reconstruction.nrrd", "residual.nrrd", "uncertainty.nrrd", "zero-filled.nrrd"]


@pytest.fixture
def small_job(small_file: Path, tiny_model: Path, tmp_path: Path) -> Job:
    options = {"acceleration": 2, "samples": 2, "contrast": "T1"}
    parameters = {"steps": 3}
    return Job("ddnm", "tiny-brain", {"volume": str(small_file)}, str(tmp_path / "out"), options, parameters)


def change(job: Job, **changes: Any) -> Job:
    """The job with other values; options and parameters are added to those that it has."""
    data = json.loads(job.to_json())
    for name, value in changes.items():
        data[name] = {**data[name], **value} if name in ("options", "parameters", "inputs") else value
    return Job.from_json(json.dumps(data))


def voxels(folder: Path | str, name: str = "reconstruction") -> np.ndarray:
    return read(Path(folder, f"{name}.nrrd")).array


def visible(folder: Path | str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_results_lie_where_the_input_lies(small_job: Job, small_volume: Volume) -> None:
    result = run(small_job)
    assert visible(small_job.output) == FILES
    for name in ("reconstruction", "uncertainty", "zero-filled"):
        made = read(result.outputs[name])
        assert made.shape == small_volume.shape
        assert np.abs(made.affine - small_volume.affine).max() < 1e-6
    assert np.linalg.det(np.reshape(small_volume.direction, (3, 3))) < 0  # the hard case is the one that was tested
    assert result.figures["data_residual"] < 1e-4
    assert result.figures["network_calls"] == 3 * 2
    assert (voxels(small_job.output, "uncertainty") >= 0).all()


def test_provenance_tells_what_made_it_and_makes_it_again(small_job: Job, tiny_model: Path, tmp_path: Path) -> None:
    run(small_job)
    told = json.loads(Path(small_job.output, "provenance.json").read_text())
    image = sitk.ReadImage(str(Path(small_job.output, "reconstruction.nrrd")))
    assert json.loads(image.GetMetaData("provenance")) == told
    assert told["model"]["id"] == "tiny-brain" and len(told["model"]["sha256"]) == 64
    assert told["settings"]["steps"] == 3 and told["settings"]["pattern"] == "cartesian-random"
    again = Job.from_json(json.dumps({**told["job"], "output": str(tmp_path / "again")}))
    run(again)
    assert np.array_equal(voxels(small_job.output), voxels(again.output))


def test_the_seed_decides(small_job: Job, tmp_path: Path) -> None:
    other = change(small_job, seed=1, output=str(tmp_path / "other"))
    run(small_job)
    run(other)
    assert not np.array_equal(voxels(small_job.output), voxels(other.output))
    assert np.array_equal(voxels(small_job.output, "zero-filled"), voxels(other.output, "zero-filled"))


@pytest.mark.parametrize("method", [recipe.name for recipe in recipes("reconstruct")])
def test_the_batch_does_not_matter(small_job: Job, tmp_path: Path, method: str) -> None:
    options = {"coils": 2, "noise": 0.01} if method == "ddnm" else {}
    same = change(small_job, recipe=method, precision="fp32", parameters={"steps": 2}, options=options)
    for size in (1, 3):
        run(change(same, output=str(tmp_path / f"{size}"), options={"batch": size}))
    one, three = (voxels(tmp_path / f"{size}") for size in (1, 3))
    assert np.abs(one - three).max() < 1e-4 * np.abs(one).max()


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_other_planes(small_job: Job, small_volume: Volume, tmp_path: Path, plane: str) -> None:
    write(Volume(small_volume.array, (1.0, 1.0, 1.0), (0, 0, 0), small_volume.direction), tmp_path / "cube.nrrd")
    run(change(small_job, inputs={"volume": str(tmp_path / "cube.nrrd")}, options={"plane": plane}))
    assert voxels(small_job.output).shape == small_volume.shape


def test_noise_reaches_the_data_but_not_the_figures_of_the_truth(small_job: Job, tmp_path: Path) -> None:
    noisy = change(small_job, output=str(tmp_path / "noisy"), options={"noise": 0.1})
    assert run(noisy).figures["psnr_zero-filled"] < run(small_job).figures["psnr_zero-filled"]


def test_a_complex_volume_gives_magnitudes(small_job: Job, small_volume: Volume, tmp_path: Path) -> None:
    phase = np.exp(1j * np.linspace(0, 1, 20)).astype(np.complex64)
    write(small_volume.with_array(small_volume.array * phase), tmp_path / "complex.nrrd")
    result = run(change(small_job, inputs={"volume": str(tmp_path / "complex.nrrd")}))
    assert voxels(small_job.output).dtype == np.float32
    assert result.figures["psnr_reconstruction"] > 0


def test_complex_where_the_model_wants_real(
    small_job: Job, small_volume: Volume, tiny_card: Card, tmp_path: Path
) -> None:
    window = {"kind": "window", "upper": 900.0, "target": [-1, 1]}
    shifted = tiny_card.model_copy(update={"id": "shifted", "intensity": window})
    models.save(shifted, load_weights(tmp_path / "models" / "tiny-brain"), tmp_path / "models" / "shifted")
    write(small_volume.with_array(small_volume.array.astype(np.complex64)), tmp_path / "complex.nrrd")
    run(change(small_job, model="shifted"))
    with pytest.raises(BadInput, match="complex"):
        run(change(small_job, model="shifted", inputs={"volume": str(tmp_path / "complex.nrrd")}))


def test_one_sample_is_said_to_have_no_spread(small_job: Job) -> None:
    with pytest.warns(Notice, match="one sample"):
        run(change(small_job, options={"samples": 1}))
    assert not voxels(small_job.output, "uncertainty").any()


# --- masks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mask.npy", "mask.npz", "mask.nrrd", "mask.nii.gz"])
def test_a_mask_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    mask = make_mask("cartesian-random", (24, 20), 2, centre_fraction=0.16).numpy()
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, mask)
    elif name.endswith(".npz"):
        np.savez(path, mask=mask)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(mask.astype(np.uint8)), str(path))
    assert np.array_equal(read_mask(path), mask)


def test_a_mask_from_a_file_does_what_the_same_mask_made_here_does(small_job: Job, tmp_path: Path) -> None:
    path = tmp_path / "mask.npy"
    np.save(path, make_mask("cartesian-random", (24, 20), 2, centre_fraction=0.16).numpy())
    data = json.loads(small_job.to_json())
    del data["options"]["acceleration"]
    given = {**data, "inputs": {**data["inputs"], "mask": str(path)}, "output": str(tmp_path / "given")}
    result = run(Job.from_json(json.dumps(given)))
    run(small_job)
    assert np.array_equal(voxels(small_job.output), voxels(tmp_path / "given"))
    assert result.provenance["settings"]["acceleration"] == 2.0


def test_a_mask_and_an_acceleration_contradict_each_other(small_job: Job, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.ones((24, 20)))
    with pytest.raises(BadInput, match="acceleration"):
        run(change(small_job, inputs={"mask": str(tmp_path / "mask.npy")}))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (np.ones((5, 5)), r"\(5, 5\).*\(24, 20\)"),
        (np.full((24, 20), 2), "other values than 0 and 1"),
        (np.zeros((24, 20)), "empty"),
        (np.array([None]), "cannot be read"),
        (b"not an array", "cannot be read"),
        ({"a": np.ones(2), "b": np.ones(2)}, "2 arrays"),
        (None, "does not exist"),
    ],
)
def test_a_mask_that_cannot_be_one(small_job: Job, tmp_path: Path, content: Any, sentence: str) -> None:
    path = tmp_path / ("mask.npz" if isinstance(content, dict) else "mask.npy")
    if isinstance(content, dict):
        np.savez(path, **content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    data = json.loads(small_job.to_json())
    data["inputs"]["mask"] = str(path)
    del data["options"]["acceleration"]
    with pytest.raises(BadInput, match=sentence):
        run(Job.from_json(json.dumps(data)))
    assert not Path(small_job.output).exists()


# --- what a job is ----------------------------------------------------------------------------------------------------


def test_a_job_goes_to_json_and_back(small_job: Job, tmp_path: Path) -> None:
    assert Job.from_json(small_job.to_json()) == small_job
    (tmp_path / "job.json").write_text(small_job.to_json())
    assert read_job(tmp_path / "job.json") == small_job


def test_paths_are_welcome_from_python(small_job: Job, small_file: Path, tmp_path: Path) -> None:
    made = Job("ddnm", "tiny-brain", {"volume": small_file}, tmp_path / "a", small_job.options, {"steps": 1})  # type: ignore[arg-type,dict-item]
    assert run(made).provenance["job"]["inputs"] == {"volume": str(small_file)}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "not JSON"),
        ("[]", "JSON object, got list"),
        ("{}", "lacks recipe, model, inputs, output"),
        ('{"recip": "ddnm"}', "did you mean recipe"),
        ('{"recipe": 3}', "recipe of the job must be text, got 3"),
        ('{"seed": 1.5}', "seed of the job must be a whole number"),
        ('{"seed": true}', "seed of the job must be a whole number"),
        ('{"inputs": "a.nii"}', "inputs of the job must be an object"),
        ('{"recipe": "ddnm", "model": "m", "output": "o", "inputs": {"volume": 3}}', "input volume of the job must be"),
    ],
)
def test_what_is_not_a_job(text: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        Job.from_json(text)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"recipe": "ddmn"}, "did you mean ddnm"),
        ({"model": "tiny-brian"}, "did you mean tiny-brain"),
        ({"device": "abacus"}, "'abacus' cannot be used here"),
        ({"precision": "fp31"}, "unknown precision"),
        ({"inputs": {"volum": "x"}}, "did you mean volume"),
        ({"options": {"sample": 3}}, "did you mean samples"),
        ({"options": {"samples": "3"}}, "samples must be a whole number, got '3'"),
        ({"options": {"samples": 0}}, "at least one sample"),
        ({"options": {"batch": 0}}, "batch size is 0"),
        ({"options": {"acceleration": "4x"}}, "acceleration must be a number"),
        ({"options": {"acceleration": 0.5}}, "acceleration 0.5"),
        ({"options": {"acceleration": float("nan")}}, "acceleration nan"),
        ({"options": {"centre": 0.9}}, "centre fraction 0.9"),
        ({"options": {"pattern": "radical"}}, "did you mean radial"),
        ({"options": {"coils": 0}}, "coils is 0"),
        ({"options": {"noise": 2}}, "noise is 2"),
        ({"options": {"mask_seed": -1}}, "seed of the mask is -1"),
        ({"options": {"plane": "axal"}}, "did you mean axial"),
        ({"options": {"contrast": "T3"}}, "unknown label 'T3'"),
        ({"options": {"preset": "bester"}}, "did you mean best"),
        ({"parameters": {"step": 3}}, "did you mean steps"),
        ({"parameters": {"steps": 0}}, "between 1 and 2000"),
        ({"parameters": {"steps": float("inf")}}, "steps must be int"),
    ],
)
def test_settings_that_cannot_be_used(small_job: Job, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        run(change(small_job, **changes))
    assert not Path(small_job.output).exists()


# --- wholly or not at all ---------------------------------------------------------------------------------------------


def test_stopping_leaves_nothing(small_job: Job, tmp_path: Path) -> None:
    deep = change(small_job, output=str(tmp_path / "new" / "deep" / "out"))
    steps = []
    with pytest.raises(Cancelled):
        run(deep, steps.append, lambda: len(steps) == 4)
    assert len(steps) == 4 and steps[-1].of == 6
    assert not (tmp_path / "new").exists()


def test_stopping_spares_what_was_there(small_job: Job) -> None:
    run(small_job)
    before = voxels(small_job.output)
    with pytest.raises(Cancelled):
        run(change(small_job, seed=7), should_stop=lambda: True)
    assert visible(small_job.output) == FILES
    assert np.array_equal(voxels(small_job.output), before)


def test_a_full_disk_leaves_nothing(small_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(volume: Volume, path: Path, metadata: Any) -> None:
        if path.name.startswith("uncertainty"):
            raise OSError(28, "No space left on device")
        write(volume, path, metadata)

    monkeypatch.setattr(job_module, "write", fail)
    with pytest.raises(BadInput, match="No space left"):
        run(small_job)
    assert not Path(small_job.output).exists()


def test_a_result_never_takes_the_place_of_its_input(small_job: Job, tmp_path: Path) -> None:
    run(small_job)
    again = change(small_job, inputs={"volume": str(tmp_path / "out" / "reconstruction.nrrd")})
    with pytest.raises(BadInput, match="would replace the input"):
        run(again)


def test_progress_counts_to_its_end(small_job: Job) -> None:
    seen = []
    run(change(small_job, options={"batch": 3}), seen.append)
    assert [p.step for p in seen] == list(range(1, seen[-1].of + 1))
    assert seen[-1].of == 2 * 2 * 3  # groups of slices, samples, steps
