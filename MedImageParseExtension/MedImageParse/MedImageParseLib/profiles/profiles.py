"""Endpoint profiles: where an endpoint is and how to reach it, kept as one JSON file and never with a secret in it.

The file is `profiles.json` in the user's configuration folder:
`{"schema": 1, "profiles": [{"name": …, "url": …, …}, …]}`. Who protects what: `ProfileStore` is the only writer; it takes a lock,
reads the file again, changes it, and replaces it in one step, so that neither a crash nor a second window loses a profile. Fields
that this version does not know are kept; a file from a newer version is not touched; a damaged one is put aside, not overwritten.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..configuration import configuration_folder
from ..errors import InputError, UsageError
from ..models import MODEL_NAMES
from ..redaction import holds_web_token, is_plain, plain, redactor
from ..remedies import CHOOSE_CLASH, KEY_NOT_IN_PROFILE, Sentence
from ..signin.auth import SIGN_INS, origin
from ..transport.address import DIALECTS, checked_host, parse_address
from .document import SCHEMA, held, load_document, parse_document, write_document
from .sharing import PERSONAL, check_export, check_trust, describe_place, is_demo_name, received

FILE_NAME = "profiles.json"
MODELS = tuple(MODEL_NAMES)
ENTRA_METHODS = ("browser", "device-code", "azure-cli", "managed-identity", "environment", "default")
# The audience of Azure ML's scoring front end; management.azure.com tokens are refused there (endpoints in other clouds have their own).
DEFAULT_SCOPE = "https://ml.azure.com/.default"
# Source: the endpoint document of this project; the other two are the US government's cloud and the one in China.
AZURE_ML_SCOPES = frozenset((DEFAULT_SCOPE, "https://ml.azure.us/.default", "https://ml.azure.cn/.default"))
DEFAULT_ARM_URL = "https://management.azure.com"
# nginx in Azure ML's inference container: client_max_body_size 100m.
DEFAULT_BODY_LIMIT = 100 * 1024 * 1024
LOCAL_DEMO = "Local demo"
_MOST_IMPORTED = 1000

_SECRET_WORDS = frozenset(
    ("key", "keys", "apikey", "secret", "secrets", "token", "tokens", "password", "passwd", "pwd", "passphrase", "credential",
     "credentials", "bearer", "authorization", "sas", "signature")
)  # fmt: skip
_SECRET_QUERY = _SECRET_WORDS | {"code", "sig"}
_BEARER = re.compile(r"\s*bearer\s+\S", re.IGNORECASE)
_DEEPEST = 20  # objects and lists inside one another, of a field that this version does not know
_QUOTED = 60  # characters of a value that a sentence repeats


@dataclass(slots=True)
class Profile:
    """One endpoint and the way to it. Holds no key, token or password.

    Attributes:
        name: what the person calls it.
        url: scoring URL, e.g. `https://NAME.REGION.inference.ml.azure.com/score`.
        model: one of MODELS; "" where any model may be asked for.
        dialect: "auto", "azureml" or "mlflow".
        deployment: sent as azureml-model-deployment; "" leaves the choice to the endpoint's traffic rules.
        sign_in: a key of signin.auth.SIGN_INS.
        entra_method: one of ENTRA_METHODS.
        scope: what an Entra token is asked for.
        allow_other_scope: the person vouches for a scope that is not one of Azure ML's.
        authority: sign-in host of another cloud, e.g. "login.microsoftonline.us"; "" is the public cloud (or AZURE_AUTHORITY_HOST).
        allow_other_authority: the person vouches for an authority that is not one of Microsoft's.
        tenant_id: Entra tenant; "" lets Entra choose.
        client_id: Entra application, or the id of a user-assigned managed identity.
        key_in_keyring: the person keeps this profile's key in the operating system's keyring.
        resource_id: Azure resource id of the online endpoint, through which a key or an AML token can be read.
        arm_url: base URL of Azure Resource Manager.
        ca_bundle: PEM file of extra certificate authorities.
        proxy: proxy URL without user name and password; "" takes the environment's.
        connect_timeout_s: seconds to connect.
        reply_timeout_s: seconds from the last byte sent to the last byte received.
        tries: how often a request is sent at most, the first included.
        body_limit: bytes of the largest request body.
        allow_plain_http: plain http to a host that is not loopback is allowed.
        consent: image data may go to this host.
        max_in_flight: requests under way at once at most.
        unknown: fields of the file that this version does not know, kept for the one that does.
    """

    name: str
    url: str
    model: str = ""
    dialect: str = "auto"
    deployment: str = ""
    sign_in: str = "none"
    entra_method: str = "default"
    scope: str = DEFAULT_SCOPE
    allow_other_scope: bool = False
    authority: str = ""
    allow_other_authority: bool = False
    tenant_id: str = ""
    client_id: str = ""
    key_in_keyring: bool = False
    resource_id: str = ""
    arm_url: str = DEFAULT_ARM_URL
    ca_bundle: str = ""
    proxy: str = ""
    connect_timeout_s: float = 10.0
    reply_timeout_s: float = 190.0
    tries: int = 5
    body_limit: int = DEFAULT_BODY_LIMIT
    allow_plain_http: bool = False
    consent: bool = False
    max_in_flight: int = 2
    unknown: dict[str, Any] = field(default_factory=dict)

    def validate(self) -> None:
        """Raises UsageError with the first thing that is wrong: an unknown choice, a bad URL, a number out of range, a secret."""
        where = Sentence('Profile "{name}"', name=self.name)
        if not self.name.strip() or len(self.name) > 100 or not self.name.isprintable() or not is_plain(self.name):
            raise UsageError("A profile needs a name of 1 to 100 printable characters.")
        for attribute, choices in (("model", ("", *MODELS)), ("dialect", DIALECTS), ("sign_in", SIGN_INS), ("entra_method", ENTRA_METHODS)):
            if getattr(self, attribute) not in choices:
                listed = ", ".join(choice for choice in choices if choice)
                raise UsageError(
                    '{where}: {attribute} is "{value}", but has to be one of {listed}.',
                    where=where,
                    attribute=attribute,
                    value=redactor.quote(getattr(self, attribute), _QUOTED),
                    listed=listed,
                )
        for attribute, least, most in (
            ("connect_timeout_s", 0.1, 3600),
            ("reply_timeout_s", 0.1, 86400),
            ("tries", 1, 100),
            ("body_limit", 1024, 2**40),
            ("max_in_flight", 1, 1000),
        ):
            if not least <= getattr(self, attribute) <= most:
                raise UsageError(
                    "{where}: {attribute} is {value}, but has to be between {least} and {most}.",
                    where=where,
                    attribute=attribute,
                    value=redactor.quote(str(getattr(self, attribute)), _QUOTED),
                    least=least,
                    most=most,
                )
        _check_url(where, "url", self.url)
        _check_url(where, "arm_url", self.arm_url, schemes=("https",))
        if self.proxy:
            _check_url(where, "proxy", self.proxy, schemes=("http", "https", "socks5", "socks5h"))
        for attribute, value in self.to_json().items():
            _refuse_secret(where, attribute, value, known=attribute in _FIELDS)

    @property
    def route(self) -> str:
        """The way to the host, as far as this profile changes it: a key that was given for one way is not used on another. "" for none."""
        ways = (
            Sentence("proxy {proxy}", proxy=self.proxy) if self.proxy else "",
            Sentence("certificates {ca_bundle}", ca_bundle=self.ca_bundle) if self.ca_bundle else "",
        )
        return ", ".join(way for way in ways if way)

    def edited(self, **values: Any) -> Profile:
        """The profile with other values. Consent that was given for another host or way to it is not carried over, nor is the Azure
        resource whose key would then go to another host.

        Args:
            values: fields by name.
        """
        changed = dataclasses.replace(self, **values)
        if (changed.url, changed.route, changed.allow_plain_http) != (self.url, self.route, self.allow_plain_http):
            changed.consent = False
        if origin(changed.url) != origin(self.url) and changed.resource_id == self.resource_id:
            changed.resource_id = ""
        return changed

    def to_json(self) -> dict[str, Any]:
        """The profile as the file holds it: known fields first, then those kept for a version that knows them."""
        known = {name: getattr(self, name) for name in _FIELDS}
        return known | {name: value for name, value in self.unknown.items() if name not in known}

    @classmethod
    def from_json(cls, data: Any) -> Profile:
        """A checked profile out of one entry of the file.

        Raises:
            UsageError: not an object, no name or URL, a field of the wrong type, or anything that `validate` refuses.
        """
        if not isinstance(data, dict) or not isinstance(data.get("name"), str) or not isinstance(data.get("url"), str):
            raise UsageError("A profile has to be a JSON object with at least a name and a url.")
        values: dict[str, Any] = {}
        for name, value in data.items():
            if name not in _FIELDS:
                continue
            kind = _FIELDS[name]
            right = isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))
            if not right:
                raise UsageError(
                    'Profile "{data}": {name} has to be {kind_words}.',
                    data=redactor.quote(data["name"], 100),
                    name=name,
                    kind_words=_KIND_WORDS[kind],
                )
            values[name] = value
        profile = cls(**values, unknown={name: value for name, value in data.items() if name not in _FIELDS})
        profile.validate()
        profile.url = shown_url(profile.url)
        return profile


_TYPES: dict[str, type] = {"str": str, "bool": bool, "float": float, "int": int}
_FIELDS: dict[str, type] = {item.name: _TYPES[str(item.type)] for item in dataclasses.fields(Profile) if item.name != "unknown"}
_KIND_WORDS = {str: "text", bool: Sentence("true or false"), float: Sentence("a number"), int: Sentence("a whole number")}


def local_demo() -> Profile:
    """The profile that is always there: the endpoint that `medimageparse serve` starts on this computer, good for every model."""
    return Profile(name=LOCAL_DEMO, url="http://127.0.0.1:5001/score")


@dataclass(slots=True)
class Imported:
    """What an import brought.

    Attributes:
        names: the profiles as they are called now.
        notes: sentences about what changed on the way, and which host each profile sends to.
        left_out: names in sharing.TRUST_SETTINGS of what the file wanted and did not get.
    """

    names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


class ProfileStore:
    """The profiles of one person, in one file.

    Examples:
        >>> store = ProfileStore()                                        # doctest: +SKIP
        >>> store.add(Profile("Ward 3", "https://ward3.example/score", model="medimageparse3d", sign_in="key"))  # doctest: +SKIP
        >>> [profile.name for profile in store.profiles()]                    # doctest: +SKIP
        ['Local demo', 'Ward 3']
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        if folder is None:
            folder = configuration_folder()
        self.path = Path(folder) / FILE_NAME

    def profiles(self) -> list[Profile]:
        """All profiles, "Local demo" first.

        Raises:
            InputError: the file is damaged (it has been put aside), from a newer version, or cannot be read.
            UsageError: an entry is wrong; the sentence names it and the file is untouched.
        """
        profiles = [Profile.from_json(entry) for entry in load_document(self.path)["profiles"] if not _is_false_demo(entry)]
        return profiles if any(profile.name == LOCAL_DEMO for profile in profiles) else [local_demo(), *profiles]

    def get(self, name: str) -> Profile:
        """The profile of that name. Raises UsageError, listing the known names, where there is none."""
        profiles = self.profiles()
        for profile in profiles:
            if profile.name == name:
                return profile
        known = ", ".join(profile.name for profile in profiles)
        raise UsageError('There is no profile "{name}"; the known ones are: {known}.', name=name, known=known)

    def add(self, profile: Profile, *, replace: bool = False) -> None:
        """Keep a profile.

        Raises:
            UsageError: the profile is wrong or holds what looks like a secret, or its name is taken and `replace` is False.
            InputError: the file cannot be read or written.
        """
        profile.validate()
        profile.url = shown_url(profile.url)
        if _is_false_demo(profile.to_json()):
            raise UsageError('"{local_demo}" always stays on this computer: give another endpoint another name.', local_demo=LOCAL_DEMO)
        if profile.name != LOCAL_DEMO and is_demo_name(profile.name, LOCAL_DEMO):
            raise UsageError('This name looks like the built-in "{local_demo}": choose another one.', local_demo=LOCAL_DEMO)

        def change(entries: list[dict[str, Any]]) -> None:
            place = _place_of(entries, profile.name)
            if place is None:
                entries.append(profile.to_json())
            elif replace:
                # What a newer version wrote there stays, as this one cannot know whether it still holds.
                entries[place] = entries[place] | profile.to_json()
            else:
                raise UsageError('There is already a profile "{name}": choose another name, or replace it on purpose.', name=profile.name)

        self._change(change)

    def remove(self, name: str) -> None:
        """Forget a profile. Raises UsageError where there is none of that name, or it is the built-in one."""

        def change(entries: list[dict[str, Any]]) -> None:
            place = _place_of(entries, name)
            if place is None:
                built_in = name == LOCAL_DEMO
                raise UsageError(
                    Sentence('"{local_demo}" is built in and cannot be removed.', local_demo=LOCAL_DEMO)
                    if built_in
                    else Sentence('There is no profile "{name}" to remove.', name=name)
                )
            del entries[place]

        self._change(change)

    def export(self, path: str | os.PathLike[str], names: Iterable[str] = ()) -> list[str]:
        """Write profiles to a file that a lab can hand around: no secret (there is none), and nobody's consent.

        Args:
            path: the file to write; an earlier export is replaced, any other file that is there is left alone.
            names: which profiles, all of the person's own where empty.

        Returns:
            the names written.
        """
        chosen = [self.get(name) for name in names] or [profile for profile in self.profiles() if profile != local_demo()]
        if not chosen:
            raise UsageError("There is no profile to export yet: add one first.")
        entries = [{key: value for key, value in profile.to_json().items() if key not in PERSONAL} for profile in chosen]
        check_export(Path(path), self.path, parse_document)
        write_document(Path(path), {"schema": SCHEMA, "profiles": entries})
        return [profile.name for profile in chosen]

    def import_file(self, path: str | os.PathLike[str], *, clash: str = "ask", trust: Collection[str] = ()) -> Imported:
        """Take over profiles that somebody exported. Whom to trust is not taken over (see sharing.py): it is each person's own decision.

        Args:
            path: the exported file.
            clash: where a name is taken: "ask" changes nothing and raises, "rename" gives the newcomer a number, "replace" overwrites.
                "Local demo" is never replaced.
            trust: names of sharing.TRUST_SETTINGS that are taken over all the same.

        Raises:
            UsageError: names clash and `clash` is "ask", or an entry is wrong; nothing is imported then.
            InputError: the file is missing, damaged or from a newer version.
        """
        if clash not in ("ask", "rename", "replace"):
            raise UsageError('Names that are taken can be handled by "ask", "rename" or "replace", not by "{clash}".', clash=clash)
        check_trust(trust)
        newcomers = []
        entries = parse_document(Path(path))["profiles"]
        if len(entries) > _MOST_IMPORTED:
            raise InputError("{name} holds more than {most} profiles: split it.", name=Path(path).name, most=_MOST_IMPORTED)
        for entry in entries:
            newcomers.append(Profile.from_json({key: value for key, value in entry.items() if key not in PERSONAL}))
        result = Imported()

        def change(entries: list[dict[str, Any]]) -> None:
            taken = {str(entry.get("name")) for entry in entries} | {LOCAL_DEMO}
            clashes = [profile.name for profile in newcomers if profile.name in taken]
            if clashes and clash == "ask":
                listed = ", ".join(f'"{name}"' for name in clashes)
                raise UsageError("These names are taken: {listed}; {choose_clash}.", listed=listed, choose_clash=CHOOSE_CLASH)
            for profile in newcomers:
                _take_in(profile, entries, taken, clash, trust, result)

        self._change(change)
        return result

    def _change(self, change: Callable[[list[dict[str, Any]]], None]) -> None:
        """Read, change and write under the lock, so that two writers do not undo each other."""
        with held(self.path):
            document = load_document(self.path)
            change(document["profiles"])
            write_document(self.path, document)


