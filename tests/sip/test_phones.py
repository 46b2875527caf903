"""Phones: registration with digest, calls by a real phone program, and silence towards strangers."""
import time

import audio
import pytest
from box import flow, phone, trunk
from waiting import until

PASSWORD = "opensesame"


@pytest.fixture
def spoken(tmp_path):
    """(file, samples): what a phone says."""
    made = {}

    def make(seed, seconds=2.5):
        if seed not in made:
            sound = audio.voice(seconds, seed=seed)
            made[seed] = (audio.write_wav(tmp_path / f"say{seed}.wav", sound), sound)
        return made[seed]
    return make


# ------------------------------------------------------------------ baresip


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_baresip_registers_and_calls_the_flow(tipring, server, baresip, transport):
    """Shows: a phone program registers with digest, reaches the flow by number and hears its prompt."""
    server.flow("/flow", f"<Play>{server.url('/prompt.wav')}</Play><Pause length='300'/><Hangup/>")
    prompt = audio.voice(3, seed=71)
    server.sound("/prompt.wav", audio.wav_bytes(prompt))
    box = tipring(phone("201", md5=True), flow(url=server.url("/flow"), numbers=["100"]))
    desk = baresip("201", PASSWORD, box, transport=transport).wait_registered()
    assert box.line("desk201")["contacts"] == 1 and box.line("desk201")["state"] == "up"

    desk.dial("100")
    desk.wait_event("CALL_ESTABLISHED")
    desk.wait_event("CALL_CLOSED")

    assert audio.likeness(prompt[4000:], desk.heard()) >= 0.95
    assert box.cdr()["from"] == "201"


def test_baresip_chooses_by_key(tipring, server, baresip):
    """Shows: the phone's RFC 4733 key takes the branch."""
    server.flow("/flow", f"<Gather dtmf_length='1' timeout='8000'><DTMF value='5'><Callback url='{server.url('/five')}'/></DTMF><Error><Hangup/></Error></Gather>")
    server.flow("/five", "<Hangup/>")
    box = tipring(phone("201", md5=True), flow(url=server.url("/flow"), numbers=["100"]))
    desk = baresip("201", PASSWORD, box).wait_registered().dial("100")
    desk.wait_event("CALL_ESTABLISHED")
    desk.press("5")
    server.wait_for("/five")
    desk.wait_event("CALL_CLOSED")


def test_one_baresip_calls_another(tipring, baresip, spoken):
    """Shows: two phone programs talk through the box, each hears the other, either may hang up."""
    (first_file, first_words), (second_file, second_words) = spoken(72), spoken(73)
    box = tipring(phone("201", md5=True), phone("202", md5=True))
    first = baresip("201", PASSWORD, box, says=first_file).wait_registered()
    second = baresip("202", PASSWORD, box, says=second_file, answers="auto").wait_registered()
    first.dial("202")
    first.wait_event("CALL_ESTABLISHED")
    second.wait_event("CALL_ESTABLISHED")
    until(lambda: min(first.heard_seconds(), second.heard_seconds()) > 2.2, 6, "both to have heard the other")
    first.hang_up()
    first.wait_event("CALL_CLOSED")
    second.wait_event("CALL_CLOSED")
    # A phone's own jitter buffer repeats or drops a frame now and then: half a second of each is compared.
    assert audio.likeness(second_words[8000:12000], first.heard()) >= 0.95
    assert audio.likeness(first_words[8000:12000], second.heard()) >= 0.95
    assert box.cdr()["cause"] == "normal-clearing"


def test_baresip_rings_and_is_cancelled_when_the_caller_gives_up(tipring, baresip):
    """Shows: CANCEL reaches a phone program; it stops ringing."""
    box = tipring(phone("201", md5=True), phone("202", md5=True))
    first = baresip("201", PASSWORD, box).wait_registered()
    second = baresip("202", PASSWORD, box).wait_registered()
    first.dial("202")
    second.wait_event("CALL_INCOMING")
    first.wait_event("CALL_RINGING")
    first.hang_up()
    second.wait_event("CALL_CLOSED")


