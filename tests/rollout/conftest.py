import pytest

from spadework.models.renderers.tags import TagsRenderer
from spadework.models.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def renderer() -> TagsRenderer:
    return TagsRenderer(train_tokenizer(["Ondal Brin mayor Velor Tash. Who is the mayor of Ondal Brin?"] * 2, vocab_size=400))