def _take_in(
    profile: Profile, entries: list[dict[str, Any]], taken: set[str], clash: str, trust: Collection[str], result: Imported
) -> None:
    old = profile.name
    is_demo = is_demo_name(old, LOCAL_DEMO)
    if is_demo or (old in taken and clash == "rename"):
        number = 2
        while f"{old} ({number})" in taken:
            number += 1
        profile.name = f"{old} ({number})"
        renamed = (
            '"{old}" is built in and stays as it is, so the imported one is called "{name}".'
            if is_demo
            else '"{old}" was taken, so the imported one is called "{name}".'
        )
        result.notes.append(Sentence(renamed, old=old, name=profile.name))
    place = _place_of(entries, profile.name)
    own = None if place is None else Profile.from_json(entries[place])
    kept, notes, left_out = received(profile, Profile(profile.name, profile.url), own, trust)
    kept.validate()
    if place is None:
        entries.append(kept.to_json())
    else:
        entries[place] = kept.to_json()
        result.notes.append(Sentence('"{old}" was replaced.', old=old))
    taken.add(kept.name)
    result.names.append(kept.name)
    result.left_out += [option for option in left_out if option not in result.left_out]
    result.notes += [*notes, describe_place(kept)]


def _is_false_demo(entry: Any) -> bool:
    """Whether an entry claims the built-in name for another computer, as files of earlier versions could; it is passed over."""
    if entry.get("name") != LOCAL_DEMO:
        return False
    try:
        return not parse_address(str(entry.get("url"))).is_loopback
    except UsageError:
        return True


