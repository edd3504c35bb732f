"""ZeroSearch: a model writes the pages that a search engine would have found (arXiv 2505.04588).

For each query the model is asked for useful or for noisy pages. The probability of noise rises with the share i / m of the training that
is done, so that the policy learns to search on good pages first (section 3.4):

    p_i = p_s + (b^(i/m) - 1) / (b - 1) * (p_e - p_s),   b = 4

A query is noisy where a number that is drawn for it, once and for all, lies below p_i: all trajectories meet the same engine, and what has
become noisy stays so. The published code draws anew for every call, and its prompt holds the question and the gold answer, which the pages
then leak to the policy; here neither is said unless `leak_answer` asks for it. Left out: fine-tuning the simulator.

Without `url` a scripted twin takes the model's place: it quotes the corpus, and where it is noisy it puts names of other pages in the place
of those that a page links to.
"""

import re
from random import Random
from typing import Any

from pydantic import Field, model_validator

from spadework.core.errors import InputError
from spadework.core.seeds import rng
from spadework.corpus.document import Corpus
from spadework.tools.provider import Client, ProviderPart, Result, key_from, register, show
from spadework.tools.tool import Facts, Observation, Provider, ToolContext, TransientError, Usage, current_label

__all__ = ["ZeroSearch", "ZeroSearchPart", "noise"]

_PROMPT = """\
You play a search engine. For the query below, write the {limit} passages that it would return, one per line, each about {words} words, \
without numbers or comments.
{kind}{about}
Query: {query}"""
_KINDS = {
    False: "The passages must be useful: they state facts that answer the query.",
    True: "The passages must be noise: they look as if they answered the query, but what they state is beside the point or wrong.",
}
_ABOUT = "\nThe person who searches wants to answer this question: {question}\nIts right answer is: {answer}"


def noise(progress: float, start: float, end: float, base: float) -> float:
    """The probability that a query gets noisy pages, for a share of the training in [0, 1]."""
    return start + (base**progress - 1) / (base - 1) * (end - start)


@register("zerosearch")
class ZeroSearchPart(ProviderPart):
    """A simulated engine: a model writes useful or noisy pages, noisier as training goes on."""

    url: str | None = None
    """Base URL of an OpenAI-compatible server, for example http://127.0.0.1:8000/v1; without it the scripted twin."""
    model: str | None = None
    """Name of the model there."""
    key_env: str | None = None
    """Name of the environment variable with the server's key; none is sent if not given."""
    start: float = Field(default=0.0, ge=0, le=1)
    """p_s, the probability of noise at the start of training; evaluations see it too."""
    end: float = Field(default=0.5, ge=0, le=1)
    """p_e, at its end."""
    base: float = Field(default=4.0, gt=1)
    """b; the larger, the later noise comes."""
    words: int = Field(default=30, ge=1)
    """Length of a passage."""
    temperature: float = Field(default=0.0, ge=0)
    """Of the model."""
    leak_answer: bool = False
    """Tell the model the question and its gold answer, as the published code does. A tape then holds for a query what the first question
    with it was given."""

    @model_validator(mode="after")
    def _whole(self) -> "ZeroSearchPart":
        if (self.url is None) != (self.model is None):
            raise ValueError("a server needs both url and model; the scripted twin neither")
        if self.url is None and (self.leak_answer or self.key_env):
            raise ValueError("leak_answer and key_env have no effect on the scripted twin")
        return self

    def build(self, limit: int, context: ToolContext) -> Provider:
        """Make the provider."""
        gold = context.extras.get("gold")
        if self.leak_answer and gold is None:
            raise InputError("zerosearch: leak_answer needs tasks with answers, and there are none here")
        if self.url is None:
            return ZeroSearch(self, limit, context.seed, twin=_Twin(context.need_corpus("search"), context.seed, limit))
        headers = {"Authorization": f"Bearer {key_from(self.key_env, 'zerosearch')}"} if self.key_env else {}
        return ZeroSearch(self, limit, context.seed, client=Client(self.url, headers), gold=gold if self.leak_answer else None)


