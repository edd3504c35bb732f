from spadework.corpus.document import Document
from spadework.synthesis.names import WORD, Link, capital_runs, links_in, mentions, plain, prose, told, unique_titles, untagged

TEXT = """# Heading

The **Lamp** was built by [Ada Moon](people/ada.md "a person"). It stands in [[Port Vale|the port]]. See ![map](map.png).
| a | table. |
> Quoted. Text.
Dr. Moon left [[Port Vale]].
"""


def test_links() -> None:
    found = [(link.name, link.target) for link in links_in(TEXT)]
    assert found == [("Ada Moon", "people/ada.md"), ("the port", "Port Vale"), ("Port Vale", "Port Vale")]
    first = next(links_in("a [b](c)"))
    assert first == Link(2, 8, "b", "c")


def test_plain_text() -> None:
    assert plain("The **Lamp** by [Ada](x.md) in [[Port Vale|the port]]") == "The Lamp by Ada in the port"


def test_sentences_and_where_they_start() -> None:
    found = list(prose(TEXT))
    assert [sentence for _, sentence in found] == [
        'The **Lamp** was built by [Ada Moon](people/ada.md "a person").',
        "It stands in [[Port Vale|the port]].",
        "See ![map](map.png).",
        "Dr. Moon left [[Port Vale]].",
    ]
    assert all(TEXT[start : start + len(sentence)] == sentence for start, sentence in found)


def test_the_same_sentence_twice_has_two_places() -> None:
    text = "  Yes it is. Yes it is.\r\nYes it is.\n"
    assert [start for start, _ in prose(text)] == [2, 13, 25]


def test_what_a_text_tells_of_a_name() -> None:
    assert told("The lamps of old", "Lamp Bay") and not told("The bay", "The Lamp")
    assert mentions("by [Ada Moon](x)!", "ada moon") and not mentions("Ada Moonstone", "Ada Moon")


def test_titles_that_name_one_page() -> None:
    pages = [Document(id=str(i), title=t, text="") for i, t in enumerate(["Mercury (planet)", "Mercury (god)", "Lamp (film)", "lower"])]
    assert untagged("Mercury (planet)") == "Mercury"
    assert unique_titles(pages) == {"Mercury (planet)": "0", "Mercury (god)": "1", "Lamp (film)": "2", "Lamp": "2"}


def test_runs_of_capitals() -> None:
    text = "On a Monday the Duke of Vale met J. R. Moon and left"
    runs = [text[start:end] for start, end in capital_runs(text, list(WORD.finditer(text)))]
    assert runs == ["On", "Duke of Vale", "J. R. Moon"]