def test_baresip_with_the_wrong_password_stays_outside(tipring, baresip):
    """Shows: no contact is stored, the line stays down."""
    box = tipring(phone("201", md5=True))
    baresip("201", "wrong-password", box)
    until(lambda: box.counter("sip_auth_failures") >= 1, what="a refused password")
    assert box.line("desk201")["contacts"] == 0


# ------------------------------------------------------------------ registration in detail


@pytest.mark.parametrize("md5, accept, algorithm", [(False, ("SHA-256",), "SHA-256"), (True, ("MD5",), "MD5")])
def test_digest_algorithms(tipring, party, md5, accept, algorithm):
    """Shows: SHA-256 by default; MD5 where the line says md5 = true."""
    box = tipring(phone("201", md5=md5))
    desk = party("127.0.0.11", user="201", password=PASSWORD)
    desk.register(box, accept=accept)
    challenge = next(m for m in desk.seen if m.status == 401)
    offered = " ".join(challenge.all("www-authenticate"))
    assert f"algorithm={algorithm}" in offered.replace('"', "")
    if not md5:
        assert "MD5" not in offered.upper()
    assert 'qop="auth"' in offered


def test_a_guesser_is_refused_and_then_ignored(tipring, party):
    """Shows: D-04: 401 or 403 for a wrong password; after five the address is not answered any more, even with the right one; others are."""
    box = tipring(phone("201"), phone("202"))
    thief = party("127.0.0.30", user="201", password="guess")
    tries = 0
    while tries < 8:
        try:
            assert thief.register(box, expect=None).status in (401, 403)
        except AssertionError as error:
            assert "waited" in str(error)
            break
        tries += 1
    assert 3 <= tries <= 6, f"{tries} guesses were answered"
    thief.send(thief.request("REGISTER", f"sip:{box.udp[0]}", from_uri=f"sip:201@{box.udp[0]}", to_uri=f"sip:201@{box.udp[0]}"))
    thief.expect_nothing()
    assert box.line("desk201")["contacts"] == 0
    honest = party("127.0.0.11", user="202", password=PASSWORD)
    honest.register(box)
    assert box.line("desk202")["contacts"] == 1


def test_a_proof_cannot_be_used_twice(tipring, party):
    """Shows: the same Authorization header again is refused."""
    box = tipring(phone("201"))
    desk = party("127.0.0.11", user="201", password=PASSWORD, box=box)
    uri, parts = f"sip:{box.udp[0]}", dict(from_uri=f"sip:201@{box.udp[0]}", to_uri=f"sip:201@{box.udp[0]}")
    challenge = desk.ask("REGISTER", uri, **parts)
    proof = desk.authorization(challenge, "REGISTER", uri)
    headers = [("Authorization", proof), ("Expires", "300")]
    assert desk.ask("REGISTER", uri, cseq=2, headers=headers, **parts).status == 200
    assert desk.ask("REGISTER", uri, cseq=3, headers=headers, **parts).status == 401


def test_register_answers_with_the_contact_and_its_time(tipring, party):
    """Shows: RFC 3261 section 10.3: bindings listed; a second REGISTER refreshes; Expires: 0 removes; * removes all."""
    box = tipring(phone("201"))
    desk = party("127.0.0.11", user="201", password=PASSWORD)
    answer = desk.register(box, expires=120)
    assert desk.address in answer.get("contact")
    granted = int(answer.get("contact").split("expires=")[1].split(";")[0]) if "expires=" in answer.get("contact") else int(answer.get("expires"))
    assert 60 <= granted <= 120
    desk.register(box, expires=120)
    assert box.line("desk201")["contacts"] == 1
    desk.register(box, expires=0)
    until(lambda: box.line("desk201")["contacts"] == 0, what="no contact after Expires: 0")
    desk.register(box, expires=120)
    desk.register(box, expires=0, contact="*")
    until(lambda: box.line("desk201")["contacts"] == 0, what="no contact after *")


