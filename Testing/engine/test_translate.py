"""Translation: samples have the mean and the spread of the exact posterior; plans to models, jobs, the verb."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gaussians import SCHEDULES, Counter, exact_prior
from questions import SLOPE, denoise_beside, translate

from meddiff import bench_translate
from meddiff.card import Card
from meddiff.codes import beside
from meddiff.errors import BadInput, Notice
from meddiff.job import Job, run
from meddiff.networks import build
from meddiff.noises import gaussian
from meddiff.recipes.translate import SOLVED
from meddiff.registry import find_recipe
from meddiff.sampling import drain
from meddiff.store import load_weights
from meddiff.training.case_plans import ContrastPlan
from meddiff.training.contrasts import ContrastCache
from meddiff.training.export import CARDS, export
from meddiff.training.fit import fit
from meddiff.training.kinds import lesson, prepare
from meddiff.training.plan import PLANS, read_plan
from meddiff.volume import IDENTITY, Volume, read, same_grid, write

Cli = Callable[..., tuple[int, str, str]]
SHIPPED = ("brain-translate", "brain-translate-unet")
NAMES = ("T1", "T2", "FLAIR")


@pytest.mark.parametrize("solver", SOLVED)
def test_samples_have_the_mean_and_the_spread_of_the_posterior(solver: str) -> None:
    method, data = find_recipe("translate"), translate().data(400, Counter())
    prior = exact_prior(denoise_beside, SCHEDULES["cosine"])
    x = drain(method.run(prior, data, noise=gaussian(0, 400), steps=80, solver=solver))
    assert (x.mean(0) - SLOPE * data.images[0, :1]).abs().max() < 4.5 * 0.3 / 20
    assert (x.std(0) / 0.3).mean() == pytest.approx(1, abs=0.08)  # few steps lose some of it


def test_missing_images_are_nothing_and_the_code_says_so() -> None:
    images, given = torch.ones(2, 3, 4, 5), torch.tensor([[True, False, True], [False, True, False]])
    found = beside(images, given)
    assert found.shape == (2, 6, 4, 5) and torch.equal(found[:, :3], found[:, 3:])
    assert found[0, 1].max() == 0 and found[1, 1].min() == 1


# ---------------------------------------------------------------- training


def contrasts(seed: int) -> dict[str, Volume]:
    """Ellipses in which T2 is 1100 - T1, and FLAIR half of it."""
    random = np.random.default_rng(seed)
    z, y, x = np.ogrid[-1:1:6j, -1:1:24j, -1:1:20j]
    inside = y**2 + (1.2 * x) ** 2 + 0.3 * z**2 < 0.7
    t1 = 550 + 400 * np.sin(5 * x + random.uniform(2, 5) * y)
    arrays = {"T1": t1, "T2": 1100 - t1, "FLAIR": 550 - t1 / 2}
    blank = np.zeros(inside.shape, np.float32)
    return {
        name: Volume(np.where(inside, array, blank).astype(np.float32), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0), IDENTITY)
        for name, array in arrays.items()
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people to learn from, one without T1; one to be tested on."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "brain_ms_mni").mkdir()
    rows = ["file,split"]
    for number, split in enumerate(("train", "train", "test")):
        for name, volume in contrasts(number).items():
            if (number, name) != (1, "T1"):
                write(volume, folder / "brain_ms_mni" / f"patient{number}_{name}.nii.gz")
                rows.append(f"brain_ms_mni/patient{number}_{name}.nii.gz,{split}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def small(name: str, start: str = "") -> ContrastPlan:
    """A plan of the package, its network made small."""
    plan = json.loads((PLANS / f"{name}.json").read_text())
    plan["network"]["arguments"] |= {"widths": [8, 8], "blocks": 1, "groups": 4, "head_channels": 8}
    plan["network"]["arguments"] |= {"attention": [False, False]}
    plan["training"] |= {"crop": [16, 16], "batch": 4, "steps": 30, "warmup": 5, "learning_rate": 0.01, "ema": 0.9}
    return ContrastPlan.model_validate({**plan, "start_from": start})


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both models, small and trained for a moment."""
    folder = tmp_path_factory.mktemp("trained")
    for name in SHIPPED:
        cache = folder / f"{name}.safetensors"
        assert prepare(small(name), data, cache, lambda _: None) == "12 slices"
        reports = list(fit(lesson(cache), folder / name / "checkpoint.pt"))
        assert reports[-1].loss < reports[0].loss
        export(folder / name / "checkpoint.pt", folder / "models" / name, device="CPU", command="meddiff train fit")
    return folder / "models"


