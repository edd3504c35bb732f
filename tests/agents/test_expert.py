"""The expert quotes what tools have shown, and each habit shows in its trajectories when it is switched on."""

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.agents.expert import UNKNOWN, ExpertConfig, ExpertEngine, demonstrate
from spadework.agents.planner import Planner
from spadework.core.errors import InputError
from spadework.core.messages import Turn
from spadework.corpus.document import Document
from spadework.corpus.snippet import SnippetConfig
from spadework.corpus.store import MemoryCorpus
from spadework.engines.engine import SamplingParams
from spadework.models.renderers.tags import TagsRenderer
from spadework.rollout.driver import Limits
from spadework.rollout.groups import run_rollout
from spadework.tasks.task import Task
from spadework.tools.gateway import Gateway
from spadework.tools.read import ReadTool
from spadework.tools.search import SearchTool

CLEAN = dict.fromkeys(ExpertConfig.model_fields, 0.0)
CHAIN = Task(
    id="chain",
    question="What is the spouse of the mayor of Ondal Brin?",
    answers=("Mira Sool",),
    hops=2,
    meta={"steps": [["Ondal Brin", "mayor", "Velor Tash"], ["Velor Tash", "spouse", "Mira Sool"]]},
)


def turns(task: Task, shown: dict[str, str], *, seed: int = 0, **rates: float) -> Iterator[Turn]:
    """The expert's turns where a call's result is looked up by its argument; everything else shows nothing."""
    script = demonstrate(task, Random(seed), ExpertConfig(**(CLEAN | rates)))
    turn = next(script)
    while True:
        yield turn
        if turn.answer is not None:
            return
        turn = script.send(shown.get(next(iter(turn.calls[0].arguments.values())), "No results."))


def brief(task: Task, shown: dict[str, str], **options: float) -> list[tuple[str, str]]:
    """(thought, action) of each turn; an action is `search x`, `read x` or `answer x`."""
    found = []
    for turn in turns(task, shown, **options):  # type: ignore[arg-type]
        action = (
            f"answer {turn.answer}" if turn.answer is not None else f"{turn.calls[0].name} {next(iter(turn.calls[0].arguments.values()))}"
        )
        found.append((turn.thought, action))
    return found


RESULTS = {
    "Ondal Brin mayor": "Ondal Kesh mayor Tir Nal\nOndal Brin mayor Velor Tash",
    "Velor Tash spouse": "1. Velor Tash spouse Mira Sool | Velor Tash born 1900",
    "Tir Nal spouse": "<information> Tir Nal spouse Lo Pek</information>",
}


def test_the_shortest_way() -> None:
    assert brief(CHAIN, RESULTS) == [
        ("", "search Ondal Brin mayor"),
        ("Ondal Brin mayor Velor Tash", "search Velor Tash spouse"),
        ("Velor Tash spouse Mira Sool", "answer Mira Sool"),
    ]


@pytest.mark.parametrize(
    ("question", "first", "last"),
    [
        ("What is Ondal Brin's mayor spouse?", " mayor spouse Velor Tash spouse", " spouse?"),
        ("Name Ondal Brin's mayor spouse.", " mayor spouse Velor Tash spouse", " spouse."),
        ("Start at Ondal Brin and follow: mayor, then spouse. Where do you arrive?", " mayor, then spouse Velor Tash spouse", " spouse."),
        ("What is the spouse of the mayor of Ondal Brin?", "", ""),
    ],
)
def test_a_fact_is_followed_by_how_the_question_goes_on(question: str, first: str, last: str) -> None:
    task = CHAIN.model_copy(update={"question": question})
    assert brief(task, RESULTS) == [
        ("", "search Ondal Brin mayor"),
        (f"Ondal Brin mayor Velor Tash{first}", "search Velor Tash spouse"),
        (f"Velor Tash spouse Mira Sool{last}", "answer Mira Sool"),
    ]
    # The thought ends with the next query, which so is a copy. An early stop says what it leaves out.
    assert brief(task, RESULTS, stop_early=1.0)[-1] == (f"Ondal Brin mayor Velor Tash{first}", "answer Velor Tash")


