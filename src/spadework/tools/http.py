"""HTTP requests whose failures are sorted by who is to blame, so that all tools over HTTP behave alike at the gateway.

| answer | becomes |
|---|---|
| none: refused, reset, timed out | `TransientError` |
| 408, 425, 429, 500, 502, 503, 504 | `TransientError` with the server's `Retry-After` |
| 401, 402, 403, 407 | `BrokenError`: the key is missing, wrong or used up |
| any other status | returned; the tool knows what a 404 means to the model |

No attempt is repeated here: the gateway does that, with its limits and its ledger.
"""

import email.utils
import time
from typing import Any

import httpx

from spadework.core.errors import BrokenError
from spadework.tools.tool import TransientError

__all__ = ["TRANSIENT", "retry_after", "send"]

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which another attempt may help."""
_REFUSED = {401, 402, 403, 407}


async def send(
    client: httpx.AsyncClient, method: str, url: str, *, refused: frozenset[int] = frozenset(_REFUSED), **options: Any
) -> httpx.Response:
    """Send one request and read the whole answer.

    Args:
        client: with timeouts and limits of the tool's own.
        method: GET, POST ...
        url: where to.
        refused: statuses that mean that the service does not serve us; empty for pages, where a 403 is news for the model.
        options: as for `httpx.AsyncClient.request`.

    Raises:
        TransientError, BrokenError: see the table above; the message names the host and never the query, which may hold a key.
    """
    try:
        response = await client.request(method, url, **options)
    except httpx.TransportError as error:
        raise TransientError(f"{httpx.URL(url).host}: {type(error).__name__}: {error}".rstrip(": ")) from error
    if response.status_code in TRANSIENT:
        raise TransientError(
            f"{response.url.host}: HTTP {response.status_code}", retry_after=retry_after(response.headers.get("retry-after"))
        )
    if response.status_code in refused:
        raise BrokenError(f"{response.url.host}: HTTP {response.status_code}; is the key set, right and not used up?")
    return response


def retry_after(value: str | None) -> float | None:
    """Seconds of a `Retry-After` header, which holds seconds or a date (RFC 9110, section 10.2.3); None if it cannot be read."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    parsed = email.utils.parsedate_tz(value)
    return max(0.0, email.utils.mktime_tz(parsed) - time.time()) if parsed else None
