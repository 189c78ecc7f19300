"""Names of devices in few cells: of a fleet's, the box's name is shortened in its middle, since its end tells boxes apart, and
never what the box calls the device."""

from __future__ import annotations

from citadel_tui.viewmodel.spans import cut, cut_middle
from engine.core.names import DeviceId, box_of, within_box


def place_text(device: DeviceId, width: int, ellipsis: str = "…") -> str:
    """The device, in at most `width` cells; where even two of its box's have no room, without that."""
    if len(device) <= width:
        return device
    box, within = box_of(device), within_box(device)
    room = width - len(within) - 1
    return f"{cut_middle(box, room, ellipsis)}/{within}" if box and room > 1 else cut(within, width, ellipsis)


def places_text(text: str, width: int, ellipsis: str = "…") -> str:
    """Where a model is, in at most `width` cells: of copies those with room and how many more, of a fleet's move both ends."""
    copies = text.split(" ")
    if len(text) <= width or ("/" not in text and len(copies) == 1):
        return cut(text, width, ellipsis)
    for count in range(len(copies) - 1, 0, -1):
        shown = f"{' '.join(copies[:count])} +{len(copies) - count}"
        if len(shown) <= width:
            return shown
    if len(copies) > 1:
        more = f" +{len(copies) - 1}"
        return place_text(copies[0], width - len(more), ellipsis) + more
    for arrow in ("→", "->"):
        source, is_moving, target = text.partition(arrow)
        if is_moving:
            each = (width - len(arrow)) // 2
            return place_text(source, each, ellipsis) + arrow + place_text(target, each, ellipsis)
    return place_text(text, width, ellipsis)
