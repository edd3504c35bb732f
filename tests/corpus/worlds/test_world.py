import hashlib
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import Stemmer
from hypothesis import given, settings
from hypothesis import strategies as st

from spadework.core.errors import ConfigError, InputError
from spadework.corpus.document import Document
from spadework.corpus.index import analyse
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.lexicon import lexicon, name_space, split_of
from spadework.corpus.worlds.schema import ATTRIBUTES, GENERIC_PROSE, PLURALS, RELATIONS, SHARES, TABLES
from spadework.corpus.worlds.show import show
from spadework.corpus.worlds.world import World, WorldConfig

QUIET = {f"{name}_rate": 0.0 for name in ("alias", "namesake", "distractor", "stale", "dead_link", "table", "prose")}
LOUD = {f"{name}_rate": 1.0 for name in ("alias", "namesake", "distractor", "dead_link", "table", "prose")} | {"stale_rate": 0.3}
OBJECT = r"(?:[A-Z][a-z]+(?: [A-Z][a-z]+)+|\d+)"
"""What a fact line ends with; sentences end with a full stop."""


def world(**values: object) -> World:
    return build_world(WorldConfig.parse({"pages": 1_000, **values}, source="test"))


def names_of(made: World) -> set[str]:
    return {name for entity in made.entities for name in made.names(entity)} | set(made.dead_titles)


def test_words_of_the_lexicon_cannot_be_mistaken_for_each_other() -> None:
    words = lexicon()
    assert len(words) == len(set(words)) == 700
    assert all(re.fullmatch("[A-Z][a-z]{4,8}", word) for word in words)
    ordered = sorted(words)  # a prefix of any word sorts right before a word that it begins
    assert not [pair for pair in pairwise(ordered) if pair[1].startswith(pair[0])]
    stem = Stemmer.Stemmer("english").stemWord
    assert len({stem(word.lower()) for word in words}) == 700


def test_the_lexicon_never_changes() -> None:
    # Checkpoints and tokenizers outlive a release; a changed word would make them strangers to the world.
    assert hashlib.sha256(" ".join(lexicon()).encode()).hexdigest()[:12] == "d8bb6e416005"


def test_the_schema_is_closed_and_plain() -> None:
    relations = [relation for own in RELATIONS.values() for relation in own]
    assert len(SHARES) >= 8 and len(relations) >= 25
    assert set(RELATIONS) == set(SHARES) == set(PLURALS) == set(ATTRIBUTES)
    assert sum(SHARES.values()) == pytest.approx(1)
    assert {relation.target for relation in relations} <= set(SHARES)
    words = [relation.name for relation in relations]
    assert len(set(words)) == len(words)
    numbers = {number.name for own in ATTRIBUTES.values() for number in own}
    assert all(re.fullmatch("[a-z]+", word) for word in [*words, *numbers, *SHARES])
    assert not numbers & set(words)
    for kind, related in RELATIONS.items():
        keys = [relation.name for relation in related] + [number.name for number in ATTRIBUTES[kind]]
        assert len(set(analyse(" ".join(keys)))) == len(keys)
    own = {kind: {relation.name: relation for relation in relations} for kind, relations in RELATIONS.items()}
    assert all(own[subject][relation].target == kind for kind, tables in TABLES.items() for subject, relation in tables)
    for sentence in [*GENERIC_PROSE, *(text for relation in relations for text in relation.prose)]:
        assert re.search(r"(^|\s)\{s\}", sentence) and re.search(r"(^|\s)\{o\}", sentence), sentence


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(lexicon()), min_size=2, max_size=3, unique=True))
def test_every_name_has_one_split(words: list[str]) -> None:
    assert split_of(" ".join(words)) in ("train", "dev", "test")


def test_splits_share_words_but_no_name() -> None:
    names = {split: names_of(world(split=split, pages=3_000, alias_rate=0.5)) for split in ("train", "dev", "test")}
    assert not (names["train"] & names["dev"] or names["train"] & names["test"] or names["dev"] & names["test"])
    assert all(split_of(name) == split for split in names for name in names[split])
    words = {split: {word for name in own for word in name.split()} for split, own in names.items()}
    assert words["train"] == words["dev"] == words["test"] == set(lexicon())


