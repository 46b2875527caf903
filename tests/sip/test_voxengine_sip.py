"""What VoxEngine scenarios say and hear by SIP itself: header fields, INFO and MESSAGE, transfers, forwarded calls."""
import json
import urllib.parse

import pytest
from box import phone, trunk
from sip_party import sdp
from test_control_sessions import application, rule
from test_transfer import talk
from test_voxengine import begin, log, only, running, scenario
from waiting import until

OFFICE = (phone("201"), phone("202"))


def logged(box, line):
    """The log of the only session, as soon as it has this line."""
    def there():
        sessions = list(running(box))
        return sessions and line in log(box, sessions[0])
    until(there, 10, lambda: f"{line!r} in {[log(box, session) for session in running(box)]}", 0.1)


def took(call, *headers):
    """The called one answers, with these header fields."""
    call.reply(200, "OK", body=sdp(call.rtp.ip, call.rtp.port, call.codecs), headers=headers)
    call.expect("ACK")
    return call


# ------------------------------------------------------------------ header fields

SAYS = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call, headers }) => {
  Logger.write('came ' + JSON.stringify(headers));
  call.addEventListener(CallEvents.Disconnected, (e) => { Logger.write('gone ' + JSON.stringify(e.headers)); VoxEngine.terminate(); });
  call.ring({ 'X-Rings': 'desk' });
  call.startEarlyMedia({ 'X-Early': 'yes' });
  call.answer({ 'X-Agent': 'ann', 'X-Long': 'v'.repeat(4000), Via: 'SIP/2.0/UDP evil', 'X-Two': 'a\\r\\nX-Three: b' }, { displayName: 'Front "desk"' });
});
"""


def test_a_scenario_says_header_fields_with_all_that_it_does(tipring, provider, tmp_path):
    """Shows: 180, 183 and 200 carry the X- fields and the name that the script gives; what is no field is not sent; INVITE and BYE bring theirs."""
    box = tipring(scenario(tmp_path, SAYS))
    call = provider.call(box, "100", headers=[("X-From", "shop"), ("x-more", "m" * 4000)])
    assert call.expect(lambda m: m.status == 180 and m.get("x-rings")).get("x-rings") == "desk"
    early = call.expect(183)
    assert early.get("x-early") == "yes" and early.body and not early.get("x-rings"), early
    call.answered()
    assert call.final.get("x-agent") == "ann" and call.final.get("x-long") == "v" * 4000, call.final
    assert call.final.get("p-asserted-identity").startswith('"Front \\"desk\\"" <sip:100@'), call.final.get("p-asserted-identity")
    assert not call.final.get("x-three") and not call.final.get("x-two") and len(call.final.all("via")) == 1, call.final
    call.cseq += 1
    call._send("BYE", headers=[("X-Bye", "enough"), ("Subject", "no")])
    assert call._answer_to("BYE").status == 200
    logged(box, 'gone {"X-Bye":"enough"}')
    lines = log(box, list(running(box))[0])
    assert lines[0] == 'came {"X-From":"shop","x-more":"' + "m" * 4000 + '"}', lines
    assert "header Via is not sent: only X- headers are" in lines and "header X-Two is not sent: its name or value is none, or too long" in lines, lines


HANGS_UP = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.addEventListener(CallEvents.Connected, () => call.hangup({ 'X-Why': 'closed' }));
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  if (%s) call.reject(433, { 'X-Why': 'anonymous' }); else call.answer();
});
"""


@pytest.mark.parametrize("refuses", ["true", "false"])
def test_a_scenario_says_why_it_refuses_or_hangs_up(tipring, provider, tmp_path, refuses):
    """Shows: the refusal has the script's own code and X- fields; so has the BYE."""
    box = tipring(scenario(tmp_path, HANGS_UP % refuses))
    call = provider.call(box, "100")
    if refuses == "true":
        assert call.refused(433).get("x-why") == "anonymous"
    else:
        assert call.answered().hung_up().get("x-why") == "closed"


FORWARDS = """
VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
  VoxEngine.easyProcess(e.call, VoxEngine.callUser('201', e.callerid), () => Logger.write('joined'));
});
"""


