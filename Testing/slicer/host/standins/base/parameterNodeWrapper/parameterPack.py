"""Several parameters under one name, as a class of their own."""

import functools
import logging
import typing

import slicer

from .default import extractDefault
from .parameterInfo import ParameterInfo
from .serializer_base import Serializer, ValidatedSerializer, createSerializer, parameterNodeSerializer
from .util import splitAnnotations, splitPossiblyDottedName, unannotatedType
from .validators import IsInstance, NotNone

__all__ = ["isParameterPack", "nestedParameterNames", "parameterPack"]

_VALUES = "_parameterPackValues"
_CHANGED = "_parameterPackChanged"  # called after a change, once the pack lives in a parameter node


def isParameterPack(obj):
    """Whether a class or an object is a parameter pack."""
    return getattr(obj, "_is_parameterPack", False)


def nestedParameterNames(parameterPackClassOrInstance):
    """All names, those of packs within packs dotted."""
    names = []
    for name, info in unannotatedType(parameterPackClassOrInstance).allParameters.items():
        kind = unannotatedType(info.unalteredType)
        names += [f"{name}.{inner}" for inner in nestedParameterNames(kind)] if isParameterPack(kind) else [name]
    return names


def _checkMember(pack, name):
    """ValueError if the class or object has no such (dotted) parameter."""
    head, rest = splitPossiblyDottedName(name)
    if head not in pack.allParameters:
        raise ValueError(f"{pack} has no parameter {head!r}; expected one of {', '.join(pack.allParameters)}")
    kind = unannotatedType(pack.allParameters[head].unalteredType)
    if rest is not None and not isParameterPack(kind):
        raise ValueError(f"{head} is of {kind}, not a pack; it has no {rest!r}")
    if rest is not None:
        _checkMember(kind, rest)


class _Member:
    """One parameter of a pack as a property that checks what it is given."""

    def __init__(self, info):
        self.info = info

    def __get__(self, pack, owner=None):
        return self if pack is None else pack.__dict__[_VALUES][self.info.basename]

    def __set__(self, pack, value):
        self.info.serializer.validate(value)
        pack.__dict__.setdefault(_VALUES, {})[self.info.basename] = value
        pack.__dict__.get(_CHANGED, lambda: None)()


def _fill(pack, values):
    for name, info in pack.allParameters.items():
        setattr(pack, name, values.get(name, info.default))


def _init(self, *args, **kwargs):
    names = list(self.allParameters)
    if len(args) > len(names) or set(kwargs) - set(names):
        raise TypeError(f"came {args} and {kwargs}; expected at most {', '.join(names)}")
    if twice := set(names[: len(args)]) & set(kwargs):
        raise TypeError(f"{', '.join(twice)} given twice")
    _fill(self, {**dict(zip(names, args, strict=False)), **kwargs})


def _getValue(self, membername):
    """The value of a (dotted) name."""
    _checkMember(self, membername)
    return functools.reduce(getattr, membername.split("."), self)


def _setValue(self, membername, value):
    """Sets the value of a (dotted) name."""
    _checkMember(self, membername)
    *path, last = membername.split(".")
    setattr(functools.reduce(getattr, path, self), last, value)


def _dataType(cls, membername):
    """The type of a (dotted) name as it was written."""
    _checkMember(cls, membername)
    head, rest = splitPossiblyDottedName(membername)
    kind = cls.allParameters[head].unalteredType
    return kind if rest is None else unannotatedType(kind).dataType(rest)


def _equal(self, other):
    return type(self) is type(other) and self.__dict__[_VALUES] == other.__dict__[_VALUES]


def _describe(self):
    values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.allParameters)
    return f"{type(self).__name__}({values})"


def _members(classtype):
    for name, written in typing.get_type_hints(classtype, include_extras=True).items():
        serializer, annotations = createSerializer(*splitAnnotations(written))
        given, annotations = extractDefault(annotations)
        if annotations:
            logging.warning("Unused annotations: %s", annotations)
        default = getattr(classtype, name, serializer.default() if given is None else given.value)
        try:
            serializer.validate(default)
        except Exception as error:
            raise ValueError(f"the default of {name} will not do: {error}") from error
        yield ParameterInfo(name, serializer, default, written)


def _makePack(classtype):
    members = list(_members(classtype))
    if not members:
        raise ValueError(f"{classtype} has no annotated members")
    own = dict(vars(classtype))
    for info in members:
        setattr(classtype, info.basename, _Member(info))
    classtype.allParameters = {info.basename: info for info in members}
    classtype._is_parameterPack = True
    if "__init__" in own:

        @functools.wraps(own["__init__"])
        def init(self, *args, **kwargs):
            _fill(self, {})
            own["__init__"](self, *args, **kwargs)

        classtype.__init__ = init
    else:
        classtype.__init__ = _init
    for name, method in {"__eq__": _equal, "__repr__": _describe, "__str__": _describe}.items():
        if name not in own:
            setattr(classtype, name, method)
    extras = {"getValue": _getValue, "setValue": _setValue, "dataType": classmethod(_dataType)}
    for name, method in extras.items():
        if name in own:
            raise ValueError(f"{name} is a reserved name in a parameter pack")
        setattr(classtype, name, method)
    return classtype


def parameterPack(classtype=None):
    """Class decorator: the annotated members become checked parameters with defaults."""
    return _makePack if classtype is None else _makePack(classtype)


@parameterNodeSerializer
class ParameterPackSerializer(Serializer):
    """A pack, each parameter as `<name>.<parameter>`; what is read writes itself back when it changes."""

    canSerialize = staticmethod(lambda type_: bool(isParameterPack(type_)))

    @staticmethod
    def create(type_):
        return ValidatedSerializer(ParameterPackSerializer(type_), [NotNone(), IsInstance(type_)])

    def __init__(self, type_):
        self.type = type_

    def default(self):
        return self.type()

    def _places(self, name):
        return [(info.serializer, f"{name}.{key}", key) for key, info in self.type.allParameters.items()]

    def isIn(self, parameterNode, name):
        serializer, place, _ = self._places(name)[0]
        return serializer.isIn(parameterNode, place)

    def write(self, parameterNode, name, value):
        with slicer.util.NodeModify(parameterNode):
            for serializer, place, key in self._places(name):
                serializer.write(parameterNode, place, getattr(value, key))

    def read(self, parameterNode, name):
        pack = self.type.__new__(self.type)
        self.readInto(parameterNode, name, pack)
        pack.__dict__[_CHANGED] = lambda: self.write(parameterNode, name, pack)
        return pack

    def readInto(self, parameterNode, name, value):
        for serializer, place, key in self._places(name):
            setattr(value, key, serializer.read(parameterNode, place))

    def remove(self, parameterNode, name):
        for serializer, place, _ in self._places(name):
            serializer.remove(parameterNode, place)

    def supportsCaching(self):
        return all(serializer.supportsCaching() for serializer, _, _ in self._places(""))
