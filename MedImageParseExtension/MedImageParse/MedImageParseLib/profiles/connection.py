"""From what a person names (a URL or a profile, and options over it) to a connection that is allowed to send."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..signin.auth import key_file_warning
from ..signin.methods import choose_sign_in, make_auth
from ..transport.audit import AuditLog
from ..transport.client import EndpointClient
from ..transport.retry import RetryPolicy
from ..transport.watch import Timeouts
from .consent import ConsentStore, require_consent
from .profiles import Profile, ProfileStore

if TYPE_CHECKING:
    from ..progress import Cancellation
    from ..signin.entra import Prompt


def connect(
    endpoint: str | None = None,
    profile: str | Profile | None = None,
    *,
    model: str = "",
    dialect: str = "",
    auth: str = "",
    key: str = "",
    key_file: str | os.PathLike = "",
    deployment: str = "",
    timeout: float | None = None,
    retries: int | None = None,
    ca_bundle: str = "",
    consent: bool = False,
    sends_image_data: bool = True,
    show_device_code: Prompt | None = None,
    cancellation: Cancellation | None = None,
) -> EndpointClient:
    """A connection to an endpoint.

    Args:
        endpoint: scoring URL; or `profile`: a Profile or the name of a stored one. Exactly one of them.
        model: the model that will be asked, "" or "auto" where that is open; a profile for another model is refused.
        dialect, deployment, ca_bundle: override the profile's.
        auth: "none", "key", "aml-token" or "entra"; key: from a password field; key_file: file that holds it.
        timeout: seconds from the last byte sent to the last received, per try. retries: total tries.
        consent: the person agrees, now and for later, that image data goes to this host.
        sends_image_data: False for a probe, which needs no consent.
        show_device_code: shows a person where to enter a device code. cancellation: ends waiting for that.

    Raises:
        UsageError, ConsentError, InputError (key file), SignInError; each with one sentence.
    """
    if bool(endpoint) == bool(profile):
        raise UsageError("Say where to send: the URL of an endpoint or the name of a profile, one of the two.")
    if isinstance(profile, str):
        profile = ProfileStore().get(profile)
    elif profile is None:
        profile = Profile(name="", url=str(endpoint))
    how = choose_sign_in(profile if profile.name else None, auth, given=bool(key or key_file))
    if profile.model and model not in ("", "auto", profile.model):
        raise UsageError(f'The profile "{profile.name}" is for {profile.model}, not for {model}; choose another profile.')
    _check_numbers(timeout, retries)
    changes = {"dialect": dialect, "deployment": deployment, "ca_bundle": ca_bundle, "reply_timeout_s": timeout, "tries": retries}
    profile = dataclasses.replace(profile, **{name: value for name, value in changes.items() if value})
    client = EndpointClient(
        profile.url,
        auth=make_auth(profile, auth=how, key=key, key_file=key_file, prompt=show_device_code, cancellation=cancellation),
        dialect=profile.dialect,
        deployment=profile.deployment,
        timeouts=Timeouts(profile.connect_timeout_s, profile.reply_timeout_s),
        retry=RetryPolicy(tries=profile.tries),
        ca_bundle=profile.ca_bundle,
        proxy=profile.proxy,
        allow_plain_http=profile.allow_plain_http,
        body_limit=profile.body_limit,
        max_in_flight=profile.max_in_flight,
        audit=AuditLog(),
    )
    if key_file and (sentence := key_file_warning(key_file)):
        client.warnings.append(sentence)
    granted = consent or (profile.consent and not ca_bundle)  # what the profile agrees to, it agrees to for its own certificates
    _require_consent(profile, client, granted, sends_image_data, signs_in=how != "none")
    return client


def _require_consent(profile: Profile, client: EndpointClient, granted: bool, sends_image_data: bool, signs_in: bool) -> None:
    """Image data needs the person's yes for the host, and so does a sign-in.

    Only for a host of Azure ML that was typed, where keys and tokens of endpoints are at home, a sign-in is not asked about: a stored
    profile may have been written by somebody else, and a key in the environment may be meant for another host.
    """
    asks = signs_in and bool(profile.name or profile.route or not client.address.is_azure_ml)
    require_consent(
        profile.url, granted, ConsentStore(), images=sends_image_data, signs_in=asks, proxy=profile.proxy, ca_bundle=profile.ca_bundle
    )


def _check_numbers(timeout: float | None, retries: int | None) -> None:
    if timeout is not None and not 0 < timeout < 1e6:
        raise UsageError("The timeout must be a number of seconds above 0.")
    if retries is not None and retries < 1:
        raise UsageError("The number of tries must be at least 1 (the first one counts).")
