"""The value a parameter has before anyone sets it."""

__all__ = ["Default"]


class Default:
    """Annotation: `Annotated[int, Default(3)]`, or what `generator()` returns each time."""

    def __init__(self, value=None, *, generator=None):
        self._fixed = value
        self._generator = generator

    @property
    def value(self):
        return self._fixed if self._generator is None else self._generator()

    def __eq__(self, other):
        return isinstance(other, Default) and vars(self) == vars(other)

    __hash__ = None

    def __repr__(self):
        return f"Default(value={self._fixed}, generator={self._generator})"


def extractDefault(annotations):
    """(the Default among the annotations or None, the other annotations)."""
    found = [item for item in annotations if isinstance(item, Default)]
    if len(found) > 1:
        raise Exception(f"{len(found)} defaults given; expected one")
    return (found[0] if found else None), [item for item in annotations if item not in found]
