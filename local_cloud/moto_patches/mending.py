"""How a method of moto's is mended: by each mending once, and around what it does."""

import functools
from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


def mend(owner: type, name: str, mending: Callable[[Function], Function]) -> None:
    original = getattr(owner, name)
    done = getattr(original, "mendings", ())
    if mending not in done:
        mended: Any = functools.wraps(original)(mending(original))
        mended.mendings = (*done, mending)
        is_static = isinstance(vars(owner).get(name), staticmethod | classmethod)
        setattr(owner, name, staticmethod(mended) if is_static else mended)


def mend_cloudformation(owner: type, configure: Callable[[Any, dict[str, Any]], None]) -> None:
    for name in ("create_from_cloudformation_json", "update_from_cloudformation_json"):
        original = getattr(owner, name)
        if not hasattr(original, "__wrapped__"):
            setattr(owner, name, classmethod(_then_configure(original, configure)))


def _then_configure(original: Function, configure: Callable[[Any, dict[str, Any]], None]) -> Function:
    @functools.wraps(original)
    def make(cls: type, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG001 - `original` is bound to it
        made = original(*args, **kwargs) or kwargs["original_resource"]
        properties = next(value for value in [*args, *kwargs.values()] if isinstance(value, dict))
        configure(made, properties.get("Properties", {}))
        return made

    vars(make).pop("__isabstractmethod__", None)  # by which moto knows that a table cannot be updated
    return make


def is_true(value: object) -> bool:
    return str(value).lower() == "true"
