"""Use case: no picture is paid for twice. What detectors saw in some bytes serves wherever these come again.

Results go by SHA-256, and never by MD5, of which ETags are made: whoever forges two pictures of the same MD5
lets one pass for the other. What fails here costs calls to detectors, and no picture its answer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from chalicelib import log
from chalicelib.contents import Contents
from chalicelib.errors import Retryable
from chalicelib.model import Detector, Findings, Recipe, StoredObject
from chalicelib.state import State

LIFE = timedelta(days=30)
MODELS, NEWEST = "models", "newest"


@dataclass(frozen=True)
class Result:
    """What all the detectors of a recipe saw, and in which version of which object."""

    source_file: str
    version: str
    findings: Findings

    def lender_to(self, found: StoredObject) -> str | None:
        """The object whose result it is; None where it is that very version's own."""
        is_own = (self.source_file, self.version) == (found.key, found.version)
        return None if is_own else self.source_file


@dataclass(frozen=True)
class Models:
    """The newest model that an answer of each detector was from."""

    labels: str | None = None
    moderation: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class Reuse:
    state: State

    def find(self, contents: Contents, recipe: Recipe) -> Result | None:
        """What was seen in the same bytes by the same recipe, and by models that are still the newest.

        Raises what Contents does.
        """
        if not _is_pinned(contents.found):
            return None
        name = _name(contents.sha256)
        try:
            result = self.state.get(name, recipe.fingerprint, Result)
            return result if result and self._is_of_today(result.findings.model_versions) else None
        except Retryable as failure:
            log.failed(failure, image=contents.found.key, reuse="not_looked_up")
            return None

    def keep(self, contents: Contents, recipe: Recipe, findings: Findings) -> None:
        """What was seen, unless some of it is missing; any answer may show a newer model."""
        try:
            self._note(findings.model_versions)
            if _is_whole(findings, recipe) and _is_pinned(contents.found):
                result = Result(contents.found.key, contents.found.version, findings)
                self.state.put(_name(contents.sha256), recipe.fingerprint, result, LIFE)
        except Exception as failure:  # noqa: BLE001 - it is paid for, and must not be lost over this
            log.failed(failure, image=contents.found.key, reuse="not_kept")

    def _is_of_today(self, versions: Mapping[str, str]) -> bool:
        newest = self._newest()
        return all(version == newest.get(name, version) for name, version in versions.items())

    def _note(self, versions: Mapping[str, str]) -> None:
        newest = self._newest()
        newer = {
            name: version for name, version in versions.items() if _is_newer(version, newest.get(name, ""))
        }
        if newer:
            self.state.set(MODELS, NEWEST, newer, LIFE)

    def _newest(self) -> dict[str, str]:
        models = self.state.get(MODELS, NEWEST, Models) or Models()
        return {name: version for name, version in vars(models).items() if version}


def _is_whole(findings: Findings, recipe: Recipe) -> bool:
    """Nothing is missing, and nothing of an unknown model: what comes out of quarantine may be of any age."""
    with_models = recipe.detectors - {Detector.PROPERTIES}
    return recipe.detectors <= findings.told and with_models <= findings.model_versions.keys()


def _is_pinned(found: StoredObject) -> bool:
    """Whether all see the same bytes: without a version, Rekognition may see others than were hashed."""
    return found.version_id is not None


def _name(sha256: str) -> str:
    return f"reuse#{sha256}"


def _is_newer(version: str, than: str) -> bool:
    """By their numbers; while AWS changes models, answers of both come for some time."""
    return version != than and _numbers(version) >= _numbers(than)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall("[0-9]+", version)]
