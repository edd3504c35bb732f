from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.audit import audit
from spadework.synthesis.ledger import locate
from spadework.synthesis.makers.maker import makers, tasks
from spadework.synthesis.statements import WorldGraph


def test_a_ledger_is_whole_or_damaged() -> None:
    world = build_world(WorldConfig(seed=1, pages=1_000))
    graph = WorldGraph(world)
    plain = next(tasks(makers.build("sailorfog"), graph, seed=0, n=1))
    task = locate(plain, graph)
    assert audit(task, world) == audit(plain, world) == [] == audit(task.model_copy(update={"meta": {}}), world)
    wrong = audit(task.model_copy(update={"answers": ("Nobody",)}), world)
    assert wrong == [f"the ledger gives '{task.answers[0]}', the gold answer is 'Nobody'"]
    assert audit(task.model_copy(update={"evidence": ("x",)}), world) == ["the pages of the ledger are not the evidence"]
    assert "damaged ledger" in audit(task.model_copy(update={"meta": {"ledger": {}}}), world)[0]
    emptied = MemoryCorpus([Document(id=key, title="x", text="Nothing.") for key in task.evidence[1:]])
    said = audit(task, emptied)
    assert len(said) == len(task.meta["ledger"]["statements"]) and said[0].startswith(f"{task.evidence[0]} does not say: ")