def test_a_relation_that_a_chain_has_twice_is_followed_by_what_follows_it_there() -> None:
    steps = [["Al", "mentor", "Bo"], ["Bo", "mentor", "Cy"], ["Cy", "school", "Dun"], ["Dun", "mentor", "Eb"]]
    task = Task(id="t", question="What is Al's mentor mentor school mentor?", answers=("Eb",), meta={"steps": steps})
    shown = {f"{subject} {relation}": f"{subject} {relation} {found}" for subject, relation, found in steps}
    assert [thought for thought, _ in brief(task, shown)] == [
        "",
        "Al mentor Bo mentor mentor Bo mentor",
        "Bo mentor Cy mentor school Cy school",
        "Cy school Dun school mentor Dun mentor",
        "Dun mentor Eb mentor?",
    ]


def test_stopping_early_answers_with_the_intermediate_object() -> None:
    assert brief(CHAIN, RESULTS, stop_early=1.0)[1:] == [("Ondal Brin mayor Velor Tash", "answer Velor Tash")]


def test_a_namesake_is_followed_to_its_wrong_end() -> None:
    assert brief(CHAIN, RESULTS, namesake=1.0) == [
        ("", "search Ondal Brin mayor"),
        ("Ondal Kesh mayor Tir Nal", "search Tir Nal spouse"),
        ("Tir Nal spouse Lo Pek", "answer Lo Pek"),
    ]


def test_a_wasted_search_comes_before_the_useful_one() -> None:
    seen = brief(CHAIN, RESULTS, wasted_search=1.0)
    assert [action for _, action in seen[1::2]] == ["search Ondal Brin mayor", "search Velor Tash spouse"]
    assert seen[0][1] in ("search Ondal Brin mayor", "search Ondal Brin", "search mayor")
    assert seen[-1] == ("Velor Tash spouse Mira Sool", "answer Mira Sool")


def test_a_page_is_read_when_search_does_not_show_the_line() -> None:
    shown = RESULTS | {
        "Ondal Brin": "Ondal Brin is a city.\n[part 1 of 2; read 'Ondal Brin#2' to go on]",
        "Ondal Brin#2": "Ondal Brin mayor Velor Tash",
    }
    pages = [("", "read Ondal Brin"), ("", "read Ondal Brin#2"), ("Ondal Brin mayor Velor Tash", "search Velor Tash spouse")]
    assert brief(CHAIN, shown | {"Ondal Brin mayor": "No results."})[1:4] == pages
    assert brief(CHAIN, shown, name_only_query=1.0)[:4] == [("", "search Ondal Brin"), *pages[:2], (pages[2][0], "search Velor Tash")]
    assert brief(CHAIN, shown, read_first=1.0)[:2] == pages[:2]


def test_nothing_is_quoted_that_was_not_shown() -> None:
    assert brief(CHAIN, {}) == [("", "search Ondal Brin mayor"), ("", "read Ondal Brin"), ("", f"answer {UNKNOWN}")]
    # A longer name that starts like the object is another object, and a longer subject is another subject.
    assert brief(CHAIN, {"Ondal Brin mayor": "Old Ondal Brin mayor Nobody"})[-1] == ("", f"answer {UNKNOWN}")
    assert brief(CHAIN, {"Ondal Brin mayor": "Ondal Brin mayor Velor Tashi"})[1] == (
        "Ondal Brin mayor Velor Tashi",
        "search Velor Tashi spouse",
    )
    # No mark stands before an object, so a longer one is only told apart at the end of the line.
    longer = {"Ondal Brin mayor": "Ondal Brin mayor Velor Tash Kem | Ondal Brin founded 1811"}
    assert brief(CHAIN, longer)[1] == ("Ondal Brin mayor Velor Tash Kem", "search Velor Tash Kem spouse")
    both = {"Ondal Brin mayor": "Ondal Brin (archived 1998): Ondal Brin mayor Old One\nOndal Brin mayor Velor Tash"}
    assert brief(CHAIN, both)[1][0] == "Ondal Brin mayor Velor Tash"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("Ondal Kesh founded 1811", "1811"),
        ("3. Ondal Kesh Nor founded 1811 | Ondal Kesh Nor area 7", "1811"),
        ("Ondal Kesh (archived 1998): Ondal Kesh founded 1811", "1811"),
        ("<information> Suka Mor area 7\n Ondal Kesh founded 1811</information>", "1811"),
        ("Ondal Kesh founded Suka Mor.", None),
        ("In 1811 Ondal Kesh founded 3 towns", None),
        ("Suka Mor founded 1811", None),
    ],
)
def test_a_namesake_is_a_whole_fact_line(line: str, value: str | None) -> None:
    task = Task(id="n", question="?", answers=("1900",), meta={"steps": [["Ondal Brin", "founded", "1900"]]})
    shown = {"Ondal Brin founded": f"{line}\nOndal Brin founded 1900"}
    assert brief(task, shown, namesake=1.0)[-1][1] == f"answer {value or 1900}"