def test_a_forwarded_call_is_answered_with_what_the_other_said(tipring, provider, desk, tmp_path):
    """Shows: easyProcess hands the X- fields of the telephone's 200 on to the caller."""
    box = tipring(*OFFICE, scenario(tmp_path, FORWARDS))
    first = desk(box, "201")
    call = provider.call(box, "100")
    took(first.expect_call().ring(), ("X-Agent", "ann"), ("Subject", "no"))
    call.answered()
    assert call.final.get("x-agent") == "ann" and not call.final.get("subject"), call.final
    logged(box, "joined")
    call.hang_up()


CALLS = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  const c = VoxEngine.callUser('201', '100');
  for (const name of ['Ringing', 'AudioStarted', 'Connected', 'Failed', 'Disconnected', 'Forwarding']) {
    c.addEventListener(CallEvents[name], (e) => Logger.write(name + ' ' + JSON.stringify(e.headers)));
  }
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  call.answer();
});
"""


def test_a_scenario_hears_header_fields_of_whom_it_calls(tipring, provider, desk, tmp_path):
    """Shows: each event has the X- fields of its own message; 181 raises Forwarding."""
    box = tipring(*OFFICE, scenario(tmp_path, CALLS))
    first = desk(box, "201")
    call = provider.call(box, "100").answered()
    called = first.expect_call()
    called.reply(181, headers=[("X-To", "elsewhere")])
    called.reply(180, headers=[("X-Rings", "1")])
    logged(box, 'Forwarding {"X-To":"elsewhere"}')
    took(called, ("X-Agent", "ann"))
    logged(box, 'Connected {"X-Agent":"ann"}')
    called.cseq += 1
    called._send("BYE", headers=[("X-Bye", "enough")])
    assert called._answer_to("BYE").status == 200
    logged(box, 'Disconnected {"X-Bye":"enough"}')
    call.hang_up()


@pytest.mark.parametrize("status", [486, 302])
def test_a_scenario_hears_header_fields_of_a_refusal(tipring, provider, desk, tmp_path, status):
    """Shows: Failed has the X- fields of the refusal; one that sends the call elsewhere raises Forwarding before it."""
    box = tipring(*OFFICE, scenario(tmp_path, CALLS))
    first = desk(box, "201")
    call = provider.call(box, "100").answered()
    called = first.expect_call()
    called.reply(status, headers=[("X-Why", "lunch")])
    called.expect("ACK")
    logged(box, 'Failed {"X-Why":"lunch"}')
    assert ('Forwarding {"X-Why":"lunch"}' in log(box, list(running(box))[0])) == (status == 302)
    call.hang_up()


# ------------------------------------------------------------------ INFO and MESSAGE


def take(party, method, call):
    """A request within the call arrives, and is taken."""
    request = call.expect(method)
    party.send(party.response(request, 200, "OK"), request.source)
    return request


def test_texts_pass_both_ways_through_a_forwarded_call(tipring, provider, desk, tmp_path):
    """Shows: easyProcess hands INFO with its type, body and X- fields and MESSAGE on, both ways; keys by INFO are none of that."""
    box = tipring(*OFFICE, scenario(tmp_path, FORWARDS))
    first = desk(box, "201")
    call = provider.call(box, "100")
    at_first = took(first.expect_call().ring())
    call.answered()
    assert "MESSAGE" in call.final.get("allow") and "MESSAGE" in at_first.invite_message.get("allow")
    logged(box, "joined")
    body = '{"text": "héllo"}' + " " * 8000
    assert call.ask("INFO", body=body, content_type="application/vnd.acme+json", headers=[("X-A", "1"), ("Subject", "no")]).status == 200
    info = take(first, "INFO", at_first)
    assert (info.get("content-type"), info.body.decode(), info.get("x-a")) == ("application/vnd.acme+json", body, "1"), info
    assert not info.get("subject")
    assert at_first.ask("MESSAGE", body="gøød day", content_type="text/plain").status == 200
    message = take(provider, "MESSAGE", call)
    assert message.body.decode() == "gøød day" and message.get("content-type").startswith("text/plain"), message
    assert call.ask("INFO", body="x" * 8193, content_type="text/plain").status == 413
    assert call.ask("MESSAGE", body="x", content_type="image/png").status == 415
    call.info("5")
    first.expect_nothing(lambda m: m.method in ("INFO", "MESSAGE"))
    call.hang_up()
    at_first.hung_up()


SAYS_TEXTS = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.addEventListener(CallEvents.Connected, () => call.sendInfo('application/x-acme', 'a=1'));
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  call.answer();
});
"""


