"""The Kazoo documents of these tests are what the dialect allows, by schemas of our own and a library of others; bad ones are told apart."""
import copy
import json
import pathlib

import pytest

import kazoo_documents as kazoo
from kazoo_documents import callflow, chain, node

FLOWS = pathlib.Path(__file__).with_name("flows")
EXAMPLES = sorted((FLOWS / "kazoo").glob("*.json"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_callflows(path):
    """Shows: eight flows over the whole must tier are valid and hold no unknown key."""
    document = kazoo.load(path)
    assert kazoo.unknown_keys(document["flow"]) == []


def test_there_are_eight_examples():
    """Shows: reception, fallback, digits, screening, recording, variables, and two answered with TwiML."""
    assert [path.stem[:2] for path in EXAMPLES] == [f"e{number}" for number in range(1, 9)]


def test_the_office_is_an_account():
    """Shows: callflows with the menus, hours, mailboxes, people and telephones that they name."""
    office = kazoo.load(FLOWS / "office.kazoo.json", "account")
    assert {item["id"] for item in office["menus"] + office["temporal_rules"] + office["vmboxes"] + office["devices"]} \
        == {"office-menu", "office-hours", "office-voicemail", "desk201"}


MUST = {"answer", "branch_variable", "callflow", "check_cid", "collect_dtmf", "conference", "device", "flush_dtmf", "hangup", "language", "menu", "noop",
        "offnet", "pivot", "play", "prepend_cid", "record_call", "record_caller", "resources", "response", "ring_group", "set_cid", "set_variable",
        "set_variables", "sleep", "temporal_route", "tts", "user", "voicemail", "webhook", "group", "send_dtmf", "fax_detect"}
SHOULD = {"tones", "after_bridge", "audio_macro", "branch_bnumber", "call_forward", "call_waiting", "cidlistmatch", "dead_air", "directory", "disa",
          "do_not_disturb", "dynamic_cid", "group_pickup", "group_pickup_feature", "intercept", "intercom", "lookupcidname", "manual_presence",
          "missed_call_alert", "page_group", "park", "privacy", "ring_group_toggle", "set_alert_info", "wait_for_hangup", "transfer"}


def test_every_module_has_its_schema():
    """Shows: 33 modules that must be there, 26 that should; the node's schema knows these and no others."""
    files = {path.name.removeprefix("module.").removesuffix(".json") for path in kazoo.SCHEMAS.glob("module.*.json")}
    known = json.loads((kazoo.SCHEMAS / "node.json").read_text())["properties"]["module"]["enum"]
    assert files == set(known) == MUST | SHOULD
    assert (len(MUST), len(SHOULD)) == (33, 26)


# The least that each module needs.
LEAST = {
    "branch_variable": {"variable": "call_priority"}, "callflow": {"id": "other"}, "conference": {"id": "room"}, "language": {"language": "de-de"},
    "pivot": {"voice_url": "http://office.example/"}, "ring_group": {"endpoints": ["desk201"]}, "tts": {"text": "Hello"}, "webhook": {"uri": "http://office.example/"},
    "send_dtmf": {"digits": "12#"}, "manual_presence": {"presence_id": "201"}, "missed_call_alert": {"recipients": [{"type": "user", "id": "u"}]},
    "page_group": {"endpoints": [{"endpoint_type": "device", "id": "desk201"}]}, "ring_group_toggle": {"action": "login", "callflow_id": "c"}, "set_alert_info": {"alert_info": "x"},
}


@pytest.mark.parametrize("module", sorted(MUST | SHOULD))
def test_each_module_with_the_least_it_needs(module):
    """Shows: the least is enough; less is not."""
    data = LEAST.get(module, {})
    assert kazoo.problems(callflow({"module": module, "data": data})) == []
    assert (kazoo.problems(callflow({"module": module})) == []) == (not data)


GOOD = {
    "numbers as text": node("collect_dtmf", max_digits="4", timeout="5000"),
    "booleans as text": node("play", id="x", answer="false", endless_playback="true"),
    "a key nobody knows": node("pivot", voice_url="http://office.example/", req_timeout="5"),
    "an empty child": {"module": "noop", "data": {}, "children": {"_": {}}},
    "no data": {"module": "answer"},
    "skipped": node("hangup", skip_module=True),
    "headers in either case": node("pivot", voice_url="http://office.example/", custom_request_headers={"X-A": "1", "x-b": "2"}),
    "a flow in the node": node("callflow", flow=node("hangup")),
    "endpoints by name alone": node("ring_group", endpoints=["desk201", "u-mara"]),
    "without a server": node("pivot", serverless={"flow_doc": "<Response/>", "flow_type": "application/xml"}),
    "the longest wait": node("sleep", duration=86400000, unit="ms"),
    "128 deep": chain(*[node("noop") for _ in range(128)]),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_is_allowed(case):
    assert kazoo.problems(callflow(GOOD[case])) == []


BAD = {
    "a module out of scope": (node("acdc_member", id="q"), "enum", "flow.module"),
    "a module nobody knows": (node("teleport"), "enum", "flow.module"),
    "such a module deep in the tree": (chain(node("answer"), node("menu", id="m", children={"1": node("eavesdrop")})), "enum", "flow.children._.children.1.module"),
    "no module": ({"data": {}}, "required", "flow"),
    "a child that is null": ({"module": "noop", "children": {"_": None}}, "type", "flow.children._"),
    "a child that is text": ({"module": "noop", "children": {"1": "hangup"}}, "type", "flow.children.1"),
    "data that is a list": ({"module": "noop", "data": []}, "type", "flow.data"),
    "no wait for digits": (node("collect_dtmf", timeout=0), "minimum", "flow.data.timeout"),
    "no wait for digits, as text": (node("collect_dtmf", timeout="0"), "minimum", "flow.data.timeout"),
    "text that is no number": (node("device", id="d", timeout="soon"), "type", "flow.data.timeout"),
    "a recording of four seconds": (node("record_call", time_limit=4), "minimum", "flow.data.time_limit"),
    "a recording of more than three hours": (node("record_caller", time_limit=10801), "maximum", "flow.data.time_limit"),
    "more than a day of sleep": (node("sleep", duration=86400001), "maximum", "flow.data.duration"),
    "endpoints as an object": (node("ring_group", endpoints={"id": "d"}), "type", "flow.data.endpoints"),
    "no endpoints at all": (node("ring_group", endpoints=[]), "minItems", "flow.data.endpoints"),
    "an endpoint without its kind": (node("ring_group", endpoints=[{"id": "d"}]), "required", "flow.data.endpoints.0"),
    "an endpoint without its name": (node("ring_group", endpoints=[{"endpoint_type": "user"}]), "required", "flow.data.endpoints.0"),
    "a strategy that there is not": (node("ring_group", endpoints=["d"], strategy="random"), "enum", "flow.data.strategy"),
    "a weight over a hundred": (node("ring_group", endpoints=[{"endpoint_type": "user", "id": "u", "weight": 101}]), "maximum", "flow.data.endpoints.0.weight"),
    "an address over ftp": (node("pivot", voice_url="ftp://office.example/x"), "pattern", "flow.data.voice_url"),
    "an address without a scheme": (node("pivot", voice_url="office.example/x"), "pattern", "flow.data.voice_url"),
    "neither address nor document": (node("pivot", method="get"), "oneOf", "flow.data"),
    "both address and document": (node("pivot", voice_url="http://office.example/", serverless={"flow_doc": "x"}), "oneOf", "flow.data"),
    "eight seconds for an answer": (node("pivot", voice_url="http://office.example/", req_timeout_ms=8000), "maximum", "flow.data.req_timeout_ms"),
    "a header that is not ours": (node("pivot", voice_url="http://office.example/", custom_request_headers={"Site": "x"}), "additionalProperties", "flow.data.custom_request_headers"),
    "a header that is a number": (node("pivot", voice_url="http://office.example/", custom_request_headers={"X-Site": 1}), "type", "flow.data.custom_request_headers.X-Site"),
    "a header of two lines": (node("pivot", voice_url="http://office.example/", custom_request_headers={"X-Site": "a\r\nb: c"}), "pattern", "flow.data.custom_request_headers.X-Site"),
    "a method that there is not": (node("pivot", voice_url="http://office.example/", method="put"), "enum", "flow.data.method"),
    "a webhook to nowhere": (node("webhook", http_verb="post"), "required", "flow.data"),
    "words without words": (node("tts", text=""), "minLength", "flow.data.text"),
    "more words than fit": (node("tts", text="a" * 1001), "maxLength", "flow.data.text"),
    "a language that is none": (node("language", language="german"), "pattern", "flow.data.language"),
    "a key that no telephone has": (node("collect_dtmf", terminators=["E"]), "enum", "flow.data.terminators.0"),
    "a regex that does not compile": (node("check_cid", regex="(49"), "format", "flow.data.regex"),
    "a regex that looks back": (node("check_cid", regex="(?<=0)49"), "not", "flow.data.regex"),
    "a regex that repeats itself": (node("check_cid", regex=r"(4)\1"), "not", "flow.data.regex"),
    "ftp for a recording": (node("record_call", url="ftp://office.example/"), "pattern", "flow.data.url"),
    "129 deep": (chain(*[node("noop") for _ in range(129)]), "size", ""),
    "4097 nodes": (node("noop", children={str(number): node("hangup") for number in range(4096)}), "size", ""),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_allowed(case):
    """Shows: the rule that is broken and the place where."""
    flow, rule, path = BAD[case]
    found = kazoo.problems(callflow(flow))
    assert (path, rule) in [(at, broken) for at, broken, _ in found], found
    with pytest.raises(kazoo.NotValid):
        kazoo.checked(callflow(flow))


BAD_STORED = {
    "a menu tried eleven times": ("menu", {"name": "m", "retries": 11}),
    "a menu that waits for ever": ("menu", {"name": "m", "timeout": 0}),
    "a menu with a hunt that does not compile": ("menu", {"name": "m", "hunt_allow": "["}),
    "a PIN of three digits": ("vmbox", {"name": "v", "mailbox": "801", "pin": "123"}),
    "a mailbox without a number": ("vmbox", {"name": "v"}),
    "a rule without a cycle": ("temporal_rule", {"name": "r"}),
    "a window after midnight": ("temporal_rule", {"name": "r", "cycle": "daily", "time_window_stop": 86401}),
    "a day that there is not": ("temporal_rule", {"name": "r", "cycle": "weekly", "wdays": ["someday"]}),
    "an empty set of rules": ("temporal_rule_set", {"name": "s", "temporal_rules": []}),
    "a member of no kind": ("group", {"name": "g", "endpoints": {"d": {}}}),
    "a PIN of letters": ("conference", {"member": {"pins": ["abcd"]}}),
    "forwarding by a number": ("device", {"name": "d", "call_forward": {"enabled": 2}}),
    "a list entry that matches nothing": ("list", {"name": "l", "entries": [{"displayname": "x"}]}),
    "a sound too large": ("media", {"name": "m", "content_length": 11534337}),
}


@pytest.mark.parametrize("case", BAD_STORED)
def test_stored_documents_that_are_not_allowed(case):
    kind, document = BAD_STORED[case]
    assert kazoo.problems(document, f"stored.{kind}"), document


def test_documents_of_an_account_need_their_names():
    """Shows: what is referred to by id has one."""
    office = kazoo.load(FLOWS / "office.kazoo.json", "account")
    for kind in ("menus", "temporal_rules", "vmboxes", "users", "devices"):
        nameless = copy.deepcopy(office)
        del nameless[kind][0]["id"]
        assert [(path, rule) for path, rule, _ in kazoo.problems(nameless, "account")] == [(f"{kind}.0", "required")]


def test_what_an_answer_may_be():
    """Shows: a bare node, or one wrapped in `flow`; never an empty object."""
    bare = node("tts", text="Hello")
    assert kazoo.problems(bare, "answer") == kazoo.problems({"flow": bare}, "answer") == []
    for bad in ({}, [], {"flow": []}, {"flow": {"module": "acdc_member"}}, {"module": "acdc_member", "data": {}}, {"words": 1}):
        assert kazoo.problems(bad, "answer"), bad


def test_unknown_keys_are_named():
    """Shows: with the way to them in the tree."""
    flow = node("menu", id="m", children={"1": node("pivot", voice_url="http://office.example/", req_timeout="5")})
    assert kazoo.unknown_keys(flow) == ["flow.children.1.data.req_timeout"]
