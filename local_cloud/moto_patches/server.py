"""moto's server."""

from functools import cache
from typing import Any

import moto.backends
import moto.core.responses
import moto.moto_server.werkzeug_app as moto_server


def apply() -> None:
    moto_server.DISABLE_GLOBAL_CORS = True  # S3 answers CORS by the bucket's own rules only
    moto_server.BackendRequest.want_form_data_parsed = property(_want_form_data_parsed)
    # Each request looked through moto's folders for its services, and through a class for its methods.
    moto.backends.list_of_moto_modules = _modules
    moto.core.responses.method_names_from_class = _methods


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
