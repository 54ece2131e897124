"""Values that are one text, or one node reference."""

import enum
import pathlib

import slicer

from .serializer_base import Serializer, ValidatedSerializer, parameterNodeSerializer
from .validators import IsInstance, IsNone, NotNone


class _TextSerializer(Serializer):
    """Base of those that keep one text under the name itself."""

    def isIn(self, parameterNode, name):
        return parameterNode.HasParameter(name)

    def write(self, parameterNode, name, value):
        parameterNode.SetParameter(name, str(value))

    def read(self, parameterNode, name):
        return parameterNode.GetParameter(name)

    def remove(self, parameterNode, name):
        parameterNode.UnsetParameter(name)

    @staticmethod
    def supportsCaching():
        return True


@parameterNodeSerializer
class NumberSerializer(_TextSerializer):
    """int and float; an int will do where a float is asked."""

    canSerialize = staticmethod(lambda type_: type_ in (int, float))

    @staticmethod
    def create(type_):
        return ValidatedSerializer(NumberSerializer(type_), [NotNone(), IsInstance((int, type_))])

    def __init__(self, type):
        self.type = type

    def default(self):
        return 0

    def read(self, parameterNode, name):
        return self.type(parameterNode.GetParameter(name))


@parameterNodeSerializer
class StringSerializer(_TextSerializer):
    """str."""

    canSerialize = staticmethod(lambda type_: type_ is str)

    @staticmethod
    def create(type_):
        return ValidatedSerializer(StringSerializer(), [NotNone(), IsInstance(type_)])

    def default(self):
        return ""


@parameterNodeSerializer
class PathSerializer(_TextSerializer):
    """The paths of pathlib."""

    @staticmethod
    def canSerialize(type_):
        return isinstance(type_, type) and issubclass(type_, pathlib.PurePath)

    @staticmethod
    def create(type_):
        return ValidatedSerializer(PathSerializer(type_), [NotNone(), IsInstance(type_)])

    def __init__(self, pathtype):
        self.type = pathtype

    def default(self):
        return self.type()

    def read(self, parameterNode, name):
        return self.type(parameterNode.GetParameter(name))


@parameterNodeSerializer
class BoolSerializer(_TextSerializer):
    """bool, as the text True or False."""

    canSerialize = staticmethod(lambda type_: type_ is bool)

    @staticmethod
    def create(type_):
        return ValidatedSerializer(BoolSerializer(), [NotNone(), IsInstance(type_)])

    def default(self):
        return False

    def read(self, parameterNode, name):
        return parameterNode.GetParameter(name) == str(True)


@parameterNodeSerializer
class EnumSerializer(_TextSerializer):
    """A member of an Enum, by its name."""

    @staticmethod
    def canSerialize(type_):
        return isinstance(type_, type) and issubclass(type_, enum.Enum)

    @staticmethod
    def create(type_):
        return ValidatedSerializer(EnumSerializer(type_), [IsInstance(type_)])

    def __init__(self, enum_):
        if not len(enum_):
            raise ValueError(f"{enum_} has no members")
        self.enum = enum_

    def default(self):
        return next(iter(self.enum))

    def write(self, parameterNode, name, value):
        parameterNode.SetParameter(name, value.name)

    def read(self, parameterNode, name):
        text = parameterNode.GetParameter(name)
        if text not in self.enum.__members__:
            raise ValueError(f"the parameter node says {text!r}; expected a name in {self.enum!r}")
        return self.enum[text]


@parameterNodeSerializer
class NodeSerializer(_TextSerializer):
    """A MRML node, or None: a node reference, and an empty text that tells None from nothing yet."""

    @staticmethod
    def canSerialize(type_):
        return isinstance(type_, type) and issubclass(type_, slicer.vtkMRMLNode)

    @staticmethod
    def create(type_):
        return ValidatedSerializer(NodeSerializer(), [IsInstance(type_)])

    def default(self):
        return None

    def write(self, parameterNode, name, value):
        parameterNode.SetParameter(name, "")
        parameterNode.SetNodeReferenceID(name, None if value is None else value.GetID())

    def read(self, parameterNode, name):
        return parameterNode.GetNodeReference(name)

    def remove(self, parameterNode, name):
        super().remove(parameterNode, name)
        parameterNode.RemoveNodeReferenceIDs(name)


@parameterNodeSerializer
class NoneSerializer(_TextSerializer):
    """None alone, for Optional."""

    canSerialize = staticmethod(lambda type_: type_ is type(None))

    @staticmethod
    def create(type_):
        return ValidatedSerializer(NoneSerializer(), [IsNone()])

    def default(self):
        return None

    def write(self, parameterNode, name, value):
        parameterNode.SetParameter(name, str(True))

    def read(self, parameterNode, name):
        return None
