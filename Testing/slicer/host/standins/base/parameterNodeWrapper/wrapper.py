"""The class decorator that gives a parameter node typed attributes."""

import logging
import typing
import weakref

import slicer
import vtk

from .default import Default, extractDefault
from .parameterInfo import ParameterInfo
from .parameterPack import _checkMember
from .serializers import createSerializer
from .util import splitAnnotations, splitPossiblyDottedName, unannotatedType

__all__ = [
    "SlicerParameterNamePropertyName",
    "findChildWidgetForParameter",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]

SlicerParameterNamePropertyName = "SlicerParameterName"


class _Attribute:
    """One parameter as an attribute of the wrapper; remembers its value until the node is modified."""

    def __init__(self, info):
        self.info = info

    def place(self, wrapper):
        return wrapper.parameterNode, f"{wrapper._prefix}{self.info.basename}"

    def __get__(self, wrapper, owner=None):
        if wrapper is None:
            return self
        known = wrapper._known
        name = self.info.basename
        if name in known:
            return known[name]
        node, key = self.place(wrapper)
        if not self.info.serializer.isIn(node, key):
            self.info.serializer.write(node, key, self.info.default.value)
        value = self.info.serializer.read(node, key)
        if self.info.serializer.supportsCaching():
            known[name] = value
        return value

    def __set__(self, wrapper, value):
        node, key = self.place(wrapper)
        with slicer.util.NodeModify(node):
            self.info.serializer.write(node, key, value)
            wrapper._known.pop(self.info.basename, None)  # before any observer asks for it


def _init(self, parameterNode, prefix=None):
    self.parameterNode = parameterNode
    self._prefix = prefix or ""
    known = self._known = {}
    tag = parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: known.clear())
    weakref.finalize(self, parameterNode.RemoveObserver, tag).atexit = False
    for name, info in self.allParameters.items():
        attribute = getattr(type(self), name)
        if not info.serializer.isIn(*attribute.place(self)):
            attribute.__set__(self, info.default.value)


def _check(wrapper, name):
    """ValueError if there is no such (dotted) parameter."""
    head, rest = splitPossiblyDottedName(name)
    if head not in wrapper.allParameters:
        known = ", ".join(wrapper.allParameters)
        raise ValueError(f"there is no parameter {head!r}; expected one of {known}")
    if rest is not None:
        _checkMember(unannotatedType(wrapper.allParameters[head].unalteredType), rest)
    return head, rest


def _default(self, paramName):
    """The Default of a parameter; its `value` is the value."""
    return self.allParameters[_check(self, paramName)[0]].default


def _isCached(self, paramName):
    """Whether reading it twice reads the node once."""
    return self.allParameters[_check(self, paramName)[0]].serializer.supportsCaching()


def _getValue(self, name):
    """The value of a (dotted) name."""
    head, rest = _check(self, name)
    return getattr(self, head) if rest is None else getattr(self, head).getValue(rest)


def _setValue(self, name, value):
    """Sets the value of a (dotted) name."""
    head, rest = _check(self, name)
    if rest is None:
        setattr(self, head, value)
    else:
        getattr(self, head).setValue(rest, value)


def _dataType(cls, membername):
    """The type of a (dotted) name as it was written, with its annotations."""
    head, rest = _check(cls, membername)
    kind = cls.allParameters[head].unalteredType
    return kind if rest is None else unannotatedType(kind).dataType(rest)


def _noGui(self, *args):
    raise NotImplementedError("the stand-ins bind no widgets; set SLICER_SOURCE to use Slicer's own wrapper")


_METHODS = {
    "default": _default,
    "isCached": _isCached,
    "getValue": _getValue,
    "setValue": _setValue,
    "dataType": classmethod(_dataType),
    "connectGui": _noGui,
    "connectParametersToGui": _noGui,
    "disconnectGui": _noGui,
    "StartModify": lambda self: self.parameterNode.StartModify(),
    "EndModify": lambda self, wasModified: self.parameterNode.EndModify(wasModified),
    "AddObserver": lambda self, event, callback, priority=0.0: self.parameterNode.AddObserver(
        event, callback, priority
    ),
    "RemoveObserver": lambda self, tag: self.parameterNode.RemoveObserver(tag),
    "Modified": lambda self: self.parameterNode.Modified(),
}


def _parameters(classtype):
    for name, written in typing.get_type_hints(classtype, include_extras=True).items():
        try:
            serializer, annotations = createSerializer(*splitAnnotations(written))
        except Exception as error:
            raise Exception(f"no serializer for {name} of {classtype.__name__}") from error
        default, annotations = extractDefault(annotations)
        if hasattr(classtype, name):
            default = Default(getattr(classtype, name))
        elif default is None:
            default = Default(serializer.default())
        if annotations:
            logging.warning("Unused annotations: %s", annotations)
        yield ParameterInfo(name, serializer, default, written)


def _makeWrapper(classtype):
    parameters = list(_parameters(classtype))
    for info in parameters:
        setattr(classtype, info.basename, _Attribute(info))
    reserved = {"allParameters": {info.basename: info for info in parameters}, "_is_parameter_node_wrapper": True}
    for name, value in {**reserved, **_METHODS}.items():
        if hasattr(classtype, name):
            raise ValueError(f"{name} is a reserved name in a parameter node wrapper")
        setattr(classtype, name, value)
    classtype.__init__ = _init
    return classtype


def parameterNodeWrapper(classtype=None):
    """Class decorator: `Wrapper(parameterNode)` reads and writes the annotated members in the node."""
    return _makeWrapper if classtype is None else _makeWrapper(classtype)


def isParameterNodeWrapper(classOrObj):
    """Whether a class or an object is a wrapper."""
    return getattr(classOrObj, "_is_parameter_node_wrapper", False)


def findChildWidgetForParameter(widget, parameter):
    """The child whose property SlicerParameterName is `parameter`, or None."""
    import qt

    children = widget.findChildren(qt.QWidget)
    return next((child for child in children if child.property(SlicerParameterNamePropertyName) == parameter), None)
