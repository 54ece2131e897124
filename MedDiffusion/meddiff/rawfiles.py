"""Files of raw k-space: fastMRI and ISMRMRD (HDF5, 2D Cartesian), and numpy arrays. Needs h5py for the first two."""

from __future__ import annotations

import os
import warnings
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BadInput, Notice
from .kspace import Array, Raw, centred, crop_readout, whiten

SUFFIXES = (".h5", ".hdf5", ".npz", ".npy")
EXPECTED = "fastMRI or ISMRMRD (.h5), or numpy (.npz with an array named kspace, .npy)"
# flags of ISMRMRD acquisitions, by bit
NOISE, CALIBRATION, BOTH = (1 << (bit - 1) for bit in (19, 20, 21))
NO_IMAGE = sum(1 << (bit - 1) for bit in (23, 24, 26, 27, 28, 29))  # navigators, phase correction, dummies, feedback


def is_raw(path: str | os.PathLike[str]) -> bool:
    """Whether the name is one of a file of raw k-space."""
    return Path(path).suffix.lower() in SUFFIXES


def read_raw(path: str | os.PathLike[str]) -> Raw:
    """The k-space in a file, centred, without readout oversampling, its noise white where the file tells how; raises
    BadInput for what cannot be read."""
    path = Path(path)
    if path.is_dir() or not path.exists():
        raise BadInput(
            f"the k-space file {path} {'is a folder' if path.is_dir() else 'does not exist'}; check the path"
        )
    if not is_raw(path):
        convert = "; convert Siemens data with siemens_to_ismrmrd" if path.suffix.lower() == ".dat" else ""
        raise BadInput(f"{path} is no file of raw k-space that is known here; expected {EXPECTED}{convert}")
    try:
        raw = _read_numpy(path) if path.suffix.lower() in (".npz", ".npy") else _read_hdf5(path)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        if isinstance(error, BadInput):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].rstrip(".")
        if "pickle" in reason:  # as which numpy takes any text, and it advises to trust it
            reason = "it holds something else than arrays of numbers"
        raise BadInput(f"the k-space file {path} cannot be read: {reason}; expected {EXPECTED}") from None
    bad = raw.kspace.size - np.count_nonzero(np.isfinite(raw.kspace))
    if bad:
        raise BadInput(f"{path} has {bad} NaN or infinite samples of {raw.kspace.size}; they must be numbers")
    if not (raw.mask.any() and raw.kspace.any()):
        raise BadInput(f"{path} holds no samples: k-space is zero everywhere")
    return raw


# --- numpy ------------------------------------------------------------------------------------------------------------


def _read_numpy(path: Path) -> Raw:
    """`kspace` (slice, coil, Y, X), (coil, Y, X) or (Y, X), and if there `mask`, `spacing` (x, y, z), `noise`,
    `sensitivities`."""
    data = np.load(path, allow_pickle=False)
    if isinstance(data, np.ndarray):
        arrays = {"kspace": data}
    else:
        with data:
            arrays = {name: data[name] for name in data}
    if "kspace" not in arrays:
        raise BadInput(f"{path} holds {', '.join(arrays) or 'nothing'}; expected an array named kspace")
    kspace = _complex(arrays["kspace"], path)
    kspace = kspace[(None,) * (4 - kspace.ndim)]
    maps = arrays.get("sensitivities")
    if maps is not None:
        maps = np.asarray(maps, np.complex64)[(None,) * (4 - maps.ndim)]
        if maps.ndim != 4 or maps.shape[1:] != kspace.shape[1:] or len(maps) not in (1, len(kspace)):
            raise BadInput(f"the sensitivities in {path} have shape {maps.shape}; expected {kspace.shape}, as k-space")
        maps = np.broadcast_to(maps, kspace.shape)
    noise = float(arrays["noise"]) if "noise" in arrays else None
    spacing = _three(arrays["spacing"], path) if "spacing" in arrays else None
    mask = _mask(kspace, arrays.get("mask"), path)
    return centred(Raw(kspace * mask[:, None], mask, path.suffix, spacing, noise=noise, maps=maps))