@pytest.mark.parametrize("rates", [QUIET, LOUD, {}])
def test_names_are_unique_in_any_order_of_their_words(rates: dict[str, float]) -> None:
    made = world(**rates)
    names = [name for entity in made.entities for name in made.names(entity)] + list(made.dead_titles)
    assert len({tuple(sorted(name.split())) for name in names}) == len(names)
    assert {len(name.split()) for name in names} == {2}


def test_a_world_too_large_for_two_words_uses_three() -> None:
    # 244,650 pairs of words, a tenth of them in the test split; names are drawn with rejection up to half of these.
    assert name_space("test") == 24_465
    assert {len(entity.title.split()) for entity in world(split="test", pages=20_000).entities.values()} == {3}
    assert {len(entity.title.split()) for entity in world(split="test", pages=10_000).entities.values()} == {2}


def test_every_page_counts() -> None:
    made = world(stale_rate=0.1)
    assert (len(made), len(made.documents()), len(made.entities), len(made.stale)) == (1_000, 1_000, 900, 100)
    assert [page.id for page in made.documents()] == [f"w0-{number}" for number in range(1_000)]
    types = Counter(entity.type for entity in made.entities.values())
    assert all(abs(types[kind] - 900 * share) <= 10 for kind, share in SHARES.items())


def test_facts_follow_the_schema() -> None:
    made = world()
    for entity in made.entities.values():
        facts = made.facts[entity.id]
        missing = {relation.name for relation in RELATIONS[entity.type]} - set(facts)
        assert missing <= {relation.name for relation in RELATIONS[entity.type] if relation.symmetric}
        for relation in RELATIONS[entity.type]:
            if relation.name in facts:
                target = facts[relation.name]
                assert made.entities[target].type == relation.target and target != entity.id
                assert not relation.symmetric or made.facts[target][relation.name] == entity.id
        for number in ATTRIBUTES[entity.type]:
            assert number.low <= made.attributes[entity.id][number.name] <= number.high


def lines_about(page: Document, title: str) -> dict[str, str]:
    """Facts that the lines of a page state about a title, read from the text alone."""
    found = {}
    for line in page.text.splitlines():
        match = re.fullmatch(rf"{re.escape(title)} ([a-z]+) ({OBJECT})", line)
        if match:
            assert match[1] not in found, "a fact is stated twice"
            found[match[1]] = match[2]
    return found


@pytest.mark.parametrize("rates", [QUIET, LOUD, {}])
def test_pages_state_the_graph(rates: dict[str, float]) -> None:
    made = world(**rates)
    for page in made.documents()[: len(made.entities)]:
        entity = made.entities[page.id]
        truth = {relation: made.entities[target].title for relation, target in made.facts[page.id].items()}
        truth |= {name: str(value) for name, value in made.attributes[page.id].items()}
        assert lines_about(page, page.title) == truth
        first = page.text.splitlines()[0]
        assert first.startswith(f"{page.title} is a {entity.type}.")
        assert all(f"also known as {alias}" in first for alias in entity.aliases)
        assert set(truth.values()) - {str(value) for value in made.attributes[page.id].values()} <= set(page.links)


def test_without_noise_a_page_is_its_introduction_and_its_facts() -> None:
    made = world(**QUIET)
    assert not made.stale and not made.dead_titles
    for page in made:
        assert len(page.text.splitlines()) == 1 + len(made.facts[page.id]) + len(made.attributes[page.id])


def test_the_order_of_the_fact_lines_differs_from_page_to_page() -> None:
    orders = Counter(tuple(lines_about(page, page.title)) for page in world(**QUIET) if page.text.splitlines()[0].endswith("is a city."))
    assert len(orders) > 50  # 160 cities, 720 orders


@pytest.mark.parametrize("rates", [LOUD, {}])
def test_every_name_starts_a_line_or_follows_a_space(rates: dict[str, float]) -> None:
    word = re.compile("|".join(lexicon()))
    for page in world(**rates):
        assert all(match.start() == 0 or page.text[match.start() - 1] in " \n" for match in word.finditer(page.text))


