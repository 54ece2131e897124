"""What all serializers share, and how the one for a type is found."""

import abc
import logging

from .util import splitAnnotations
from .validators import extractValidators

_registered = []


class Serializer(abc.ABC):
    """Base of all: keeps a value of one type under a name in a parameter node."""

    @staticmethod
    @abc.abstractmethod
    def canSerialize(type_):
        """Whether `create(type_)` gives a serializer."""

    @staticmethod
    @abc.abstractmethod
    def create(type_):
        """A serializer of `type_` with the checks that always apply, or None."""

    @abc.abstractmethod
    def default(self):
        """The value where none is given."""

    @abc.abstractmethod
    def isIn(self, parameterNode, name):
        """Whether the node has a value under `name`."""

    @abc.abstractmethod
    def write(self, parameterNode, name, value):
        """Puts `value` into the node."""

    @abc.abstractmethod
    def read(self, parameterNode, name):
        """The value in the node."""

    @abc.abstractmethod
    def remove(self, parameterNode, name):
        """Takes the value out of the node."""

    @staticmethod
    def supportsCaching():
        """Whether a value once read stays true until the node is modified."""
        return False


def parameterNodeSerializer(classtype=None):
    """Class decorator: makes a serializer known."""

    def register(serializer):
        if not issubclass(serializer, Serializer):
            raise Exception(f"{serializer} is not a Serializer")
        _registered.append(serializer)
        return serializer

    return register if classtype is None else register(classtype)


def extractSerializer(annotations):
    """(the serializer among the annotations or None, the other annotations)."""

    def isSerializer(item):
        return isinstance(item, Serializer) or (isinstance(item, type) and issubclass(item, Serializer))

    found = [item for item in annotations if isSerializer(item)]
    if len(found) > 1:
        raise Exception(f"{len(found)} serializers given; expected one")
    return (found[0] if found else None), [item for item in annotations if not isSerializer(item)]


def createSerializer(type_, annotations):
    """(the serializer of `type_` with the validators among `annotations`, the annotations left over)."""
    validators, annotations = extractValidators(annotations)
    serializer, annotations = extractSerializer(annotations)
    if serializer is None:
        maker = next((known for known in _registered if known.canSerialize(type_)), None)
        if maker is None:
            raise Exception(f"no serializer is known for {type_}")
        serializer = maker.create(type_)
    return ValidatedSerializer(serializer, validators), annotations


def createSerializerFromAnnotatedType(annotatedType):
    """The serializer of a type that may be annotated."""
    serializer, unused = createSerializer(*splitAnnotations(annotatedType))
    if unused:
        logging.warning("Unused annotations: %s", unused)
    return serializer


class ValidatedSerializer(Serializer):
    """Another serializer, with checks before it writes."""

    canSerialize = staticmethod(lambda type_: False)

    @staticmethod
    def create(type_):
        raise Exception("a ValidatedSerializer is made from another serializer")

    def __init__(self, serializer, validators):
        inner = isinstance(serializer, ValidatedSerializer)
        self.serializer = serializer.serializer if inner else serializer
        self.validators = [*(serializer.validators if inner else ()), *(validators or ())]

    def validate(self, value):
        for validator in self.validators:
            validator.validate(value)

    def default(self):
        return self.serializer.default()

    def isIn(self, parameterNode, name):
        return self.serializer.isIn(parameterNode, name)

    def write(self, parameterNode, name, value):
        self.validate(value)
        self.serializer.write(parameterNode, name, value)

    def read(self, parameterNode, name):
        return self.serializer.read(parameterNode, name)

    def remove(self, parameterNode, name):
        self.serializer.remove(parameterNode, name)

    def supportsCaching(self):
        return self.serializer.supportsCaching()