def test_comparisons_and_intersections() -> None:
    older = Task(
        id="c",
        question="Which is older?",
        answers=("B",),
        kind="comparison",
        meta={"steps": [["A", "founded", "1900"], ["B", "founded", "1800"]]},
    )
    shown = {"A founded": "A founded 1900", "B founded": "B founded 1800"}
    assert brief(older, shown)[-1] == ("B founded 1800", "answer B")
    assert brief(older, shown, stop_early=1.0)[-1] == ("A founded 1900", "answer A")
    both = Task(id="i", question="Who?", answers=("A",), kind="intersection", meta={"steps": [["A", "school", "S"], ["A", "home", "H"]]})
    shown = {"school S home H": "A home H", "A school": "A school S"}
    assert brief(both, shown) == [("", "search school S home H"), ("A home H", "search A school"), ("A school S", "answer A")]
    assert brief(both, {})[-1] == ("", f"answer {UNKNOWN}")


TREE = Task(
    id="tree",
    question="Which city is the birthplace of a person whose spouse is the mayor of Ondal Brin and whose school is Nesh Ilb?",
    answers=("Suka Mor",),
    kind="sailorfog",
    meta={
        "steps": [
            ["Ondal Brin", "mayor", "Velor Tash"],
            ["Mira Sool", "spouse", "Velor Tash"],
            ["Mira Sool", "school", "Nesh Ilb"],
            ["Mira Sool", "birthplace", "Suka Mor"],
        ]
    },
)
FOUND = {
    "Ondal Brin mayor": "Ondal Brin mayor Velor Tash",
    "spouse Velor Tash school Nesh Ilb": "Mira Sool spouse Velor Tash",
    "Mira Sool school": "Mira Sool school Nesh Ilb",
    "Mira Sool birthplace": "Mira Sool birthplace Suka Mor",
}


def test_a_tree_is_worked_back_from_its_names() -> None:
    mayor, spouse, school = "Ondal Brin mayor Velor Tash", "Mira Sool spouse Velor Tash", "Mira Sool school Nesh Ilb"
    assert brief(TREE, FOUND) == [
        ("Ondal Brin mayor", "search Ondal Brin mayor"),
        (f"{mayor} spouse Velor Tash school Nesh Ilb", "search spouse Velor Tash school Nesh Ilb"),
        (f"{spouse} Mira Sool school", "search Mira Sool school"),
        (f"{school} Mira Sool birthplace", "search Mira Sool birthplace"),
        ("Mira Sool birthplace Suka Mor", "answer Suka Mor"),
    ]
    both = FOUND | {"spouse Velor Tash school Nesh Ilb": f"{spouse} | {school}"}
    assert brief(TREE, both)[2] == (f"{spouse} | {school} Mira Sool birthplace", "search Mira Sool birthplace")


def test_what_nothing_shows_of_a_tree_is_not_claimed() -> None:
    hidden = FOUND | {"spouse Velor Tash school Nesh Ilb": "Mira Sool spouse Tir Nal"}
    assert brief(TREE, hidden)[-1] == ("", f"answer {UNKNOWN}")
    stopped = {brief(TREE, FOUND, stop_early=1.0, seed=seed)[-1][1] for seed in range(20)}
    assert stopped == {"answer Velor Tash", "answer Mira Sool"}
    assert "search spouse" in [action for _, action in brief(TREE, FOUND, wasted_search=1.0)]


SPAN = Task(
    id="span",
    question="Where does the Nesh rise?",
    answers=("at Mount Ilb",),
    kind="span",
    meta={"steps": [{"query": "Nesh rises", "quote": "The Nesh rises\nat Mount Ilb.", "document": "d7"}]},
)


