"""Sign-in: from a profile, or from what was typed, to the AuthProvider that the client sends with.

    none        nothing is sent
    key         the endpoint's key: given, from a file, from MEDIMAGEPARSE_KEY, from the keyring, or read through Azure Resource Manager
    aml-token   an Azure ML token from the same places; where the profile knows the endpoint's resource id, a new one is fetched in time
    entra       a Microsoft Entra token for the scope https://ml.azure.com/.default

Source: learn.microsoft.com/azure/machine-learning/how-to-authenticate-online-endpoint. All three go as `Authorization: Bearer …`.
"""

from __future__ import annotations

import os
import threading

from ..errors import UsageError
from ..profiles.profiles import AZURE_ML_SCOPES, DEFAULT_SCOPE, Profile
from ..progress import Cancellation
from ..redaction import redactor
from ..remedies import GIVE_KEY, NAME_SCOPE
from .auth import (
    SIGN_INS,
    AuthProvider,
    NoAuth,
    RefreshingToken,
    SignInError,
    StaticKey,
    Token,
    clean_key,
    environment_key,
    load_from_keyring,
    read_key_file,
    session_keys,
    token_from_text,
)
from .entra import EntraOptions, EntraSession, Prompt

__all__ = ["SignInError", "choose_sign_in", "entra_options", "entra_session", "make_auth", "sign_out"]

_HOW_TO_GET_ONE = "`az ml online-endpoint get-credentials` or the endpoint's page in Azure ML studio shows it"
_sessions: dict[EntraOptions, EntraSession] = {}
_read_through_azure: dict[tuple[EntraSession, str, str, str], RefreshingToken] = {}
_sessions_lock = threading.Lock()


def make_auth(
    profile: Profile | None = None,
    *,
    auth: str = "",
    key: str = "",
    key_file: str | os.PathLike[str] = "",
    method: str = "",
    prompt: Prompt | None = None,
    cancellation: Cancellation | None = None,
) -> AuthProvider:
    """What the client signs its requests with.

    Args:
        profile: whose sign-in to use; None for an endpoint that was only typed.
        auth: overrules the profile: one of SIGN_INS.
        key: the key or token itself, as a panel or a notebook has it. Never from a command line.
        key_file: a file that holds it.
        method: overrules the profile's way to sign in to Entra: one of ENTRA_METHODS.
        prompt: shows a person where to enter a device code.
        cancellation: ends the waiting for a person; so ask for each job anew, which costs nothing and prompts nobody twice.

    Raises:
        UsageError: no key where one is needed, one that is none, or an unknown choice; azure-identity is needed and missing.
        InputError: the key file cannot be read. A sign-in itself happens with the first request, not here.

    Examples:
        >>> make_auth(auth="none").header()
        ''
    """
    how = choose_sign_in(profile, auth, given=bool(key or key_file))
    if how == "none":
        return NoAuth()
    if how == "entra":
        scope = _checked_scope(profile) if profile else DEFAULT_SCOPE
        return entra_session(entra_options(profile, method), prompt, cancellation).auth(scope)
    secret = _find_key(profile, key, key_file)
    if profile is not None and profile.resource_id and (how == "aml-token" or not secret):
        session = entra_session(entra_options(profile, method), prompt, cancellation)
        return _from_control_plane(profile, session, how, token_from_text(secret) if secret else None)
    if not secret:
        what = "key" if how == "key" else "token"
        raise UsageError(
            "The endpoint asks for a {what} and none was given: {give_key} ({how_to_get_one}).",
            what=what,
            give_key=GIVE_KEY,
            how_to_get_one=_HOW_TO_GET_ONE,
        )
    return StaticKey(secret) if how == "key" else _aml_token(secret, key_file)


