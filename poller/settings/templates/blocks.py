"""Looking into what may be written in any shape."""

from __future__ import annotations

from poller.settings.nodes import Block, Entry, Items, Node, Scalar

from .intrinsics import called


def empty_block() -> Block:
    return Block({}, 1, nodes=1, depth=1)


def block_at(block: Block, *keys: str) -> Block:
    """The block under `keys`; an empty one where there is none."""
    node: Node = block
    for key in keys:
        if not isinstance(node, Block) or key not in node.entries:
            return empty_block()
        node = node.entries[key].node
    return node if isinstance(node, Block) else empty_block()


def text_at(block: Block, key: str) -> str | None:
    """The text under `key`, which is none of a function."""
    entry = block.entries.get(key)
    return entry.node.text if entry and isinstance(entry.node, Scalar) else None


def texts_at(block: Block, key: str) -> list[str]:
    """The text or the texts under `key`."""
    entry = block.entries.get(key)
    match entry and entry.node:
        case Scalar(text=text):
            return [text]
        case Items(items=items):
            return [item.text for item in items if isinstance(item, Scalar)]
        case _:
            return []


def merged(under: Block, over: Block) -> Block:
    """Both blocks as SAM merges Globals with a resource: blocks by key, of lists first `under`."""
    entries = dict(under.entries)
    for key, own in over.entries.items():
        node = _merged(entries[key].node, own.node) if key in entries else own.node
        entries[key] = Entry(own.line, node)
    return Block(entries, over.line, nodes=1, depth=1)


def _merged(under: Node, over: Node) -> Node:
    if called(under)[0] or called(over)[0]:
        return over
    match under, over:
        case Block(), Block():
            return merged(under, over)
        case Items(items=first), Items(items=then):
            return Items((*first, *then), over.line, nodes=1, depth=1)
        case _:
            return over