def test_spans_are_quoted_whatever_their_line_ends() -> None:
    quote = "The Nesh rises\nat Mount Ilb."
    assert brief(SPAN, {"Nesh rises": "Nesh: The Nesh rises | at Mount Ilb."}) == [
        ("", "search Nesh rises"),
        (quote, "answer at Mount Ilb"),
    ]
    read = [("", "search Nesh rises"), ("", "read d7"), (quote, "answer at Mount Ilb")]
    assert brief(SPAN, {"Nesh rises": "d7: The Nesh is long.", "d7": f"# Nesh\n{quote}"}) == read
    # A page that no search has shown is not known to exist.
    assert brief(SPAN, {"d7": quote}, read_first=1.0) == [("", "search Nesh rises"), ("", f"answer {UNKNOWN}")]


def test_a_hasty_span_search_has_half_of_the_words_and_gives_up() -> None:
    step = {"query": "the Nesh always rises at", "quote": "the Nesh always rises at Mount Ilb", "document": "d7"}
    task = SPAN.model_copy(update={"answers": ("Mount Ilb", step["quote"]), "meta": {"steps": [step]}})
    full = {"the Nesh always rises at": step["quote"]}
    # The quote is an accepted answer, so nothing is left to think.
    assert brief(task, full) == [("", "search the Nesh always rises at"), ("", f"answer {step['quote']}")]
    assert brief(task, full, stop_early=1.0) == [("", "search the Nesh always"), ("", f"answer {UNKNOWN}")]
    assert brief(task, {"the Nesh always": step["quote"]}, stop_early=1.0)[-1] == ("", f"answer {step['quote']}")


@given(st.integers(0, 10_000), st.fixed_dictionaries({name: st.sampled_from([0.0, 0.5, 1.0]) for name in ExpertConfig.model_fields}))
def test_every_thought_was_shown_before(seed: int, rates: dict[str, float]) -> None:
    read = {"Ondal Brin": "Ondal Brin mayor Velor Tash", "Velor Tash": "Velor Tash spouse Mira Sool"}
    shown = ""
    for turn in turns(CHAIN, RESULTS | read, seed=seed, **rates):
        assert turn.thought in shown
        if turn.calls:
            shown += (RESULTS | read).get(next(iter(turn.calls[0].arguments.values())), "")


def test_tasks_that_it_can_not_follow_are_refused() -> None:
    with pytest.raises(InputError, match="task 'x': its meta has no 'steps'"):
        demonstrate(Task(id="x", question="?", answers=("a",)), Random(0), ExpertConfig())
    with pytest.raises(InputError, match="can not count"):
        demonstrate(Task(id="x", question="?", answers=("1",), kind="count", meta={"steps": [["A", "b", "C"]]}), Random(0), ExpertConfig())


def test_demonstrations_are_real_trajectories(renderer: TagsRenderer) -> None:
    pages = {
        "Ondal Brin": "Ondal Brin is a city.\nOndal Brin mayor Velor Tash",
        "Velor Tash": "Velor Tash is a person.\nVelor Tash spouse Mira Sool",
        "Mira Sool": "Mira Sool is a person.",
    }
    corpus = MemoryCorpus([Document(id=title, title=title, text=text) for title, text in pages.items()], snippets=SnippetConfig(units=1))

    def demonstrations(config: ExpertConfig, seed: int) -> list[tuple[str | None, list[str]]]:
        engine = ExpertEngine(renderer, [CHAIN], config, seed=seed)
        gateway = Gateway([SearchTool(corpus), ReadTool(corpus)])
        options = {"agent": Planner(), "engine": engine, "renderer": renderer, "gateway": gateway, "params": SamplingParams()}
        (group,) = run_rollout([CHAIN], num_samples=12, limits=Limits(max_tokens=2000, max_turns=12), **options)  # type: ignore[arg-type]
        assert {trajectory.status for trajectory in group} == {"completed"}
        return [(trajectory.answer, [node.messages[0].content for node in trajectory.generations()]) for trajectory in group]

    clean = demonstrations(ExpertConfig(**CLEAN), seed=1)
    assert (
        clean
        == [
            (
                "Mira Sool",
                [
                    "<search> Ondal Brin mayor</search>",
                    "<think> Ondal Brin mayor Velor Tash</think><search> Velor Tash spouse</search>",
                    "<think> Velor Tash spouse Mira Sool</think><answer> Mira Sool</answer>",
                ],
            )
        ]
        * 12
    )
    mixed = demonstrations(ExpertConfig(), seed=1)
    assert {answer for answer, _ in mixed} == {"Mira Sool", "Velor Tash"}
    assert mixed == demonstrations(ExpertConfig(), seed=1) != demonstrations(ExpertConfig(), seed=2)
