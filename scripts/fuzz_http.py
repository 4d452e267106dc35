"""Whole HTTP replies, damaged on purpose: status line, headers, chunks, encodings, length, and the key thrown back in disguise.

`fuzz_replies.py` runs this besides the decoders. `EndpointClient.send` may end in a Reply or with EndpointError, ReplyError or Cancelled,
within its time limit and within four times the memory that its limit allows, and no sentence may repeat eight letters of the key;
anything else is a finding.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
import random
import socket
import threading
import time
import tracemalloc
import urllib.parse
import zlib
from collections.abc import Callable

KEY = "Zq7RkT2mWv9xLp4nYb6sHd3gJc8fQe5u"
LIMIT = 4 * 2**20  # bytes that a reply may have here
REPLY_S = 1.0  # seconds that a reply may take here
PATIENCE = 20.0  # seconds beyond that after which a try counts as a hang, on a busy computer too
_NUMBERS = [b"0", b"-1", b"-5", b"+5", b"5", b"007", b"0x10", b" 7 ", b"1e3", b"9" * 30, b"9" * 5000, b"\xb2", b"\xd9\xa3", b"5, 5", b"5, 6", b"", b"5;q=1",
            b"18446744073709551616", b"nan", b"inf", b"1.5"]  # fmt: skip
_DATES = [
    b"Thu, 26 Nov 2026 10:00:00 GMT",
    b"Thu, 99 Nov 99999 10:00:00 GMT",
    b"0",
    b"(" * 400,
    b"Thu, 26 Nov 2026 10:00:00 +9999",
    b"1" * 400,
]
_PLACES = [
    b"http://[",
    b"/login",
    b"//evil.example/x",
    b"https://u:p@evil.example:99999/x",
    b"\xff\xfe",
    b"a" * 9000,
    b"http://[::1",
    b"javascript:1",
]
_ENCODINGS = [b"gzip", b"gzip, gzip", b"deflate", b"br", b"zstd", b"identity", b"GZIP", b"x-gzip", b"gzip," * 2000, b"\x00", b"none"]
_TRANSFERS = [b"chunked", b"Chunked", b"gzip, chunked", b"chunked, chunked", b"identity", b"xchunked", b" chunked ,"]
_NAMES = [b"Content-Length", b"Transfer-Encoding", b"Content-Encoding", b"Retry-After", b"Location", b"Date", b"Set-Cookie", b"Connection", b"Content-Type",
          b"ms-azureml-model-error-statuscode", b"ms-azureml-model-error-reason", b"WWW-Authenticate", b"Trailer", b"Upgrade", b"Keep-Alive", b"X-Odd",
          b"Proxy-Authenticate", b""]  # fmt: skip
_CODES = [
    b"200",
    b"200",
    b"200",
    b"200",
    b"401",
    b"403",
    b"404",
    b"408",
    b"413",
    b"424",
    b"429",
    b"500",
    b"503",
    b"504",
    b"301",
    b"304",
    b"204",
    b"407",
]
_ODD_CODES = [b"100", b"101", b"199", b"999", b"000", b"-200", b"2000", b"2OO", b"\xb2\xb0\xb0", b"", b"20", b"9" * 400, b"200.5"]
_GOOD = json.dumps(
    [{"image_features": json.dumps({"data": base64.b64encode(bytes(64)).decode(), "shape": [1, 8, 8], "dtype": "uint8"})}]
).encode()


def make_reply(rng: random.Random) -> list[bytes]:
    """The pieces of one reply, in the order in which they are sent; an empty piece is a pause longer than the reply may take."""
    body = rng.choice((_good, _good, _title, _json_error, _noise, _bomb, _long, _echo))(rng)
    headers: list[bytes] = []
    if rng.random() < 0.4:
        headers.append(b"Transfer-Encoding: " + (b"chunked" if rng.random() < 0.8 else rng.choice(_TRANSFERS)))
        body = _chunked(body, rng)
    elif rng.random() < 0.8:
        headers.append(b"Content-Length: " + (str(len(body)).encode() if rng.random() < 0.7 else rng.choice(_NUMBERS)))
    headers += [_header(rng) for _ in range(rng.choice((0, 1, 1, 2, 5, 40)))]
    if rng.random() < 0.02:
        headers += [b"X-%d: %s" % (number, b"v" * rng.choice((1, 300))) for number in range(rng.choice((90, 150, 5000)))]
    rng.shuffle(headers)
    head = (
        _status_line(rng)
        + rng.choice((b"\r\n", b"\r\n", b"\r\n", b"\n"))
        + b"".join(line + rng.choice(_ENDS) for line in headers)
        + b"\r\n"
    )
    if rng.random() < 0.05:
        head = b"HTTP/1.1 100 Continue\r\n\r\n" * rng.choice((1, 3, 300)) + head
    reply = _damaged(head + body, rng) if rng.random() < 0.3 else head + body
    pieces = _cut_up(reply, rng)
    if rng.random() < 0.01:
        pieces.insert(rng.randrange(len(pieces) + 1), b"")
    return pieces


_ENDS = (b"\r\n",) * 80 + (b"\n", b"\r", b"\r\n ", b"\r\n\t", b"\x00\r\n")


def _status_line(rng: random.Random) -> bytes:
    version = (
        b"HTTP/1.1"
        if rng.random() < 0.9
        else rng.choice((b"HTTP/1.0", b"HTTP/2", b"HTTP/9.9", b"http/1.1", b"HTTP/", b"ICY", b"", b"HTTP/1.1" * 9000))
    )
    code = rng.choice(_CODES) if rng.random() < 0.9 else rng.choice(_ODD_CODES)
    return (
        version
        + b" "
        + code
        + (b" OK" if rng.random() < 0.9 else rng.choice((b"", b" " + b"x" * 70_000, b" \xff\x00", b" no " + KEY.encode())))
    )


def _header(rng: random.Random) -> bytes:
    name = rng.choice(_NAMES)
    usual = {
        b"Content-Length": _NUMBERS, b"Retry-After": _NUMBERS + _DATES, b"Date": _DATES, b"Location": _PLACES, b"Content-Encoding": _ENCODINGS,
        b"Transfer-Encoding": _TRANSFERS, b"ms-azureml-model-error-statuscode": _NUMBERS, b"Connection": [b"close", b"keep-alive", b"upgrade", b"," * 99],
    }  # fmt: skip
    odd = (
        b"",
        b"x" * rng.choice((10, 900, 900, 900, 70_000)),
        b"\xff\x80",
        b"a\x00b",
        b"=?utf-8?B?" + b"//" * 99,
        b";" * 5000,
        _disguised(rng),
        b'"' * 999,
    )
    value = rng.choice(usual[name]) if name in usual and rng.random() < 0.8 else rng.choice(odd)
    return name + (b": " if rng.random() < 0.95 else rng.choice((b":", b" : ", b"", b"\t"))) + value


def _good(rng: random.Random) -> bytes:
    return _GOOD


def _title(rng: random.Random) -> bytes:
    return rng.choice(
        (
            b"<title>" * 9000,
            b"<html><title>Sign in</title>",
            b"<title" + b" " * 60_000,
            b"<title>" + _disguised(rng) + b"</title>",
            b"<" * 50_000,
        )
    )


def _json_error(rng: random.Random) -> bytes:
    inside = rng.choice(
        (
            '"no"',
            "[" * 3000,
            '{"error":' * 900,
            "1" * 6000,
            '"\\ud800"',
            "null",
            '{"message": {"detail": []}}',
            "NaN",
            '"' + "\\u0000" * 900 + '"',
        )
    )
    return ('{"error": {"message": ' + inside + rng.choice(("}}", "", "]"))).encode()


def _noise(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 40, 3000)))


def _bomb(rng: random.Random) -> bytes:
    return rng.choice(_bombs())


def _long(rng: random.Random) -> bytes:
    """More than the limit, now and then; whole JSON otherwise."""
    size = rng.choice((LIMIT // 8, LIMIT - 10, LIMIT + 1, 3 * LIMIT)) if rng.random() < 0.1 else 70_000
    return b'["' + b"A" * (size - 4) + b'"]'


def _echo(rng: random.Random) -> bytes:
    return b'{"message": "bad key ' + _disguised(rng) + b'"}'


def _disguised(rng: random.Random) -> bytes:
    """The key as a careless or hostile server could repeat it."""
    start = rng.randrange(len(KEY) - 10)
    key = rng.choice((KEY, KEY[start : start + rng.randint(8, 20)], KEY.lower(), KEY.upper()))
    escaped = rng.choice((
        lambda text: text,
        lambda text: base64.b64encode(("x" * rng.randrange(4) + ":" + text).encode()).decode(),
        lambda text: urllib.parse.quote("".join(text)) if rng.random() < 0.5 else "".join(f"%{ord(letter):02x}" for letter in text),
        lambda text: "".join(f"&#{ord(letter)};" for letter in text),
        lambda text: "".join(f"\\u{ord(letter):04x}" for letter in text),
        lambda text: "".join(f"\\x{ord(letter):02X}" for letter in text),
        lambda text: text[: len(text) // 2] + rng.choice("\x00\x07\x7f") + text[len(text) // 2 :],
        lambda text: text.encode().hex(),
        lambda text: text[:-4] + "****",
    ))(key)  # fmt: skip
    return escaped.encode("utf-8", "replace")


def _chunked(body: bytes, rng: random.Random) -> bytes:
    pieces, at = [], 0
    while at < len(body):
        size = rng.choice((1, 7, 1000, 65536, len(body)))
        part = body[at : at + size]
        pieces.append(_chunk_size(part, rng) + b"\r\n" + part + (b"\r\n" if rng.random() < 0.99 else b""))
        at += size
        if len(pieces) > 200:
            break
    end = rng.choice(
        (
            b"0\r\n\r\n",
            b"0\r\n\r\n",
            b"0\r\n\r\n",
            b"",
            b"0\r\n",
            b"0\r\nX-Trailer: " + b"y" * 90_000 + b"\r\n\r\n",
            b"00000000000\r\n\r\n",
            b"-0\r\n\r\n",
        )
    )
    return b"".join(pieces) + end


def _chunk_size(part: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.97:
        return b"%x" % len(part)
    return rng.choice(
        (
            b"-5",
            b"-" + b"%x" % len(part),
            b"f" * 16,
            b"f" * 9000,
            b"0x%x" % len(part),
            b"%x;a=b" % len(part),
            b"%x " % len(part),
            b"",
            b"\xb2",
            b"1_0",
            b" 5",
        )
    )


def _damaged(reply: bytes, rng: random.Random) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        return reply[: rng.randrange(len(reply) + 1)]
    if kind == 1:
        changed = bytearray(reply)
        for _ in range(rng.randint(1, 6)):
            changed[rng.randrange(min(len(changed), 2000))] = rng.randrange(256)
        return bytes(changed)
    if kind == 2:
        at = rng.randrange(min(len(reply), 2000))
        return reply[:at] + reply[at : at + rng.randint(1, 60)] * rng.randint(2, 30) + reply[at:]
    return reply + rng.choice((reply[:5000], b"trailing", b"\r\n" * 500))


def _cut_up(reply: bytes, rng: random.Random) -> list[bytes]:
    if rng.random() < 0.7 or len(reply) > 200_000:
        return [reply]
    places = sorted(rng.randrange(len(reply) + 1) for _ in range(rng.randint(1, 5)))
    return [piece for piece in (reply[start:stop] for start, stop in zip([0, *places], [*places, len(reply)], strict=True)) if piece]


def _packed(megabytes: int, rounds: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = b"".join([packer.compress(bytes(2**20)) for _ in range(megabytes)] + [packer.flush()])
    for _ in range(rounds - 1):
        data = gzip.compress(data, 9)
    return data


@functools.cache
def _bombs() -> list[bytes]:
    return [_packed(64, 1), _packed(256, 2), gzip.compress(_GOOD), zlib.compress(_GOOD), gzip.compress(_GOOD)[:-3]]


class Replier:
    """A server on this computer that answers each request with the pieces that were given to it last."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/score"
        self._is_closed = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._is_closed.set()
        self._listener.close()

    def _run(self) -> None:
        while not self._is_closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(10)
                got = b""
                while not got.endswith(b"{}"):  # the body of every request here
                    part = connection.recv(65536)
                    if not part:
                        return
                    got += part
                for piece in self.pieces:
                    if piece:
                        connection.sendall(piece)
                    else:
                        self._is_closed.wait(REPLY_S + 0.5)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the client has seen enough


