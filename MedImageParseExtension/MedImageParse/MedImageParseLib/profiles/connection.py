"""From what a person names (a URL or a profile, and options over it) to a connection that is allowed to send."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..options import spread
from ..signin.auth import key_file_warning
from ..signin.methods import choose_sign_in, make_auth
from ..transport.audit import AuditLog
from ..transport.client import EndpointClient
from ..transport.retry import RetryPolicy
from ..transport.watch import Timeouts
from .consent import ConsentStore, require_consent
from .options import ConnectionOptions
from .profiles import Profile, ProfileStore

if TYPE_CHECKING:
    from ..progress import Cancellation


@spread
def connect(
    endpoint: str | None = None,
    profile: str | Profile | None = None,
    *,
    model: str = "",
    sends_image_data: bool = True,
    options: ConnectionOptions,
    cancellation: Cancellation | None = None,
) -> EndpointClient:
    """A connection to an endpoint.

    Args:
        endpoint: scoring URL; either this or `profile`, not both.
        profile: a Profile, or the name of a stored one.
        model: the model that will be asked, "" or "auto" where that is open; a profile for another model is refused.
        sends_image_data: False for a probe, which needs no consent.
        options: how to reach it and to sign in; each of its fields is a keyword too.
        cancellation: ends waiting for a device code.

    Raises:
        UsageError, ConsentError, InputError (key file), SignInError; each with one sentence.
    """
    if bool(endpoint) == bool(profile):
        raise UsageError("Say where to send: the URL of an endpoint or the name of a profile, one of the two.")
    if isinstance(profile, str):
        profile = ProfileStore().get(profile)
    elif profile is None:
        profile = Profile(name="", url=str(endpoint))
    how = choose_sign_in(profile if profile.name else None, options.auth, given=bool(options.key or options.key_file))
    if profile.model and model not in ("", "auto", profile.model):
        raise UsageError(
            'The profile "{name}" is for {model}, not for {model2}; choose another profile.',
            name=profile.name,
            model=profile.model,
            model2=model,
        )
    _check_numbers(options.timeout, options.retries)
    changes = {name: getattr(options, name) for name in ("dialect", "deployment", "ca_bundle")}
    changes |= {"reply_timeout_s": options.timeout, "tries": options.retries}
    profile = dataclasses.replace(profile, **{name: value for name, value in changes.items() if value})
    client = EndpointClient(
        profile.url,
        auth=make_auth(
            profile, auth=how, key=options.key, key_file=options.key_file, prompt=options.show_device_code, cancellation=cancellation
        ),
        dialect=profile.dialect,
        deployment=profile.deployment,
        timeouts=Timeouts(
            profile.connect_timeout_s,
            profile.reply_timeout_s,
            is_chosen=options.timeout is not None or profile.reply_timeout_s != Timeouts().reply,
        ),
        retry=RetryPolicy(tries=profile.tries),
        ca_bundle=profile.ca_bundle,
        proxy=profile.proxy,
        allow_plain_http=profile.allow_plain_http,
        body_limit=profile.body_limit,
        max_in_flight=profile.max_in_flight,
        audit=AuditLog(),
    )
    if options.key_file and (sentence := key_file_warning(options.key_file)):
        client.warnings.append(sentence)
    granted = options.consent or (
        profile.consent and not options.ca_bundle
    )  # what the profile agrees to, it agrees to for its own certificates
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
