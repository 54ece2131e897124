"""Stand-ins for the widgets of CTK and Slicer; importing this package makes them all."""

from . import (  # noqa: F401  # noqa: F401
    ctk_boxes,
    ctk_numbers,
    ctk_paths,
    ctk_ranges,
    ctk_small,
    hierarchy_combo,
    mrml_small,
    node_combo,
    node_combos,
    segments,
    sequences,
    tables,
    views,
)