def test_a_world_full_of_noise_has_all_of_it() -> None:
    made = world(**LOUD)
    titles = {entity.title for entity in made.entities.values()}
    pages = made.documents()[: len(made.entities)]
    assert all(made.entities[page.id].aliases for page in pages)
    assert all(set(page.links) & set(made.dead_titles) for page in pages)
    others = [
        line
        for page in pages
        for line in page.text.splitlines()
        if re.fullmatch(f"[A-Z][a-z]+ [A-Z][a-z]+ [a-z]+ {OBJECT}", line) and not line.startswith(page.title)
    ]
    assert len(others) > 0.9 * len(pages)
    for line in others:  # what a page says about another entity is true as well
        subject, relation, target = re.fullmatch("([A-Z][a-z]+ [A-Z][a-z]+) ([a-z]+) (.*)", line).groups()  # type: ignore[union-attr]
        assert made.entities[made.facts[made.ids[subject.casefold()]][relation]].title == target
    assert not titles & set(made.dead_titles)


def test_namesakes_share_a_word_with_an_entity_of_their_type() -> None:
    def sharing(made: World) -> float:
        words = Counter((entity.type, word) for entity in made.entities.values() for word in entity.title.split())
        return sum(any(words[entity.type, word] > 1 for word in entity.title.split()) for entity in made.entities.values()) / len(made)

    assert sharing(world(**QUIET | {"namesake_rate": 1.0})) > 0.95 > 0.6 > sharing(world(**QUIET))


def test_a_stale_page_contradicts_and_says_so() -> None:
    made = world(stale_rate=0.2, table_rate=0, distractor_rate=0)
    assert len({page.entity for page in made.stale.values()}) == 200
    for page in made.stale.values():
        old, current = made.get(page.id), made.get(page.entity)
        assert old is not None and current is not None
        assert old.title == f"{current.title} (archived {page.year})" and current.title in old.links
        assert "outdated" in old.text.splitlines()[1] and f"archived in {page.year} is outdated" in current.text.splitlines()[-1]
        before, now = lines_about(old, current.title), lines_about(current, current.title)
        assert set(before) == set(now) and before != now
        assert all(before[name] == now[name] for name in made.attributes[page.entity])


def test_tables_are_complete() -> None:
    made = world(**QUIET | {"table_rate": 1.0})
    tables = 0
    for page in made:
        rows = re.findall(r"^\| (.+) \| (\d+) \|$", page.text, re.MULTILINE)
        if not rows:
            continue
        tables += 1
        heading = re.search(rf"^## All (\w+) with (\w+) {page.title}$", page.text, re.MULTILINE)
        assert heading
        kind = next(kind for kind, plural in PLURALS.items() if plural == heading[1])
        expected = [entity for entity in made.entities.values() if entity.type == kind and made.facts[entity.id].get(heading[2]) == page.id]
        assert [row[0] for row in rows] == [entity.title for entity in expected] and len(rows) > 1
        number = ATTRIBUTES[kind][0].name
        assert [int(row[1]) for row in rows] == [made.attributes[entity.id][number] for entity in expected]
    assert tables > 100


def test_prose_rate_is_the_share_of_facts_that_are_also_sentences() -> None:
    made = world(**QUIET | {"prose_rate": 0.25})
    sentences = sum(len(page.text.splitlines()) - 1 - len(lines_about(page, page.title)) for page in made)
    facts = sum(len(made.facts[entity]) + len(made.attributes[entity]) for entity in made.entities)
    assert sentences / facts == pytest.approx(0.25, abs=0.03)  # about 5,000 facts: one standard error is 0.006


def test_pages_are_found_by_id_title_and_alias() -> None:
    made = world(alias_rate=0.5, stale_rate=0.1)
    for document in made.documents()[::50]:
        assert made.get(document.id) == made.get(document.title) == made.get(document.title.upper()) == document
    entity = next(entity for entity in made.entities.values() if entity.aliases)
    assert made.get(entity.aliases[0]) == made.get(entity.id)
    assert made.get("no such page") is None


