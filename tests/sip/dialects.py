"""Flows of the three younger dialects in the configuration, and what a record or a webhook of each says.

Every key of a `[[flow]]` table and every word that a dialect has of its own is named here and nowhere else.
"""
import json
import pathlib
from urllib.parse import parse_qsl

import box as boxes
import kazoo_documents as kazoo
import programs

TOKEN = "office-token-0001"             # the account's, with which requests of TwiML are signed

# ------------------------------------------------------------------ configuration


def twiml(url, *, method=None, fallback_url=None, fallback_method=None, status_callback=None, auth_token=TOKEN, name="office", **keys):
    """A flow whose documents a web application writes."""
    return boxes.flow(name, url, "twiml", method=method, fallback_url=fallback_url, fallback_method=fallback_method,
                      status_callback=status_callback, auth_token=auth_token, **keys)


def kazoo_file(path, document, *, webhook_url=None, name="office", **keys):
    """A flow of an account's callflows, which lies on the box."""
    return boxes.flow(name, None, "kazoo", file=str(kazoo.write(path, document)), webhook_url=webhook_url, **keys)


def call_interactive_file(path, document, *, webhook_url=None, name="office", **keys):
    """A flow of an IVR's contexts, which lies on the box."""
    pathlib.Path(path).write_text(json.dumps(checked_ivr(document), indent=2))
    return boxes.flow(name, None, "call_interactive", file=str(path), webhook_url=webhook_url, **keys)


# ------------------------------------------------------------------ the IVR of Call Interactive

IVR_SCHEMA = pathlib.Path(__file__).with_name("schemas") / "call_interactive.json"


def checked_ivr(document):
    """The document itself, if nothing is wrong with it."""
    programs.json_schema().Draft202012Validator(json.loads(IVR_SCHEMA.read_text())).validate(document)
    return document


def ivr(start, *, timeout_ms=2000, interdigit_ms=1000, **options):
    """An IVR of one context; `start` and the options are lists of actions: d1=[...] is what key 1 does."""
    named = {key.removeprefix("d") if key[1:].isdigit() else key: actions for key, actions in options.items()}
    return {"contexts": [{"id": 1, "name": "main", "timeout_ms": timeout_ms, "interdigit_ms": interdigit_ms, "options": {"start": start, **named}}]}


def does(action, **parts):
    return {"action": action, **parts}


def asks(url, method="GET", **parts):
    return does("call_interactive", url=url, method=method, **parts)


# ------------------------------------------------------------------ records and webhooks

LABELS = {"caller": "caller", "flow_error": "failure", "system-error": "failure"}      # every other label is the flow's own word
ENDED = {"hangup", "completed", "channel_destroy"}      # what a webhook says when a call is over


def label_kind(label):
    """`caller`: he hung up; `failure`: the application gave nothing to run; `program`: the flow came to its end, by whatever word."""
    return LABELS.get(label, "program")


def fields(request):
    """What a request tells, in its query, its form or the top of its JSON: {name: text}. Of a FlowServer or an Application."""
    query = request.query if isinstance(request.query, list) else []
    headers = request.headers.items() if isinstance(request.headers, dict) else request.headers
    kind = next((value for name, value in headers if name.lower() == "content-type"), "")
    told = dict(query)
    if kind.startswith("application/x-www-form-urlencoded"):
        told.update(parse_qsl(request.body.decode(), keep_blank_values=True))
    elif kind.startswith("application/json"):
        told.update({name: value for name, value in json.loads(request.body).items() if isinstance(value, str)})
    return told


def tells_the_end(request):
    return bool(ENDED & {value.lower() for value in fields(request).values()})
