"""Keys pressed by the caller choose a branch of the flow, whichever way they travel."""
import pytest

import audio
from box import trunk

MENU = """<Gather dtmf_length='{length}' timeout='{timeout}'{more}>{filler}
  <DTMF value='{value}'><Callback url='{base}/chosen'/></DTMF>
  <Default><Callback url='{base}/other'/></Default>
  <Error><Callback url='{base}/none'/></Error>
</Gather>"""


def menu(server, value, length=1, timeout=6000, filler="", more=""):
    server.flow("/flow", MENU.format(length=length, value=value, timeout=timeout, filler=filler, more=more, base=server.url("")))
    for path in ("/chosen", "/other", "/none"):
        server.flow(path, "<Hangup/>")


@pytest.mark.parametrize("digit", list("0123456789*"))
def test_each_key_by_rfc_4733(tipring, server, provider, digit):
    """Shows: an RFC 4733 event is one digit and takes its branch."""
    menu(server, digit, more=" dtmf_stop='#'")
    call = provider.call(tipring(), "100").answered()
    call.rtp.press(digit)
    server.wait_for("/chosen")
    call.hung_up()


@pytest.mark.parametrize("scenario", ["caller_info_relay.xml", "caller_info_plain.xml"])
def test_a_key_by_sip_info(tipring, server, sipp, rtp, scenario):
    """Shows: SIP INFO with application/dtmf-relay and with application/dtmf takes the branch (SIPp as the caller)."""
    menu(server, "7")
    sipp(scenario, tipring(), rtp=rtp(), hold_ms=200, keys={"digit": 7}).finish()
    assert len(server.seen("/chosen")) == 1


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
@pytest.mark.parametrize("digit", ["1", "5", "9", "0"])
def test_a_key_as_tones_in_the_sound(tipring, server, provider, codec, digit):
    """Shows: where no telephone-event is agreed, the tones of Q.23 are heard as the digit."""
    menu(server, digit)
    call = provider.call(tipring(), "100", codecs=[codec], events=False).answered()
    call.rtp.say(audio.np.concatenate([audio.silence(0.1), audio.dtmf(digit, tone_ms=80), audio.silence(0.1)]))
    server.wait_for("/chosen")
    call.hung_up()


def test_a_row_of_digits_each_way(tipring, server, provider):
    """Shows: twelve digits at 60 ms with gaps of 60 ms arrive in order, none lost, none doubled, by events."""
    menu(server, "123456789012", length=12)
    call = provider.call(tipring(), "100").answered()
    call.rtp.press("123456789012", tone_ms=60, gap_ms=60)
    server.wait_for("/chosen")
    call.hung_up()


def test_a_row_of_digits_as_tones(tipring, server, provider):
    """Shows: the same as tones in the sound."""
    menu(server, "112233445566", length=12)
    call = provider.call(tipring(), "100", events=False).answered()
    call.rtp.say(audio.np.concatenate([audio.silence(0.1), audio.dtmf("112233445566", 60, 60), audio.silence(0.1)]))
    server.wait_for("/chosen")
    call.hung_up()