@pytest.mark.parametrize("name", SHIPPED)
def test_plans_and_cards_agree(name: str) -> None:
    plan, about = read_plan(name), json.loads((CARDS / f"{name}.json").read_text())
    assert isinstance(plan, ContrastPlan)
    assert tuple(channel["name"] for channel in about["channels"]) == plan.contrasts == NAMES
    assert plan.network["arguments"]["concat_channels"] == 2 * len(NAMES)
    network = build(plan.network["name"], plan.network["arguments"])
    assert 2 * sum(p.numel() for p in network.parameters()) < 8e6  # bytes, as they are shipped
    assert (plan.schedule is None) == (plan.predicts == "image")


def test_the_baseline_is_the_same_network_and_learns_from_the_same_slices() -> None:
    ours, baseline = (read_plan(name).model_dump() for name in SHIPPED)
    for key in ("images", "training", "intensity", "labels", "seed", "start_from", "network"):
        assert ours[key] == baseline[key]


def test_every_pattern_of_missing_contrasts_is_drawn(data: Path, tmp_path: Path) -> None:
    plan = small("brain-translate")
    prepare(plan, data, tmp_path / "cache.safetensors", lambda _: None)
    cache = ContrastCache(tmp_path / "cache.safetensors")
    batch, again = cache.batch(0, 200), cache.batch(0, 200)
    assert torch.equal(batch.target, again.target) and torch.equal(batch.sources, again.sources)
    code = batch.sources[:, 3:, 0, 0].bool()
    assert code.any(1).all() and not code[torch.arange(200), batch.asked].any(), "never the contrast that is asked for"
    seen = {(int(asked), *map(bool, row)) for asked, row in zip(batch.asked, code, strict=True)}
    assert len(seen) == 9  # three contrasts, and either or both of the others
    assert not batch.sources[:, :3][~code].any()


def test_a_start_does_not_look_at_the_sources_yet(
    data: Path, tmp_path: Path, tiny_model: Path, tiny_card: Card
) -> None:
    """From a prior that knows FLAIR and T1: what is beside the noisy image changes nothing before the first step."""
    plan = small("brain-translate", start="tiny-brain")
    told = plan.model_dump(mode="json") | {"labels": ["FLAIR", "T1", "null"]}
    told["images"] = [
        {**told["images"][0], "contrasts": {n: f"brain_ms_mni/{{stem}}_{n}.nii.gz" for n in told["labels"][:2]}}
    ]
    told["network"]["arguments"] = {**tiny_card.network.arguments, "concat_channels": 4}
    prepare(ContrastPlan.model_validate(told), data, tmp_path / "cache.safetensors", lambda _: None)
    learnt = lesson(tmp_path / "cache.safetensors")
    network = learnt.build()
    weights = load_weights(tiny_model)["unet.conv_in.conv.weight"].float()
    first = network.state_dict()["unet.conv_in.conv.weight"]
    assert torch.equal(first[:, : weights.shape[1]], weights) and not first[:, weights.shape[1] :].any()


# ---------------------------------------------------------------- jobs