def test_the_hash_is_the_same_in_another_process() -> None:
    code = (
        "from spadework.corpus.worlds.generate import build_world; from spadework.corpus.worlds.world import WorldConfig;"
        "print(build_world(WorldConfig(seed=5, pages=1000)).content_hash)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert outputs == {world(seed=5).content_hash}


def test_the_hash_names_seed_split_and_every_knob() -> None:
    changed = [{}, {"seed": 1}, {"split": "dev"}, {"pages": 1_001}, *({name: 0.05} for name in QUIET)]
    assert len({world(**values).content_hash for values in changed}) == len(changed)


def test_the_hash_covers_every_fact_number_and_stale_copy() -> None:
    made = world(stale_rate=0.1)
    entity, page = next(iter(made.entities)), next(iter(made.stale.values()))
    relation, number = next(iter(made.facts[entity])), next(iter(made.attributes[entity]))
    changed = [
        replace(made, facts=made.facts | {entity: made.facts[entity] | {relation: entity}}),
        replace(made, attributes=made.attributes | {entity: made.attributes[entity] | {number: 0}}),
        replace(made, stale=made.stale | {page.id: replace(page, facts={})}),
        replace(made, entities=made.entities | {entity: replace(made.entities[entity], aliases=("Other Name",))}),
    ]
    assert len({each.content_hash for each in [made, *changed]}) == 5


def test_the_text_of_a_page_does_not_change_unnoticed() -> None:
    # A change here means that worlds read differently: raise pages.FORMAT, which is part of the hash, and note the new value.
    text = "\x00".join(page.title + page.text + "".join(page.links) for page in world())
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == "9fef62602306"


def test_the_solver_by_hand() -> None:
    made = world()
    city = next(entity.id for entity in made.entities.values() if entity.type == "city")
    country = made.facts[city]["country"]
    leader = made.facts[country]["leader"]
    assert made.follow(city, ["country", "leader"]) == [city, country, leader]
    assert made.evidence(city, ["country", "leader"]) == (city, country)
    mates = [entity.id for entity in made.entities.values() if entity.type == "city" and made.facts[entity.id]["country"] == country]
    assert made.matching("city", [("country", country)]) == mates
    assert made.matching("city", [("country", country), ("mayor", made.facts[city]["mayor"])]) == [city]
    assert made.matching("film", [("country", country)]) == []
    other = next(entity for entity in made.entities if made.entities[entity].type == "city" and entity != city)
    larger = max(city, other, key=lambda entity: made.attributes[entity]["population"])
    older = min(city, other, key=lambda entity: made.attributes[entity]["founded"])
    assert made.compare(city, other, "population") == larger
    assert made.compare(city, other, "founded") == older
    assert made.compare(city, city, "founded") is None


def test_the_solver_names_what_is_missing() -> None:
    made = world()
    city = next(entity.id for entity in made.entities.values() if entity.type == "city")
    with pytest.raises(InputError, match=f"{city} has no 'author'; it has: country, mayor, river, twin"):
        made.follow(city, ["author"])
    with pytest.raises(InputError, match=f"{city} has no 'length'; it has: population, founded"):
        made.compare(city, city, "length")


def test_show_gives_the_page_and_the_truth() -> None:
    made = world(stale_rate=0.1)
    stale = next(iter(made.stale.values()))
    shown, current = show(made, stale.title), show(made, stale.entity)
    assert shown["id"] == stale.id and shown["current"] == current["id"] == stale.entity and current["archived"] == stale.id
    assert shown["facts"] == current["facts"] == lines_about_relations(made, stale.entity)
    title = made.entities["w0-3"].title
    with pytest.raises(InputError, match=f"no page '{title}q'; there is: {title}"):
        show(made, f"{title}q")


def lines_about_relations(made: World, entity_id: str) -> dict[str, str]:
    page = made.get(entity_id)
    assert page is not None
    return {name: value for name, value in lines_about(page, page.title).items() if not value.isdigit()}


def test_bad_configurations_are_named() -> None:
    with pytest.raises(ConfigError, match=r"world\.yaml: 'pages'.*1000"):
        WorldConfig.parse({"pages": 10}, source="world.yaml")
    with pytest.raises(ConfigError, match="unknown key 'alias'; did you mean 'alias_rate'"):
        WorldConfig.parse({"alias": 0.1}, source="world.yaml")