def test_too_many_contacts_of_one_phone_are_bounded(tipring, party):
    """Shows: a phone that registers a new address again and again holds a bounded number of them."""
    box = tipring(phone("201"))
    desk = party("127.0.0.11", user="201", password=PASSWORD)
    for number in range(30):
        desk.register(box, contact=f"<sip:201@127.0.0.11:{20000 + number}>", expect=None)
    assert box.line("desk201")["contacts"] <= 20


def test_a_trunk_that_registers(tipring, server, party):
    """Shows: register = true: REGISTER, digest, and the line is up; calls then arrive."""
    server.flow("/flow", "<Hangup/>")
    far = party("127.0.0.2")
    box = tipring(trunk(host=far.address, register=True, username="box", password="s3cret"))
    first = far.expect("REGISTER")
    far.send(far.response(first, 401, "Prove it", headers=[("WWW-Authenticate", 'Digest realm="far", nonce="n1", qop="auth", algorithm=MD5')]), first.source)
    second = far.expect("REGISTER")
    assert 'username="box"' in second.get("authorization") and "s3cret" not in second.raw.decode()
    contact = second.get("contact")
    far.send(far.response(second, 200, "OK", headers=[("Expires", "600")]).replace(b"Contact: <sip:15550100@" + far.address.encode() + b">", f"Contact: {contact};expires=600".encode()), second.source)
    until(lambda: box.line("trunk1")["state"] == "up", what="the line up")
    far.call(box, "100").answered().hung_up()


def test_a_registrar_that_refuses_leaves_the_line_down_with_a_reason(tipring, party):
    """Shows: 403 is shown, and not asked again at once."""
    far = party("127.0.0.2")
    box = tipring(trunk(host=far.address, register=True, username="box", password="s3cret"))
    refused = far.expect("REGISTER")
    far.send(far.response(refused, 403, "Forbidden"), refused.source)
    until(lambda: "403" in box.line("trunk1")["detail"], what="the reason in the status")
    assert box.line("trunk1")["state"] == "down"
    far.expect_nothing(lambda m: m.method == "REGISTER", 1.5)


# ------------------------------------------------------------------ strangers (security.md D-02, D-03, D-09)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER", "MESSAGE", "SUBSCRIBE", "BYE", "CANCEL", "ACK", "NOTIFY", "REFER"])
def test_a_stranger_gets_no_answer_at_all(tipring, party, method, transport):
    """Shows: not a byte back to an unknown address; by UDP it is counted, by TCP the connection is closed."""
    box = tipring(phone("201"))
    before = box.counter("sip_silent_drops")
    stranger = party("127.0.0.66", transport, user="mallory", box=box)
    body = "" if method != "INVITE" else "v=0\r\no=- 1 1 IN IP4 127.0.0.66\r\ns=-\r\nc=IN IP4 127.0.0.66\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"
    stranger.send(stranger.request(method, f"sip:100@{box.udp[0]}", body=body))
    stranger.expect_nothing()
    if transport == "udp":
        assert box.counter("sip_silent_drops") > before
    else:
        stranger.wait_closed()


def test_a_known_and_an_unknown_name_are_answered_alike(tipring, party):
    """Shows: D-03: from the phones' own network, REGISTER and INVITE under a name that exists and one that does not get the same answer."""
    box = tipring(phone("201"))
    answers = []
    for user in ("201", "299"):
        guest = party("127.0.0.30", user=user, box=box)
        me = f"sip:{user}@{box.udp[0]}"
        for method in ("REGISTER", "INVITE"):
            guest.send(guest.request(method, f"sip:{box.udp[0]}", from_uri=me, to_uri=me, call_id=f"{method}-{user}", body="v=0\r\n" * (method == "INVITE")))
            try:
                answer = guest.expect(lambda m: m.status and m.status >= 200, 1, f"{method}-{user}")
                answers.append((user, method, answer.status, [name for name, _ in answer.headers]))
            except AssertionError:
                answers.append((user, method, None, None))
    assert [a[1:] for a in answers[:2]] == [a[1:] for a in answers[2:]], answers


