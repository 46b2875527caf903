"""The requests that a flow's web server sees are the ones Opentact describes, field for field and in order.

Seeds: the document on Callback lists call, sca, state, from, tn, tag; the document
on Curl says what that command may set.
"""
import json
import re
from datetime import datetime

import pytest

from box import flow

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
APP = "6f1de2c4-6a5e-4c8a-9d3b-0a4c5b6d7e8f"
ACCOUNT = "11111111-2222-4333-8444-555555555555"


def run(tipring, server, provider, command, **keys):
    """A call through one command; the box, for its records."""
    server.flow("/flow", command + "<Hangup/>")
    box = tipring(flow(url=server.url("/flow"), uuid=APP, account=ACCOUNT, **keys))
    call = provider.call(box, "18005550123").answered()
    call.hung_up()
    return box


def callback(server, method, body=None, tag=None):
    attributes = f"method='{method}'" + (f" body='{body}'" if body else "") + (f" tag='{tag}'" if tag is not None else "")
    server.flow("/next", "<Hangup/>")
    return f"<Callback url='{server.url('/next?shop=7')}' {attributes}><Error><Hangup tag='failed'/></Error></Callback>"


def test_the_first_request_by_get_has_from_and_to(tipring, server, provider):
    """Shows: from and to, appended to the URL's own query, nothing else, no body."""
    server.flow("/flow", "<Hangup/>")
    box = tipring(flow(url=server.url("/flow?a=1&b=x%20y")))
    provider.call(box, "18005550123").answered().hung_up()
    seen = server.wait_for("/flow")
    assert (seen.method, seen.body) == ("GET", b"")
    assert seen.query_text == "a=1&b=x%20y&from=15550100&to=18005550123"


def test_the_first_request_by_post_has_the_call_as_json(tipring, server, provider):
    """Shows: POST adds the call entity as a JSON body; the query stays."""
    box = run(tipring, server, provider, "", method="POST")
    seen = server.wait_for("/flow")
    assert seen.method == "POST"
    assert seen.query == [("from", "15550100"), ("to", "18005550123")]
    check_call_entity(seen, box)


