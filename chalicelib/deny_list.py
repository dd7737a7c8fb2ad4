"""Labels that no reader may see, though the tables have them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from chalicelib.model import Image, Label, Summary, label_key


@dataclass(frozen=True)
class DenyList:
    names: tuple[str, ...] = ()

    @cached_property
    def keys(self) -> frozenset[str]:
        return frozenset(map(label_key, self.names))

    def hides(self, name: str) -> bool:
        return label_key(name) in self.keys

    def image(self, image: Image) -> Image:
        return replace(image, labels=self.labels(image.labels))

    def labels(self, labels: Iterable[Label]) -> tuple[Label, ...]:
        """Those that may be seen, without the names of others among their parents and aliases."""
        return tuple(self._told(label) for label in labels if not self.hides(label.name))

    def summary(self, summary: Summary) -> Summary:
        shown = (label for label in summary.top_labels if not self.hides(label.name))
        return replace(summary, top_labels=tuple(shown))

    def _told(self, label: Label) -> Label:
        return replace(label, parents=self._shown(label.parents), aliases=self._shown(label.aliases))

    def _shown(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in names if not self.hides(name))
