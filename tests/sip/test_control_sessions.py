"""Scenario sessions that are begun and steered over HTTP, by the vendor's own client and by plain requests."""
import datetime
import json
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request

import programs
import pytest
from box import table
from box import phone, trunk
from test_control_api import LOGIN, address, call, made_key, text_key, web
from test_transfer import talk
from waiting import until

OFFICE = (phone("201"), phone("202"))
LIBRARY = "function asText(e) { return [e.method, e.path, e.content, JSON.stringify(e.headers)].join(' | '); }\n"
CONTROLLED = """
let a, b;
VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  const [word, rest] = e.content.split(' ');
  if (word === 'text') return asText(e);
  if (word === 'number') return 42;
  if (word === 'nothing') return undefined;
  if (word === 'object') return { data: VoxEngine.customData() };
  if (word === 'later') return new Promise((done) => setTimeout(() => done('done'), 100));
  if (word === 'never') return new Promise(() => {});
  if (word === 'throw') throw new Error('no');
  if (word === 'call') { a = VoxEngine.callUser(rest, '100'); return 'calling'; }
  if (word === 'join') { b = VoxEngine.callPSTN(rest, '100'); b.addEventListener(CallEvents.Connected, () => VoxEngine.sendMediaBetween(a, b)); return 'joining'; }
  if (word === 'state') return { a: a && a.state(), b: b && b.state() };
  if (word === 'hangup') { a.hangup(); b.hangup(); return 'hung up'; }
  if (word === 'end') { VoxEngine.terminate(); return 'bye'; }
});
"""
INCOMING = """
VoxEngine.addEventListener(AppEvents.Started, (e) => Logger.write(e.accessURL));
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.answer();
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
});
"""


def rule(directory, number, name, *texts, pattern=None, flow="office"):
    """A rule with these scenarios."""
    files = []
    for at, text in enumerate(texts):
        path = directory / f"{name}{at}.js"
        path.write_text(text)
        files.append(str(path))
    return table("[[rule]]", dict(id=number, name=name, flow=flow, pattern=pattern, scenarios=files))


def application(name="office", number=5):
    return table("[[flow]]", dict(name=name, dialect="voxengine", application_id=number, numbers=["700"]))


@pytest.fixture
def steered(tmp_path, tipring):
    """steered(*tables): a box with one application of two rules, and a text key."""
    def make(*tables, **keys):
        return tipring(web(**keys), text_key(), application(), rule(tmp_path, 10, "steered", LIBRARY, CONTROLLED),
                       rule(tmp_path, 11, "incoming", INCOMING, pattern=r"7\d\d"), *tables)
    return make


def start(box, query="rule_id=10"):
    answer = call(box, "StartScenarios", f"{LOGIN}&{query}")
    assert answer["result"] == 1, answer
    return answer


def say(url, body="", method="POST", headers=None):
    """Status, media type and body of what the session answers."""
    request = urllib.request.Request(url, body.encode() if method == "POST" else None, headers or {}, method=method)
    try:
        answer = urllib.request.urlopen(request, timeout=20)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers["Content-Type"], answer.read().decode()


def test_a_session_answers_as_its_listener_says(steered):
    """Shows: every kind of answer, fields of the event, several scenarios in one scope, and the end."""
    box = steered()
    started = start(box, "rule_id=10&script_custom_data=a%3Ab%C3%A4")
    url = started["media_session_access_url"]
    assert url.startswith("http://%s:%d/request/" % address(box)) and len(url.rsplit("/", 1)[1]) == 32
    told = say(url + "?x=1", "text", headers={"X-Own": "1", "Other": "2"})
    path = urllib.parse.urlsplit(url).path
    assert told[2].startswith(f"POST | {path}?x=1 | text | ") and told[:2] == (200, "text/plain; charset=utf-8")
    assert [(header["key"].lower(), header["value"]) for header in json.loads(told[2].split(" | ")[3])] == [("x-own", "1")]
    assert say(url, "number")[2] == "42"
    assert say(url, "nothing") == (200, "text/plain; charset=utf-8", "")
    assert say(url, method="GET")[0] == 200
    status, kind, body = say(url, "object")
    assert (status, kind.split(";")[0], json.loads(body)) == (200, "application/json", {"data": "a:b\u00e4"})
    assert say(url, "later")[2] == "done"
    assert say(url, "x" * 262_145)[0] == 413
    assert say(url[:-1] + ("0" if url[-1] != "0" else "1"))[0] == 404
    assert say(url, "end")[2] == "bye"
    until(lambda: say(url)[0] == 404, 10, "the address ends with its session")
    gone, wrong = say(url), say(url[:-33] + "/" + "0" * 32)
    assert gone == wrong == say("http://%s:%d/nowhere" % address(box))


def test_a_promise_that_never_comes_is_504_and_an_error_ends_the_session(steered):
    """Shows: 10 s at most; a listener that throws is 500, and systemError in the history."""
    box = steered()
    started = start(box)
    url, history_id = started["media_session_access_url"], started["call_session_history_id"]
    assert say(url, "never")[0] == 504
    assert say(url, "throw")[0] == 500
    until(lambda: say(url)[0] == 404, 10, "the session ends")

    def past():
        return call(box, "GetCallHistory", f"{LOGIN}&call_session_history_id={history_id}")["result"]
    until(past, 5, "the history has it")
    assert past()[0]["finish_reason"] == "system_error"


