"""What a person wants to see of a world: one page beside the facts behind it."""

import difflib
from typing import Any

from spadework.core.errors import InputError
from spadework.corpus.worlds.world import World

__all__ = ["show"]


def show(world: World, key: str) -> dict[str, Any]:
    """A page and what is true about its entity, as plain values.

    Args:
        world: where the page stands.
        key: an id, a title or an alias; case is ignored in names.

    Returns:
        `id`, `title`, `text`, `links`, `type`, `aliases`, `facts` (relation -> title of the object), `attributes`, `archived` (id of the
        outdated copy or None) and `current` (id of the page that is the truth). The facts of an outdated copy are the true ones.

    Raises:
        InputError: there is no such page; the nearest titles are named.
    """
    document = world.get(key)
    if document is None:
        near = difflib.get_close_matches(key.title(), [entity.title for entity in world.entities.values()], n=3)
        known = ", ".join(near) if near else f"{next(iter(world.entities.values())).title} (the first page)"
        raise InputError(f"the world has no page '{key}'; there is: {known}")
    current = world.stale[document.id].entity if document.id in world.stale else document.id
    entity = world.entities[current]
    archived = world.archived.get(current)
    return {
        "id": document.id,
        "title": document.title,
        "text": document.text,
        "links": list(document.links),
        "type": entity.type,
        "aliases": list(entity.aliases),
        "facts": {relation: world.entities[target].title for relation, target in world.facts[current].items()},
        "attributes": dict(world.attributes[current]),
        "archived": archived.id if archived else None,
        "current": current,
    }
