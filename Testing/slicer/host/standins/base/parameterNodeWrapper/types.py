"""Types for parameters that Python does not have."""

from .parameterPack import parameterPack

__all__ = ["FloatRange"]


@parameterPack
class FloatRange:
    """Two floats, `minimum` never above `maximum`; give it its bounds by RangeBounds."""

    _minimum: float
    _maximum: float

    def __init__(self, minimum=0, maximum=0):
        self.setRange(minimum, maximum)

    @staticmethod
    def checkRange(minimum, maximum):
        if not minimum <= maximum:
            raise ValueError(f"the range is {minimum} to {maximum}; expected the smaller first")

    def setRange(self, minimum, maximum):
        self.checkRange(minimum, maximum)
        self._minimum = minimum
        self._maximum = maximum

    @property
    def minimum(self):
        return self._minimum

    @minimum.setter
    def minimum(self, value: float):
        self.setRange(value, self.maximum)

    @property
    def maximum(self):
        return self._maximum

    @maximum.setter
    def maximum(self, value: float):
        self.setRange(self.minimum, value)

    def __repr__(self):
        return f"FloatRange(minimum={self.minimum}, maximum={self.maximum})"

    __str__ = __repr__
