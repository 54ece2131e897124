"""Taking type annotations apart."""

import typing

import slicer

__all__ = ["findFirstAnnotation", "getNodeTypes", "isNodeOrUnionOfNodes", "splitAnnotations", "unannotatedType"]


def splitAnnotations(possiblyAnnotatedType):
    """`Annotated[int, a, b]` gives (int, (a, b)); `int` gives (int, ())."""
    if typing.get_origin(possiblyAnnotatedType) is typing.Annotated:
        return possiblyAnnotatedType.__origin__, possiblyAnnotatedType.__metadata__
    return possiblyAnnotatedType, ()


def unannotatedType(possiblyAnnotatedType):
    """The type without its annotations."""
    return splitAnnotations(possiblyAnnotatedType)[0]


def findFirstAnnotation(annotationsList, annotationType):
    """The first annotation of a type, or None."""
    return next((item for item in annotationsList if isinstance(item, annotationType)), None)


def splitPossiblyDottedName(possiblyDottedName):
    """Splits at the first dot: "a.b.c" gives ("a", "b.c"); "a" gives ("a", None)."""
    head, dot, rest = possiblyDottedName.partition(".")
    return head, rest if dot else None


def _alternatives(datatype):
    """The types of a union; a single type alone."""
    bare = unannotatedType(datatype)
    united = typing.get_origin(bare) is typing.Union  # as in Slicer, not `A | B`
    return [unannotatedType(item) for item in typing.get_args(bare)] if united else [bare]


def _isNodeClass(datatype):
    return isinstance(datatype, type) and issubclass(datatype, slicer.vtkMRMLNode)


def isNodeOrUnionOfNodes(datatype):
    """Whether only MRML nodes (and, in a union, None) fit."""
    kinds = _alternatives(datatype)
    return all(_isNodeClass(kind) or (len(kinds) > 1 and kind is type(None)) for kind in kinds)


def getNodeTypes(datatype):
    """The names of the node classes that fit, for `qMRMLNodeComboBox.nodeTypes`."""
    if len(_alternatives(datatype)) == 1 and not _isNodeClass(unannotatedType(datatype)):
        raise TypeError(f"{datatype} is not an MRML node class")
    return tuple(kind().GetClassName() for kind in _alternatives(datatype) if _isNodeClass(kind))