def test_the_vendors_own_client_starts_a_session_and_finds_it_again(tmp_path, tipring, monkeypatch):
    """Shows: GetRules, StartScenarios by id and by name, GetCallHistory over HTTPS; the history outlives a restart."""
    out, printed = made_key(tmp_path)
    box = tipring(web(https="127.0.0.1:0"), printed, application(), rule(tmp_path, 10, "steered", LIBRARY, CONTROLLED))
    pem = box.data / "web/certificate.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    client = programs.voximplant_client()
    api = client.VoximplantAPI(str(out), endpoint="%s:%d" % address(box, "https"))
    [known] = api.get_rules(application_id=5, with_scenarios=True)["result"]
    assert (known["rule_id"], [one["scenario_name"] for one in known["scenarios"]]) == (10, ["steered0", "steered1"])
    started = api.start_scenarios(rule_id=10, script_custom_data="x" * 60_000)
    assert api.start_scenarios(rule_name="steered", application_name="office")["result"] == 1
    secure = started["media_session_access_secure_url"]
    assert secure.startswith("https://127.0.0.1:%d/" % address(box, "https")[1])
    context = ssl.create_default_context(cafile=str(pem))
    with urllib.request.urlopen(urllib.request.Request(secure, b"object"), timeout=10, context=context) as answer:
        assert json.loads(answer.read()) == {"data": "x" * 60_000}
    assert say(started["media_session_access_url"], "end")[2] == "bye"

    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.timezone.utc)

    def between():
        api.endpoint = "%s:%d" % address(box, "https")
        return api.get_call_history(from_date=now - day, to_date=now + day)

    until(lambda: between()["total_count"] == 1, 10, "the history has the session that is over")
    before = between()["result"]
    assert (before[0]["rule_name"], before[0]["application_name"], before[0]["initiator_address"]) == ("steered", "office", "127.0.0.1")
    box.calls_may_remain = True
    assert box.stop() == 0
    box.start()
    after = between()["result"]
    assert before[0]["call_session_history_id"] in [one["call_session_history_id"] for one in after] and len(after) == 2
    assert api.start_scenarios(rule_id=10)["call_session_history_id"] > max(one["call_session_history_id"] for one in after)


def test_requests_make_calls_join_them_and_hang_up(steered, party, desk):
    """Shows: one address steers a call-back; each hears the other; both are hung up."""
    far = party("127.0.0.2", user="far")
    box = steered(*OFFICE, trunk(host=far.address))
    first = desk(box, "201")
    url = start(box)["media_session_access_url"]
    assert say(url, "call 201")[2] == "calling"
    inside = first.expect_call()
    inside.ring().answer()
    until(lambda: json.loads(say(url, "state")[2]).get("a") == "CONNECTED", 5, "the first is connected", 0.1)
    assert say(url, "join 15550123")[2] == "joining"
    outside = far.expect_call()
    outside.ring().answer()
    talk(inside, outside, 71)
    assert say(url, "hangup")[2] == "hung up"
    inside.hung_up()
    outside.hung_up()
    assert say(url, "end")[2] == "bye"


def test_a_call_begins_the_rule_that_takes_its_number(steered, provider):
    """Shows: the line leads to the application, the first rule whose pattern takes the whole number runs; no rule is 404."""
    box = steered()
    provider.call(box, "712").answered().hang_up()
    provider.call(box, "8123").refused(404)

    def past():
        return call(box, "GetCallHistory", f"{LOGIN}&from_date=2020-01-01+00:00:00&to_date=2099-01-01+00:00:00")["result"]

    until(lambda: len(past()) == 2, 10, "the history has both")
    assert [(one["rule_id"], one["rule_name"]) for one in past()] == [(11, "incoming"), (0, "")]


def test_too_much_at_once_is_refused_and_said(steered):
    """Shows: 32 sessions at once and no more (108); 20 requests a second to one session (429)."""
    box = steered()
    urls = []
    for _ in range(32):
        urls.append(start(box)["media_session_access_url"])
    refused = call(box, "StartScenarios", f"{LOGIN}&rule_id=10")
    assert refused["error"]["code"] == 108 and "limit" in refused["error"]["msg"]
    statuses = []

    def burst():
        threads = [threading.Thread(target=lambda: statuses.append(say(urls[0], "number")[0])) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return 429 in statuses

    until(burst, 30, "more than 20 requests in a second")
    assert set(statuses) == {200, 429}
    box.calls_may_remain = True


def test_a_script_does_not_reach_the_box_that_runs_it(tmp_path, tipring, server):
    """Shows: the box's own port is refused to a script though the configuration allows it; another allowed one is not."""
    reaching = """
    VoxEngine.addEventListener(AppEvents.HttpRequest, async (e) => {
      const answer = await Net.httpRequestAsync(e.content);
      return { code: answer.code };
    });
    """
    server.flow("/other", "well")
    box = tipring(web(), text_key(), application(), rule(tmp_path, 10, "reaching", reaching))
    host, port = address(box)
    assert box.stop() == 0
    text = box.config_file.read_text().replace('http = "127.0.0.1:0"', f'http = "{host}:{port}"')
    box.config_file.write_text(text.replace("allow = [", f'allow = ["{host}:{port}", '))
    box.start()
    url = start(box)["media_session_access_url"]
    assert json.loads(say(url, server.url("/other"))[2])["code"] == 200
    own = f"http://{host}:{port}/platform_api/StartScenarios?{LOGIN}&rule_id=10"
    assert json.loads(say(url, own)[2])["code"] < 0
    assert len(box.calls()) == 1
    box.calls_may_remain = True
