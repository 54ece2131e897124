# ruff: noqa: F401, F403  what is imported is what is offered
"""Typed parameters in a vtkMRMLScriptedModuleNode; see the contract's `slicer.parameterNodeWrapper`.

What is missing of Slicer's own: binding parameters to widgets (`connectGui` says so), `createGui`, and QColor.
"""

from .default import *
from .guiConnectors import *
from .guiCreation import *
from .parameterPack import *
from .serializers import *
from .types import *
from .util import findFirstAnnotation, getNodeTypes, isNodeOrUnionOfNodes, splitAnnotations, unannotatedType
from .validators import *
from .wrapper import *
