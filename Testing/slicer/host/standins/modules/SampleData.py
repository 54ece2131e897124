# ruff: noqa: B006  the mutable defaults are those of the contract
"""Sample Data: what can be downloaded and loaded by name; see the contract's `SampleData`.

As in Slicer, a source's `customDownloader` is called by its button in the panel only: `downloadSample` goes by the
URIs. Of the sources that come with Slicer, only MRHead is known here.
"""

import logging
import os
import urllib.parse
import urllib.request
from pathlib import Path

import ctk
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget
from slicer.util import TESTING_DATA_URL, computeChecksum, extractAlgoAndDigest

_MRHEAD = "cc211f0dfd9a05ca3841ce1141b292898b2dd2d3f08286affadf823a7e58df93"
_SCENES = (".mrml", ".mrb")


def downloadFromURL(
    uris=None,
    fileNames=None,
    nodeNames=None,
    checksums=None,
    loadFiles=None,
    customDownloader=None,
    loadFileTypes=None,
    loadFileProperties={},
):
    """Downloads, and loads what can be loaded; see `SampleDataLogic.downloadFromSource`."""
    return SampleDataLogic().downloadFromURL(
        uris, fileNames, nodeNames, checksums, loadFiles, customDownloader, loadFileTypes, loadFileProperties
    )


def downloadSample(sampleName):
    """The first node of the source of that name."""
    return downloadSamples(sampleName)[0]


def downloadSamples(sampleName):
    """The nodes of the source of that name."""
    return SampleDataLogic().downloadSamples(sampleName)


def _shared(name):
    """A dict that lives in `slicer.modules`, so that it outlives a reload."""
    if not hasattr(slicer.modules, name):
        setattr(slicer.modules, name, {})
    return getattr(slicer.modules, name)


class SampleData(ScriptedLoadableModule):
    """The module."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Sample Data")
        parent.categories = ["Informatics"]
        parent.helpText = _("Data sets to try things on.")
        _shared("sampleDataSources")

    def addMenu(self):
        """An entry of the main window's menu; the host has none."""

    def select(self):
        """Shows the module."""
        slicer.util.selectModule("SampleData")


class SampleDataSource:
    """Where the files of one data set are, how they are checked, and how they are loaded."""

    def __init__(
        self,
        sampleName=None,
        sampleDescription=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        checksums=None,
        loadFiles=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFileProperties=None,
        loadFileType=None,
    ):
        if loadFileType is not None and loadFileTypes is not None:
            raise ValueError("loadFileType is the old name of loadFileTypes; give one of them")
        types = loadFileType if loadFileTypes is None else loadFileTypes
        single = isinstance(uris, str)
        count = 1 if single else len(uris)

        def column(values, spread=False):
            if single:
                return [values]
            return [values] * count if values is None or (spread and isinstance(values, str)) else values

        self.sampleName = sampleName
        self.sampleDescription = sampleName if sampleDescription is None else sampleDescription
        self.customDownloader = customDownloader
        self.thumbnailFileName = thumbnailFileName
        self.loadFileProperties = {} if loadFileProperties is None else loadFileProperties
        self.uris = [uris] if single else uris
        self.fileNames = [fileNames] if single else fileNames
        self.nodeNames, self.checksums = column(nodeNames), column(checksums)
        self.loadFiles, self.loadFileTypes = column(loadFiles), column(types, spread=True)
        lengths = {name: len(getattr(self, name)) for name in self._COLUMNS}
        if set(lengths.values()) != {count}:
            raise ValueError(f"the lists of a sample data source have the lengths {lengths}; expected {count} each")

    _COLUMNS = ("uris", "fileNames", "nodeNames", "checksums", "loadFiles", "loadFileTypes")

    def __str__(self):
        return "\n".join(f"{name}: {value}" for name, value in vars(self).items())

    def __eq__(self, other):
        return str(self) == str(other)

    __hash__ = None