def _three(values: Any, path: Path) -> tuple[float, float, float]:
    x, y, z = numbers = np.ravel(values).astype(float) if np.size(values) == 3 else (0.0, 0.0, 0.0)
    if not (np.isfinite(numbers).all() and min(numbers) > 0):
        raise BadInput(f"the spacing in {path} is {values}; expected three positive numbers (x, y, z) in mm")
    return float(x), float(y), float(z)


def _complex(array: Any, path: Path) -> Array:
    if array.dtype.kind != "c" or array.ndim not in (2, 3, 4) or not array.size:
        raise BadInput(
            f"k-space in {path} is {array.dtype} of shape {array.shape}; expected complex numbers "
            "(slice, coil, Y, X), (coil, Y, X) or (Y, X)"
        )
    return np.asarray(array, np.complex64)


def _mask(kspace: Array, given: Any, path: Path) -> Array:
    """Where k-space (slice, coil, Y, X) was sampled, as told, or where any coil holds a number."""
    shape = (kspace.shape[0], *kspace.shape[-2:])
    if given is None:
        return (kspace != 0).any(1)
    given = np.asarray(given)
    try:  # (X,), (Y, X) or (slice, Y, X)
        return np.broadcast_to(given != 0, shape)
    except ValueError:
        raise BadInput(f"the mask in {path} has shape {given.shape}; expected {shape} (slice, Y, X)") from None


# --- HDF5 -------------------------------------------------------------------------------------------------------------


def _read_hdf5(path: Path) -> Raw:
    with _hdf5(path) as file:
        if "kspace" in file:
            return _read_fastmri(file, path)
        if "dataset" in file and "data" in file["dataset"] and "xml" in file["dataset"]:
            return _read_ismrmrd(file["dataset"], path)
        found = ", ".join(file) or "nothing"
        raise BadInput(f"{path} holds {found}; expected the kspace of a fastMRI file or the dataset of an ISMRMRD file")


