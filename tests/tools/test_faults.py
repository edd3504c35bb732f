"""Faults are functions of the seed, the trajectory and the page, whatever the concurrency; they break nothing but what they should."""

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest

from spadework.agents.planner import Planner
from spadework.core.errors import BrokenError, ConfigError
from spadework.core.messages import ToolCall, Turn
from spadework.core.seeds import derive_seed
from spadework.engines.engine import Request, SamplingParams
from spadework.engines.scripted import ScriptedEngine
from spadework.rollout.driver import Limits
from spadework.rollout.groups import rollout
from spadework.tasks.task import Task
from spadework.tools.faults import INJECTIONS, Faults, FaultsConfig
from spadework.tools.function import tool
from spadework.tools.gateway import Gateway
from spadework.tools.limits import GatewayConfig
from spadework.tools.tool import Observation
from spadework.trajectories.tree import Group, Status

PAGE = "Ondal Brin mayor Velor Tash\nOndal Brin river Nesh\nOndal Brin founded 1204\nKedun founded 1399"


@tool
async def search(query: str) -> Observation:
    """Search.

    Args:
        query: What for.
    """
    await asyncio.sleep(0)
    return Observation(PAGE, documents=("d1",))


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when nothing is left to do: deadlines cost no time and do not depend on load."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        timers = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
        if timers and not self._ready:  # type: ignore[attr-defined]
            self.now = max(self.now, timers[0]._when)
        super()._run_once()  # type: ignore[misc]


