"""What is known of one parameter of a wrapper or pack."""

from dataclasses import dataclass
from typing import Any

__all__ = []


@dataclass
class ParameterInfo:
    """Name, serializer, default and type as written (with its annotations)."""

    basename: str
    serializer: Any
    default: Any
    unalteredType: Any
