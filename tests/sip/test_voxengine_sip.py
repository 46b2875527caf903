"""What VoxEngine scenarios say and hear by SIP itself: header fields, INFO and MESSAGE, transfers, forwarded calls."""
import pytest
from box import phone
from sip_party import sdp
from test_voxengine import log, running, scenario
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
