"""qSlicerCoreIOManager: files to nodes and back, with MRML's own storage nodes."""

from __future__ import annotations

import os
from typing import Any

import slicer
import vtk
from PySide6 import QtCore

from .classes import stand_in

SCENE = "SceneFile"
# File type -> node classes it writes, extensions it reads.
TYPES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "SegmentationFile": (("vtkMRMLSegmentationNode",), (".seg.nrrd", ".seg.nhdr", ".seg.vtm")),
    "SequenceFile": (("vtkMRMLSequenceNode",), (".seq.nrrd", ".seq.nhdr", ".seq.mrb")),
    "TransformFile": (("vtkMRMLTransformNode",), (".h5", ".tfm", ".mat", ".txt")),
    "TableFile": (("vtkMRMLTableNode",), (".csv", ".tsv")),
    "MarkupsFile": (("vtkMRMLMarkupsNode",), (".mrk.json", ".fcsv")),
    "ModelFile": (("vtkMRMLModelNode",), (".vtk", ".vtp", ".stl", ".ply", ".obj")),
    "TextFile": (("vtkMRMLTextNode",), (".xml", ".json")),
    "VolumeFile": (("vtkMRMLVolumeNode",), (".nrrd", ".nhdr", ".nii.gz", ".nii", ".mha", ".mhd", ".tif", ".png")),
    SCENE: ((), (".mrb", ".mrml")),
}
NEW_NODE = {
    "SegmentationFile": "vtkMRMLSegmentationNode",
    "TableFile": "vtkMRMLTableNode",
    "TextFile": "vtkMRMLTextNode",
}


def storage_for(node: Any, path: str) -> Any:
    """A storage node that suits a node, in the scene when the node is."""
    storage = node.GetStorageNode()
    if storage is None:
        node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
    storage.SetFileName(path)
    return storage


@stand_in
class qSlicerCoreIOManager(QtCore.QObject):
    """Reads and writes nodes and scenes by the type of the file."""

    # --- types

    def fileType(self, path: str) -> str:
        path = str(path).lower()
        for kind, (_, extensions) in TYPES.items():
            if path.endswith(extensions):
                return kind
        return "NoFile"

    def fileWriterFileType(self, node: Any, format: str = "") -> str:
        for kind, (classes, _) in TYPES.items():
            if any(node.IsA(one) for one in classes):
                return kind
        return "NoFile"

    def fileWriterExtensions(self, node: Any) -> tuple[str, ...]:
        kind = self.fileWriterFileType(node)
        return tuple(f"{kind} (*{extension})" for extension in TYPES[kind][1]) if kind in TYPES else ()

    def extractKnownExtension(self, path: str, node: Any) -> str:
        kind = self.fileWriterFileType(node) if node is not None else self.fileType(path)
        known = TYPES.get(kind, ((), ()))[1]
        return next((one for one in known if str(path).lower().endswith(one)), os.path.splitext(path)[1])

    def stripKnownExtension(self, path: str, node: Any) -> str:
        return path[: len(path) - len(self.extractKnownExtension(path, node))]

    # --- reading

    def loadNodes(self, kind: str, properties: dict[str, Any], loaded: Any = None, messages: Any = None) -> bool:
        path = str(properties.get("fileName", ""))
        try:
            nodes = self._load(kind, path, properties)
        except RuntimeError as error:
            if messages is not None:
                messages.AddMessage(vtk.vtkCommand.ErrorEvent, str(error))
            return False
        for node in nodes:
            if loaded is not None:
                loaded.AddItem(node)
        return bool(nodes) or kind == SCENE

    def loadScene(self, path: str, clear: bool = True, messages: Any = None) -> bool:
        return self.loadNodes(SCENE, {"fileName": path, "clear": clear}, None, messages)

    def loadFile(self, path: str, messages: Any = None) -> bool:
        return self.loadNodes(self.fileType(path), {"fileName": path}, None, messages)

    def _load(self, kind: str, path: str, properties: dict[str, Any]) -> list[Any]:
        if not os.path.isfile(path):
            raise RuntimeError(f"no such file: {path}")
        scene = slicer.mrmlScene
        if kind == SCENE:
            self._load_scene(path, bool(properties.get("clear", False)))
            return []
        name = properties.get("name") or os.path.basename(path).split(".")[0]
        logics = slicer.app._session.logics
        if kind == "VolumeFile":
            options = int(bool(properties.get("labelmap"))) | 2 * int(bool(properties.get("center")))
            options |= 8 * int(not properties.get("singleFile", True))
            node = logics["Volumes"].AddArchetypeVolume(path, name, options)
        elif kind == "TransformFile":
            node = logics["Transforms"].AddTransform(path, scene)
        elif kind == "ModelFile":
            node = logics["Models"].AddModel(path)
        elif kind == "SequenceFile":
            node = logics["Sequences"].AddSequence(path)
        elif kind == "MarkupsFile":
            node = scene.GetNodeByID(logics["Markups"].LoadMarkups(path, name))
        elif kind in NEW_NODE:
            node = scene.AddNewNodeByClass(NEW_NODE[kind], scene.GetUniqueNameByString(name))
            if not storage_for(node, path).ReadData(node):
                scene.RemoveNode(node)
                node = None
        else:
            raise RuntimeError(f"the test host reads no file of type {kind}")
        if node is None:
            raise RuntimeError(f"could not read {path}")
        return [node]

    def _load_scene(self, path: str, clear: bool) -> None:
        scene = slicer.mrmlScene
        if path.lower().endswith(".mrb"):
            done = scene.ReadFromMRB(path, clear)
        else:
            scene.SetURL(path)
            done = scene.Connect() if clear else scene.Import()
        if not done:
            raise RuntimeError(f"could not read the scene {path}")

    # --- writing

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any = None, scene: Any = None) -> bool:
        path = str(properties["fileName"])
        scene = scene or slicer.mrmlScene
        if kind != SCENE:
            node = scene.GetNodeByID(properties["nodeID"])
            return bool(storage_for(node, path).WriteData(node))
        if path.lower().endswith(".mrb"):
            return bool(scene.WriteToMRB(path))
        if path.lower().endswith(".mrml"):
            scene.SetURL(path)
            return bool(scene.Commit(path))
        return bool(scene.SaveSceneToSlicerDataBundleDirectory(path, None))

    def exportNodes(
        self, identifiers: Any, paths: Any, properties: dict[str, Any], world: bool, messages: Any = None
    ) -> bool:
        if world:
            raise NotImplementedError("the test host exports nodes in their own coordinates only")
        for identifier, path in zip(identifiers, paths, strict=True):
            node = slicer.mrmlScene.GetNodeByID(identifier)
            storage = node.CreateDefaultStorageNode()
            storage.UnRegister(None)
            storage.SetFileName(path)
            if not storage.WriteData(node):
                return False
        return True

    def addDefaultStorageNodes(self) -> None:
        for index in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLStorableNode")):
            slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLStorableNode").AddDefaultStorageNode()

    def createAndAddDefaultStorageNode(self, node: Any) -> Any:
        node.AddDefaultStorageNode()
        return node.GetStorageNode()


@stand_in
class qSlicerIOManager(qSlicerCoreIOManager):
    """The same, in the application with a window."""