@contextmanager
def _hdf5(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError:
        raise BadInput(f"{path} needs h5py to be read; install with: python -m pip install h5py") from None
    with h5py.File(path, "r") as file:
        yield file


def _read_fastmri(file: Any, path: Path) -> Raw:
    """(slices, coils, readout, phase), or (slices, readout, phase) of one coil (Zbontar 2018, arXiv:1811.08839)."""
    kspace = _complex(file["kspace"][()], path)
    kspace = kspace[:, None] if kspace.ndim == 3 else kspace[(None,) * (4 - kspace.ndim)]
    mask = _mask(kspace, None, path)
    if "mask" in file:
        mask = mask & _mask(kspace, file["mask"][()], path)
    facts = {name: str(file.attrs[name]) for name in ("acquisition",) if name in file.attrs}
    raw = Raw(kspace * mask[:, None], mask, "fastMRI", facts=facts)
    if "ismrmrd_header" not in file:
        return centred(raw)
    header = Header(file["ismrmrd_header"][()], path)
    fov, kept = header.numbers("encodedSpace/fieldOfView_mm"), header.kept_readout(kspace.shape[-2])
    spacing = (fov[1] / kspace.shape[-1], fov[0] / kspace.shape[-2], fov[2])
    raw = crop_readout(centred(raw), -2, kept)
    return Raw(raw.kspace, raw.mask, raw.kind, spacing, facts=facts)


class Header:
    """The XML header of ISMRMRD, of which only the first encoding is read."""

    def __init__(self, text: Any, path: Path):
        text = text.ravel()[0] if isinstance(text, np.ndarray) else text
        text = text.decode("utf-8") if isinstance(text, bytes) else str(text)
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise BadInput(f"the header of {path} defines entities of its own; it is not read")
        try:
            root = ElementTree.fromstring(text)  # without entities of its own there is nothing to fear
        except ElementTree.ParseError as error:
            raise BadInput(f"the header of {path} is not XML: {error}") from None
        self._path, self._root = path, root
        self._encoding = root.find("{*}encoding")

    def text(self, where: str, default: str | None = None) -> str:
        """The text at a place in the first encoding, or in the whole header where that has none."""
        steps = "/".join(f"{{*}}{step}" for step in where.split("/"))
        found = None if self._encoding is None else self._encoding.find(steps)
        found = self._root.find(steps) if found is None else found
        if found is not None and found.text and found.text.strip():
            return found.text.strip()
        if default is None:
            raise BadInput(f"the header of {self._path} lacks {where}")
        return default

    def numbers(self, where: str) -> tuple[float, float, float]:
        """x, y and z at a place, above 0; raises BadInput."""
        x, y, z = (float(self.text(f"{where}/{axis}")) for axis in "xyz")
        if min(x, y, z) <= 0:
            raise BadInput(f"the header of {self._path} has {where} = {x:g}, {y:g}, {z:g}; expected more than 0")
        return x, y, z

    def kept_readout(self, size: int) -> int:
        """How many of `size` samples along the readout are left once its oversampling is taken off."""
        encoded, wanted = (self.numbers(f"{space}/fieldOfView_mm")[0] for space in ("encodedSpace", "reconSpace"))
        return min(size, round(size * wanted / encoded))


def _read_ismrmrd(dataset: Any, path: Path) -> Raw:
    """Acquisitions of a 2D Cartesian scan, sorted into (slices, coils, phase encoding, readout) (Inati 2017)."""
    header = Header(dataset["xml"][()], path)
    if (kind := header.text("trajectory").lower()) != "cartesian":
        raise BadInput(f"{path} has a {kind} trajectory; expected a Cartesian one")
    size = [round(n) for n in header.numbers("encodedSpace/matrixSize")]
    if size[2] > 1:
        raise BadInput(f"{path} is encoded in 3D ({size[0]} x {size[1]} x {size[2]}); expected slices (2D)")
    if dataset["data"].dtype.names is None or not {"head", "data"} <= set(dataset["data"].dtype.names):
        raise BadInput(f"the acquisitions of {path} have no head and data; expected ISMRMRD")
    rows = dataset["data"][()]
    heads, flags = rows["head"], rows["head"]["flags"].astype(np.uint64)
    is_noise, separate = flags & np.uint64(NOISE) != 0, flags & np.uint64(CALIBRATION | BOTH) == np.uint64(CALIBRATION)
    picture = ~is_noise & (flags & np.uint64(NO_IMAGE) == 0)
    chosen = picture & ~separate & _first_of_each(heads, picture & ~separate)
    if not chosen.any():
        raise BadInput(f"{path} holds no acquisition of an image")
    slices = _slices(heads, chosen)
    lines = _Lines(header, size, heads, rows["data"], slices)
    kspace, mask = lines.sort(chosen)
    calibration = lines.sort(picture & separate)[0] if (picture & separate).any() else None
    fov = header.numbers("encodedSpace/fieldOfView_mm")
    place = _place(heads, [int(np.flatnonzero(chosen & (heads["idx"]["slice"] == s))[0]) for s in slices], fov[2])
    spacing = (fov[0] / size[0], fov[1] / size[1], place.pop("step"))
    raw = Raw(kspace, mask, "ISMRMRD", spacing, calibration=calibration, **place)
    if is_noise.any():
        samples = np.concatenate([_samples(heads[k], rows["data"][k]) for k in np.flatnonzero(is_noise)], axis=1)
        raw = whiten(raw, samples, _bandwidth(header, heads, is_noise, chosen))
    return crop_readout(raw, -1, header.kept_readout(size[0]))


def _first_of_each(heads: Any, usable: Array) -> Array:
    """Acquisitions of the first repetition, contrast, phase and set; averages are kept."""
    first = usable.copy()
    for name in ("repetition", "contrast", "phase", "set"):
        values = heads["idx"][name]
        if len(found := np.unique(values[usable])) > 1:
            note = f"the file has {len(found)} of the kind {name}; the first one is reconstructed"
            warnings.warn(note, Notice, stacklevel=2)
            first &= values == found[0]
    return first


def _slices(heads: Any, chosen: Array) -> list[int]:
    """The numbers of the slices in the order in which they lie, whatever that of their acquisition."""
    numbers = heads["idx"]["slice"]
    found = [int(s) for s in np.unique(numbers[chosen])]
    first = [int(np.flatnonzero(chosen & (numbers == s))[0]) for s in found]
    along = [float(np.dot(heads["position"][k], heads["slice_dir"][first[0]])) for k in first]
    return [s for _, s in sorted(zip(along, found, strict=True))] if len(set(along)) == len(along) else found


def _place(heads: Any, first: list[int], thickness: float) -> dict[str, Any]:
    """Direction and centre in the patient, and the step from slice to slice; the step alone if heads say no more."""
    head = heads[first[0]]
    columns = np.stack([head["read_dir"], head["phase_dir"], head["slice_dir"]], axis=1).astype(float)
    if np.abs(columns.T @ columns - np.eye(3)).max() > 1e-3:
        return {"step": thickness}
    positions = heads["position"][first].astype(float)
    step = float(np.mean(np.diff(positions @ columns[:, 2]))) if len(first) > 1 else thickness
    known = step if step > 1e-3 else thickness
    return {"step": known, "direction": tuple(columns.ravel()), "centre": tuple(positions[0])}


def _samples(head: Any, data: Any) -> Array:
    """One acquisition as complex (coils, samples), without what is to be thrown away at its ends."""
    coils, count = int(head["active_channels"]), int(head["number_of_samples"])
    lines = np.asarray(data, np.float32).view(np.complex64).reshape(coils, count)
    return lines[:, int(head["discard_pre"]) : count - int(head["discard_post"])]


def _bandwidth(header: Header, heads: Any, noise: Array, chosen: Array) -> float:
    """How much more noise variance the data have than the noise scan, by dwell times and the receiver's filter."""
    of_noise, of_data = (float(heads["sample_time_us"][which][0]) for which in (noise, chosen))
    known = of_noise > 0 and of_data > 0
    ratio = float(header.text("acquisitionSystemInformation/relativeReceiverNoiseBandwidth", "1"))
    return (of_noise / of_data * ratio) if known else 1.0


class _Lines:
    """Puts acquisitions in their place in k-space."""

    def __init__(self, header: Header, size: list[int], heads: Any, data: Any, slices: list[int]):
        limits = "encodingLimits/kspace_encoding_step_1/center"
        self._centre = int(header.text(limits, str(size[1] // 2)))
        self._size, self._heads, self._data = size, heads, data
        self._row = {number: k for k, number in enumerate(slices)}

    def sort(self, which: Array) -> tuple[Array, Array]:
        """k-space (slices, coils, Y, X) of these acquisitions, averaged where a line came more than once, and where
        it was sampled."""
        columns, rows = self._size[:2]
        numbers = np.flatnonzero(which)
        coils = int(self._heads["active_channels"][numbers[0]])
        kspace = np.zeros((len(self._row), coils, rows, columns), np.complex64)
        times = np.zeros((len(self._row), rows, columns), np.float32)
        for k in numbers:
            head = self._heads[k]
            samples = _samples(head, self._data[k])
            y = int(head["idx"]["kspace_encode_step_1"]) - self._centre + rows // 2
            x = columns // 2 - (int(head["center_sample"]) - int(head["discard_pre"]))
            row = self._row.get(int(head["idx"]["slice"]))
            if row is None:
                continue
            if not (0 <= y < rows and 0 <= x <= x + samples.shape[1] <= columns and len(samples) == coils):
                raise BadInput(
                    f"acquisition {k} has {samples.shape} (coils, samples) for line {y} from column {x}; its k-space "
                    f"has {coils} coils, {rows} lines and {columns} columns"
                )
            place = slice(x, x + samples.shape[1])
            kspace[row, :, y, place] += samples
            times[row, y, place] += 1
        return kspace / np.maximum(times, 1)[:, None], times > 0