def test_a_text_that_the_far_end_refuses_is_in_the_log(tipring, provider, tmp_path):
    """Shows: the status of the refusal is told in the log of the session, and the call goes on."""
    box = tipring(scenario(tmp_path, SAYS_TEXTS))
    call = provider.call(box, "100").answered()
    info = call.expect("INFO")
    provider.send(provider.response(info, 415), info.source)
    logged(box, "a text is not taken: the far end says 415")
    call.hang_up()


TONES = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.handleTones(true);
  call.addEventListener(CallEvents.ToneReceived, (e) => Logger.write('key ' + e.tone));
  if (%s) call.addEventListener(CallEvents.InfoReceived, (e) => Logger.write('info ' + e.mimeType + ' ' + e.body));
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  call.answer();
});
"""


@pytest.mark.parametrize("listens", ["true", "false"])
def test_a_text_is_refused_where_nobody_listens(tipring, provider, tmp_path, listens):
    """Shows: keys by INFO are keys either way; other INFO and MESSAGE are refused unless the script has a listener."""
    box = tipring(scenario(tmp_path, TONES % listens))
    call = provider.call(box, "100").answered()
    call.info("7")
    logged(box, "key 7")
    answers = call.ask("INFO", body="a=1", content_type="application/x-acme"), call.ask("MESSAGE", body="hello", content_type="text/plain")
    if listens == "true":
        assert [answer.status for answer in answers] == [200, 200]
        logged(box, "info application/x-acme a=1")
    else:
        assert [answer.status for answer in answers] == [415, 488]
    call.hang_up()


# ------------------------------------------------------------------ transfers

ASKED = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.handleBlindTransfer(true);
  call.addEventListener(CallEvents.BlindTransferRequested, (e) => {
    Logger.write('asked ' + e.transferTo + ' ' + JSON.stringify(e.headers));
    if (e.transferTo.includes('nobody')) setTimeout(() => call.notifyBlindTransferFailed(404, 'who'), 50);
    else setTimeout(() => call.notifyBlindTransferSuccess(), 50);
  });
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  call.answer();
});
"""


def test_a_scenario_is_asked_for_a_transfer(tipring, desk, tmp_path):
    """Shows: a telephone's REFER goes to the script, which says how it ended; the box places no call, and the call goes on."""
    box = tipring(*OFFICE, scenario(tmp_path, ASKED, numbers=["100"]))
    first, second = desk(box, "201"), desk(box, "202")
    call = first.call(box, "100").authenticate().answered()
    call.refer(f"<sip:nobody@{box.udp[0]}>", [("X-Why", "lunch"), ("Subject", "no")])
    assert call.told(404) == [100, 404]
    call.refer(f"<sip:202@{box.udp[0]}>")
    assert call.told(200) == [100, 200]
    logged(box, f"asked sip:202@{box.udp[0]} {{}}")
    assert f'asked sip:nobody@{box.udp[0]} {{"X-Why":"lunch"}}' in log(box, list(running(box))[0])
    second.expect_nothing(lambda m: m.method == "INVITE")
    call.hang_up()


BOTH = """
VoxEngine.addEventListener(AppEvents.Started, () => {
  const a = VoxEngine.callUser('201', '100');
  a.addEventListener(CallEvents.Connected, () => {
    const b = VoxEngine.callUser('202', '100');
    b.addEventListener(CallEvents.Connected, () => a.transferTo({ call: b, headers: { 'X-Ticket': '17' } }));
    for (const [name, c] of [['a', a], ['b', b]]) {
      c.addEventListener(CallEvents.TransferComplete, (e) => Logger.write(name + ' ' + e.role));
      c.addEventListener(CallEvents.TransferFailed, (e) => Logger.write(name + ' failed ' + e.code));
      c.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
    }
  });
});
"""


@pytest.fixture
def handed(tipring, desk, tmp_path):
    """A scenario has called two telephones and hands the first over to the second; what the first is asked."""
    box = tipring(*OFFICE, scenario(tmp_path, BOTH))
    first, second = desk(box, "201"), desk(box, "202")
    begin(box)
    at_first = took(first.expect_call())
    at_second = took(second.expect_call())
    refer = at_first.expect("REFER")
    return box, at_first, at_second, refer


