"""Callflow documents of Kazoo: made from Python, and checked before the box sees them.

What a document may hold is said by the JSON Schemas in `schemas/kazoo/`, and an
independent library applies them. Whole numbers and booleans may be written as text
("20", "true"), and keys that no schema names are no mistake; both as the dialect has it.
"""
import json
import pathlib
import sys

import programs

SCHEMAS = pathlib.Path(__file__).with_name("schemas") / "kazoo"
NODES_MAX, DEPTH_MAX = 4096, 128


class NotValid(AssertionError):
    """`problems`: [(path, rule, what the library says), ...]"""

    def __init__(self, problems):
        self.problems = problems
        super().__init__("\n".join(f"{path}: {what}" for path, _, what in problems))


# ------------------------------------------------------------------ making


def node(module, then=None, children=None, **data):
    """One node; `then` is its child for everything that `children` do not name."""
    kids = dict(children or {})
    if then is not None:
        kids["_"] = then
    return {"module": module, "data": data, "children": kids}


def chain(*nodes):
    """Each node the `_` child of the one before."""
    first, *rest = nodes
    return {**first, "children": {**first.get("children", {}), "_": chain(*rest)}} if rest else first


def callflow(flow, *numbers, **keys):
    return {"flow": flow, "numbers": list(numbers), **keys}


def account(*callflows, **stored):
    """The callflows of an office with what they refer to: menus=[...], vmboxes=[...], devices=[...]"""
    return checked({"callflows": list(callflows), **stored}, "account")


# ------------------------------------------------------------------ checking

_validators = {}


def _whole_document():
    """All schemas as one, so that any version of the library finds what they refer to."""
    def local(value):
        if isinstance(value, dict):
            return {key: f"#/$defs/{part}" if key == "$ref" else local(part) for key, part in value.items() if key != "$schema"}
        return [local(part) for part in value] if isinstance(value, list) else value

    return {"$schema": "https://json-schema.org/draft/2020-12/schema",
            "$defs": {path.name: local(json.loads(path.read_text())) for path in sorted(SCHEMAS.glob("*.json"))}}


def _number(value):
    """The number that a value stands for, also when it is written as text; None if it is no number."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _lenient():
    library = programs.json_schema()
    strict = library.Draft202012Validator
    whole = strict.TYPE_CHECKER

    def integer(_, value):
        return whole.is_type(value, "integer") or (isinstance(value, str) and _number(value) is not None)

    def boolean(_, value):
        return whole.is_type(value, "boolean") or value in ("true", "false")

    def bound(keyword, wrong):
        def check(_, limit, value, schema):
            number = _number(value) if "integer" in schema.get("type", ()) else value
            if isinstance(number, (int, float)) and not isinstance(number, bool) and wrong(number, limit):
                yield library.ValidationError(f"{value!r} is beyond the {keyword} of {limit}")
        return check

    return library.validators.extend(
        strict,
        {"minimum": bound("minimum", lambda number, limit: number < limit), "maximum": bound("maximum", lambda number, limit: number > limit)},
        type_checker=whole.redefine_many({"integer": integer, "boolean": boolean}))


def _validator(kind):
    if kind not in _validators:
        whole = _whole_document()
        assert f"{kind}.json" in whole["$defs"], f"no schema {kind}"
        library = programs.json_schema()
        library.Draft202012Validator.check_schema(whole)
        _validators[kind] = _lenient()({**whole, "$ref": f"#/$defs/{kind}.json"}, format_checker=library.FormatChecker(["regex"]))
    return _validators[kind]


def measure(flow):
    """(nodes, depth) of a tree."""
    nodes, depth, row = 0, 0, [flow]
    while row:
        nodes, depth = nodes + len(row), depth + 1
        row = [child for one in row if isinstance(one, dict) for child in _children(one).values()]
    return nodes, depth


def _children(one):
    children = one.get("children")
    return children if isinstance(children, dict) else {}


def _trees(document, kind):
    if kind == "account":
        return [flow.get("flow") for flow in document.get("callflows", []) if isinstance(flow, dict)]
    return [document.get("flow", document) if kind == "answer" else document.get("flow") if kind == "callflow" else document if kind == "node" else None]


def problems(document, kind="callflow"):
    """What is wrong with a callflow, an account, an answer, a node or a stored document (`stored.menu`)."""
    for tree in _trees(document, kind) if isinstance(document, dict) else ():
        nodes, depth = measure(tree)
        if nodes > NODES_MAX or depth > DEPTH_MAX:
            return [("", "size", f"{nodes} nodes, {depth} deep")]
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 40 * DEPTH_MAX + 2000))
    try:
        errors = sorted(_validator(kind).iter_errors(document), key=lambda error: list(map(str, error.absolute_path)))
        return [(".".join(map(str, error.absolute_path)), error.validator, error.message) for error in errors]
    finally:
        sys.setrecursionlimit(before)


def checked(document, kind="callflow"):
    """The document itself, if nothing is wrong with it."""
    found = problems(document, kind)
    if found:
        raise NotValid(found)
    return document


def unknown_keys(flow, path="flow"):
    """The keys in `data` that no schema names, for which a box warns: [path, ...]"""
    found = []
    known = SCHEMAS / f"module.{flow.get('module')}.json"
    if known.exists():
        named = json.loads(known.read_text())["properties"]
        found = [f"{path}.data.{key}" for key in flow.get("data", {}) if key not in named]
    for name, child in _children(flow).items():
        found += unknown_keys(child, f"{path}.children.{name}")
    return found


def load(path, kind="callflow"):
    return checked(json.loads(pathlib.Path(path).read_text()), kind)


def write(path, document, kind="account"):
    """A checked document as a file; its path."""
    pathlib.Path(path).write_text(json.dumps(checked(document, kind), indent=2))
    return path
