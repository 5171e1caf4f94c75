"""Tags of a mapping: which are legal."""

from __future__ import annotations

import re

from .fields import Fields
from .problems import shown

TAGS_MAX = 50
KEY_MAX = 128
VALUE_MAX = 256

# What AWS calls letters, numbers and blanks of any language, and some signs.
_SIGNS = "characters: letters, numbers, blanks and _.:/=+-@"
_LEGAL = re.compile(r"[\w \u00a0\u2000-\u200a\u3000.:/=+\-@]*")


def read_tags(fields: Fields, name: str = "Tags") -> dict[str, str]:
    """The tags under `name`; what is wrong with them is noted."""
    raw = fields.mapping(name)
    if len(raw) > TAGS_MAX:
        fields.note(name, f"has {len(raw)} tags", f"{TAGS_MAX} are the most")
    tags: dict[str, str] = {}
    for key, value in raw.items():
        if not isinstance(value, str):
            fields.note(name, f"the value of {shown(key)} must be text, not {shown(value)}")
        elif not (1 <= len(key) <= KEY_MAX and _LEGAL.fullmatch(key)):
            fields.note(name, f"{shown(key)} is no key of a tag", f"1 to {KEY_MAX} {_SIGNS}")
        elif len(value) > VALUE_MAX or not _LEGAL.fullmatch(value):
            remedy = f"up to {VALUE_MAX} {_SIGNS}"
            fields.note(name, f"the value of {shown(key)} is not legal", remedy)
        elif key.lower().startswith("aws:"):
            fields.note(name, f"{shown(key)}: keys that begin with aws: are AWS's own")
        else:
            tags[key] = value
    return tags