def test_a_telephone_takes_over_the_other_call(handed):
    """Shows: REFER with Replaces names the other telephone and its dialog (RFC 5589); the box lets both go."""
    box, at_first, at_second, refer = handed
    assert refer.get("x-ticket") == "17"
    address, replaces = refer.get("refer-to").strip("<>").split("?Replaces=")
    assert address == f"sip:202@{at_second.party.address}", refer.get("refer-to")
    named = f"{at_second.call_id};to-tag={at_second.local_tag};from-tag={at_second.remote_tag}"
    assert urllib.parse.unquote(replaces) == named, replaces
    at_first.party.send(at_first.party.response(refer, 202, "Accepted"), refer.source)
    headers = [("Event", "refer"), ("Subscription-State", "terminated;reason=noresource")]
    assert at_first.ask("NOTIFY", body="SIP/2.0 200 OK\r\n", content_type="message/sipfrag", headers=headers).status == 200
    logged(box, "a transferor")
    logged(box, "b target")
    # The one that was taken over says goodbye, as the other INVITE makes it.
    at_second.hang_up()
    at_first.hung_up()


def test_the_box_joins_those_who_do_not_know_how(handed):
    """Shows: where the telephone refuses, the box joins both, and the script hears the same."""
    box, at_first, at_second, refer = handed
    at_first.party.send(at_first.party.response(refer, 501), refer.source)
    logged(box, "b target")
    talk(at_first, at_second, 91)
    at_first.hang_up()
    at_second.hung_up()


SENT_ON = """
VoxEngine.addEventListener(AppEvents.Started, () => {
  const a = VoxEngine.%s;
  a.addEventListener(CallEvents.Connected, () => a.transferTo({ to: '203' }));
  a.addEventListener(CallEvents.TransferFailed, (e) => Logger.write('failed ' + e.code));
  a.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
});
"""


def sent_on(box, called):
    """A scenario hands this call to 203; the address that the far end is asked to call."""
    begin(box)
    call = took(called())
    refer = call.expect("REFER")
    call.party.send(call.party.response(refer, 403), refer.source)
    logged(box, "failed 403")
    call.hang_up()
    return refer.get("refer-to")


def test_a_telephone_is_sent_to_a_number_of_the_office_by_the_box(tipring, desk, tmp_path):
    """Shows: Refer-To has the number at the address and port of the box, where the telephone dials, and not its own."""
    box = tipring(*OFFICE, phone("203"), scenario(tmp_path, SENT_ON % "callUser('201', '100')"))
    first = desk(box, "201")
    assert sent_on(box, first.expect_call) == "<sip:203@{}:{}>".format(*box.udp)


def test_who_is_behind_a_trunk_is_sent_to_a_number_of_its_own(tipring, provider, tmp_path):
    """Shows: Refer-To has the number at the far end of the trunk."""
    box = tipring(trunk(host=provider.address), scenario(tmp_path, SENT_ON % "callPSTN('15550123', '100')"))
    host = provider.address.rsplit(":", 1)[0]
    assert sent_on(box, provider.expect_call) == f"<sip:203@{host}>"


# ------------------------------------------------------------------ ended by the box

