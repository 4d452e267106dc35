"""What a profile that somebody else wrote may bring along, and what stays each person's own decision.

A file that is handed round says where an endpoint is. It does not say whom to trust: through which proxy images and keys travel, whose
certificates are accepted, whether they travel unencrypted, where the person signs in, what a token is good for, and which Azure resource
a key is read from. Those settings are left out of an import, and named, unless the person trusts them by name. Where a profile replaces
one for the same address, the person's own settings stay.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from ..errors import MedImageParseError, UsageError
from ..redaction import redactor, visible
from ..remedies import Sentence, joined
from ..signin.auth import origin
from ..transport.address import parse_address


class Settings(Protocol):
    """What these rules need of a profile; profiles.Profile is one."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    name: str
    url: str
    authority: str
    scope: str
    allow_plain_http: bool
    consent: bool

    @property
    def route(self) -> str: ...


_Profile = TypeVar("_Profile", bound=Settings)
# Name of an option of `--trust` → field of a profile, and how to call it.
TRUST_SETTINGS = {
    "proxy": ("proxy", Sentence("the proxy")),
    "ca-bundle": ("ca_bundle", Sentence("the certificate authorities")),
    "plain-http": ("allow_plain_http", Sentence("plain http, which anyone on the way can read")),
    "authority": ("authority", Sentence("the sign-in host")),
    "scope": ("scope", Sentence("the scope of tokens")),
    "arm-url": ("arm_url", Sentence("the Azure Resource Manager")),
    "resource-id": ("resource_id", "the Azure resource that a key is read from"),
}
# What a person grants on this computer only: never written by an export, never taken from an import.
PERSONAL = ("consent", "allow_other_authority", "allow_other_scope", "key_in_keyring")
_SHOWN = 120


def check_export(path: Path, store: Path, parse: Callable[[Path], object]) -> None:
    """Make sure that an export replaces nothing but an earlier export, also through a link: no image, no key, no certificate.

    Args:
        path: where it is to be written.
        store: the file that holds the person's own profiles.
        parse: raises MedImageParseError where a file is no profile file.

    Raises:
        UsageError: something else is there.
    """
    if not path.exists():
        return
    if store.exists() and path.samefile(store):
        raise UsageError("{name} holds your own profiles: choose another name for the export.", name=path.name)
    try:
        parse(path)
    except MedImageParseError as error:
        raise UsageError(
            "{name} exists and is no exported profile, so it is left as it is: choose another name.", name=path.name
        ) from error


def check_trust(names: Collection[str]) -> None:
    """Raises UsageError where a name is none of TRUST_SETTINGS."""
    for name in names:
        if name not in TRUST_SETTINGS:
            raise UsageError(
                '"{quote}" is no setting to trust: choose from {listed}.', quote=redactor.quote(name, 40), listed=", ".join(TRUST_SETTINGS)
            )


def received(profile: _Profile, plain: _Profile, own: _Profile | None, trusted: Collection[str]) -> tuple[_Profile, list[str], list[str]]:
    """An imported profile as it may be kept.

    Args:
        profile: as the file has it.
        plain: one with the defaults, for comparison.
        own: the person's own profile that it replaces, None for none.
        trusted: names of TRUST_SETTINGS that the person takes over from the file on purpose.

    Returns:
        the profile; sentences about what was left out or taken over; and the names in TRUST_SETTINGS of what was left out.
    """
    is_same_place = own is not None and origin(own.url) == origin(profile.url)
    base = own if own is not None and is_same_place else plain
    changes = {name: getattr(base, name) for name in PERSONAL}
    left_out: dict[str, str] = {}
    taken = []
    for option, (name, words) in TRUST_SETTINGS.items():
        value = getattr(profile, name)
        if value == getattr(base, name):
            continue
        shown = words if isinstance(value, bool) else joined([words, redactor.quote(value, _SHOWN) or Sentence("(none)")])
        if option in trusted:
            taken.append(shown)
        else:
            changes[name] = getattr(base, name)
            if value != getattr(plain, name):
                left_out[option] = shown
    if "authority" in trusted:
        changes["allow_other_authority"] = bool(profile.authority)
    if "scope" in trusted:
        changes["allow_other_scope"] = True
    notes: list[str] = []
    if left_out:
        listed = joined(left_out.values(), "; ")
        notes.append(
            Sentence(
                'Left out of "{name}": {listed}. A file does not decide whom you trust: if you do, set it in the profile yourself.',
                name=profile.name,
                listed=listed,
            )
        )
    if taken:
        notes.append(Sentence('"{name}" uses {listed}, because you trust it.', name=profile.name, listed=joined(taken, "; ")))
    kept = dataclasses.replace(profile, **changes)
    if (kept.route, kept.allow_plain_http) != (base.route, base.allow_plain_http):
        kept.consent = False  # it was given for another way to the host
    return kept, notes, list(left_out)


def describe_place(profile: Settings) -> str:
    """Which host a profile sends to, in a sentence."""
    address = parse_address(profile.url, allow_plain_http=True)
    how = "" if address.is_https or address.is_loopback else Sentence(" over plain http")
    return Sentence('"{name}" sends to {place}{how}: use it only if you know that host.', name=profile.name, place=address.place, how=how)


# Letters and digits that are drawn like those of a Latin name.
_ALIKE = str.maketrans("аαɑᴀсϲᴄԁᴅеҽᴇоοօᴏ0ӏіιıɩi1|ʟмᴍ", "aaaacccddeeeooooolllllllllmm")


def is_demo_name(name: str, demo: str) -> bool:
    """Whether a name is, or looks like, the built-in profile's."""
    return _skeleton(name) == _skeleton(demo)


def _skeleton(name: str) -> str:
    """What a name looks like: without accents, blanks and invisible letters, and with one letter for all that are drawn alike."""
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", visible(name)) if not unicodedata.combining(letter))
    return "".join(bare.casefold().translate(_ALIKE).replace("rn", "m").split())