def test_a_short_register_is_challenged_too(tipring, party):
    """Shows: the smallest REGISTER that a phone may send, a question without Contact, is answered: 401, then 200 with the bindings."""
    box = tipring(phone("201"))
    desk = party("127.0.0.11", user="201", password=PASSWORD, box=box)
    desk.register(box)
    uri, me = f"sip:{box.udp[0]}", f"sip:201@{box.udp[0]}"
    parts = dict(from_uri=me, to_uri=me, from_tag="q", call_id="question", without=("Contact",))
    challenge = desk.ask("REGISTER", uri, **parts)
    assert challenge.status == 401
    answer = desk.ask("REGISTER", uri, cseq=2, headers=[("Authorization", desk.authorization(challenge, "REGISTER", uri))], **parts)
    assert answer.status == 200 and desk.address in answer.get("contact")


def test_scanning_numbers_finds_none(tipring, party):
    """Shows: OPTIONS, INVITE and REGISTER for 100 names, one of them real, from outside: silence."""
    box = tipring(phone("201"))
    scanner = party("127.0.0.66", user="scanner", box=box)
    for number in range(150, 250):
        for method in ("OPTIONS", "INVITE", "REGISTER"):
            scanner.send(scanner.request(method, f"sip:{number}@{box.udp[0]}"))
    scanner.expect_nothing()
    assert scanner.seen == []


def test_a_configured_name_is_challenged_and_no_more_is_sent_than_came(tipring, party):
    """Shows: D-09: INVITE under a phone's name from the phones' network: one 401, no repetition, no more than 1.5 times the bytes."""
    box = tipring(phone("201"))
    guest = party("127.0.0.30", user="201", box=box)
    text = guest.request("INVITE", f"sip:100@{box.udp[0]}", from_uri=f"sip:201@{box.udp[0]}", body="v=0\r\n")
    guest.send(text)
    assert guest.expect(lambda m: m.status and m.status >= 200).status == 401
    time.sleep(1.2)         # the window in which a repetition would fall (T1 is 500 ms): silence is what is tested
    assert guest.count(401) == 1
    assert sum(len(m.raw) for m in guest.seen) <= 1.5 * len(text)


def test_a_strangers_word_within_a_call_changes_nothing(tipring, server, provider, party):
    """Shows: D-11: BYE, CANCEL, re-INVITE and INFO with the right tags from the wrong address: the call lives."""
    server.flow("/flow", "<Pause length='60000'/>")
    box = tipring()
    call = provider.call(box, "100").answered()
    stranger = party("127.0.0.66", user="15550100", box=box)
    for method in ("BYE", "CANCEL", "INFO", "INVITE", "UPDATE"):
        stranger.send(stranger.request(method, call.target, call_id=call.call_id, cseq=50, from_uri=call.local, from_tag=call.local_tag,
                                       to_uri=call.uri, to_tag=call.remote_tag))
    stranger.expect_nothing()
    assert len(box.calls()) == 1
    call.hang_up()


def test_sipvicious_finds_nothing(tipring, party):
    """Shows: 1,000 probes in the manner of svmap get no answer, within a bounded time, and phones still register."""
    box = tipring(phone("201"))
    scanner = party("127.0.0.66", user="100", box=box)
    for number in range(1000):
        scanner.send(scanner.request("OPTIONS", f"sip:{100 + number % 900}@{box.udp[0]}", from_uri="sip:100@1.1.1.1",
                                     headers=[("User-Agent", "friendly-scanner")]))
    scanner.expect_nothing(seconds=1)
    party("127.0.0.11", user="201", password=PASSWORD).register(box)
    lines = box.log().count("127.0.0.66")
    assert lines <= 30, f"{lines} log lines for a scan"