@pytest.fixture
def job(trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    monkeypatch.setenv("MEDDIFF_MODELS", str(trained))

    def made(method: str = "translate", inputs: Mapping[str, str] = {}, **options: Any) -> Job:
        files = {"volume": str(data / "brain_ms_mni" / "patient2_T1.nii.gz"), **inputs}
        options = {"contrast": "T1", "target": "T2", "samples": 2, **options}
        return Job(method, "brain-translate", files, str(tmp_path / "out"), options, device="cpu")

    return made


@pytest.mark.parametrize("method", ["translate", "regression"])
def test_every_method_makes_its_files(job: Callable[..., Job], data: Path, method: str) -> None:
    truth = str(data / "brain_ms_mni" / "patient2_T2.nii.gz")
    result, image = run(job(method, {"reference": truth})), read(job().inputs["volume"])
    for name in ("translated", "uncertainty", "sample"):
        made = read(result.outputs[name])
        assert same_grid(made, image, 1e-4) and np.isfinite(made.array).all()
        assert not made.array[image.array == 0].any(), "nothing is made where nothing was"
    spread = read(result.outputs["uncertainty"]).array
    assert (spread.max() > 0) == (method == "translate")
    assert {"psnr_translated", "psnr_sample", "nmse_translated"} <= set(result.figures)
    again = run(Job.from_json(json.dumps({**result.provenance["job"], "output": job().output + "-again"})))
    assert np.array_equal(read(again.outputs["sample"]).array, read(result.outputs["sample"]).array)


def test_mean_and_spread_are_those_of_the_samples(job: Callable[..., Job], tmp_path: Path) -> None:
    both = run(job(samples=2))
    mean, spread, first = (read(both.outputs[n]).array for n in ("translated", "uncertainty", "sample"))
    np.testing.assert_allclose(np.sqrt(2) * np.abs(first - mean), spread, rtol=1e-2, atol=0.5)
    with pytest.warns(Notice, match="one sample has no spread"):
        alone = run(job(samples=1))
    np.testing.assert_allclose(read(alone.outputs["translated"]).array, first, rtol=1e-3, atol=0.1)


def test_a_second_contrast_on_another_grid_is_resampled_and_said(
    job: Callable[..., Job], data: Path, tmp_path: Path
) -> None:
    flair = read(data / "brain_ms_mni" / "patient2_FLAIR.nii.gz")
    smaller = Volume(flair.array[:, :-2], flair.spacing, flair.origin, flair.direction)
    write(smaller, tmp_path / "flair.nrrd")
    with pytest.warns(Notice, match="the contrasts lie on different grids"):
        result = run(job(inputs={"volume2": str(tmp_path / "flair.nrrd")}, contrast2="FLAIR"))
    assert result.provenance["settings"]["sources"] == ["T1", "FLAIR"]
    first = read(result.outputs["sample"]).array
    assert not np.array_equal(read(run(job()).outputs["sample"]).array, first)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"target": None}, "1 image came; say of each what it shows, and which contrast is wanted: T1, T2, FLAIR"),
        ({"contrast2": "FLAIR"}, "1 image came; say of each"),
        ({"contrast": "T2"}, "T2 came, and T2 is wanted; expected each contrast once"),
        ({"target": "PD"}, "unknown contrast 'PD'"),
    ],
)
def test_what_cannot_be_translated(job: Callable[..., Job], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        run(job(**options))


def test_a_model_of_another_task(job: Callable[..., Job], tiny_model: Path) -> None:
    with pytest.raises(BadInput, match="tiny-brain translates nothing"):
        run(Job(**{**job().__dict__, "model": str(tiny_model)}))


def test_the_command_line(job: Callable[..., Job], data: Path, tmp_path: Path, cli: Cli) -> None:
    folder = data / "brain_ms_mni"
    images = [f"{name}={folder / f'patient2_{name}.nii.gz'}" for name in ("FLAIR", "T1")]
    about = ("--to", "T2", "--reference", folder / "patient2_T2.nii.gz", "--samples", 2, "--preset", "fast")
    code, out, err = cli("translate", *images, "-o", tmp_path / "cli", *about, "--device", "cpu")
    assert code == 0 and "mean of the samples" in out and "PSNR" in out, err
    code, _, err = cli("translate", folder / "patient2_T1.nii.gz", "-o", tmp_path / "bad", "--to", "T2")
    assert code == 2 and "expected CONTRAST=IMAGE" in err


# ---------------------------------------------------------------- the benchmark


def test_gradients_are_compared_as_histograms() -> None:
    rough = np.random.default_rng(0).random((2, 40, 40))
    inside = np.ones(rough.shape, bool)
    smooth = (rough + np.roll(rough, 1, 1) + np.roll(rough, 1, 2)) / 3
    assert bench_translate.gradient_distance(rough, rough, inside) == 0
    assert bench_translate.gradient_distance(rough, np.flip(rough, 1), inside) < 0.05
    near, far = (bench_translate.gradient_distance(rough, x, inside) for x in (smooth, np.zeros_like(rough)))
    assert 0.2 < near < far <= 1


def test_the_benchmark(job: Callable[..., Job], data: Path, tmp_path: Path, cli: Cli, monkeypatch: Any) -> None:
    job()  # the models are found
    monkeypatch.setattr(bench_translate, "PERSONS", {"test": "brain_ms_mni/patient2"})
    for name, value in {"COUNT": 4, "QUICK": 2}.items():
        monkeypatch.setattr(bench_translate, name, value)
    about = ("--data", data, "--quick", "--device", "cpu", "--json", tmp_path / "translate.json")
    code, _, err = cli("bench", "translate", *about)
    assert code == 0, err
    told = json.loads((tmp_path / "translate.json").read_text())
    assert [row["recipe"] for row in told["rows"]] == ["regression", "translate"] * 3
    assert [row["case"] for row in told["rows"]][::2] == ["T1 to T2", "T1 to FLAIR", "T2 to T1"]
    assert len(told["bars"]) == 9 and all(set(bar) == {"name", "value", "target", "met"} for bar in told["bars"])
    ours, theirs = told["rows"][1], told["rows"][0]
    gap = next(bar for bar in told["bars"] if bar["name"].startswith("T1 to T2: dB above"))
    assert gap["value"] == pytest.approx(ours["psnr"] - theirs["psnr"], abs=1e-2)
    assert "spearman" in ours and "spearman" not in theirs