def virtual(work: Coroutine[Any, Any, Any]) -> tuple[Any, float]:
    """The result of a coroutine and the virtual seconds that it took."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work), runner.get_loop().time()


def struck(**rates: Any) -> Observation:
    [seen] = calls(1, **rates)
    assert isinstance(seen, Observation)
    return seen


def calls(count: int, *, limits: dict[str, Any] | None = None, seed: int = 0, at_once: bool = True, **rates: Any) -> list[Any]:
    """Calls of `count` trajectories, one each, about as many pages."""
    gateway = Gateway(
        [search],
        GatewayConfig.parse({"backoff": 0.0, "timeout": 5.0, **(limits or {})}, source="test"),
        faults=Faults(FaultsConfig.parse(rates, source="faults"), seed=seed),
    )

    async def all_calls() -> list[Any]:
        made = [gateway.call(ToolCall(name="search", arguments={"query": f"q{n}"}), f"t/{n}") for n in range(count)]
        if at_once:
            return await asyncio.gather(*made, return_exceptions=True)
        return [(await asyncio.gather(one, return_exceptions=True))[0] for one in made]

    return virtual(all_calls())[0]


def kind(result: Any) -> str:
    return str(result).rpartition(": ")[2] if isinstance(result, BrokenError) else str(result.meta.get("fault", result.status))


MIXED = {
    "timeouts": 0.1,
    "too_many_requests": 0.1,
    "retry_after": 0.0,
    "server_errors": 0.2,
    "not_found": 0.1,
    "stale": 0.2,
    "poisoned": 0.1,
}


def test_the_same_seed_gives_the_same_faults_whatever_the_concurrency() -> None:
    def seen(**options: Any) -> list[str]:
        return [f"{kind(result)} {getattr(result, 'text', '')}" for result in calls(60, **MIXED, **options)]

    first = seen()
    assert first == seen(at_once=False) == seen(limits={"concurrency": 3, "backoff": 0.0})
    assert first != seen(seed=1)
    assert len(set(first)) > 5


def test_rates_are_kept() -> None:
    counts = Counter(kind(result) for result in calls(2000, not_found=0.2, truncated=0.1, stale=0.1, contradicting=0.1, poisoned=0.3))
    # Standard error of a rate of 0.2 over 2000 pages: sqrt(0.2 * 0.8 / 2000) = 0.009; four of them are allowed.
    for name, rate in {"not_found": 0.2, "truncated": 0.1, "stale": 0.1, "contradicting": 0.1, "poisoned": 0.3, "ok": 0.2}.items():
        assert counts[name] / 2000 == pytest.approx(rate, abs=0.04), name


def test_pages_that_are_gone_or_cut() -> None:
    gone = struck(not_found=1.0)
    assert (gone.status, gone.text, gone.documents) == ("error", "HTTP 404: the page is not there.", ())
    cut = struck(truncated=1.0)
    assert PAGE.startswith(cut.text) and 0 < len(cut.text) < len(PAGE)


def test_a_stale_page_has_one_other_value_in_the_place_of_the_right_one() -> None:
    for seed in range(20):
        [stale] = calls(1, seed=seed, stale=1.0)
        old, new = PAGE.split("\n"), stale.text.split("\n")
        [line] = [number for number in range(4) if old[number] != new[number]]
        # Only the last value of a line is exchanged, a name for a name and a year for a year of the same page.
        assert old[line].rsplit(" ", 2)[0] in new[line]
        value = new[line].split(("mayor ", "river ", "founded ", "founded ")[line])[1]
        assert value in PAGE and value.isdigit() == (line >= 2)


def test_a_contradicting_page_says_both() -> None:
    both = struck(contradicting=1.0).text
    assert both.startswith(PAGE + "\n")
    last = both.rpartition("\n")[2]
    assert last not in PAGE and any(last.startswith(word) for word in ("Ondal Brin", "Kedun"))


def test_a_page_without_two_values_cannot_be_stale() -> None:
    faults = Faults(FaultsConfig(stale=1.0))
    plain = Observation("nothing to exchange here")
    assert faults.content(plain, "search", "{}") is plain


def test_a_poisoned_page_carries_a_whole_injection() -> None:
    text = struck(poisoned=1.0).text
    [injection] = [injection for injection in INJECTIONS if injection in text]
    assert text.replace(injection + "\n", "").replace("\n" + injection, "") == PAGE


def test_failures_of_transport() -> None:
    assert kind(calls(1, timeouts=1.0)[0]) == "no result within 5 s"
    assert kind(calls(1, server_errors=1.0)[0]) == "HTTP 500 (fault) (3 attempts)"
    assert kind(calls(1, too_many_requests=1.0, retry_after=1.0)[0]) == "HTTP 429 (fault) (3 attempts)"
    # Two waits of 3 s are more than the call's 5 s.
    assert kind(calls(1, too_many_requests=1.0, retry_after=3.0)[0]) == "no result within 5 s"
    assert kind(calls(1, flapping=1.0, flaps=2)[0]) == "ok"
    assert kind(calls(1, flapping=1.0, flaps=3)[0]) == "flapping, attempt 3) (3 attempts)"
    assert kind(calls(1, latency=4.9, latency_sigma=0.0)[0]) == "ok"
    assert kind(calls(1, latency=5.1, latency_sigma=0.0)[0]) == "no result within 5 s"


@pytest.mark.parametrize(
    ("rates", "message"),
    [({"stale": 0.6, "poisoned": 0.5}, "are 1.1 together"), ({"timeouts": 1.2}, "timeouts"), ({"poison": 0.1}, "did you mean 'poisoned'")],
)
def test_rates_that_cannot_be_are_refused(rates: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FaultsConfig.parse(rates, source="faults")


def test_faults_may_be_for_some_tools_only() -> None:
    assert struck(not_found=1.0, tools=["other"]).text == PAGE


class Numbers:
    """A renderer that costs nothing: token 0 is a search, token 1 is an answer; it counts what it is shown."""

    name, stop, stop_token_ids, vocab_size = "numbers", (), (), 500

    def prompt(self, messages: Any, tools: Any = ()) -> list[int]:
        return [2] * 10

    def extend(self, turn_ids: Any, messages: Any) -> list[int]:
        return [2] * 5

    def text(self, token_ids: Any) -> str:
        return "text"

    def parse(self, token_ids: list[int]) -> Turn:
        if token_ids[0] == 1:
            return Turn(answer="x")
        return Turn(calls=(ToolCall(name="search", arguments={"query": f"q{token_ids[1]}"}),))


def roll(num_tasks: int = 250, **options: Any) -> tuple[list[Group], float]:
    """Four trajectories per task, of three searches and an answer, and the virtual seconds they took."""

    def reply(request: Request) -> list[int]:
        turns = (len(request.token_ids) - 10) // 7
        return [1] if turns >= 3 else [0, derive_seed(request.seed) % 500]

    rates = {
        "timeouts": 0.03, "too_many_requests": 0.05, "retry_after": 2.0, "server_errors": 0.07, "flapping": 0.05, "latency": 0.2,
        "not_found": 0.04, "truncated": 0.04, "stale": 0.04, "contradicting": 0.04, "poisoned": 0.04,
    }  # fmt: skip
    config = GatewayConfig(timeout=60.0, attempt_timeout=10.0, attempts=3, concurrency=256)
    gateway = Gateway([search], config, faults=Faults(FaultsConfig(**rates), seed=7))
    tasks = [Task(id=f"t{number}", question="?", answers=("x",)) for number in range(num_tasks)]
    return virtual(rollout(
        tasks, num_samples=4, agent=Planner(), engine=ScriptedEngine(reply), renderer=Numbers(), gateway=gateway,
        params=SamplingParams(), limits=Limits(max_tokens=200), seed=3, **options,
    ))  # fmt: skip


def test_a_thousand_trajectories_at_twenty_per_cent_faults() -> None:
    start = time.perf_counter()
    groups, virtual_seconds = roll()
    seconds = time.perf_counter() - start
    every = [trajectory for group in groups for trajectory in group]
    # Nothing is lost and nothing hangs: no call lasts longer than its deadline of 60 s, nor waits for others longer than they last.
    assert [(t.task_id, t.sample) for t in every] == [(f"t{task}", sample) for task in range(250) for sample in range(4)]
    assert virtual_seconds < 3 * 2 * 60
    counts = Counter(trajectory.status for trajectory in every)
    assert set(counts) <= {Status.COMPLETED, Status.BROKEN}
    # A call breaks when three attempts fail: (0.03 + 0.05 + 0.07) ** 3, or more where it flaps: 0.05 * 0.15; times three calls: about 3 %.
    assert 5 < counts[Status.BROKEN] < 100
    for trajectory in every:
        if trajectory.status is Status.BROKEN:
            # What broke has its reason, no answer and no reward that could be taken for a zero: it is not trained on.
            assert trajectory.error and "search(" in trajectory.error and trajectory.answer is None and trajectory.rewards == {}
            assert not trajectory.trained
        else:
            assert trajectory.ledger["calls"] == 3 and trajectory.answer == "x"
    ledgers = Counter({})
    for trajectory in every:
        ledgers.update(trajectory.ledger)
    # A fifth of the calls' attempts and a fifth of their pages are struck.
    assert ledgers["faults"] / ledgers["calls/search"] == pytest.approx(0.2, abs=0.05)
    assert ledgers["retries"] > 300
    rate = f"{len(every) / seconds:.0f} trajectories/s, {ledgers['calls/search'] / seconds:.0f} calls/s"
    print(f"{rate}, {counts[Status.BROKEN]} broken, {virtual_seconds:.0f} virtual s")


def test_broken_trajectories_are_the_same_ones_whatever_the_concurrency() -> None:
    def broken(concurrency: int) -> list[tuple[str, int]]:
        return [(t.task_id, t.sample) for group in roll(60, concurrency=concurrency)[0] for t in group if t.status is Status.BROKEN]

    assert broken(240) == broken(20) != []
