"""HTTP failures are sorted by who is to blame."""

import asyncio
import email.utils
import time

import httpx
import pytest

from spadework.core.errors import BrokenError
from spadework.tools.http import retry_after, send
from spadework.tools.tool import TransientError


def ask(answer: httpx.Response | Exception, **options: object) -> httpx.Response:
    def serve(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def once() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.MockTransport(serve)) as client:
            return await send(client, "GET", "https://search.example/q?key=secret", **options)  # type: ignore[arg-type]

    return asyncio.run(once())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass(status: int) -> None:
    with pytest.raises(TransientError, match=f"^search.example: HTTP {status}$") as found:
        ask(httpx.Response(status, headers={"retry-after": "7"}))
    assert found.value.retry_after == 7


def test_no_answer_may_pass_too() -> None:
    with pytest.raises(TransientError, match=r"^search\.example: ConnectError: refused$") as found:
        ask(httpx.ConnectError("refused"))
    assert found.value.retry_after is None


@pytest.mark.parametrize("status", [401, 402, 403, 407])
def test_a_key_that_is_wrong_stays_wrong_and_is_not_printed(status: int) -> None:
    with pytest.raises(BrokenError, match=f"^search.example: HTTP {status}; is the key set, right and not used up") as found:
        ask(httpx.Response(status))
    assert not isinstance(found.value, TransientError) and "secret" not in str(found.value)
    assert ask(httpx.Response(status), refused=frozenset()).status_code == status


@pytest.mark.parametrize("status", [200, 204, 404, 410, 451])
def test_the_tool_knows_what_the_rest_means(status: int) -> None:
    assert ask(httpx.Response(status)).status_code == status


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after("120") == 120
    assert retry_after(email.utils.formatdate(time.time() + 60, usegmt=True)) == pytest.approx(60, abs=2)
    assert retry_after(email.utils.formatdate(time.time() - 60, usegmt=True)) == 0
    assert retry_after("soon") is None and retry_after(None) is None
