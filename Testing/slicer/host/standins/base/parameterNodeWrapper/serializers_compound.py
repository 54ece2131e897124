"""Values made of others: lists, tuples, dicts, unions, and Any."""

import importlib
import types
import typing

import slicer

from .containers import ObservedDict, ObservedList
from .serializer_base import (
    Serializer,
    ValidatedSerializer,
    createSerializerFromAnnotatedType,
    parameterNodeSerializer,
)
from .serializers_simple import NoneSerializer, StringSerializer


@parameterNodeSerializer
class ListSerializer(Serializer):
    """A list of one type; reads as an ObservedList."""

    @staticmethod
    def canSerialize(type_):
        return list in (type_, typing.get_origin(type_))

    @staticmethod
    def create(type_):
        item = next(iter(typing.get_args(type_)), typing.Any)
        return ListSerializer(createSerializerFromAnnotatedType(item))

    def __init__(self, elementTypeSerializer):
        self._item = elementTypeSerializer

    def default(self):
        return []

    def _length(self, parameterNode, name):
        return int(parameterNode.GetParameter(f"{name}.len") or 0)

    def isIn(self, parameterNode, name):
        return parameterNode.HasParameter(f"{name}.len")

    def write(self, parameterNode, name, values):
        """Whole or not at all: a refused item brings back what was there."""
        values = list(values)
        with slicer.util.NodeModify(parameterNode):
            before = list(self.read(parameterNode, name)) if self.isIn(parameterNode, name) else None
            try:
                self._put(parameterNode, name, values)
            except Exception:
                for index in range(len(values)):
                    self._item.remove(parameterNode, f"{name}.{index}")
                if before is not None:
                    self._put(parameterNode, name, before)
                raise

    def _put(self, parameterNode, name, values):
        for index, value in enumerate(values):
            self._item.write(parameterNode, f"{name}.{index}", value)
        for index in range(len(values), self._length(parameterNode, name)):
            self._item.remove(parameterNode, f"{name}.{index}")
        parameterNode.SetParameter(f"{name}.len", str(len(values)))

    def read(self, parameterNode, name):
        length = self._length(parameterNode, name)
        values = [self._item.read(parameterNode, f"{name}.{index}") for index in range(length)]
        return ObservedList(parameterNode, self, name, values)

    def remove(self, parameterNode, name):
        with slicer.util.NodeModify(parameterNode):
            for index in range(self._length(parameterNode, name)):
                self._item.remove(parameterNode, f"{name}.{index}")
            parameterNode.UnsetParameter(f"{name}.len")

    def supportsCaching(self):
        return self._item.supportsCaching()


@parameterNodeSerializer
class TupleSerializer(Serializer):
    """A tuple of given types."""

    canSerialize = staticmethod(lambda type_: typing.get_origin(type_) is tuple)

    @staticmethod
    def create(type_):
        if not typing.get_args(type_):
            raise Exception(f"{type_} does not say what it holds")
        return TupleSerializer([createSerializerFromAnnotatedType(item) for item in typing.get_args(type_)])

    def __init__(self, serializers):
        self._items = list(serializers)

    def default(self):
        return (item.default() for item in self._items)  # as in Slicer: spent once it was written

    def isIn(self, parameterNode, name):
        return self._items[0].isIn(parameterNode, f"{name}.0")

    def write(self, parameterNode, name, values):
        values = tuple(values)
        if len(values) != len(self._items):
            raise ValueError(f"{len(values)} values given; expected {len(self._items)}")
        with slicer.util.NodeModify(parameterNode):
            for index, item in enumerate(self._items):
                item.write(parameterNode, f"{name}.{index}", values[index])

    def read(self, parameterNode, name):
        return tuple(item.read(parameterNode, f"{name}.{index}") for index, item in enumerate(self._items))

    def remove(self, parameterNode, name):
        with slicer.util.NodeModify(parameterNode):
            for index, item in enumerate(self._items):
                item.remove(parameterNode, f"{name}.{index}")

    def supportsCaching(self):
        return all(item.supportsCaching() for item in self._items)


