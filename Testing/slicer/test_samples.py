"""The phantom made by code, and the sources in the module Sample Data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from meddiff.errors import BadInput
from MedDiffusionLib import phantom as phantoms
from MedDiffusionLib.hippocampus import hippocampus, hippocampus_labels
from MedDiffusionLib.phantom import CONTRASTS, TISSUES, phantom, phantom_labels

SMALL = {"shape": (72, 92, 76), "spacing": (2.0, 2.0, 2.0)}
LABEL = {name: index + 1 for index, name in enumerate(TISSUES)}


def medians(contrast: str, lesion: bool = True) -> dict[str, float]:
    image = phantom(contrast, lesion=lesion, **SMALL).array
    labels = phantom_labels(lesion=lesion, **SMALL).array
    return {name: float(np.median(image[labels == label])) for name, label in LABEL.items()}


def test_same_seed_same_voxels():
    first = phantom("T2", seed=3, lesion=True, **SMALL)
    assert first.array.dtype == np.float32
    assert (first.array == phantom("T2", seed=3, lesion=True, **SMALL).array).all()
    assert (first.array != phantom("T2", seed=4, lesion=True, **SMALL).array).mean() > 0.1


@pytest.mark.parametrize(
    ("contrast", "order"),
    [
        ("T1", ("cerebrospinal fluid", "lesion", "grey matter", "white matter")),
        ("T2", ("white matter", "grey matter", "cerebrospinal fluid")),
        ("FLAIR", ("cerebrospinal fluid", "white matter", "grey matter", "lesion")),
        ("T1POST", ("cerebrospinal fluid", "grey matter", "white matter", "lesion")),
    ],
)
def test_tissues_are_as_bright_as_in_a_scan(contrast, order):
    bright = [medians(contrast)[name] for name in order]
    assert bright == sorted(bright) and min(np.diff(bright)) > 30


def test_anatomy_has_the_volumes_of_a_brain():
    """A litre or more, as much grey as white matter, some water, and nothing at the border."""
    labels = phantom_labels(**SMALL).array
    litres = {name: (labels == label).sum() * 8e-6 for name, label in LABEL.items()}
    total = sum(litres.values())
    assert 1.0 < total < 1.7
    assert 0.3 < litres["grey matter"] / total < 0.6 and 0.25 < litres["white matter"] / total < 0.6
    assert 0.05 < litres["cerebrospinal fluid"] / total < 0.35 and litres["deep nuclei"] / total < 0.06
    assert litres["lesion"] == litres["oedema"] == 0
    for face in (labels[-1], labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        assert not face.any()  # the stem alone goes on, downwards


def test_outside_is_nothing_and_inside_is_noisy():
    image, labels = phantom("T1", **SMALL), phantom_labels(**SMALL)
    assert (image.array[:, 0] == 0).all() and (image.array >= 0).all()
    clean = phantom("T1", noise=0, **SMALL).array
    white = labels.array == LABEL["white matter"]
    assert 12 < (image.array - clean)[white].std() < 18  # 1.5 % of 1000
    assert 900 < np.median(clean[white]) < 1050


def test_a_lesion_changes_its_place_alone():
    well, ill = phantom("FLAIR", noise=0, **SMALL), phantom("FLAIR", noise=0, lesion=True, **SMALL)
    changed = np.abs(ill.array - well.array) > 1
    sick = phantom_labels(lesion=True, **SMALL).array >= LABEL["oedema"]
    assert 2e-3 < sick.sum() * 8e-6 < 40e-3  # litres
    assert changed[sick].mean() > 0.9
    index = np.argwhere(sick).mean(0)[::-1]
    x, y, z = (ill.affine @ [*index, 1])[:3]
    assert x > 10 and y < 0 and z > 0, "left, in front, above the middle"
    far = np.linalg.norm((np.argwhere(changed) - index[::-1]) * 2, axis=1)
    assert far.max() < 45


def test_geometry_is_oblique_and_centred():
    volume = phantom(shape=(20, 30, 40), spacing=(1.0, 2.0, 3.0))
    matrix = np.reshape(volume.direction, (3, 3))
    assert np.allclose(matrix.T @ matrix, np.eye(3)) and np.isclose(np.linalg.det(matrix), 1)
    assert 2 < np.degrees(np.arccos((np.trace(matrix) - 1) / 2)) < 15
    middle = volume.affine @ [19.5, 14.5, 9.5, 1]
    assert np.allclose(middle[:3], 0)
    straight = phantom(shape=(20, 30, 40), tilt=(0, 0, 0))
    assert np.allclose(np.reshape(straight.direction, (3, 3)), np.eye(3))


def test_the_brain_keeps_its_size_on_other_grids():
    """Coarse voxels are the means of the fine ones: the brain does not depend on the grid."""
    fine = phantom("T1", noise=0, shape=(72, 92, 76), spacing=(2, 2, 2)).array
    coarse = phantom("T1", noise=0, shape=(36, 46, 38), spacing=(4, 4, 4)).array
    means = fine.reshape(36, 2, 46, 2, 38, 2).mean((1, 3, 5))
    assert np.corrcoef(means.ravel(), coarse.ravel())[0, 1] > 0.97


def test_what_makes_no_phantom():
    with pytest.raises(BadInput, match="expected one of T1"):
        phantom("CT")
    with pytest.raises(BadInput, match="expected"):
        phantom(shape=(1, 10, 10))
    with pytest.raises(BadInput, match="expected"):
        phantom(spacing=(1, 0, 1))


def test_the_phantoms_need_numpy_alone():
    heavy = "torch", "slicer", "scipy", "vtk"
    ours = "MedDiffusionLib.phantom, MedDiffusionLib.hippocampus"
    code = f"import sys, {ours}; print([name for name in {heavy} if name in sys.modules])"
    folder = Path(phantoms.__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# In Sample Data


@pytest.fixture
def sources(host, tmp_path, monkeypatch):
    import slicer
    from host import standins

    from MedDiffusionLib import samples

    monkeypatch.setattr(slicer.modules, "sampleDataSources", {}, raising=False)
    monkeypatch.setattr(slicer.modules, "sampleDataUrlRewriteRules", {}, raising=False)
    with standins.cache_folder(slicer.mrmlScene, tmp_path / "cache"):
        samples.registerSampleData()
        samples.registerSampleData()  # again, as a reload of the module does
        yield slicer.modules.sampleDataSources[samples.CATEGORY]


def test_sources_are_there_once_with_their_thumbnails(sources):
    from MedDiffusionLib import samples

    names = [source.sampleName for source in sources]
    assert names == ["MedDiffusionMRHead", *(f"MedDiffusionPhantom{name}" for name in samples.NAMES)]
    for source in sources:
        assert source.thumbnailFileName is None or Path(source.thumbnailFileName).is_file(), source.thumbnailFileName
    assert {contrast for contrast, _ in samples.PHANTOMS.values()} <= set(CONTRASTS)


def test_the_head_is_the_one_that_slicer_knows(sources):
    """Same file, same name in the cache, same checksum: nothing is downloaded twice."""
    import SampleData

    own = SampleData.SampleDataLogic()
    known = next(s for s in own.sampleDataSourcesByCategory(own.builtInCategoryName) if s.sampleName == "MRHead")
    head = sources[0]
    assert (head.uris, head.fileNames, head.checksums) == (known.uris, known.fileNames, known.checksums)
    assert head.nodeNames == known.nodeNames


def test_the_button_and_the_function_load_the_same(host, sources, monkeypatch, tmp_path):
    """A click in the panel, and `SampleData.downloadSample`, which goes by the URI."""
    import SampleData
    import slicer

    from MedDiffusionLib import samples
    from MedDiffusionLib.nodes import volume_from_node

    monkeypatch.setattr(samples, "phantom", lambda contrast, **options: phantom(contrast, **{**options, **SMALL}))
    monkeypatch.setattr(samples, "VERSION", f"test-{tmp_path.name}")
    source = next(s for s in sources if s.sampleName == "MedDiffusionPhantomFLAIRLesion")
    (clicked,) = source.customDownloader(source)
    asked = SampleData.downloadSample(source.sampleName)
    assert clicked.GetName() == "Phantom FLAIR with lesion" and asked.GetName().startswith("Phantom FLAIR with lesion")
    truth = phantom("FLAIR", lesion=True, **SMALL)
    for node in (clicked, asked):
        assert slicer.mrmlScene.IsNodePresent(node) and node.GetDisplayNode() is not None
        volume = volume_from_node(node)
        assert (volume.array == truth.array).all()
        assert np.allclose(volume.affine, truth.affine, atol=1e-6)


def test_an_unknown_phantom(host):
    from MedDiffusionLib.samples import loadPhantom

    with pytest.raises(BadInput, match="unknown phantom 'CT'; did you mean T2 or T1"):
        loadPhantom("CT")


# The crop


def test_a_hippocampus_is_grey_and_about_as_large_as_one():
    image, labels = hippocampus(), hippocampus_labels()
    assert image.array.dtype == np.float32 and image.shape == labels.shape and labels.array.dtype == np.uint8
    assert np.allclose(image.affine @ [*(np.array(image.shape[::-1]) - 1) / 2, 1], [0, 0, 0, 1])
    sizes = [(labels.array == k).sum() for k in (1, 2)]
    assert 2000 < sum(sizes) < 4000 and min(sizes) > 900  # mm3
    y = [np.argwhere(labels.array == k)[:, 1].mean() for k in (1, 2)]
    assert y[0] < y[1], "the first lies in front"
    inside, white = np.median(image.array[labels.array > 0]), np.percentile(image.array, 95)
    assert 0.6 < inside / white < 0.72
    assert not any(
        face.any() for axis in range(3) for face in (labels.array.take(0, axis), labels.array.take(-1, axis))
    )
    assert (hippocampus(3).array == hippocampus(3).array).all() and (hippocampus(4).array != hippocampus(3).array).any()


@pytest.mark.parametrize(("name", "whose"), [("Hippocampus", "Phantom"), ("HippocampusOther", "Other")])
def test_the_hippocampus_is_in_sample_data(host, sources, name, whose):
    import SampleData

    from MedDiffusionLib.nodes import volume_from_node
    from MedDiffusionLib.samples import CROPS

    source = next(s for s in sources if s.sampleName == f"MedDiffusionPhantom{name}")
    (clicked,) = source.customDownloader(source)
    asked = SampleData.downloadSample(source.sampleName)
    assert clicked.GetName() == f"{whose} hippocampus"
    for node in (clicked, asked):
        assert (volume_from_node(node).array == hippocampus(person=CROPS[name]).array).all()


def test_another_person_has_another_hippocampus_of_the_same_kind():
    """Two that overlap as those of two people do, each in one piece and away from the border."""
    from scipy import ndimage

    from MedDiffusionLib.samples import CROPS

    one, other = (hippocampus_labels(person).array for person in CROPS.values())
    for k in (1, 2):
        a, b = one == k, other == k
        assert 0.6 < 2 * (a & b).sum() / (a.sum() + b.sum()) < 0.8 and 0.7 < b.sum() / a.sum() < 1.4
    assert ndimage.label(other > 0)[1] == 1
    assert not any(face.any() for axis in range(3) for face in (other.take(0, axis), other.take(-1, axis)))
    bright = [np.median(hippocampus(person=p).array[hippocampus_labels(p).array > 0]) for p in CROPS.values()]
    assert abs(bright[0] - bright[1]) < 30
