"""The options of a connection, written once: `connect`, every function that sends, and every command take them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ..options import option
from ..signin.auth import SIGN_INS
from .profiles import DIALECTS

_GROUP = "endpoint"


@dataclass(frozen=True)
class ConnectionOptions:
    """How to reach an endpoint and to sign in; what is left out is the profile's."""

    dialect: str = option(
        "", help="how it is spoken to; by default auto: /invocations is mlflow, anything else azureml", choices=DIALECTS, group=_GROUP
    )
    auth: str = option(
        "", help="how to sign in; a key or token comes from MEDIMAGEPARSE_KEY or a key file", choices=tuple(SIGN_INS), group=_GROUP
    )
    key: str = option("", help="key or token from a password field", on_command_line=False)
    key_file: str | os.PathLike = option("", help="file that holds the key or token", metavar="FILE", group=_GROUP)
    deployment: str = option("", help="sent as azureml-model-deployment", metavar="NAME", group=_GROUP)
    timeout: float | None = option(
        None,
        help="seconds from the last byte sent to the last received, per try (default 190; for a local engine what it says it needs)",
        metavar="S",
        group=_GROUP,
    )
    retries: int | None = option(None, help="total tries, the first included (default 5)", metavar="N", group=_GROUP)
    ca_bundle: str = option("", help="extra certificate authorities (PEM)", metavar="FILE", group=_GROUP)
    consent: bool = option(
        False,
        help="yes, image data (and the key, if one is used) may go to this host (needed once per host that is not loopback)",
        group=_GROUP,
    )
    show_device_code: Callable[[str, str, datetime], None] | None = option(
        None, help="shows a person where to enter a device code", on_command_line=False
    )
