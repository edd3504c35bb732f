from hypothesis import given
from hypothesis import strategies as st

from spadework.corpus.index import analyse
from spadework.corpus.snippet import SnippetConfig, best_units, sentences, split_units


def snippet(text: str, query: str, weights: dict[str, float] | None = None, **config: int) -> str:
    settings = SnippetConfig.model_validate(config)
    return best_units(split_units(text, analyse, chars=settings.chars), weights or dict.fromkeys(analyse(query), 1.0), settings)


WORLD_PAGE = """# Ondal Brin
Ondal Brin river Suka Mor
Ondal Brin mayor Velor Tash
Ondal Brin rival Mayor Brin
Nothing to see here."""


def test_the_line_of_a_world_page() -> None:
    assert snippet(WORLD_PAGE, "Ondal Brin mayor", units=1) == "Ondal Brin mayor Velor Tash"


def test_page_order_and_nothing_without_a_query_term() -> None:
    assert snippet(WORLD_PAGE, "Ondal mayor", units=4).split("\n") == WORLD_PAGE.split("\n")[1:4]


def test_rare_terms_decide() -> None:
    text = "Common common words stand here.\nRare bird."
    assert snippet(text, "", {"common": 0.1, "rare": 2.0}, units=1) == "Rare bird."


def test_when_only_the_title_matched_the_first_unit_is_shown() -> None:
    assert snippet(WORLD_PAGE, "unheard", units=2) == "Ondal Brin river Suka Mor"
    assert snippet("# Heading only", "heading") == ""


def test_long_lines_are_split_into_sentences() -> None:
    line = "He was born in St. Ives in 1901. J. K. Tash, his friend, wrote to him. \u201cCome!\u201d 12 boats came. "
    line += "The U.S. Navy did not come at all that year."
    assert len(line) > 120
    assert sentences(line) == [
        "He was born in St. Ives in 1901.",
        "J. K. Tash, his friend, wrote to him.",
        "\u201cCome!\u201d",
        "12 boats came.",
        "The U.S. Navy did not come at all that year.",
    ]
    assert snippet(line, "navy boats", units=2) == "12 boats came.\nThe U.S. Navy did not come at all that year."


def test_characters_are_bounded() -> None:
    text = "\n".join(f"river {'x' * 30}{number}" for number in range(9))
    shown = snippet(text, "river", units=9, chars=80)
    assert len(shown) <= 80 and shown.count("\n") == 1  # two lines of 37 and a line end


@given(st.text(alphabet="ab .\n#\u00e9", max_size=300), st.integers(40, 90), st.integers(1, 4))
def test_units_are_verbatim_and_bounded(text: str, chars: int, units: int) -> None:
    shown = snippet(text, "a b", units=units, chars=chars)
    assert len(shown) <= chars
    assert len(shown.split("\n")) <= units
    assert all(unit in text for unit in shown.split("\n"))


@given(st.text(max_size=200))
def test_sentences_lose_nothing_but_spaces(line: str) -> None:
    assert "".join("".join(sentences(line)).split()) == "".join(line.split())
