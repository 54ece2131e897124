"""The annotation that names a widget; the creation of widgets is not stood in for."""

from dataclasses import dataclass

__all__ = ["Label"]


@dataclass
class Label:
    """The text beside the widget of a parameter."""

    label: str
