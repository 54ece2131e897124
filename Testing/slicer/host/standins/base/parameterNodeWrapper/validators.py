"""Annotations that refuse values: `Annotated[float, WithinRange(0, 1)]`."""

import abc

__all__ = [
    "Choice",
    "Exclude",
    "IsInstance",
    "Maximum",
    "Minimum",
    "NotNone",
    "RangeBounds",
    "Validator",
    "WithinRange",
]


class Validator(abc.ABC):
    """Base of all; `validate` raises (a ValueError, as a rule) or returns nothing."""

    @abc.abstractmethod
    def validate(self, value):
        """Raises if `value` will not do."""

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(str(value) for value in vars(self).values())})"


def _require(fits, value, expected):
    if not fits:
        raise ValueError(f"the value is {value!r}; expected {expected}")


def extractValidators(annotations):
    """(the validators, the other annotations)."""

    def isValidator(item):
        return isinstance(item, Validator) or (isinstance(item, type) and issubclass(item, Validator))

    return [i for i in annotations if isValidator(i)], [i for i in annotations if not isValidator(i)]


class IsNone(Validator):
    """Nothing but None."""

    def validate(self, value):
        _require(value is None, value, "None")


class NotNone(Validator):
    """Anything but None."""

    def validate(self, value):
        _require(value is not None, value, "something other than None")


class IsInstance(Validator):
    """None, or an instance of `classtype`; else TypeError."""

    def __init__(self, classtype):
        self.classtype = classtype

    def validate(self, value):
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"the value is {value!r} of {type(value)}; expected an instance of {self.classtype}")


class WithinRange(Validator):
    """From `minimum` to `maximum`, both included."""

    def __init__(self, minimum, maximum):
        self.minimum = minimum
        self.maximum = maximum

    def validate(self, value):
        _require(self.minimum <= value <= self.maximum, value, f"{self.minimum} to {self.maximum}")


class Minimum(Validator):
    """`minimum` or more."""

    def __init__(self, minimum):
        self.minimum = minimum

    def validate(self, value):
        _require(not value < self.minimum, value, f"{self.minimum} or more")


class Maximum(Validator):
    """`maximum` or less."""

    def __init__(self, maximum):
        self.maximum = maximum

    def validate(self, value):
        _require(not value > self.maximum, value, f"{self.maximum} or less")


class Choice(Validator):
    """One of `choices`."""

    def __init__(self, choices):
        self.choices = choices

    def validate(self, value):
        _require(value in self.choices, value, f"one of {self.choices}")


class Exclude(Validator):
    """None of `excludedValues`."""

    def __init__(self, excludedValues):
        self.excludedValues = excludedValues

    def validate(self, value):
        _require(value not in self.excludedValues, value, f"none of {self.excludedValues}")


class RangeBounds(Validator):
    """A FloatRange that lies within `minimum` to `maximum`."""

    def __init__(self, minimum, maximum):
        self.minimum = minimum
        self.maximum = maximum

    def validate(self, value):
        fits = self.minimum <= value.minimum and value.maximum <= self.maximum
        _require(fits, value, f"a range within {self.minimum} to {self.maximum}")
