"""What a task takes and what it makes: the name that the engine knows, and what the panel shows for it."""

from __future__ import annotations

from dataclasses import dataclass

SCALAR = "vtkMRMLScalarVolumeNode"
LABELMAP = "vtkMRMLLabelMapVolumeNode"
SEGMENTATION = "vtkMRMLSegmentationNode"
SEQUENCE = "vtkMRMLSequenceNode"
TABLE = "vtkMRMLTableNode"
TRANSFORM = "vtkMRMLGridTransformNode"
PATH = "eta"  # index of a sequence that goes from 0 to 1
LABELS = (SEGMENTATION, LABELMAP)  # what people draw on


@dataclass(frozen=True)
class InputRole:
    """One input: a node of one of `nodeTypes`, or, where there are none, a file that passes one of `filters`.

    The `labels` of a label map or a segmentation are exported on the grid of the source; so is an image `beside` it
    that lies under another transform.
    """

    name: str
    parameter: str
    title: str
    about: str
    nodeTypes: tuple[str, ...] = (SCALAR,)
    filters: tuple[str, ...] = ()
    optional: bool = False
    none: str = ""
    labels: bool = False
    beside: bool = False

    @property
    def isFile(self) -> bool:
        """Whether it is chosen on disk, not in the scene."""
        return not self.nodeTypes


@dataclass(frozen=True)
class Segments:
    """What the segments of an output are: their name, in which {number} is the label, terminology and colour."""

    name: str
    terminology: str
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class OutputRole:
    """One output. `display` is its role in `display.show`; one that is not `wanted` is made only when it is ticked.

    Without `segments`, those of a segmentation are the segments of the model. The volumes of a sequence are the `files`
    x-1, x-2, ... (x: the name where it is empty), each at a step of its `index`; "segment" is a segment of the model,
    "eta" goes from 0 to 1, others are at `values` in a `unit` where there are any. A segmentation with a `surface` is
    shown in 3D, too. Results lie beside the source, those of the `subject` beside the node that is moved.
    """

    name: str
    parameter: str
    title: str
    about: str
    nodeClass: str = SCALAR
    display: str = "image"
    wanted: bool = True
    always: bool = False
    segments: Segments | None = None
    files: str = ""
    index: str = "step"
    unit: str = ""
    values: tuple[float, ...] = ()
    surface: bool = False
    subject: bool = False


class CommonParameters:
    """What every parameter node of these modules holds; each module adds its inputs and outputs, then wraps the class.

    `recipeParameters` is a JSON object of what was set by hand, beside the preset. `wanted` names the outputs to make,
    separated by commas; each module has its own.
    """

    model: str = ""
    method: str = ""
    preset: str = "balanced"
    recipeParameters: str = "{}"
    samples: int = 4
    seed: int = 0
    device: str = "auto"
    batch: int = 8
    keepWarm: bool = True
    wanted: str = ""
