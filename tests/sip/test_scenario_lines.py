"""Scenario sessions begun and steered over HTTP, with one party on a line of the exchange: call-back, survey, conference, transfer."""
import json
import re

import pytest

import analog
import audio
from analog import talk
from box import phone
from countries import country
from test_control_api import text_key, web
from test_control_sessions import application, rule, say, start
from test_exchange_lines import answers
from test_transfer import notify, reply
from waiting import until

US, NUMBER = country("us"), "5550123"


@pytest.fixture
def office(tmp_path, tipring, card):
    """office(script, *tables): a box with this scenario, two SIP telephones and a line of the exchange: (box, exchange)."""
    def make(script, *tables):
        card1 = card("L")
        box = tipring(web(), text_key(), application(), rule(tmp_path, 10, "lines", script), phone("201"), phone("202"),
                      analog.exchange_line(card1.port(1), number="5551000"), *tables, devices=[card1])
        return box, card1.exchange()
    return make


def begin(box, data=""):
    """The control address of a new session."""
    return start(box, f"rule_id=10&script_custom_data={data}")["media_session_access_url"]


def taken(exchange):
    """The exchange is dialled, and somebody answers."""
    assert exchange.takes(US, len(NUMBER)) == NUMBER
    answers(exchange, US)


def both_ways(call, exchange):
    talk(call.rtp.say, exchange.heard)
    talk(exchange.say, call.rtp.heard)


CALL_BACK = """
VoxEngine.addEventListener(AppEvents.Started, () => {
  const [first, second] = VoxEngine.customData().split(':');
  const a = VoxEngine.callUser(first, '100');
  const b = VoxEngine.callPSTN(second, '100');
  const join = () => { if (a.state() === 'CONNECTED' && b.state() === 'CONNECTED') VoxEngine.sendMediaBetween(a, b); };
  for (const call of [a, b]) {
    call.addEventListener(CallEvents.Connected, join);
    call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  }
});
"""


def test_one_request_calls_a_telephone_and_a_line_and_joins_them(office, desk):
    """Shows: StartScenarios makes both calls; each hears the other; `scenario ls` has them; the exchange's hang-up ends both."""
    box, exchange = office(CALL_BACK)
    first = desk(box, "201")
    begin(box, f"201:{NUMBER}")
    inside = first.expect_call()
    inside.ring().answer()
    taken(exchange)
    both_ways(inside, exchange)
    [call], [session] = box.calls(), json.loads(box.run("scenario", "ls", "--json", check=0).stdout)
    assert (session["id"], session["flow"], sorted(session["calls"])) == (call["id"], "office", ["desk201", "wall"]), session
    count, line = box.run("scenario", "ls", check=0).stdout.splitlines()
    assert count == "1 sessions" and re.fullmatch(rf"{call['id']} office +20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ (desk201 wall|wall desk201)", line), line
    exchange.ends(US)
    exchange.released()
    inside.hung_up()
    until(lambda: box.run("scenario", "ls", check=0).stdout == "0 sessions\n", what="no session is left")
    record = box.cdr()
    assert record["label"] == "script_end" and sorted(leg["line"] for leg in record["legs"]) == ["desk201", "wall"], record


SURVEY = """
require(Modules.IVR);
const answers = [];
const ask = (n) => ({ play: '%s' + n + '.wav' });
VoxEngine.addEventListener(AppEvents.Started, () => {
  const call = VoxEngine.callPSTN(VoxEngine.customData(), '100');
  const bye = new IVRState('bye', { type: 'noinput', prompt: ask(4) }, () => call.hangup());
  const third = new IVRState('3', { type: 'inputunknown', terminateOn: '#', timeout: 15000, prompt: ask(3), nextState: bye }, (x) => answers.push(x));
  const second = new IVRState('2', { type: 'inputfixed', inputLength: 2, timeout: 15000, prompt: ask(2), nextState: third }, (x) => answers.push(x));
  const first = new IVRState('1', { type: 'select', timeout: 15000, prompt: ask(1), nextStates: { 5: second } }, () => answers.push('5'));
  call.addEventListener(CallEvents.Connected, () => first.enter(call));
  call.addEventListener(CallEvents.Disconnected, async () => {
    const headers = { 'Content-Type': 'application/json' };
    await Net.httpRequestAsync('%s', { method: 'POST', headers, postData: JSON.stringify({ answers }) });
    VoxEngine.terminate();
  });
});
"""


def test_a_survey_on_a_line_gathers_three_answers_and_posts_them(office, server):
    """Shows: three questions, each heard; keys as tones in the sound of the line; JSON at a server."""
    prompts = {n: audio.voice(0.6, seed=600 + n) for n in (1, 2, 3, 4)}
    for n, sound in prompts.items():
        server.sound(f"/{n}.wav", audio.wav_bytes(sound))
    server.flow("/answers", "ok")
    box, exchange = office(SURVEY % (server.url("/"), server.url("/answers")))
    begin(box, NUMBER)
    taken(exchange)
    for n, keys in ((1, "5"), (2, "12"), (3, "345#")):
        exchange.wait_heard(lambda pcm: analog.is_heard(prompts[n], pcm), f"question {n}")
        exchange.press(keys)
    request = server.wait_for("/answers", timeout=20)
    assert (request.method, json.loads(request.body)) == ("POST", {"answers": ["5", "12", "345"]}), request
    assert analog.is_heard(prompts[4], exchange.heard())
    exchange.released()
    assert box.cdr()["label"] == "script_end"


