# ruff: noqa: F401  the contract has all these names here
"""From typed values to the texts and node references of a parameter node, and back.

The names written are those of Slicer, so that a scene saved here opens there: `x` for a simple value and for a node
(an empty text beside the reference), `x.0`, `x.1`, ... and `x.len` for a list, `x.0.0`, `x.0.1` for the first item of
a dict, `x.<i>` for the alternative i of a union.
"""

from .containers import ObservedDict, ObservedList
from .serializer_base import (
    Serializer,
    ValidatedSerializer,
    createSerializer,
    createSerializerFromAnnotatedType,
    extractSerializer,
    parameterNodeSerializer,
)
from .serializers_compound import AnySerializer, DictSerializer, ListSerializer, TupleSerializer, UnionSerializer
from .serializers_simple import (
    BoolSerializer,
    EnumSerializer,
    NodeSerializer,
    NoneSerializer,
    NumberSerializer,
    PathSerializer,
    StringSerializer,
)

__all__ = [
    "AnySerializer",
    "BoolSerializer",
    "DictSerializer",
    "ListSerializer",
    "NodeSerializer",
    "NumberSerializer",
    "PathSerializer",
    "Serializer",
    "StringSerializer",
    "TupleSerializer",
    "UnionSerializer",
    "ValidatedSerializer",
    "parameterNodeSerializer",
]
