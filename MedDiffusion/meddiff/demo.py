"""The demonstration: a real brain, a part of its k-space, the reconstruction, and a picture of them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from .baselines import l1_wavelet
from .card import Card
from .errors import BadInput
from .job import Job, Result, output_folder
from .metrics import psnr, spearman, ssim
from .operators import Fourier
from .pictures import Panel, draw
from .reconstruction import Acquisition
from .store import find
from .volume import Volume, canonical, read, require_usable, resample, write

MODEL, METHOD, SAMPLES = "brain-mr", "pnp", 4
MARGIN = 8  # voxels around the head
Say = Callable[[str], None]


def require_extras(template: bool) -> None:
    """Raises BadInput, with the command that helps, where a package that only the demonstration needs is missing."""
    wanted = ["matplotlib", "sigpy", *(["nilearn"] if template else [])]
    if missing := [name for name in wanted if find_spec(name) is None]:
        raise BadInput(f'the demo needs {" and ".join(missing)}; install with: python -m pip install "meddiff[demo]"')


@contextmanager
def prepare(
    source: Path | None, output: Path, slices: int, acceleration: float, contrast: str | None, device: str, say: Say
) -> Iterator[Job]:
    """The job of the demonstration, with its input in `output`; that goes again when what follows fails."""
    volume = template() if source is None else read(source)
    if np.iscomplexobj(volume.array):
        say("The image is complex; its magnitude is used.")
        volume = volume.with_array(np.abs(volume.array))
    require_usable(volume)
    name = "the MNI152 T1 template" if source is None else str(source)
    say(f"Input: {name}, {_size(volume)}.")
    volume = _fit_spacing(crop(canonical(volume)[0], slices), find(MODEL).card, say)
    say(f"Using the {volume.shape[0]} central axial slices, cropped to the head: {_size(volume)}.")
    with output_folder(output) as folder:
        truth = folder / "truth.nrrd"
        if source is not None and source.resolve() == truth.resolve():
            raise BadInput(f"{source} is where the demo puts its own input; choose another output folder")
        kept = truth.exists()
        write(volume, truth)
        options = {"acceleration": acceleration, "samples": SAMPLES}
        options |= {"contrast": contrast or "T1"} if contrast or source is None else {}
        try:
            yield Job(METHOD, MODEL, {"volume": str(truth)}, str(folder), options, device=device)
        except BaseException:
            if not kept:
                truth.unlink()
            raise


def template() -> Volume:
    """The MNI152 T1 template of nilearn at 1 mm: the mean of 152 brains, without skull; it comes with the package."""
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=1)
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    spacing = np.linalg.norm(to_lps[:3, :3], axis=0)
    array = np.asarray(image.dataobj, np.float32).transpose(2, 1, 0)
    return Volume(array, tuple(spacing), tuple(to_lps[:3, 3]), tuple((to_lps[:3, :3] / spacing).ravel()))


def crop(volume: Volume, slices: int) -> Volume:
    """The box around the head, in plane with a margin, and of it the central `slices` (0: all)."""
    size = np.abs(volume.array)
    inside = size > 0.1 * np.percentile(size, 99.9)
    box = []
    for axis, length in enumerate(volume.shape):
        where = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        first, last = int(where[0]), int(where[-1]) + 1
        if axis == 0 and slices:
            first = max((first + last - slices) // 2, 0)
            last = min(first + slices, length)
        elif axis > 0:
            first, last = max(first - MARGIN, 0), min(last + MARGIN, length)
        box.append(slice(first, last))
    start = np.array([part.start for part in reversed(box)])
    origin = volume.affine[:3, :3] @ start + volume.origin
    return Volume(np.ascontiguousarray(volume.array[tuple(box)]), volume.spacing, tuple(origin), volume.direction)


def _fit_spacing(volume: Volume, card: Card, say: Say) -> Volume:
    """The volume as it is, or resampled in plane when its spacing is far from what the model was trained at."""
    spacing, trained = volume.spacing[:2], card.spacing_mm[:2]
    limit = 1 + card.spacing_tolerance
    if all(1 / limit <= s / t <= limit for s, t in zip(spacing, trained, strict=True)):
        return volume
    say(
        f"Resampling the slices from {spacing[0]:.3g} x {spacing[1]:.3g} mm "
        f"to the {trained[0]:g} x {trained[1]:g} mm of model {card.id}."
    )
    made = resample(volume, (*trained, volume.spacing[2]), "bspline")
    return made.with_array(made.array.clip(volume.array.min(), volume.array.max()))


def _size(volume: Volume) -> str:
    voxels = " x ".join(map(str, reversed(volume.shape)))
    return f"{voxels} voxels of {' x '.join(f'{s:.3g}' for s in volume.spacing)} mm"


def picture(result: Result) -> Path:
    """Draw the middle slice: truth, zero-filled, wavelets, ours, and how far off and how sure ours is."""
    job, settings = result.provenance["job"], result.provenance["settings"]
    files = {name: path for name, path in result.outputs.items() if path.suffix == ".nrrd"}
    volumes = {name: read(path).array for name, path in {"truth": job["inputs"]["volume"], **files}.items()}
    peak = float(volumes["truth"].max())
    middle = {name: array[len(array) // 2] for name, array in volumes.items()}
    truth, ours, spread = middle["truth"], middle["reconstruction"], middle["uncertainty"]
    wavelet = _wavelet(truth, Acquisition(acceleration=settings["acceleration"]))
    error = np.abs(ours - truth)
    bright, far = float(np.percentile(truth, 99.9)), float(np.percentile(error, 99.8))

    inside = truth > 0.05 * peak  # the background is easy: it would flatter the uncertainty
    agreement = f"rank correlation with |error| {spearman(spread[inside], error[inside]):.2f}"

    def versus(image: np.ndarray, title: str) -> Panel:
        figures = f"PSNR {psnr(truth, image, peak):.1f} dB   SSIM {ssim(truth, image, peak):.3f}"
        return Panel(image, title, figures, bright)

    def relative(image: np.ndarray, title: str, caption: str) -> Panel:
        return Panel(100 * image / peak, title, caption, 100 * far / peak, "% of the brightest voxel")

    panels = [
        Panel(truth, "truth", "fully sampled", bright),
        versus(middle["zero-filled"], "zero-filled"),
        versus(wavelet, "L1-wavelet"),
        versus(ours, f"ours ({job['recipe']}, mean of {settings['samples']})"),
        relative(error, "|error| of ours", f"mean {100 * error.mean() / peak:.2f} %"),
        relative(spread, "uncertainty (SD)", agreement),
    ]
    title = f"{settings['acceleration']:g}x undersampled, reconstructed with {job['model']}: the middle slice"
    return draw(panels, title, result.outputs["provenance"].with_name("picture.png"))


def _wavelet(truth: np.ndarray, acquisition: Acquisition) -> np.ndarray:
    """What l1-wavelets make of the same measurement of one slice; they want intensities of about 1."""
    operator = Fourier(acquisition.sampled((truth.shape[0], truth.shape[1])))
    y = operator(torch.from_numpy(truth)[None, None])
    scale = float(operator.pinv(y).max())
    return scale * l1_wavelet(y[0].numpy() / scale, operator.mask.numpy(), real=True)
