import pytest
from transformers import PreTrainedTokenizerFast

from spadework.core.errors import ConfigError
from spadework.models.renderers.registry import RENDERERS, make_renderer


def test_every_renderer_is_found_by_its_name(trained: PreTrainedTokenizerFast) -> None:
    for name in RENDERERS:
        assert make_renderer(name, trained).name == name


def test_unknown_names_and_options_are_refused(trained: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ConfigError, match="unknown renderer 'chatml'; there are hermes, self-search, tags"):
        make_renderer("chatml", trained)
    with pytest.raises(ConfigError, match="renderer 'tags' has no option 'prompt'; it has tools, instruction"):
        make_renderer("tags", trained, prompt="x")
    with pytest.raises(ConfigError, match="renderer 'hermes' has no option 'tools'; it has none"):
        make_renderer("hermes", trained, tools=[])
