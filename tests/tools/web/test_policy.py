import pytest

from spadework.core.errors import ConfigError, ToolError
from spadework.tools.web.address import parse_url
from spadework.tools.web.policy import BLOCK_LISTS, Domains


def allowed(domains: Domains, url: str) -> bool:
    try:
        domains.check(parse_url(url))
    except ToolError:
        return False
    return True


def test_a_domain_stands_for_its_subdomains_and_for_no_other() -> None:
    domains = Domains(block=["example.org"])
    assert not allowed(domains, "https://example.org/")
    assert not allowed(domains, "https://a.b.Example.ORG./x")
    assert allowed(domains, "https://notexample.org/")
    assert allowed(domains, "https://example.org.example.com/")


def test_a_path_ends_where_a_segment_ends_however_it_is_written() -> None:
    domains = Domains(block=["https://example.org/data/"])
    for path in ("data", "data/x", "DATA/x", "d%61ta/x", "/data/x", "./data", "other/../data/x", "%64%61%74%61"):
        assert not allowed(domains, f"https://example.org/{path}"), path
    for path in ("", "database", "other/data"):
        assert allowed(domains, f"https://example.org/{path}"), path


def test_only_what_is_allowed_and_blocking_wins() -> None:
    domains = Domains(allow=["example.org", "example.com/wiki"], block=["private.example.org"])
    assert allowed(domains, "https://www.example.org/") and allowed(domains, "https://example.com/wiki/A")
    for url in ("https://example.com/", "https://example.net/", "https://private.example.org/"):
        assert not allowed(domains, url)


def test_the_places_of_benchmarks() -> None:
    domains = Domains(block_lists=["benchmarks"])
    assert not allowed(domains, "https://huggingface.co/datasets/some/copy-of-a-benchmark")
    assert not allowed(domains, "https://raw.githubusercontent.com/openai/simple-evals/main/x.csv")
    assert allowed(domains, "https://huggingface.co/docs") and allowed(domains, "https://github.com/openai")
    # Entries are written as they are compared, and each once.
    entries = BLOCK_LISTS["benchmarks"]
    assert len(set(entries)) == len(entries) and all(entry == entry.lower() for entry in entries)


def test_bad_lists_are_config_errors() -> None:
    with pytest.raises(ConfigError, match="no list 'bench'; there are benchmarks"):
        Domains(block_lists=["bench"])
    for entry in ("", "com", "/path"):
        with pytest.raises(ConfigError, match="is not a domain"):
            Domains(block=[entry])
