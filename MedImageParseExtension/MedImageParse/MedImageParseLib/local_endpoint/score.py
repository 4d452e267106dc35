"""Entry script of a local engine (the classical demo engine, or the one named in MEDIMAGEPARSE_ENGINE), in the form that Azure ML's inference server loads: init() once, run(body) for each request.

Example:
    azmlinfsrv --entry_script score.py --port 5001

That server listens on every network interface; use `medimageparse serve` instead, which listens on this computer only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Loaded by file name from anywhere: the package must be found by its own place.
_LIBRARY = Path(__file__).resolve().parents[2]
if str(_LIBRARY) not in sys.path:
    sys.path.insert(0, str(_LIBRARY))

from MedImageParseLib.engines.hosting import Host  # noqa: E402
from MedImageParseLib.engines.interface import EngineError  # noqa: E402
from MedImageParseLib.engines.store import find_engine  # noqa: E402
from MedImageParseLib.local_endpoint import protocol  # noqa: E402
from MedImageParseLib.local_endpoint.server_requests import engine_status  # noqa: E402
from MedImageParseLib.models import LOCAL_NAMES  # noqa: E402

_engine: list[Host] = []


def init() -> None:
    """Start the engine, so that the first request does not wait for it."""
    _engine[:] = [find_engine(os.environ.get("MEDIMAGEPARSE_ENGINE", "")).start()]


def run(raw_data: str) -> object:
    """Answer one request body. Which model is asked for is in the header x-medimageparse-model, or follows from the body.

    Args:
        raw_data: the body, JSON text.

    Returns:
        the reply as lists and dictionaries; under Azure ML's server a response of status 400 for what the engine does not offer, because
        an exception would reach the client as a general failure that does not say why.

    Raises:
        BadRequest, and NotOffered or EngineError where no Azure ML server hosts this script.
    """
    if not _engine:
        init()
    flask = sys.modules.get("flask")
    request = flask.request if flask is not None and flask.has_request_context() else None
    model = request.headers.get(protocol.MODEL_HEADER, "") if request else ""
    try:
        return protocol.answer_score(raw_data, model if model in LOCAL_NAMES else "", _engine[0])
    except (protocol.NotOffered, EngineError) as refusal:
        if request is None:
            raise
        from azureml_inference_server_http.api.aml_response import AMLResponse

        status = engine_status(refusal)[0] if isinstance(refusal, EngineError) else 400
        return AMLResponse({"message": str(refusal)}, status, json_str=True)
