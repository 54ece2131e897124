"""Classical reconstructions of one slice, to compare with: zero-filled, l1-wavelet, total variation, BART.

Each takes centred k-space (coils, Y, X), its mask (Y, X), the coil sensitivities (coils, Y, X) or None for one coil,
the weight `lam` of its regularisation, for images scaled to about 1, and `real`: whether it may know that the image is
real-valued, as a prior of magnitude images does. Each returns an image (Y, X), float32: the magnitude, or where `real`
the real part clipped at 0. Raises `BadInput` for arrays that do not fit each other.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import torch

from .errors import BadInput
from .masks import as_mask
from .metrics import psnr
from .multicoil import MultiCoil
from .operators import Fourier, ifft2c, reflect

WAVELET = "haar"


class Method(Protocol):
    """A classical reconstruction; see the module's docstring."""

    def __call__(
        self, kspace: Any, mask: Any, sensitivities: Any = None, lam: float = 0.0, real: bool = False
    ) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Data:
    """One slice's measurement, checked and masked: k-space (coils, Y, X), mask (Y, X), sensitivities or None."""

    kspace: np.ndarray
    mask: np.ndarray
    sensitivities: np.ndarray | None

    @classmethod
    def of(cls, kspace: Any, mask: Any, sensitivities: Any) -> Data:
        """Raises `BadInput` unless the three fit each other."""
        y = np.asarray(kspace)
        if y.ndim != 3 or not np.iscomplexobj(y):
            raise BadInput(f"k-space is {y.dtype} of shape {y.shape}; expected complex (coils, Y, X), of one slice")
        sampled = as_mask(mask, y.shape[1:]).numpy()
        maps = None if sensitivities is None else np.asarray(sensitivities, np.complex64)
        if maps is not None and maps.shape != y.shape:
            raise BadInput(f"the sensitivities have shape {maps.shape}, k-space {y.shape}; expected the same")
        return cls((y * sampled).astype(np.complex64), sampled, maps)

    @property
    def maps(self) -> np.ndarray:
        """The sensitivities, ones for a single coil; raises `BadInput` for several coils without any."""
        if self.sensitivities is not None:
            return self.sensitivities
        if len(self.kspace) > 1:
            raise BadInput(f"{len(self.kspace)} coils came without sensitivities; estimate them first (ESPIRiT)")
        return np.ones(self.kspace.shape, np.complex64)

    def weighted(self, real: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """K-space, sensitivities and sampling weights, each (coils, Y, X).

        A `real` image has virtual conjugate coils (Blaimer 2009): conj(y(-k)) is measured by conj(S). With them the
        complex problem is the real one, for a single coil with k-space made Hermitian; both halves count one half.
        """
        weights = np.broadcast_to(self.mask, self.kspace.shape).astype(np.float32)
        if not real:
            return self.kspace, self.maps, weights
        y = np.concatenate([self.kspace, _mirror(self.kspace).conj()]) / np.sqrt(2)
        maps = np.concatenate([self.maps, self.maps.conj()]) / np.sqrt(2)
        return y.astype(np.complex64), maps.astype(np.complex64), np.concatenate([weights, _mirror(weights)])


def zero_filled(kspace: Any, mask: Any, sensitivities: Any = None, lam: float = 0.0, real: bool = False) -> np.ndarray:
    """The measured k-space alone: A^+ y for one coil, S^H F^H y for several, the root of the sum of squares without
    sensitivities. `lam` is not used."""
    data = Data.of(kspace, mask, sensitivities)
    y, sampled = torch.from_numpy(data.kspace)[None], torch.from_numpy(data.mask)
    if data.sensitivities is None and not (real and len(data.kspace) > 1):
        if real:
            return Fourier(sampled, 1).pinv(y)[0, 0].clamp_min(0).numpy()
        return ifft2c(y)[0].abs().square().sum(0).sqrt().numpy()
    channels = 1 if real else 2
    x = MultiCoil(sampled, torch.from_numpy(data.maps), channels).adjoint(y)[0]
    return x[0].clamp_min(0).numpy() if real else x.norm(dim=0).numpy()


def l1_wavelet(
    kspace: Any, mask: Any, sensitivities: Any = None, lam: float = 1e-3, real: bool = False, iterations: int = 100
) -> np.ndarray:
    """argmin_x |A x - y|^2 / 2 + lam |W x|_1 (Lustig 2007) by the FISTA and the wavelets of sigpy, randomly shifted at
    each iteration (Figueiredo & Nowak 2003, cycle spinning): without, it is hardly better than zero-filled."""
    import sigpy as sp
    import sigpy.mri as mr

    y, maps, weights = Data.of(kspace, mask, sensitivities).weighted(real)
    wavelet = sp.linop.Wavelet(y.shape[1:], wave_name=WAVELET)
    shrink = sp.prox.UnitaryTransform(sp.prox.L1Reg(wavelet.oshape, lam), wavelet)
    random = np.random.default_rng(0)

    def shifted(step: float, x: np.ndarray) -> np.ndarray:
        shift = random.integers(0, 16, 2)
        return np.roll(shrink(step, np.roll(x, shift, (0, 1))), -shift, (0, 1))

    app: Any = sp.app.LinearLeastSquares(
        mr.linop.Sense(maps, weights=weights),
        y * np.sqrt(weights),
        proxg=shifted,
        alpha=1 / _largest(maps),
        max_iter=iterations,
        show_pbar=False,
    )
    return _image(app.run(), real)


def total_variation(
    kspace: Any, mask: Any, sensitivities: Any = None, lam: float = 1e-3, real: bool = False, iterations: int = 200
) -> np.ndarray:
    """argmin_x |A x - y|^2 / 2 + lam |grad x|_1 (Block 2007), anisotropic, by the primal-dual hybrid gradient of
    sigpy."""
    import sigpy.mri as mr

    y, maps, weights = Data.of(kspace, mask, sensitivities).weighted(real)
    # Steps by the known bound |A|^2 + |grad|^2 <= max sum |S|^2 + 8: sigpy would estimate it from unseeded noise. Their
    # ratio goes with that of the image (about 1) to its dual (at most lam); otherwise a small lam does not converge.
    tau = 0.01 / max(lam, 1e-4)
    app: Any = mr.app.TotalVariationRecon(
        y,
        maps,
        lam,
        weights,
        tau=tau,
        sigma=1 / (tau * (_largest(maps) + 8)),
        max_iter=iterations,
        show_pbar=False,
    )
    return _image(app.run(), real)


def bart_wavelet(
    kspace: Any, mask: Any, sensitivities: Any = None, lam: float = 1e-3, real: bool = False, iterations: int = 100
) -> np.ndarray:
    """`bart pics -R W`: the l1-wavelet problem by FISTA with cycle spinning (Uecker 2015); needs BART on the PATH."""
    data = Data.of(kspace, mask, sensitivities)
    return _bart_pics(data, ["-R", f"W:3:0:{lam:g}", "--wavelet", WAVELET, "-i", str(iterations)], real)


def bart_total_variation(
    kspace: Any, mask: Any, sensitivities: Any = None, lam: float = 1e-3, real: bool = False, iterations: int = 200
) -> np.ndarray:
    """`bart pics -R T`: the total variation problem by ADMM (Uecker 2015); needs BART on the PATH."""
    # With BART's fixed rho of 0.5 and a small lam, hundreds of iterations are far from enough.
    options = ["-R", f"T:3:0:{lam:g}", "-u", f"{3 * max(lam, 1e-4):g}", "-i", str(iterations)]
    return _bart_pics(Data.of(kspace, mask, sensitivities), options, real)


METHODS: dict[str, Method] = {
    "zero-filled": zero_filled,
    "l1-wavelet": l1_wavelet,
    "total-variation": total_variation,
    "bart-wavelet": bart_wavelet,
    "bart-total-variation": bart_total_variation,
}


def available() -> list[str]:
    """The names of `METHODS` that can run here: BART's need its executable on the PATH, the others sigpy."""
    there = {"zero-filled": True, "bart": bool(shutil.which("bart")), "sigpy": bool(find_spec("sigpy"))}
    return [name for name in METHODS if there.get(name, there["bart" if name.startswith("bart") else "sigpy"])]


@dataclass(frozen=True, eq=False)
class Example:
    """A slice with known truth (Y, X), to choose `lam` by: never one of the test set."""

    kspace: Any
    mask: Any
    truth: Any
    sensitivities: Any = None


@dataclass(frozen=True)
class Tuning:
    """The best `lam`, and the mean PSNR (dB) of every one tried; `at_edge` says that the range was too narrow."""

    lam: float
    psnr: dict[float, float] = field(hash=False)

    @property
    def at_edge(self) -> bool:
        return self.lam in (min(self.psnr), max(self.psnr)) and len(self.psnr) > 1


def tune(method: Method, examples: Sequence[Example], lams: Sequence[float], real: bool = False) -> Tuning:
    """The `lam` with the best mean PSNR over the training examples; raises `BadInput` without any."""
    if not examples or not lams:
        raise BadInput(f"{len(examples)} examples and {len(lams)} weights came; expected at least one of each")
    scores = {
        lam: fmean(psnr(e.truth, method(e.kspace, e.mask, e.sensitivities, lam, real)) for e in examples)
        for lam in lams
    }
    return Tuning(max(scores, key=lambda lam: scores[lam]), scores)


def _bart_pics(data: Data, options: list[str], real: bool) -> np.ndarray:
    """The image of BART's `pics`: -w 1 keeps `lam` in the units of the other methods, -c constrains to real values."""
    program = shutil.which("bart")
    if program is None:
        raise BadInput("BART is not on the PATH; install it (mrirecon.github.io/bart), or choose a method without it")
    y = data.kspace / _centring(data.mask.shape) ** 2 if _miscentred(program) else data.kspace
    return _image(_pics(program, y, data.maps, data.mask, ["-w", "1", *(["-c"] if real else []), *options]), real)


def _pics(program: str, kspace: np.ndarray, maps: np.ndarray, mask: np.ndarray, options: list[str]) -> np.ndarray:
    """Run `bart pics` through files; raises `BadInput` with what BART said if it stops."""
    with TemporaryDirectory() as folder:
        files = [str(Path(folder, name)) for name in ("pattern", "kspace", "maps", "image")]
        for name, array in zip(files[:3], (mask, kspace[:, None], maps[:, None]), strict=True):
            write_cfl(Path(name), array)
        command = [program, "pics", "-S", *options, "-p", *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BadInput(f"BART stopped with: {(done.stderr or done.stdout).strip()[-300:]}")
        return read_cfl(Path(files[3])).reshape(mask.shape)


@cache
def _miscentred(program: str) -> bool:
    """Whether this BART's `pics` multiplies k-space by its centring phase where it should divide (up to its pull
    request 328 of 2024). Unless all sizes are multiples of 4 the image is then displaced, or negative: two ones
    become two minus ones."""
    ones = np.ones((1, 1, 2), np.complex64)
    kspace = np.array([[[0, np.sqrt(2)]]], np.complex64)
    return bool(np.real(_pics(program, kspace, ones, ones[0], ["-w", "1"])).sum() < 0)


def _centring(shape: tuple[int, ...]) -> np.ndarray:
    """The phases that turn an FFT into a centred one, before and after it, (Y, X)."""
    phases = [np.exp(2j * np.pi * (np.arange(n) - n // 2 / 2) * (n // 2) / n) for n in shape]
    return phases[0][:, None] * phases[1]


def write_cfl(path: Path, array: np.ndarray) -> None:
    """BART's pair of files `path`.hdr and .cfl; its first dimension runs fastest: (coils, Z, Y, X) is X Y Z coils."""
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, array.shape[::-1]))}\n")
    np.ascontiguousarray(array, np.complex64).tofile(path.with_suffix(".cfl"))


def read_cfl(path: Path) -> np.ndarray:
    """The array of BART's pair of files `path`.hdr and .cfl, complex64, its dimensions as `write_cfl` has them."""
    lines = path.with_suffix(".hdr").read_text().splitlines()
    sizes = [int(size) for size in lines[lines.index("# Dimensions") + 1].split()]
    return np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(sizes[::-1])


def _mirror(y: np.ndarray) -> np.ndarray:
    return reflect(torch.from_numpy(y)).numpy()


def _largest(maps: np.ndarray) -> float:
    """Largest eigenvalue that S^H M S can have."""
    return float(np.square(np.abs(maps)).sum(0).max())


def _image(x: np.ndarray, real: bool) -> np.ndarray:
    return (np.real(x).clip(min=0) if real else np.abs(x)).astype(np.float32)
