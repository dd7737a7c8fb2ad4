"""moto's server."""

from functools import cache
from typing import Any

import moto.backends
import moto.core.responses
import moto.core.serialize
import moto.moto_server.werkzeug_app as moto_server

from local_cloud.moto_patches.mending import Function, mend


def apply() -> None:
    moto_server.DISABLE_GLOBAL_CORS = True  # S3 answers CORS by the bucket's own rules only
    moto_server.BackendRequest.want_form_data_parsed = property(_want_form_data_parsed)
    # What each request asked again: moto's folders, the methods of a class, the names that a field may have.
    moto.backends.list_of_moto_modules = _modules
    moto.core.responses.method_names_from_class = _methods
    mend(moto.core.serialize.XFormedAttributePicker, "get_possible_keys", _get_possible_keys)


def _want_form_data_parsed(self: Any) -> bool:
    """The body of a PUT is the object, whatever its type says; curl calls every body a form."""
    return bool(self.environ.get("CONTENT_TYPE")) and self.method != "PUT"


_list_modules, _list_methods = moto.backends.list_of_moto_modules, moto.core.responses.method_names_from_class


@cache
def _modules() -> tuple[str, ...]:
    return tuple(_list_modules())


@cache
def _methods(its_class: type) -> frozenset[str]:
    return frozenset(_list_methods(its_class))


def _get_possible_keys(original: Function) -> Function:
    """They follow from the field and from the class of what has it."""
    known: dict[Any, tuple[str, ...]] = {}

    def get_possible_keys(self: Any, context: Any) -> tuple[str, ...]:
        shape = context.shape
        parent = getattr(shape, "parent", None)
        field = (
            context.service_model.service_name,
            parent and parent.name,
            context.key,
            shape and shape.name,
        )
        question = (type(self), type(context.obj), *field)
        if question not in known:
            known[question] = tuple(original(self, context))
        return known[question]

    return get_possible_keys
