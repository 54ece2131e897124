"""Sample Data of the extension: Slicer's own head, and brains made by code, which need no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from meddiff.errors import choose
from meddiff.volume import Volume, write

from .display import show
from .hippocampus import hippocampus
from .nodes import node_from_volume
from .phantom import phantom

__all__ = ["hippocampus", "loadPhantom", "phantom", "registerSampleData"]

CATEGORY = "MedDiffusion"
ICONS = Path(__file__).resolve().parents[1] / "Resources" / "Icons"
MRHEAD = "cc211f0dfd9a05ca3841ce1141b292898b2dd2d3f08286affadf823a7e58df93"
SCHEME = "meddiffusion-phantom:"  # a URI of ours: what follows is one of NAMES
VERSION = 1  # of the phantom: another number, another file in the cache
PHANTOMS = {"T1": ("T1", False), "T2": ("T2", False), "FLAIR": ("FLAIR", False), "FLAIRLesion": ("FLAIR", True)}
CROPS = {"Hippocampus": 0, "HippocampusOther": 7}  # of two people, beside the whole brains
NAMES = (*PHANTOMS, *CROPS)


def registerSampleData() -> None:
    """Adds the sources to the module Sample Data, once; call it when the application has started."""
    from SampleData import SampleDataLogic

    if SampleDataLogic.sampleDataSourcesByCategory(CATEGORY):
        return
    SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName="MedDiffusionMRHead",
        uris=f"{slicer.util.TESTING_DATA_URL}SHA256/{MRHEAD}",
        fileNames="MR-head.nrrd",
        nodeNames="MRHead",
        checksums=f"SHA256:{MRHEAD}",  # its thumbnail is Slicer's own, found by the name of the node
    )
    for name in NAMES:
        SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=f"MedDiffusionPhantom{name}",
            uris=f"{SCHEME}{name}",
            fileNames=f"MedDiffusionPhantom{name}-{VERSION}.nrrd",
            nodeNames=_title(name),
            customDownloader=_onButton,
            thumbnailFileName=str(ICONS / f"SamplePhantom{name}.png"),
        )
    # The panel calls the custom downloader, `SampleData.downloadSample` goes by the URI, through rules where it has any
    if register := getattr(SampleDataLogic, "registerUrlRewriteRule", None):
        register("MedDiffusionPhantom", _written)


def loadPhantom(name: str = "T1", *, seed: int = 0) -> Any:
    """A new volume node with the phantom `name` of NAMES, in grey levels that suit it."""
    node = node_from_volume(_volume(choose(name, NAMES, "phantom"), seed), _title(name))
    show(node, "image")
    return node


def _volume(name: str, seed: int = 0) -> Volume:
    if name in CROPS:
        return hippocampus(seed, CROPS[name])
    contrast, lesion = PHANTOMS[name]
    return phantom(contrast, seed=seed, lesion=lesion)


def _title(name: str) -> str:
    if name in CROPS:
        return "Other hippocampus" if CROPS[name] else "Phantom hippocampus"
    contrast, lesion = PHANTOMS[name]
    return f"Phantom {contrast}{' with lesion' if lesion else ''}"


def _onButton(source: Any) -> list[Any]:
    """What the button of `source` in the panel Sample Data does."""
    return [loadPhantom(uri.removeprefix(SCHEME)) for uri in source.uris]


def _written(uri: str) -> str:
    """A URI of ours as that of a file, written when it is asked for; every other as it is."""
    if not uri.startswith(SCHEME):
        return uri
    name = uri.removeprefix(SCHEME)
    path = Path(slicer.app.temporaryPath) / f"MedDiffusionPhantom{name}-{VERSION}.nrrd"
    if not path.is_file():
        write(_volume(name), path)
    return path.as_uri()