def choose_sign_in(profile: Profile | None, auth: str = "", *, given: bool = False) -> str:
    """Which of SIGN_INS applies: what was asked for, else the profile's, else a key where one is given or set, else none.

    Args:
        profile: the stored profile that is used, None for an endpoint that was only typed.
        auth: one of SIGN_INS where somebody asked for it, "" else.
        given: a key or a key file was given on purpose.

    Raises:
        UsageError: `auth` is none of SIGN_INS.
    """
    if auth:
        if auth not in SIGN_INS:
            raise UsageError('"{auth}" is not a way to sign in: choose one of {listed}.', auth=auth, listed=", ".join(SIGN_INS))
        return auth
    if profile is not None and (profile.sign_in != "none" or not given):
        return profile.sign_in
    return "key" if given or environment_key() else "none"


def entra_options(profile: Profile | None, method: str = "") -> EntraOptions:
    """The Entra part of a profile; None means the default chain in the public cloud."""
    if profile is None:
        return EntraOptions(method or "default")
    return EntraOptions(
        method or profile.entra_method, profile.tenant_id, profile.client_id, profile.authority,
        profile.allow_other_authority, profile.ca_bundle, profile.proxy,
    )  # fmt: skip


def entra_session(options: EntraOptions, prompt: Prompt | None = None, cancellation: Cancellation | None = None) -> EntraSession:
    """The sign-in for these options: one in the whole program, so that a person who signed in is not asked again."""
    with _sessions_lock:
        session = _sessions.setdefault(options, EntraSession(options))
    session.attend(prompt, cancellation)
    return session


def sign_out() -> None:
    """Forget every Entra sign-in and every typed key of this session. What is in a keyring stays there."""
    with _sessions_lock:
        _sessions.clear()
        _read_through_azure.clear()
    session_keys.forget()


def _find_key(profile: Profile | None, key: str, key_file: str | os.PathLike[str]) -> str:
    """The nearest source wins: given now, typed earlier in this session, the file, the environment, the keyring; "" if none has it."""
    if key:
        return clean_key(key, "The key")
    if key_file:
        return read_key_file(key_file)
    if profile is not None and (typed := session_keys.recall(profile.name, profile.url, profile.route)):
        return typed
    if from_environment := environment_key():
        return from_environment
    if profile is not None and profile.key_in_keyring:
        return load_from_keyring(profile.name, profile.url, profile.route)
    return ""


def _checked_scope(profile: Profile) -> str:
    """A token for another audience would open whatever that is to whoever runs the profile's host."""
    if profile.scope not in AZURE_ML_SCOPES and not profile.allow_other_scope:
        raise UsageError(
            'The profile "{name}" asks Entra for a token for {scope}, which is not Azure ML\'s, and its host would get '
            "it: if you trust that host with it, {name_scope}.",
            name=profile.name,
            scope=redactor.quote(profile.scope, 100),
            name_scope=NAME_SCOPE,
        )
    return profile.scope


def _aml_token(value: str, key_file: str | os.PathLike[str]) -> RefreshingToken:
    """A token that nobody can renew, except by writing a newer one into its file."""

    def again(force: bool) -> Token:
        token = token_from_text(read_key_file(key_file) if key_file else value)
        if token.expires_at <= token.fetched_at and not force:
            raise SignInError(
                "The Azure ML token has expired, by this computer's clock: get a new one ({how_to_get_one}).",
                how_to_get_one=_HOW_TO_GET_ONE,
            )
        return token

    return RefreshingToken(again, token_from_text(value))


def _from_control_plane(profile: Profile, session: EntraSession, how: str, first: Token | None) -> RefreshingToken:
    """A key or a token that the person's Entra sign-in may read from Azure Resource Manager; it stays in memory, for all later jobs too."""

    def read() -> Token:
        from ..azure.resource_manager import ResourceManager, arm_scope

        auth = session.auth(arm_scope(profile.arm_url))
        manager = ResourceManager(auth, profile.arm_url, ca_bundle=profile.ca_bundle, proxy=profile.proxy)
        return Token(manager.endpoint_key(profile.resource_id)) if how == "key" else manager.endpoint_token(profile.resource_id)

    def fetch(_force: bool) -> Token:
        return session.interruptibly(read)

    if first is not None:
        return RefreshingToken(fetch, first)
    with _sessions_lock:
        return _read_through_azure.setdefault((session, how, profile.arm_url, profile.resource_id), RefreshingToken(fetch))
