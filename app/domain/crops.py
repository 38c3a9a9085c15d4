"""Kept crops: whether a collection keeps the aligned pictures of its faces.

With them faces can be embedded anew although their source is gone; but they are recognisable pictures of people. So they are
kept only where the operator's setting or a tag of the collection says so, and the tag goes first.
"""

from collections.abc import Mapping

TAG = "rekollect:keep-crops"


def wanted(tags: Mapping[str, str], *, default: bool) -> bool:
    """Tell whether a collection with these tags keeps crops."""
    said = tags.get(TAG, "").strip().lower()
    return {"true": True, "false": False}.get(said, default)