class Attack:
    """One client against one Replier: sends, and judges how it ended."""

    def __init__(self) -> None:
        from MedImageParseLib.transport.client import EndpointClient, RetryPolicy, StaticKey, Timeouts

        self.server = Replier()
        self._client = EndpointClient(
            self.server.url, auth=StaticKey(KEY), retry=RetryPolicy(tries=1), timeouts=Timeouts(3.0, REPLY_S, 3.0)
        )
        self.endings: dict[str, int] = {}

    def close(self) -> None:
        """Close both ends."""
        self._client.close()
        self.server.close()

    def try_one(self, pieces: list[bytes]) -> str:
        """What is wrong with how a request ended that these pieces were the answer to; "" where nothing is."""
        from MedImageParseLib.errors import Cancelled, EndpointError

        self.server.pieces = pieces
        self._client.close()
        started = time.monotonic()
        trouble = said = ""
        try:
            reply = self._client.send(b"{}", max_reply_bytes=LIMIT)
            ending = "reply"
            if len(reply.body) > LIMIT:
                trouble = f"a reply of {len(reply.body)} bytes came through"
            if KEY.encode() in reply.body:
                trouble = "the key came through in a reply"
        except (EndpointError, Cancelled) as error:
            ending, said = error.code, str(error)
        except Exception as error:  # the very thing that is looked for
            ending, trouble = "crash", f"{type(error).__name__}: {error}"[:200]
        self.endings[ending] = self.endings.get(ending, 0) + 1
        if time.monotonic() - started > REPLY_S + PATIENCE:
            trouble = trouble or f"took {time.monotonic() - started:.1f} s"
        if said and (not said.isprintable() or len(said) > 3000):
            trouble = trouble or f"a sentence of {len(said)} characters, or with control characters: {said[:80]!r}"
        folded = said.lower()
        if any(KEY[at : at + 8].lower() in folded for at in range(len(KEY) - 7)):
            trouble = trouble or f"the sentence repeats the key: {said[:300]!r}"
        return trouble