class ZeroSearch:
    """The provider `zerosearch`."""

    name = "zerosearch"

    def __init__(
        self,
        part: ZeroSearchPart,
        limit: int,
        seed: int,
        *,
        client: Client | None = None,
        twin: "_Twin | None" = None,
        gold: dict[str, tuple[str, tuple[str, ...]]] | None = None,
    ) -> None:
        """Put the engine together.

        Args:
            part: the options.
            limit: number of passages.
            seed: decides which queries are noisy.
            client: of the model's server; or
            twin: what writes in its place.
            gold: question and answers by task id, for the prompt.
        """
        self.part, self.limit, self.seed, self.client, self.twin, self.gold = part, limit, seed, client, twin, gold
        self.facts = Facts(host=client.host if client else "")
        self.advance(0.0)

    def advance(self, progress: float) -> None:
        """Note how much of the training is done, a share in [0, 1]."""
        self.noise = noise(progress, self.part.start, self.part.end, self.part.base)

    def version(self) -> str:
        """Pages of one probability are no pages of another one."""
        return f"noise {self.noise:.9f} seed {self.seed}"

    def prompt(self, query: str, noisy: bool) -> str:
        """What the model is asked."""
        about = ""
        task = current_label().rpartition("/")[0]
        if self.gold is not None and task in self.gold:
            question, answers = self.gold[task]
            about = _ABOUT.format(question=question, answer=" or ".join(answers))
        return _PROMPT.format(limit=self.limit, words=self.part.words, kind=_KINDS[noisy], about=about, query=query)

    async def __call__(self, *_: Any, **arguments: Any) -> Observation:
        """Write pages.

        Raises:
            TransientError: the model's server failed, or its reply cannot be read.
            BrokenError: the server refuses.
        """
        query = arguments["query"]
        noisy = rng("zerosearch", self.seed, query).random() < self.noise
        if self.twin is not None:
            seen = show(self.twin.write(query, noisy))
        else:
            seen = await self._ask(query, noisy)
        return Observation(seen.text, documents=seen.documents, usage=seen.usage, meta={"noisy": noisy})

    async def _ask(self, query: str, noisy: bool) -> Observation:
        assert self.client is not None
        body = {
            "model": self.part.model,
            "messages": [{"role": "user", "content": self.prompt(query, noisy)}],
            "temperature": self.part.temperature,
            "max_tokens": 4 * self.part.words * self.limit,
        }
        answer, size = await self.client.json("POST", "/chat/completions", json=body)
        try:
            text = str(answer["choices"][0]["message"]["content"])
            tokens = int((answer.get("usage") or {}).get("total_tokens", 0))
        except (KeyError, IndexError, TypeError, AttributeError, ValueError):
            raise TransientError(f"{self.client.host}: the answer is not a chat completion") from None
        # A reasoning model thinks first; what it thinks is no page.
        lines = [line.strip() for line in text.rpartition("</think>")[2].splitlines() if line.strip()]
        if not lines:
            raise TransientError(f"{self.client.host}: the model wrote nothing")
        return Observation("\n".join(lines[: self.limit]), usage=Usage(bytes=size, tokens=tokens))


class _Twin:
    """Writes what the corpus says, or false variants of it."""

    def __init__(self, corpus: Corpus, seed: int, limit: int) -> None:
        self.corpus, self.seed, self.limit = corpus, seed, limit
        self.titles = [document.title for document in corpus]

    def write(self, query: str, noisy: bool) -> list[Result]:
        """Passages; a false one has no document behind it."""
        hits = self.corpus.search(query, limit=self.limit)
        if not noisy:
            return [Result(hit.title, hit.snippet, id=hit.id) for hit in hits]
        random = rng("zerosearch twin", self.seed, query)
        return [Result(hit.title, self._false(hit.id, hit.title, hit.snippet, random)) for hit in hits]

    def _false(self, page: str, title: str, snippet: str, random: Random) -> str:
        document = self.corpus.get(page)
        names = {link for link in (document.links if document else ()) if link and link != title}
        if not any(name in snippet for name in names):
            return f"{title} {random.choice(self.titles)}"  # nothing to falsify: say something beside the point
        pattern = "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)))
        return re.sub(pattern, lambda found: self._other(found[0], random), snippet)

    def _other(self, name: str, random: Random) -> str:
        for _ in range(8):
            if (other := random.choice(self.titles)) != name:
                break
        return other