ENDED = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.addEventListener(CallEvents.Connected, () => Logger.write('here'));
  call.addEventListener(CallEvents.Disconnected, () => Logger.write('gone'));
  call.answer();
});
for (const name of ['Terminating', 'Terminated']) VoxEngine.addEventListener(AppEvents[name], (e) => Logger.write(name + ' ' + e.systemError));
"""


def test_a_session_of_a_call_that_the_operator_ends_hears_of_its_end(tipring, provider, tmp_path):
    """Shows: Disconnected, then Terminating and Terminated; the record names the operator."""
    box = tipring(scenario(tmp_path, ENDED))
    call = provider.call(box, "100").answered()
    logged(box, "here")
    session = only(box)
    box.run("call", "hangup", session, check=0)
    call.hung_up()
    record = box.cdr(1)
    assert (record["label"], record["ended_by"]) == ("operator", "operator"), record
    assert log(box, session) == ["here", "gone", "Terminating false", "Terminated false"], log(box, session)


RECORDS = """
require(Modules.Recorder);
const short = (url) => url ? (url.endsWith('.wav') ? 'file' : url) : '';
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  const recorder = VoxEngine.createRecorder();
  recorder.addEventListener(RecorderEvents.Stopped, (e) => Logger.write('recorder ' + short(e.url) + (e.duration > 0)));
  recorder.addEventListener(RecorderEvents.Started, () => call.record());
  call.addEventListener(CallEvents.Connected, () => call.sendMediaTo(recorder));
  call.addEventListener(CallEvents.RecordStarted, () => setTimeout(() => Logger.write('here'), 1500));
  call.addEventListener(CallEvents.RecordStopped, (e) => Logger.write('call ' + short(e.url) + (e.duration > 0)));
  call.addEventListener(CallEvents.Disconnected, () => Logger.write('gone'));
  call.addEventListener(CallEvents.MessageReceived, () => { throw new Error('oh'); });
  call.answer();
});
for (const name of ['Terminating', 'Terminated']) VoxEngine.addEventListener(AppEvents[name], (e) => Logger.write(name + ' ' + e.systemError));
"""


@pytest.mark.parametrize("how", ["operator", "throws"])
def test_a_session_hears_of_its_recordings_before_its_end(tipring, provider, tmp_path, how):
    """Shows: ended by the operator or by what it throws, the script hears Disconnected and both recordings with address and length, then Terminating."""
    box = tipring(scenario(tmp_path, RECORDS))
    call = provider.call(box, "100").answered()
    logged(box, "here")
    session = only(box)
    if how == "operator":
        box.run("call", "hangup", session, check=0)
    else:
        assert call.ask("MESSAGE", body="x", content_type="text/plain").status == 200
    call.hung_up()
    box.cdr(1)
    lines = [line for line in log(box, session) if not line.startswith("TR-")]
    over = str(how == "throws").lower()
    assert lines[0] == "here" and lines[-2:] == [f"Terminating {over}", f"Terminated {over}"], lines
    assert sorted(lines[1:-2]) == ["call filetrue", "gone", "recorder filetrue"], lines


NOWHERE = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.addEventListener(CallEvents.Connected, () => {
    VoxEngine.callSIP('sip:ann@elsewhere.test');
    for (let n = 0; n < 16; n += 1) VoxEngine.callUser('201', '100');
  });
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  call.answer();
});
"""


def test_a_call_that_the_box_does_not_place_is_in_the_log(tipring, provider, desk, tmp_path):
    """Shows: an address that the configuration does not allow, and a call too many of a session, are told in its log without a listener."""
    box = tipring(*OFFICE, scenario(tmp_path, NOWHERE))
    desk(box, "201")
    call = provider.call(box, "100").answered()
    logged(box, "a call to sip:ann@elsewhere.test is not placed: the configuration of the box does not allow it")
    logged(box, "a call to 201 is not placed: the session has too many calls")
    call.hang_up()


# ------------------------------------------------------------------ sessions that call each other

LOBBY = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call, callerid }) => {
  Logger.write('calls');
  VoxEngine.easyProcess(call, VoxEngine.callConference('%s', callerid, 'Lobby', { 'X-From': callerid }), () => Logger.write('in'));
});
"""

ROOM = """
require(Modules.Conference);
let conference, members = 0;
VoxEngine.addEventListener(AppEvents.Started, (e) => Logger.write('named ' + e.conference_name));
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call, callerid, destination, headers }) => {
  members += 1;
  Logger.write([callerid, destination, headers['X-From']].join(' '));
  conference = conference || VoxEngine.createConference();
  call.addEventListener(CallEvents.Connected, () => { call.sendMediaTo(conference); conference.sendMediaTo(call); });
  call.addEventListener(CallEvents.MessageReceived, (e) => call.sendMessage('you said ' + e.text));
  call.addEventListener(CallEvents.Disconnected, (e) => { Logger.write('left'); members -= 1; if (members === 0) VoxEngine.terminate(); });
  call.answer({ 'X-Seat': String(members) });
});
"""


def rooms(tmp_path, *rules):
    """An application whose rules take calls of other sessions."""
    made = [rule(tmp_path, 20 + at, name, text, pattern=pattern) for at, (name, pattern, text) in enumerate(rules)]
    return [application(number=5), *made]


def test_two_callers_meet_in_a_session_that_they_call(tipring, desk, tmp_path):
    """Shows: callConference begins the session of the rule that takes the id, the second call joins it; sound, header fields and texts pass; the end is told both ways."""
    box = tipring(*OFFICE, *rooms(tmp_path, ("room", "room-.*", ROOM)), scenario(tmp_path, LOBBY % "room-7", name="lobby", numbers=["100"]))
    first, second = desk(box, "201"), desk(box, "202")
    one = first.call(box, "100").authenticate().answered()
    two = second.call(box, "100").authenticate().answered()
    assert (one.final.get("x-seat"), two.final.get("x-seat")) == ("1", "2")
    talk(one, two, 95)
    [room] = [session["id"] for session in json.loads(box.run("scenario", "ls", "--json").stdout) if session["flow"] == "office"]
    assert log(box, room) == ["named room-7", "201 room-7 201", "202 room-7 202"], log(box, room)
    assert two.ask("MESSAGE", body="hello", content_type="text/plain").status == 200
    assert take(second, "MESSAGE", two).body == b"you said hello"
    one.hang_up()
    until(lambda: log(box, room)[-1:] == ["left"], 10, "the first has left", 0.1)
    two.hang_up()
    assert {box.cdr(at)["label"] for at in (1, 2, 3)} == {"script_end"}


SELF = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  VoxEngine.callConference('self').addEventListener(CallEvents.Failed, (e) => { Logger.write('failed ' + e.code); VoxEngine.terminate(); });
});
"""