def fuzz(seconds: float, seed: int, report: Callable[[str], None] = print, *, least: int = 1) -> tuple[int, list[str]]:
    """Answer requests with damaged replies until the time is up.

    Args:
        seconds: how long.
        seed: of the random numbers; the same seed makes the same replies.
        report: gets each finding, and a summary.
        least: so many replies are tried however long that takes.

    Returns:
        how many replies were tried, and the findings, one line each (empty is what it should be).
    """
    rng, attack = random.Random(seed), Attack()
    findings: list[str] = []
    tried, highest, until = 0, 0, time.monotonic() + seconds
    tracemalloc.start()
    try:
        while (time.monotonic() < until or tried < least) and len(findings) < 20:
            pieces = make_reply(rng)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            trouble = attack.try_one(pieces)
            tried += 1
            peak = tracemalloc.get_traced_memory()[1] - before
            highest = max(highest, peak)
            if peak > 4 * LIMIT:
                trouble = trouble or f"took {peak / 2**20:.0f} MB where {LIMIT / 2**20:.0f} MB are allowed"
            if trouble:
                head = b"".join(pieces)[:200]
                findings.append(f"{trouble} (HTTP reply number {tried} of seed {seed}; it begins {head!r})")
                report(findings[-1])
    finally:
        tracemalloc.stop()
        attack.close()
    ends = ", ".join(f"{ending} {count}" for ending, count in sorted(attack.endings.items(), key=lambda item: -item[1]))
    report(
        f"{tried} HTTP replies, at most {highest / LIMIT:.1f} times the limit in memory, {len(findings)} findings; they ended as: {ends}"
    )
    return tried, findings