def _place_of(entries: list[dict[str, Any]], name: str) -> int | None:
    return next((place for place, entry in enumerate(entries) if entry.get("name") == name), None)


def _check_url(where: str, attribute: str, url: str, schemes: tuple[str, ...] = ("https", "http")) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise UsageError("{where}: {attribute} is not a URL.", where=where, attribute=attribute) from error
    if parts.scheme not in schemes or not parts.hostname or "\\" in url or any(character.isspace() for character in url):
        raise UsageError(
            "{where}: {attribute} has to be a full URL that begins with {listed}.",
            where=where,
            attribute=attribute,
            listed=" or ".join(s + "://" for s in schemes),
        )
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "{where}: {attribute} holds a user name or a password; a profile keeps no secrets, so leave it out.",
            where=where,
            attribute=attribute,
        )
    if any(_is_secret_name(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise UsageError(
            "{where}: {attribute} holds a key in its query; a profile keeps no secrets, so leave it out.", where=where, attribute=attribute
        )
    checked_host(parts.hostname, f"{where}: {attribute}")
    if attribute == "url":
        parse_address(url, allow_plain_http=True)


def shown_url(url: str) -> str:
    """A URL with its host as it is called: a name in another script as punycode. What is plain already stays as it was typed."""
    return url if url.isascii() else parse_address(url, allow_plain_http=True).url


def _is_secret_name(name: str) -> bool:
    """Whether a parameter of a URL is called as a key is: `code`, `api-key`, `functionKey`, `access_token`."""
    lower = name.lower()
    return bool(set(re.split(r"[^a-z]+", lower)) & _SECRET_QUERY) or lower.endswith(("key", "token", "secret", "password"))


def _refuse_secret(where: str, name: str, value: Any, *, known: bool, depth: int = 0) -> None:
    """Secrets do not get in by a field's name (`primaryKey`) nor by its look (a JSON web token), however deep, nor do invisible letters."""
    if len(name) > 100 or depth > _DEEPEST:
        raise UsageError("{where}: a field of it has far too long a name, or too much inside; leave it out.", where=where)
    if not is_plain(name) or (isinstance(value, str) and not is_plain(value)):
        raise UsageError(
            "{where}: the field {name} holds a control or an invisible character; write it anew.", where=where, name=plain(name)[:40]
        )
    words = {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}
    looks_secret = not known and (words & _SECRET_WORDS or name.lower() in _SECRET_WORDS)
    if looks_secret or (isinstance(value, str) and (_BEARER.match(value) or holds_web_token(value))):
        raise UsageError(
            '{where}: the field "{name}" looks like a secret, which a profile never keeps; {key_not_in_profile}.',
            where=where,
            name=name,
            key_not_in_profile=KEY_NOT_IN_PROFILE,
        )
    if isinstance(value, dict):
        for inner, content in value.items():
            _refuse_secret(where, str(inner), content, known=False, depth=depth + 1)
    elif isinstance(value, list):
        for content in value:
            _refuse_secret(where, name, content, known=True, depth=depth + 1)
