from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

if TYPE_CHECKING:
    from mypy_boto3_rekognition.type_defs import DominantColorTypeDef

# n x 3 values of red, green and blue.
Colours = NDArray[np.uint8]
# The same in Oklab, where the distance of two colours is how different they look; in percent.
Oklab = NDArray[np.float32]

SEED = 1
CLUSTERS = 16
ROUNDS = 15
MOST_PIXELS = 6_000
SAME_COLOUR = 6.0
LEAST_SHARE = 0.005


@dataclass(frozen=True)
class Cluster:
    """A colour, 0-255 for each of red, green and blue, and its share of the pixels, 0-1."""

    colour: NDArray[np.float64]
    share: float

    def joined(self, other: Cluster) -> Cluster:
        share = self.share + other.share
        return Cluster((self.colour * self.share + other.colour * other.share) / share, share)

    def looks_like(self, other: Cluster) -> bool:
        one, another = to_oklab(np.stack([self.colour, other.colour]))
        return bool(np.linalg.norm(one - another) < SAME_COLOUR)


def dominant_colours(pixels: Colours, most: int) -> list[DominantColorTypeDef]:
    """The colours of some pixels, most frequent first, with their shares of them in percent.

    Found by k-means with a fixed seed on an even sample. Colours that look alike are one, and traces none.
    """
    sample = pixels[:: max(1, len(pixels) // MOST_PIXELS)]
    clusters = _merge(_cluster(sample)) if len(sample) else []
    return [_describe(cluster) for cluster in clusters if cluster.share >= LEAST_SHARE][:most]


def nearest_css_colour(colour: Colours | NDArray[np.float64]) -> str:
    return _CSS[int(np.linalg.norm(_CSS_OKLAB - to_oklab(colour), axis=1).argmin())]


def to_oklab(rgb: Colours | NDArray[np.float64]) -> Oklab:
    """B. Ottosson, A perceptual color space for image processing, https://bottosson.github.io/posts/oklab."""
    ratio = np.asarray(rgb, np.float64) / 255
    linear = np.where(ratio <= 0.04045, ratio / 12.92, ((ratio + 0.055) / 1.055) ** 2.4)
    return np.asarray(100 * np.cbrt(linear @ _TO_CONES.T) @ _TO_OKLAB.T, np.float32)


def _cluster(sample: Colours) -> list[Cluster]:
    cv2.setRNGSeed(SEED)  # of this thread
    rounds = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, ROUNDS, 0.2)
    column = to_oklab(sample).reshape(-1, 1, 3)  # a single row would be taken for three samples
    count = min(CLUSTERS, len(sample))
    _, members, _ = cv2.kmeans(column, count, None, rounds, 1, cv2.KMEANS_PP_CENTERS)
    groups = (sample[members.ravel() == number] for number in range(count))
    return [Cluster(group.mean(axis=0), len(group) / len(sample)) for group in groups if len(group)]


def _merge(clusters: Iterable[Cluster]) -> list[Cluster]:
    """Each joins the larger one that it looks like, if there is one; largest first."""
    merged: list[Cluster] = []
    for cluster in sorted(clusters, key=lambda cluster: -cluster.share):
        alike = (position for position, larger in enumerate(merged) if larger.looks_like(cluster))
        if (position := next(alike, None)) is None:
            merged.append(cluster)
        else:
            merged[position] = merged[position].joined(cluster)
    return sorted(merged, key=lambda cluster: -cluster.share)


def _describe(cluster: Cluster) -> DominantColorTypeDef:
    red, green, blue = np.rint(cluster.colour).astype(int).tolist()
    name = nearest_css_colour(cluster.colour)
    return {
        "Red": red,
        "Green": green,
        "Blue": blue,
        "HexCode": f"#{red:02x}{green:02x}{blue:02x}",
        "CSSColor": name,
        "SimplifiedColor": SIMPLIFIED[name],
        "PixelPercent": round(100 * cluster.share, 4),
    }


_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)

# Rekognition simplifies to "one of 12" names and publishes no list. These are the customary groups of CSS's
# colours, https://en.wikipedia.org/wiki/Web_colors, with black apart from grey.
GROUPS = {
    "black": "black",
    "grey": "dimgrey darkslategrey slategrey grey lightslategrey darkgrey silver lightgrey gainsboro",
    "white": """
        white whitesmoke ghostwhite snow ivory floralwhite seashell linen oldlace antiquewhite beige
        mistyrose lavenderblush honeydew azure mintcream aliceblue
    """,
    "red": "red darkred firebrick crimson indianred lightcoral salmon",
    "pink": "pink lightpink hotpink deeppink palevioletred mediumvioletred",
    "orange": "orange darkorange coral tomato orangered darksalmon lightsalmon",
    "yellow": """
        yellow gold khaki darkkhaki palegoldenrod lightgoldenrodyellow lemonchiffon lightyellow papayawhip
        moccasin peachpuff
    """,
    "brown": """
        brown maroon saddlebrown sienna chocolate peru darkgoldenrod goldenrod sandybrown rosybrown tan
        burlywood wheat navajowhite bisque blanchedalmond cornsilk
    """,
    "green": """
        green darkgreen forestgreen seagreen mediumseagreen darkseagreen olive olivedrab darkolivegreen
        yellowgreen limegreen lime lawngreen chartreuse greenyellow springgreen mediumspringgreen lightgreen
        palegreen mediumaquamarine
    """,
    "cyan": """
        cyan teal darkcyan lightseagreen cadetblue darkturquoise mediumturquoise turquoise aquamarine
        paleturquoise lightcyan
    """,
    "blue": """
        blue navy midnightblue darkblue mediumblue royalblue steelblue dodgerblue deepskyblue cornflowerblue
        skyblue lightskyblue lightsteelblue lightblue powderblue
    """,
    "purple": """
        purple indigo rebeccapurple darkmagenta darkviolet darkslateblue blueviolet darkorchid magenta
        slateblue mediumslateblue mediumorchid mediumpurple orchid violet plum thistle lavender
    """,
}
SIMPLIFIED = {name: group for group, names in GROUPS.items() for name in names.split()}

_CSS: Sequence[str] = list(SIMPLIFIED)
_CSS_OKLAB = to_oklab(np.array([ImageColor.getrgb(name)[:3] for name in _CSS], np.uint8))