class SampleDataLogic:
    """Registers sources, downloads them into the cache and loads them."""

    def __init__(self, logMessage=None):
        if logMessage:
            self.logMessage = logMessage
        self.builtInCategoryName = "General"
        self.developmentCategoryName = "Development"
        self.downloadPercent = 0
        self.registerCustomSampleDataCategory(self.builtInCategoryName, _("General"))
        self.registerBuiltInSampleDataSources()

    def logMessage(self, message, logLevel=logging.DEBUG):
        """Where messages go, unless the constructor got another place."""
        logging.log(logLevel, message)

    # What there is

    @staticmethod
    def registerCustomSampleDataCategory(category, title):
        """Gives a category the title that people read."""
        _shared("sampleDataSourceCategories").setdefault(category, {})["title"] = title

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFiles=None,
        loadFileProperties={},
        checksums=None,
        loadFileType=None,
    ):
        """Adds a source to a category, once."""
        source = SampleDataSource(
            sampleName=sampleName,
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            checksums=checksums,
            loadFiles=loadFiles,
            customDownloader=customDownloader,
            thumbnailFileName=thumbnailFileName,
            loadFileTypes=loadFileTypes,
            loadFileProperties=loadFileProperties,
            loadFileType=loadFileType,
        )
        sources = _shared("sampleDataSources").setdefault(category, [])
        if source not in sources:
            sources.append(source)

    @staticmethod
    def registerUrlRewriteRule(name, rewriteFunction):
        """Each URI goes through `rewriteFunction(uri)` before it is downloaded."""
        if not callable(rewriteFunction):
            raise TypeError(f"the rule {name} is of {type(rewriteFunction)}; expected a function")
        _shared("sampleDataUrlRewriteRules")[name] = rewriteFunction

    def registerBuiltInSampleDataSources(self):
        """Slicer's own sources."""
        self.registerCustomSampleDataSource(
            self.builtInCategoryName,
            sampleName="MRHead",
            uris=f"{TESTING_DATA_URL}SHA256/{_MRHEAD}",
            fileNames="MR-head.nrrd",
            nodeNames="MRHead",
            checksums=f"SHA256:{_MRHEAD}",
        )

    @staticmethod
    def categoryTitle(category):
        """The title of a category; its name where it has none."""
        return _shared("sampleDataSourceCategories").get(category, {}).get("title", category)

    @staticmethod
    def sampleDataSourcesByCategory(category=None):
        """The sources of a category, or all as {category: sources}."""
        sources = _shared("sampleDataSources")
        return sources if category is None else sources.get(category, [])

    @staticmethod
    def isSampleDataSourceRegistered(category, sampleDataSource):
        """Whether an equal source is in the category."""
        if not isinstance(sampleDataSource, SampleDataSource):
            raise TypeError(f"came {type(sampleDataSource)}; expected a SampleDataSource")
        return sampleDataSource in SampleDataLogic.sampleDataSourcesByCategory(category)

    def sourceForSampleName(self, sampleName):
        """The first source of that name, or None."""
        every = (source for sources in self.sampleDataSourcesByCategory().values() for source in sources)
        return next((source for source in every if source.sampleName == sampleName), None)

    def categoryForSource(self, a_source):
        """The category that has the source, or None."""
        every = self.sampleDataSourcesByCategory().items()
        return next((category for category, sources in every if a_source in sources), None)

    # Download

    @staticmethod
    def rewriteUrl(url):
        """The URI after all rules."""
        for rule in _shared("sampleDataUrlRewriteRules").values():
            url = rule(url)
        return url

    def reportHook(self, blocksSoFar, blockSize, totalSize):
        """Says every tenth part of a download."""
        percent = min(100 * blocksSoFar * blockSize // max(totalSize, 1), 100)
        if percent == 100 or percent >= self.downloadPercent + 10:
            size = self.humanFormatSize(min(blocksSoFar * blockSize, totalSize))
            self.logMessage(f"Downloaded {size} ({percent}% of {self.humanFormatSize(totalSize)})")
            self.downloadPercent = percent

    def humanFormatSize(self, size):
        """3.2 MB and the like."""
        for unit in ("bytes", "KB", "MB", "GB"):
            if abs(size) < 1024:
                return f"{size:3.1f} {unit}"
            size /= 1024
        return f"{size:3.1f} TB"

    def downloadFile(self, uri, destFolderPath, name, checksum=None, forceDownload=False):
        """The path of the file in the folder, downloaded unless it is there and its checksum, if any, is right."""
        path = Path(destFolderPath) / name
        algorithm, digest = extractAlgoAndDigest(checksum)

        def right():
            return algorithm is None or computeChecksum(algorithm, str(path)) == digest

        if not forceDownload and path.is_file() and path.stat().st_size and right():
            self.logMessage(_("File already exists in cache - reusing it."))
            return str(path)
        self.downloadPercent = 0
        uri = self.rewriteUrl(uri)
        self.logMessage(_("Requesting download {name} from {uri} ...").format(name=name, uri=uri))
        try:
            urllib.request.urlretrieve(uri, str(path), self.reportHook)
        except OSError as error:
            self.logMessage(_("Download failed: {error}").format(error=error), logging.ERROR)
            raise ValueError(_("Failed to download {uri} to {path}").format(uri=uri, path=path)) from error
        if not right():  # as in Slicer: said and deleted, not raised
            self.logMessage(_("Checksum verification failed: {path}").format(path=path), logging.ERROR)
            path.unlink()
        return str(path)

    def downloadFileIntoCache(self, uri, name, checksum=None, forceDownload=False):
        """`downloadFile` into the scene's cache folder."""
        folder = slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()
        os.makedirs(folder, exist_ok=True)
        return self.downloadFile(uri, folder, name, checksum, forceDownload=forceDownload)

    def downloadSourceIntoCache(self, source):
        """The paths of all files of a source."""
        files = zip(source.uris, source.fileNames, source.checksums, strict=True)
        return [self.downloadFileIntoCache(uri, name, checksum) for uri, name, checksum in files]

    def downloadFromSource(self, source, maximumAttemptsCount=3, forceDownload=False):
        """The nodes loaded; for what is not to be loaded the paths of its files."""
        nodes, paths = [], []
        named = any(name is not None for name in source.nodeNames)
        columns = [getattr(source, column) for column in SampleDataSource._COLUMNS]
        for uri, fileName, nodeName, checksum, loadFile, fileType in zip(*columns, strict=True):
            stem, ending = os.path.splitext(os.path.basename(fileName or urllib.parse.urlparse(uri).path))
            if nodeName is None and loadFile is not False and not named:
                nodeName = stem
            if ending.lower() in _SCENES and fileType is None:
                fileType = "SceneFile"
            scene = fileType == "SceneFile"
            load = loadFile is not False and bool(nodeName) and (bool(loadFile) or not scene)
            for _attempt in range(maximumAttemptsCount):
                try:
                    path = self.downloadFileIntoCache(uri, fileName or stem + ending, checksum, forceDownload)
                except ValueError:
                    continue
                if not load:
                    (nodes if nodeName or scene else paths).append(path)
                    break
                node = self.loadNode(path, None if scene else nodeName, fileType, dict(source.loadFileProperties))
                if node is not None:
                    nodes.append(path if scene else node)
                    break
                Path(path).unlink(missing_ok=True)  # what cannot be loaded is not kept
        return nodes or paths

    def downloadFromURL(
        self,
        uris=None,
        fileNames=None,
        nodeNames=None,
        checksums=None,
        loadFiles=None,
        customDownloader=None,
        loadFileTypes=None,
        loadFileProperties={},
        forceDownload=False,
    ):
        """`downloadFromSource` of a source made of the arguments."""
        source = SampleDataSource(
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            checksums=checksums,
            loadFiles=loadFiles,
            customDownloader=customDownloader,
            loadFileTypes=loadFileTypes,
            loadFileProperties=loadFileProperties,
        )
        return self.downloadFromSource(source, forceDownload=forceDownload)

    def downloadSample(self, sampleName):
        """The first node of the source of that name."""
        return self.downloadSamples(sampleName)[0]

    def downloadSamples(self, sampleName):
        """The nodes of the source of that name; none if there is no such source."""
        source = self.sourceForSampleName(sampleName)
        return self.downloadFromSource(source) if source else []

    def downloadMRHead(self):
        """The head that comes with Slicer."""
        return self.downloadSample("MRHead")

    # Load

    def loadNode(self, uri, name, fileType=None, fileProperties={}):
        """The first node of a file, without its storage node; None if it cannot be loaded."""
        manager = slicer.app.coreIOManager()
        properties = {**fileProperties, "fileName": uri, **({"name": name} if name else {})}
        loaded = vtk.vtkCollection()
        done = manager.loadNodes(fileType or manager.fileType(uri), properties, loaded)
        nodes = [loaded.GetItemAsObject(i) for i in range(loaded.GetNumberOfItems())]
        if not done and not nodes:
            self.logMessage(_("Load failed!"), logging.ERROR)
            return None
        for node in nodes:
            storage = node.GetStorageNode() if node.IsA("vtkMRMLStorableNode") else None
            if storage:
                slicer.mrmlScene.RemoveNode(storage)
                node.SetAndObserveStorageNodeID(None)
        return nodes[0] if nodes else slicer.mrmlScene

    def loadScene(self, uri, fileProperties={}):
        """Whether the scene was loaded."""
        return self.loadNode(uri, None, "SceneFile", fileProperties) is not None


class SampleDataWidget(ScriptedLoadableModuleWidget):
    """A button for each source, by category."""

    def setup(self):
        super().setup()
        self.logic = SampleDataLogic(self.logMessage)
        self.categoryLayout = qt.QVBoxLayout()
        self.layout.addLayout(self.categoryLayout)
        self.log = qt.QTextEdit()
        self.log.readOnly = True
        self.layout.addWidget(self.log)
        self.setCategoriesFromSampleDataSources(self.categoryLayout, slicer.modules.sampleDataSources, self.logic)

    def logMessage(self, message, logLevel=logging.DEBUG):
        logging.log(logLevel, message)
        self.log.append(message)

    @staticmethod
    def removeCategories(categoryLayout):
        """Takes all categories away."""
        while categoryLayout.count():
            categoryLayout.takeAt(0).widget().setParent(None)

    @staticmethod
    def setCategoriesFromSampleDataSources(categoryLayout, dataSources, logic):
        """A box for each category, a button for each source."""
        SampleDataWidget.removeCategories(categoryLayout)
        for category in sorted(dataSources, key=lambda name: (name != logic.builtInCategoryName, name)):
            box = ctk.ctkCollapsibleGroupBox()
            box.title = logic.categoryTitle(category)
            box.setProperty("sampleDataCategory", category)
            grid = qt.QGridLayout(box)
            for index, source in enumerate(dataSources[category]):
                grid.addWidget(SampleDataWidget._button(source, logic), index // 3, index % 3)
            categoryLayout.addWidget(box)

    @staticmethod
    def _button(source, logic):
        button = qt.QToolButton()
        button.text = source.sampleDescription or source.nodeNames[0]
        button.name = f"{source.sampleName}PushButton"
        button.setToolButtonStyle(qt.Qt.ToolButtonTextUnderIcon)
        button.setIconSize(qt.QSize(128, 96))
        if source.thumbnailFileName:
            button.setIcon(qt.QIcon(source.thumbnailFileName))
        download = source.customDownloader or logic.downloadFromSource
        button.connect("clicked()", lambda: download(source))
        return button
