"""Rekognition's words for what people may not want to see: the taxonomy of its moderation model 7.0.

https://docs.aws.amazon.com/rekognition/latest/dg/moderation-api.html
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches


def is_name(text: str) -> bool:
    """Whether this is a name of the taxonomy, in any case."""
    return text.casefold() in _SPELLINGS


def closest(text: str) -> str | None:
    """The name that this may be a misspelling of."""
    found = get_close_matches(text.casefold(), _SPELLINGS, n=1)
    return _SPELLINGS[found[0]] if found else None


def _table(rows: str) -> Iterator[tuple[str, str]]:
    """Each name with that of its parent, "" at the top."""
    path: list[str] = []
    for row in rows.strip().splitlines():
        name = row.strip()
        path[(len(row) - len(name)) // 4 :] = [name]
        yield name, path[-2] if len(path) > 1 else ""


PARENTS: Mapping[str, str] = dict(
    _table("""
Explicit
    Explicit Nudity
        Exposed Male Genitalia
        Exposed Female Genitalia
        Exposed Buttocks or Anus
        Exposed Female Nipple
    Explicit Sexual Activity
    Sex Toys
Non-Explicit Nudity of Intimate parts and Kissing
    Non-Explicit Nudity
        Bare Back
        Exposed Male Nipple
        Partially Exposed Buttocks
        Partially Exposed Female Breast
        Implied Nudity
    Obstructed Intimate Parts
        Obstructed Female Nipple
        Obstructed Male Genitalia
    Kissing on the Lips
Swimwear or Underwear
    Female Swimwear or Underwear
    Male Swimwear or Underwear
Violence
    Weapons
    Graphic Violence
        Weapon Violence
        Physical Violence
        Self-Harm
        Blood & Gore
        Explosions and Blasts
Visually Disturbing
    Death and Emaciation
        Emaciated Bodies
        Corpses
    Crashes
        Air Crash
Drugs & Tobacco
    Products
        Pills
    Drugs & Tobacco Paraphernalia & Use
        Smoking
Alcohol
    Alcohol Use
        Drinking
    Alcoholic Beverages
Rude Gestures
    Middle Finger
Gambling
Hate Symbols
    Nazi Party
    White Supremacy
    Extremist
""")
)
_SPELLINGS = {name.casefold(): name for name in PARENTS}