def test_an_event_whose_packets_are_lost_or_doubled_is_one_digit(tipring, server, provider):
    """Shows: RFC 4733 by its time stamp: without the first packet, with every packet twice, and with one end packet only."""
    menu(server, "48", length=2)
    call = provider.call(tipring(), "100").answered()
    rtp = call.rtp
    sent, original = [], rtp.send
    rtp.send = lambda data, to=None: sent.append(data)
    rtp.press("48")
    first, second = sent[:len(sent) // 2], sent[len(sent) // 2:]
    for packet in first[1:] * 2 + second[:3] + second[-1:]:
        original(packet)
    server.wait_for("/chosen")
    call.hung_up()


def test_speech_is_not_taken_for_keys(tipring, server, provider):
    """Shows: three seconds of voice-like sound press nothing."""
    menu(server, "1", timeout=3500)
    call = provider.call(tipring(), "100", events=False).answered()
    call.rtp.say(audio.voice(3, seed=77))
    server.wait_for("/none", timeout=8)
    call.hung_up()


def test_the_first_key_ends_the_prompt(tipring, server, provider):
    """Shows: a filler stops within 300 ms of the first digit."""
    menu(server, "3", filler=f"<Play>{server.url('/long.wav')}</Play>")
    server.sound("/long.wav", audio.wav_bytes(audio.voice(8, seed=9)))
    call = provider.call(tipring(), "100").answered()
    call.rtp.wait_loud(0.5)
    call.rtp.press("3")
    chosen = server.wait_for("/chosen")
    call.hung_up()
    last_loud = [p.at for p in call.rtp.audio_packets() if audio.loud_seconds(audio.decode(p.payload))][-1]
    assert last_loud - chosen.at < 0.3


def test_wrong_key_takes_default_and_no_key_takes_error(tipring, server, provider):
    """Shows: Opentact 5.6 rows 4 and 5."""
    menu(server, "1", timeout=1200)
    box = tipring()
    call = provider.call(box, "100").answered()
    call.rtp.press("2")
    server.wait_for("/other")
    call.hung_up()
    call = provider.call(box, "100").answered()
    none = server.wait_for("/none")
    assert 1.0 <= none.at - call.final.at <= 2.2, f"the wait was {none.at - call.final.at:.2f} s, asked for 1.2"
    call.hung_up()


def test_the_stop_key_ends_the_number_and_is_no_part_of_it(tipring, server, provider):
    """Shows: dtmf_stop; the code goes to Gather's url as dtmf, from, tn, state, sca, call in that order."""
    server.flow("/flow", f"<Gather dtmf_length='8' dtmf_stop='#' timeout='6000' url='{server.url('/code?k=1')}'><Error><Hangup/></Error></Gather>")
    server.flow("/code", "<Hangup/>")
    call = provider.call(tipring(), "100").answered()
    call.rtp.press("427#")
    seen = server.wait_for("/code")
    call.hung_up()
    assert [name for name, _ in seen.query] == ["k", "dtmf", "from", "tn", "state", "sca", "call"]
    assert dict(seen.query)["dtmf"] == "427"


def test_generation_1_gather_reports_every_attempt(tipring, server, provider):
    """Shows: callback after each attempt with code, attempts, success appended; an empty answer goes on to the Switch."""
    server.flow("/flow", f"""<Gather numDigits='2' attempts='2' timeout='1000' callback='{server.url('/try')}'>
        <Switch><Case dtmf='42'><Callback url='{server.url('/right')}'/></Case><Default><Hangup/></Default><Error><Hangup/></Error></Switch></Gather>""")
    from flow_server import Answer
    server.answer("/try", Answer(status=204, content_type=None))
    server.flow("/right", "<Hangup/>")
    call = provider.call(tipring(), "100").answered()
    first = server.wait_for("/try")
    call.rtp.press("42")
    second = server.wait_for("/try", 2)
    server.wait_for("/right")
    call.hung_up()
    assert first.query == [("code", ""), ("attempts", "1"), ("success", "false")]
    assert second.query == [("code", "42"), ("attempts", "2"), ("success", "true")]


def test_keys_pressed_under_a_foreign_address_do_not_count(tipring, server, provider, rtp):
    """Shows: RFC 4733 events from somebody else press nothing."""
    menu(server, "1", timeout=1500)
    call = provider.call(tipring(), "100").answered()
    call.rtp.say(audio.silence(0.3))
    stranger = rtp("127.9.9.9")
    stranger.peer = call.rtp.peer
    stranger.press("111")
    server.wait_for("/none")
    call.hung_up()
    assert stranger.packets == []


def test_a_prompt_is_not_heard_as_keys_by_the_box_itself(tipring, server, provider):
    """Shows: the box does not take its own prompt, echoed by the caller's line a little later, for a digit it never heard pressed."""
    menu(server, "1", timeout=1500, filler=f"<Play>{server.url('/voice.wav')}</Play>")
    server.sound("/voice.wav", audio.wav_bytes(audio.voice(1.5, seed=15)))
    call = provider.call(tipring(trunk()), "100", events=False).answered()
    call.rtp.wait_loud(0.5)
    call.rtp.say(audio.voice(1.0, seed=15, level=1500))
    server.wait_for("/none")
    call.hung_up()