STEERED = """
let call, other;
VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  const [word, ...rest] = e.content.split(' ');
  if (word === 'user') call = VoxEngine.callUser(rest[0], '100');
  else if (word === 'number') call = VoxEngine.callPSTN(rest[0], '100');
  else if (word === 'say') { call.say(rest.join(' '), { voice: VoiceList.Default }); call.addEventListener(CallEvents.PlaybackFinished, () => Logger.write('said')); }
  else if (word === 'refer') { call.addEventListener(CallEvents.TransferComplete, () => Logger.write('transferred')); call.transferTo({ to: rest[0] }); }
  else if (word === 'join') {
    other = VoxEngine.callUser(rest[0], '100');
    other.addEventListener(CallEvents.Connected, () => VoxEngine.sendMediaBetween(call, other));
  } else if (word === 'hangup') { call.hangup(); if (other) other.hangup(); VoxEngine.terminate(); }
  return call ? call.state() : 'NONE';
});
"""


def connected(url):
    until(lambda: say(url, "state")[2] == "CONNECTED", 15, "the call is connected", 0.2)


def test_an_address_makes_a_session_speak_on_a_line_lead_it_on_and_hang_up(office, desk):
    """Shows: words are heard on the line; another telephone is joined with it; both are let go; the address is gone."""
    box, exchange = office(STEERED)
    second = desk(box, "202")
    url = begin(box)
    say(url, f"number {NUMBER}")
    taken(exchange)
    connected(url)
    exchange.forget()
    assert say(url, "say The door is open, please come in.")[0] == 200
    exchange.wait_heard(lambda pcm: audio.loud_seconds(pcm) >= 1, "a sentence")
    assert say(url, "join 202")[0] == 200
    inside = second.expect_call()
    inside.ring().answer()
    both_ways(inside, exchange)
    assert say(url, "hangup")[0] == 200
    exchange.released()
    inside.hung_up()
    until(lambda: say(url)[0] == 404, 10, "the session is over")


def test_an_address_makes_a_session_transfer_a_telephone_to_another(office, desk):
    """Shows: words are heard; the telephone is asked to call another (REFER), does, and hears it; then the session hangs up."""
    box, _ = office(STEERED)
    first, second = desk(box, "201"), desk(box, "202")
    url = begin(box)
    say(url, "user 201")
    call = first.expect_call()
    call.ring().answer()
    connected(url)
    assert audio.loud_seconds(call.rtp.heard()) == 0
    assert say(url, "say The door is open, please come in.")[0] == 200
    call.rtp.wait_loud(1.0, timeout=15)
    assert say(url, "refer 202")[0] == 200
    refer = call.expect("REFER")
    assert "202" in refer.get("refer-to")
    reply(call, refer, 202)
    [session] = box.calls()
    onward = first.call(box, "202").authenticate()
    at_second = second.expect_call()
    at_second.ring().answer()
    onward.answered()
    notify(call, refer, 200)
    until(lambda: "transferred" in box.run("scenario", "log", session["id"]).stdout, what="the script is told of the transfer")
    assert say(url, "hangup")[0] == 200
    call.hung_up()
    talk(onward.rtp.say, at_second.rtp.heard)
    talk(at_second.rtp.say, onward.rtp.heard)
    onward.hang_up()
    at_second.hung_up()


CONFERENCE = """
require(Modules.Conference);
VoxEngine.addEventListener(AppEvents.Started, () => {
  const conference = VoxEngine.createConference();
  const calls = [VoxEngine.callUser('201', '100'), VoxEngine.callUser('202', '100'), VoxEngine.callPSTN(VoxEngine.customData(), '100')];
  for (const call of calls) {
    call.addEventListener(CallEvents.Connected, () => VoxEngine.sendMediaBetween(call, conference));
    call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  }
});
"""


def test_three_meet_one_of_them_on_a_line(office, desk):
    """Shows: each of three hears the two others; who leaves ends it for all."""
    box, exchange = office(CONFERENCE)
    desks = [desk(box, "201"), desk(box, "202")]
    begin(box, NUMBER)
    calls = [one.expect_call() for one in desks]
    for call in calls:
        call.ring().answer()
    taken(exchange)
    for call in calls:
        both_ways(call, exchange)
    talk(calls[0].rtp.say, calls[1].rtp.heard)
    talk(calls[1].rtp.say, calls[0].rtp.heard)
    exchange.ends(US)
    exchange.released()
    for call in calls:
        call.hung_up()
    assert box.cdr()["label"] == "script_end"