@parameterNodeSerializer
class DictSerializer(Serializer):
    """A dict, kept as a list of pairs; reads as an ObservedDict."""

    @staticmethod
    def canSerialize(type_):
        return dict in (type_, typing.get_origin(type_))

    @staticmethod
    def create(type_):
        kinds = typing.get_args(type_) or (typing.Any, typing.Any)
        return DictSerializer(*(createSerializerFromAnnotatedType(kind) for kind in kinds))

    def __init__(self, keySerializer, valueSerializer):
        self._pairs = ListSerializer(TupleSerializer([keySerializer, valueSerializer]))

    def default(self):
        return {}

    def isIn(self, parameterNode, name):
        return self._pairs.isIn(parameterNode, name)

    def write(self, parameterNode, name, dictionary):
        self._pairs.write(parameterNode, name, dictionary.items())

    def read(self, parameterNode, name):
        return ObservedDict(parameterNode, self, name, dict(self._pairs.read(parameterNode, name)))

    def remove(self, parameterNode, name):
        self._pairs.remove(parameterNode, name)

    def supportsCaching(self):
        return self._pairs.supportsCaching()


@parameterNodeSerializer
class UnionSerializer(Serializer):
    """One of several types, `Optional` among them."""

    canSerialize = staticmethod(lambda type_: typing.get_origin(type_) in (typing.Union, types.UnionType))

    @staticmethod
    def create(type_):
        return UnionSerializer([createSerializerFromAnnotatedType(kind) for kind in typing.get_args(type_)])

    def __init__(self, serializers):
        self._kinds = [ValidatedSerializer(serializer, []) for serializer in serializers]

    def default(self):
        """None for Optional[X]; else that of the first type."""
        optional = len(self._kinds) == 2 and isinstance(self._kinds[1].serializer, NoneSerializer)
        return None if optional else self._kinds[0].default()

    def _present(self, parameterNode, name):
        places = [(kind, f"{name}.{index}") for index, kind in enumerate(self._kinds)]
        return next(((kind, place) for kind, place in places if kind.isIn(parameterNode, place)), None)

    def isIn(self, parameterNode, name):
        return self._present(parameterNode, name) is not None

    def _index(self, value):
        """The type that takes `value`; raises what the last of the likely ones says, or TypeError."""
        reason = TypeError(f"the value is {value!r} of {type(value)}; no type of the union takes it")
        for index, kind in enumerate(self._kinds):
            if kind.serializer.canSerialize(type(value)):
                try:
                    kind.validate(value)
                except Exception as error:
                    reason = error
                else:
                    return index
        raise reason

    def write(self, parameterNode, name, value):
        index = self._index(value)
        with slicer.util.NodeModify(parameterNode):
            before = self.read(parameterNode, name) if self.isIn(parameterNode, name) else None
            self.remove(parameterNode, name)
            try:
                self._kinds[index].write(parameterNode, f"{name}.{index}", value)
            except Exception:
                if before is not None:
                    self.write(parameterNode, name, before)
                raise

    def read(self, parameterNode, name):
        present = self._present(parameterNode, name)
        if present is None:
            raise KeyError(f"the parameter node has no value of {name}")
        return present[0].read(parameterNode, present[1])

    def remove(self, parameterNode, name):
        with slicer.util.NodeModify(parameterNode):
            for index, kind in enumerate(self._kinds):
                kind.remove(parameterNode, f"{name}.{index}")

    def supportsCaching(self):
        return all(kind.supportsCaching() for kind in self._kinds)


@parameterNodeSerializer
class AnySerializer(Serializer):
    """Any type that has a serializer, found by the value; its name is kept beside it."""

    canSerialize = staticmethod(lambda type_: type_ is typing.Any)

    @staticmethod
    def create(type_):
        return AnySerializer()

    def __init__(self):
        self._type = TupleSerializer([StringSerializer(), StringSerializer()])

    def default(self):
        return None

    def _serializer(self, parameterNode, name):
        module, kind = self._type.read(parameterNode, f"{name}.type")
        none = (module, kind) == ("builtins", "NoneType")
        return createSerializerFromAnnotatedType(type(None) if none else getattr(importlib.import_module(module), kind))

    def isIn(self, parameterNode, name):
        return self._type.isIn(parameterNode, f"{name}.type")

    def write(self, parameterNode, name, value):
        serializer = createSerializerFromAnnotatedType(type(value))
        self.remove(parameterNode, name)
        serializer.write(parameterNode, f"{name}.value", value)
        self._type.write(parameterNode, f"{name}.type", (type(value).__module__, type(value).__name__))

    def read(self, parameterNode, name):
        return self._serializer(parameterNode, name).read(parameterNode, f"{name}.value")

    def remove(self, parameterNode, name):
        if self.isIn(parameterNode, name):
            self._serializer(parameterNode, name).remove(parameterNode, f"{name}.value")
            self._type.remove(parameterNode, f"{name}.type")
