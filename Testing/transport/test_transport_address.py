"""The host that is shown is the host that is called: what programs read in two ways is refused, other scripts are shown as punycode."""

from __future__ import annotations

import ipaddress

import pytest
import requests
import urllib3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from MedImageParseLib.errors import UsageError
from MedImageParseLib.redaction import is_plain
from MedImageParseLib.transport.address import parse_address

HOSTS = st.text(
    st.sampled_from("abgoZ0123459.-_%\\/@:#?[]x\u202e\u200b\u00ad\u0430\u043e\u00df\u212a\uff0e\u3002\u2044é \t\n\0"),
    min_size=1,
    max_size=24,
)


@settings(max_examples=600, deadline=None)
@given(
    HOSTS,
    st.sampled_from(["https://{}/score", "http://{}/score", "https://good.example{}", "https://{}@evil.example/", "https://[{}]/score"]),
)
@example("good.example\\@evil.example", "https://{}/score")
@example("good.example%00.evil.example", "https://{}/score")
@example("1.1.1", "https://{}/score")
@example("0x7f.1", "http://{}/score")
@example("2130706433", "http://{}/score")
@example("::1%25evil.example", "https://[{}]/score")
@example("::ffff:127.0.0.1", "http://[{}]/score")
@example("ⓔxample.com", "https://{}/score")
@example("127。0。0。1", "http://{}/score")
@example("#@evil.example/", "https://good.example{}")
def test_whatever_is_accepted_names_the_host_that_the_libraries_call(host, form):
    try:
        address = parse_address(form.format(host), allow_plain_http=True)
    except UsageError as error:
        assert is_plain(str(error))
        return
    called = requests.Request("POST", address.url).prepare().url
    for text in (address.url, address.name, called):
        reads = urllib3.util.parse_url(text)
        assert (reads.host or "").strip("[]") == address.host
        assert (reads.port or (443 if address.is_https else 80)) == address.port
        assert reads.auth is None
    assert address.host.isascii() and is_plain(address.place)


@pytest.mark.parametrize(
    "url",
    ["https://good.example\\@evil.example/score", "https://good.example\\.evil.example/score", "https://good%2eexample/score", "https://gооd.example\u202e/",
     "https://ｇood.example/score", "https://good.exam\u00adple/", "https://1.1.1/score", "http://0177.0.0.1/score",
     "https://good .example/score", "https://good.example\tevil/", "https://[::1/score", "https://good..example/score", "https:///score"],
)  # fmt: skip
def test_hosts_that_are_read_in_two_ways_are_refused_in_one_sentence(url):
    with pytest.raises(UsageError) as caught:
        parse_address(url)
    assert is_plain(str(caught.value)) and str(caught.value).count("\n") == 0


def test_another_script_is_shown_and_called_as_punycode():
    address = parse_address("https://gооd.example/score")  # two Cyrillic letters
    assert address.place == "xn--gd-fmca.example" and "xn--gd-fmca" in address.url and "xn--gd-fmca" in address.name
    assert parse_address("https://good.example\u3002evil.example/").host == "good.example.evil.example"
    assert parse_address("https://bücher.example/score").host == "xn--bcher-kva.example"


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_is_shown_in_its_usual_form(number):
    if number.is_unspecified:
        return
    assert parse_address(f"https://[{number.exploded}]/score").place == f"[{ipaddress.ip_address(number).compressed}]"
