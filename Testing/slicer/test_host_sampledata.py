"""The module Sample Data in the host: sources, checksums, the cache, rules, and the panel.

With SLICER_SOURCE the same tests run on Slicer's own file.
"""

from __future__ import annotations

import pathlib

import pytest


@pytest.fixture
def slicer(host):
    import slicer

    return slicer


@pytest.fixture
def logic(slicer, tmp_path, monkeypatch):
    import SampleData
    from host import standins

    monkeypatch.setattr(slicer.modules, "sampleDataSources", {}, raising=False)
    monkeypatch.setattr(slicer.modules, "sampleDataUrlRewriteRules", {}, raising=False)
    with standins.cache_folder(slicer.mrmlScene, tmp_path / "cache"):
        yield SampleData.SampleDataLogic()


@pytest.fixture
def image(tmp_path):
    import numpy as np

    from meddiff.volume import IDENTITY, Volume, write

    path = tmp_path / "image.nrrd"
    write(Volume(np.arange(24, dtype=np.float32).reshape(2, 3, 4), (1, 1, 2), (0, 0, 0), IDENTITY), path)
    return path


def checksum(path):
    import hashlib

    return f"SHA256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_sources_are_registered_once(slicer, logic):
    import SampleData

    described = {"sampleName": "Thing", "uris": "file:///x.nrrd", "fileNames": "x.nrrd", "nodeNames": "Thing"}
    for _ in range(2):
        logic.registerCustomSampleDataSource(category="Mine", **described)
    source = SampleData.SampleDataSource(**described)
    assert len(slicer.modules.sampleDataSources["Mine"]) == 1
    assert logic.isSampleDataSourceRegistered("Mine", source) and not logic.isSampleDataSourceRegistered("You", source)
    assert logic.sourceForSampleName("Thing") == source and logic.categoryForSource(source) == "Mine"
    assert logic.sourceForSampleName("Nothing") is None and logic.downloadSamples("Nothing") == []
    logic.registerCustomSampleDataCategory("Mine", "What is mine")
    assert logic.categoryTitle("Mine") == "What is mine" and logic.categoryTitle("Other") == "Other"
    assert "MRHead" in [s.sampleName for s in logic.sampleDataSourcesByCategory("General")]
    with pytest.raises(ValueError, match="length"):
        SampleData.SampleDataSource(uris=["a", "b"], fileNames=["a"])


def test_a_file_is_loaded_as_a_node(slicer, logic, image):
    import SampleData

    source = SampleData.SampleDataSource(
        uris=image.as_uri(), fileNames="x.nrrd", nodeNames="Thing", checksums=checksum(image)
    )
    (node,) = logic.downloadFromSource(source)
    assert node.GetName() == "Thing" and slicer.util.arrayFromVolume(node).shape == (2, 3, 4)
    assert node.GetStorageNode() is None
    image.unlink()
    (again,) = logic.downloadFromSource(source)  # from the cache
    assert again is not node


def test_a_wrong_checksum_loads_nothing(slicer, logic, image):
    import SampleData

    source = SampleData.SampleDataSource(
        uris=image.as_uri(), fileNames="x.nrrd", nodeNames="Thing", checksums="SHA256:" + "0" * 64
    )
    count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    assert logic.downloadFromSource(source, maximumAttemptsCount=1) == []
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == count


def test_files_that_are_not_to_be_loaded(logic, image):
    import SampleData

    source = SampleData.SampleDataSource(uris=image.as_uri(), fileNames="x.nrrd", loadFiles=False)
    (path,) = logic.downloadFromSource(source)
    assert pathlib.Path(path).read_bytes() == image.read_bytes()


def test_rules_rewrite_uris(logic, image):
    logic.registerUrlRewriteRule("ours", lambda uri: image.as_uri() if uri == "ours:x" else uri)
    logic.registerCustomSampleDataSource(
        category="Mine", sampleName="Ruled", uris="ours:x", fileNames="r.nrrd", nodeNames="Ruled"
    )
    assert logic.downloadSample("Ruled").GetName() == "Ruled"


def test_the_panel_of_sample_data(host, slicer, logic, image):
    """A button for each source; the custom downloader of a source is called by its button."""
    import SampleData

    clicked = []
    logic.registerCustomSampleDataSource(
        category="Mine",
        sampleName="Custom",
        uris="ours:x",
        fileNames="x",
        customDownloader=lambda source: clicked.append(source.sampleName),
    )
    widget = host.load_module(SampleData.__file__).enter()
    slicer.util.findChild(widget.parent, "CustomPushButton").click()
    assert clicked == ["Custom"]
    assert slicer.util.findChild(widget.parent, "MRHeadPushButton").text == "MRHead"