@pytest.mark.parametrize("body", [None, "false", "true"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_callback_sends_the_six_fields(tipring, server, provider, method, body):
    """Shows: exactly call, sca, state, from, tn, tag after the URL's own query, for each method, with and without body."""
    box = run(tipring, server, provider, callback(server, method, body, tag="step 2+ä"))
    seen = server.wait_for("/next")
    assert seen.method == method
    assert [name for name, _ in seen.query] == ["shop", "call", "sca", "state", "from", "tn", "tag"]
    fields = dict(seen.query)
    assert UUID.fullmatch(fields["call"]) and fields["call"] == box.cdr()["id"]
    assert fields["sca"] == APP
    assert fields["state"] == "live"
    assert (fields["from"], fields["tn"]) == ("15550100", "18005550123")
    assert seen.query_text.endswith("&tag=step%202%2B%C3%A4"), seen.query_text
    if body == "true" and method in ("POST", "PATCH"):
        check_call_entity(seen, box)
    else:
        assert seen.body == b""
        assert seen.header("Content-Type") is None
        if method in ("POST", "PATCH"):
            assert seen.header("Content-Length") == "0"


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("tag, expected", [(None, None), ("", ""), ("x", "x")])
def test_tag_is_sent_when_it_is_written(tipring, server, provider, method, tag, expected):
    """Shows: no tag attribute, no field; an empty one is an empty field."""
    run(tipring, server, provider, callback(server, method, tag=tag))
    seen = server.wait_for("/next")
    names = ["shop", "call", "sca", "state", "from", "tn"] + ([] if expected is None else ["tag"])
    assert [name for name, _ in seen.query] == names
    assert dict(seen.query).get("tag") == expected


def check_call_entity(seen, box):
    """The JSON body of section 4.3."""
    assert seen.header("Content-Type").split(";")[0] == "application/json"
    assert int(seen.header("Content-Length")) == len(seen.body)
    entity = json.loads(seen.body)
    assert set(entity) == {"uuid", "from", "to", "tn", "state", "source", "created_on", "modified_on", "sip_control_app", "account", "logs", "meta"}
    assert entity["uuid"] == box.cdr()["id"]
    assert (entity["from"], entity["to"]) == ("15550100", "18005550123")
    assert entity["tn"]["tn"] == 18005550123
    assert (entity["state"], entity["source"]) == ("online", "freeswitch")
    for name in ("created_on", "modified_on"):
        assert entity[name].endswith("Z") and datetime.fromisoformat(entity[name].replace("Z", "+00:00"))
    assert entity["sip_control_app"]["uuid"] == APP
    assert {"uuid", "name", "call_flow_url", "call_flow_method"} <= set(entity["sip_control_app"])
    assert entity["account"] == {"uuid": ACCOUNT}
    assert isinstance(entity["logs"], list)
    assert entity["meta"]["cid_num"] == "15550100" and entity["meta"]["direction"] == "inbound"


@pytest.mark.parametrize("document, expected", [
    ("<Callback url='{url}'/>", "GET"), ("<callback> {url} </callback>", "GET"), ("<Redirect method='post'>{url}</Redirect>", "POST")])
def test_method_defaults_to_get_and_the_url_may_be_content(tipring, server, provider, document, expected):
    """Shows: the vendor's own shorter spellings."""
    server.flow("/next", "<Hangup/>")
    run(tipring, server, provider, document.format(url=server.url("/next")))
    seen = server.wait_for("/next")
    assert seen.method == expected
    assert [name for name, _ in seen.query] == ["call", "sca", "state", "from", "tn"]


def test_a_relative_url_is_resolved_against_the_document(tipring, server, provider):
    """Shows: url='next?x=1' in a document fetched from /dir/flow is /dir/next."""
    server.flow("/flow", f"<Callback url='{server.url('/dir/one')}'/>")
    server.flow("/dir/one", "<Callback url='two?x=1#part'/>")
    server.flow("/dir/two", "<Hangup/>")
    provider.call(tipring(), "100").answered().hung_up()
    assert server.wait_for("/dir/two").query[0] == ("x", "1")


def test_the_request_says_what_it_takes_and_who_asks(tipring, server, provider):
    """Shows: Accept, User-Agent and Host; no cookie, no credentials."""
    run(tipring, server, provider, callback(server, "GET"))
    seen = server.wait_for("/next")
    assert [part.strip().split(";")[0] for part in seen.header("Accept").split(",")][:2] == ["application/xml", "text/xml"]
    assert "tipring" in seen.header("User-Agent").lower()
    assert seen.header("Host") == server.authority
    assert seen.header("Authorization") is None and seen.header("Cookie") is None


def test_credentials_in_the_url_are_sent_as_basic(tipring, server, provider):
    """Shows: http://user:password@host/ becomes an Authorization header and leaves the URL."""
    server.flow("/next", "<Hangup/>")
    url = server.url("/next").replace("http://", "http://ann:s%40cret@")
    run(tipring, server, provider, f"<Callback url='{url}'/>")
    seen = server.wait_for("/next")
    import base64
    assert seen.header("Authorization") == "Basic " + base64.b64encode(b"ann:s@cret").decode()
    assert seen.header("Host") == server.authority


def test_a_withheld_number_is_anonymous(tipring, server, provider):
    """Shows: from=anonymous."""
    server.flow("/flow", "<Hangup/>")
    provider.call(tipring(), "100", user="anonymous").answered().hung_up()
    assert dict(server.wait_for("/flow").query)["from"] == "anonymous"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_curl_sends_what_it_is_told_and_goes_on(tipring, server, provider, method):
    """Shows: Curl's method, headers, placeholders and body; the answer is ignored; the six fields are not added."""
    server.flow("/hook", "<Say>This must not be heard.</Say>")
    box = run(tipring, server, provider, f"""<Curl url='{server.url('/hook')}?who={{from}}&amp;n={{tn}}' method='{method}'>
        <Header name='X-Box' value='lab {{state}}'/><Body>{{"call":"{{call}}"}}</Body></Curl>""")
    seen = server.wait_for("/hook")
    assert seen.method == method
    assert seen.query == [("who", "15550100"), ("n", "18005550123")]
    assert seen.header("X-Box") == "lab live"
    if method not in ("GET", "DELETE"):
        assert seen.header("Content-Type") == "application/json"
        assert json.loads(seen.body) == {"call": box.cdr()["id"]}


def test_curl_may_include_its_answer_in_the_flow(tipring, server, provider):
    """Shows: response=include runs the answer's commands here and then goes on with the old flow."""
    server.flow("/more", f"<Callback url='{server.url('/never')}' method='PUT'/><Curl url='{server.url('/inside')}'/>")
    server.flow("/inside", "")
    server.flow("/outside", "")
    run(tipring, server, provider, f"<Curl url='{server.url('/more')}' response='include'/><Curl url='{server.url('/outside')}'/>")
    server.wait_for("/outside")
    assert [r.path for r in server.requests] == ["/flow", "/more", "/inside", "/outside"]


@pytest.mark.parametrize("status, expected_method, expected_body", [(301, "GET", False), (302, "GET", False), (303, "GET", False), (307, "POST", True), (308, "POST", True)])
def test_redirects_are_followed_as_http_says(tipring, server, provider, status, expected_method, expected_body):
    """Shows: 301, 302, 303 turn POST into GET without a body; 307 and 308 repeat it; the fields travel only in Location."""
    from flow_server import Answer
    server.answer("/next", Answer(status=status, headers=[("Location", "/there?kept=1")]))
    server.flow("/there", "<Hangup/>")
    run(tipring, server, provider, f"<Callback url='{server.url('/next')}' method='POST' body='true'/>")
    seen = server.wait_for("/there")
    assert (seen.method, bool(seen.body)) == (expected_method, expected_body)
    assert seen.query == [("kept", "1")]
