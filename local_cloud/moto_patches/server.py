"""moto's server."""

from typing import Any

import moto.moto_server.werkzeug_app as moto_server


def apply() -> None:
    moto_server.DISABLE_GLOBAL_CORS = True  # S3 answers CORS by the bucket's own rules only
    moto_server.BackendRequest.want_form_data_parsed = property(_want_form_data_parsed)


def _want_form_data_parsed(self: Any) -> bool:
    """The body of a PUT is the object, whatever its type says; curl calls every body a form."""
    return bool(self.environ.get("CONTENT_TYPE")) and self.method != "PUT"