EACH_OTHER = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.answer();
  const other = VoxEngine.callConference('%s');
  for (const name of ['Failed', 'Disconnected']) other.addEventListener(CallEvents[name], () => VoxEngine.terminate());
});
"""


@pytest.mark.parametrize("called", ["self", "ping", "nobody"])
def test_sessions_that_call_themselves_or_each_other_come_to_an_end(tipring, provider, tmp_path, called):
    """Shows: no session calls itself; two that call each other reach the bound of legs; an id that no rule takes is not found."""
    box = tipring(*rooms(tmp_path, ("self", "self", SELF), ("ping", "ping", EACH_OTHER % "pong"), ("pong", "pong", EACH_OTHER % "ping")),
                  scenario(tmp_path, LOBBY % called, name="lobby", numbers=["100"]))
    call = provider.call(box, "100")
    if called == "nobody":
        call.refused()
    else:
        final = call._answer_to("INVITE")
        if final.status == 200:
            call.remote_tag, call.target = final.tag("to"), final.contact_uri
            call.ack()
            call.hung_up()
        else:
            call._ack_refusal(final)
    until(lambda: not json.loads(box.run("scenario", "ls", "--json").stdout), 20, "every session is over", 0.2)
    if called == "self":
        until(lambda: len(running(box)) == 2, what="the daemon's own log, which comes later, tells of both sessions")
        assert [line for session in running(box) for line in log(box, session)] == ["calls", "a call to self is not placed: the configuration of the box does not allow it", "failed 603"]


# ------------------------------------------------------------------ over which trunk

OVER = """
VoxEngine.addEventListener(AppEvents.Started, () => {
  const c = VoxEngine.callSIP('sip:desk@pbx.example:5080', { callerid: '100', headers: { 'X-A': '1' }, %s });
  c.addEventListener(CallEvents.Connected, () => c.hangup());
  c.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  c.addEventListener(CallEvents.Failed, (e) => { Logger.write('failed ' + e.code); VoxEngine.terminate(); });
});
"""


@pytest.mark.parametrize("over", ["proxy", "name", "number", "nobody"])
def test_an_address_is_called_over_the_trunk_that_is_asked_for(tipring, party, provider, tmp_path, over):
    """Shows: outProxy and regId choose the trunk, the address stays as it is; a proxy that is no trunk is not asked."""
    far = party("127.0.0.3", user="far")
    chosen = {"proxy": f"outProxy: 'sip:{far.address}'", "name": "regId: 'second'", "number": "regId: 2", "nobody": "outProxy: '127.0.0.66'"}[over]
    box = tipring(trunk(host=provider.address), trunk("second", host=far.address, flow=None, peers=("127.0.0.3/32",)), scenario(tmp_path, OVER % chosen))
    session = begin(box)
    if over == "nobody":
        until(lambda: log(box, session)[1:] == ["failed 603"], 10, lambda: str(log(box, session)), 0.1)
        return
    call = far.expect_call()
    assert call.invite_message.raw.startswith(b"INVITE sip:desk@pbx.example:5080 SIP/2.0") and call.invite_message.get("x-a") == "1", call.invite_message
    took(call).hung_up()
