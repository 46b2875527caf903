"""Twenty thousand broken messages: after every one the box lives, after every fifty it answers."""
import random
import re
import socket

import pytest
from box import flow, phone, trunk
from sip_party import sdp

pytestmark = pytest.mark.load

SEED = 20_260_601
MESSAGES = 20_000
BATCH = 50
RSS_GROWTH_KB = 24_000
LOG_BYTES = 4_000_000


def corpus(party, box):
    """Valid messages of every kind that the box reads."""
    uri, offer = f"sip:100@{box.udp[0]}:{box.udp[1]}", sdp("127.0.0.2", 20_000, ("PCMU", "PCMA"))
    multipart = ("--b\r\nContent-Type: application/sdp\r\n\r\n" + offer + "\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--\r\n")
    proof = 'Digest username="201", realm="box-1", nonce="abcdef", uri="sip:127.0.0.1", response="0123456789abcdef0123456789abcdef", algorithm=MD5, cnonce="xyz", qop=auth, nc=00000001'
    made = [
        party.request("INVITE", uri, body=offer),
        party.request("INVITE", uri, body=multipart, content_type='multipart/mixed;boundary="b"'),
        party.request("INVITE", uri, body=offer, headers=[("Record-Route", "<sip:127.0.0.2;lr>"), ("P-Asserted-Identity", '"A \\"b\\" c" <sip:+15550100@127.0.0.2;user=phone>'),
                                                          ("Session-Expires", "1800;refresher=uac"), ("Supported", "timer,100rel"), ("Allow", "INVITE,ACK")]),
        party.request("INVITE", "tel:+1-555-0100;phone-context=example.com", body=offer),
        party.request("ACK", uri, to_tag="x"), party.request("BYE", uri, to_tag="x"), party.request("CANCEL", uri), party.request("OPTIONS", uri),
        party.request("INFO", uri, to_tag="x", body="Signal=1\r\nDuration=100\r\n", content_type="application/dtmf-relay"),
        party.request("REGISTER", f"sip:{box.udp[0]}", from_uri="sip:201@127.0.0.1", to_uri="sip:201@127.0.0.1", headers=[("Expires", "60")]),
        party.request("REGISTER", f"sip:{box.udp[0]}", from_uri="sip:201@127.0.0.1", to_uri="sip:201@127.0.0.1", headers=[("Authorization", proof)]),
        party.request("REFER", uri, to_tag="x", headers=[("Refer-To", "<sip:200@127.0.0.2?Replaces=a%3Bto-tag%3Db>")]),
        party.request("UPDATE", uri, to_tag="x", body=offer), party.request("PRACK", uri, to_tag="x", headers=[("RAck", "1 1 INVITE")]),
        party.request("SUBSCRIBE", uri, headers=[("Event", "message-summary")]),
    ]
    head = f"Via: SIP/2.0/UDP {box.udp[0]}:{box.udp[1]};branch=z9hG4bKx\r\nFrom: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:b@127.0.0.2>;tag=2\r\nCall-ID: r@x\r\nCSeq: 1 INVITE\r\n"
    for first, more in (("180 Ringing", ""), ("200 OK", f"Contact: <sip:b@127.0.0.2>\r\nContent-Type: application/sdp\r\nContent-Length: {len(offer)}\r\n"), ("302 Moved", "Contact: <sip:c@127.0.0.2>;q=0.5\r\n"),
                        ("407 Prove it", 'Proxy-Authenticate: Digest realm="x", nonce="y", qop="auth,auth-int", algorithm=SHA-256\r\n')):
        made.append(f"SIP/2.0 {first}\r\n{head}{more}\r\n{offer if 'sdp' in more else ''}".encode())
    return made


EXTREMES = [b"0", b"-1", b"255", b"65536", b"2147483648", b"4294967296", b"18446744073709551616", b"9" * 200, b"1e9", b"%00", b"\xff\xff"]
PIECES = [b"\r\n", b"\r\n\r\n", b"\n", b"\0", b"\t", b";", b":", b",", b'"', b"<", b">", b"@", b"%", b"=", b"[", b"]", b"\\", b"\xc3\x28", b"sip:", b" \r\n ", b"A" * 300, b"z9hG4bK", b";tag="]


def mutated(dice, messages):
    """One to four changes: bits, bytes, pieces, numbers, lines, halves of two messages.

    Most often the Content-Length is made right again, so that the rest is looked at too.
    """
    data = bytearray(dice.choice(messages))
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        if not data:
            break
        at, kind = dice.randrange(len(data)), dice.choice((0, 0, 1, 1, 2, 2, 3, 4, 4, 4, 5, 6, 7, 8))
        if kind == 0:
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            data[at] = dice.randrange(256)
        elif kind == 2:
            data[at:at] = dice.choice(PIECES) * dice.choice((1, 1, 1, 20))
        elif kind == 3:
            del data[at:at + dice.randint(1, 40)]
        elif kind == 4:
            numbers = list(re.finditer(rb"\d+", data))
            if numbers:
                number = dice.choice(numbers)
                data[number.start():number.end()] = dice.choice(EXTREMES)
        elif kind == 5:
            lines = bytes(data).split(b"\r\n")
            line = dice.randrange(len(lines))
            lines[line:line] = [lines[dice.randrange(len(lines))]] * dice.choice((1, 2, 60))
            data = bytearray(b"\r\n".join(lines))
        elif kind == 6:
            lines = bytes(data).split(b"\r\n")
            dice.shuffle(lines)
            data = bytearray(b"\r\n".join(lines))
        elif kind == 7:
            data = data[:at] + bytearray(dice.choice(messages))[at:]
        else:
            data = data[:at]
    return measured(bytes(data[:15_000])) if dice.random() < 0.8 else bytes(data[:15_000])


def measured(data):
    head, gap, body = data.partition(b"\r\n\r\n")
    return re.sub(rb"(?im)^(content-length: *)\d+", lambda m: m[1] + str(len(body)).encode(), head, count=1) + gap + body


@pytest.fixture
def target(tipring, tmp_path):
    document = tmp_path / "refuse.xml"
    document.write_text("<Response><Reject reason='busy'/></Response>")
    box = tipring(phone("201"), trunk(), flow(file=str(document), auto_answer=False))
    box.calls_may_remain = True         # no broken INVITE is ever acknowledged
    return box


@pytest.mark.limit(240)
def test_twenty_thousand_broken_datagrams(target, party, tmp_path):
    """Shows: SP-03: seeded mutations of 19 valid messages by UDP; alive after each, OPTIONS answered after each fifty; memory and log stay bounded."""
    dice = random.Random(SEED)
    sender, watcher = party("127.0.0.2", box=target), party("127.0.0.2", box=target)
    messages = corpus(sender, target)
    for valid in messages:
        sender.send(valid)
    assert watcher.ask("OPTIONS").status == 200
    before_kb, highest_kb, answers = target.memory_kb(), 0, 0
    for start in range(0, MESSAGES, BATCH):
        messages = corpus(sender, target)       # new calls each time, not repetitions of old ones
        batch = [mutated(dice, messages) for _ in range(BATCH)]
        for number, data in enumerate(batch):
            sender.send(data)
            assert target.alive(), f"died at message {start + number}; {keep(tmp_path, batch)}\n{data!r}"
        try:
            assert watcher.ask("OPTIONS", timeout=3).status == 200
        except AssertionError as error:
            raise AssertionError(f"no answer after message {start + BATCH} of seed {SEED}; {keep(tmp_path, batch)}: {error}")
        highest_kb = max(highest_kb, target.memory_kb())
        with sender._arrived:
            answers += len(sender.seen)
            sender.inbox.clear()
            sender.seen.clear()
            watcher.seen.clear()
    assert highest_kb - before_kb <= RSS_GROWTH_KB, f"memory rose from {before_kb} to {highest_kb} kB"
    counters = target.status()["counters"]
    assert counters["sip_malformed"] >= MESSAGES // 20 and answers >= MESSAGES // 20, f"too little happened: {answers} answers, {counters}"
    assert len(target.log()) <= LOG_BYTES, f"{len(target.log())} bytes of log"


def keep(tmp_path, batch):
    path = tmp_path / "last-batch.txt"
    path.write_text("\n".join(data.hex() for data in batch))
    return f"the batch is in {path}"


def test_broken_messages_by_tcp(target, party):
    """Shows: 600 broken messages, each on a connection of its own; OPTIONS by TCP and UDP afterwards."""
    dice = random.Random(SEED + 1)
    watcher = party("127.0.0.2", box=target)
    messages = [m.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP") for m in corpus(watcher, target)]
    for number in range(600):
        data = mutated(dice, messages)
        with socket.socket() as raw:
            raw.bind(("127.0.0.2", 0))
            raw.settimeout(3)
            raw.connect(target.tcp)
            try:
                raw.sendall(data)
            except OSError:
                pass
        assert target.alive(), f"died at message {number}: {data!r}"
        if number % BATCH == BATCH - 1:
            assert watcher.ask("OPTIONS", timeout=3).status == 200
    assert party("127.0.0.2", "tcp", box=target).ask("OPTIONS").status == 200


def test_broken_messages_from_strangers_get_no_answer(target, party):
    """Shows: 3,000 of them from an unknown address: not a byte back unless a phone's name is used, and none beyond a challenge."""
    dice = random.Random(SEED + 2)
    stranger, watcher = party("127.0.0.66", user="mallory", box=target), party("127.0.0.2", box=target)
    messages = [m for m in corpus(stranger, target) if b"sip:201@" not in m]
    for start in range(0, 3000, BATCH):
        for _ in range(BATCH):
            stranger.send(mutated(dice, messages))
        assert watcher.ask("OPTIONS", timeout=3).status == 200
    stranger.expect_nothing(seconds=0.5)
    assert stranger.seen == []


def test_broken_answers_to_the_boxes_own_requests(tipring, party):
    """Shows: a registrar that answers REGISTER with 1,000 broken 401s and 200s; then OPTIONS is answered."""
    dice = random.Random(SEED + 3)
    far = party("127.0.0.2")
    box = tipring(trunk(host=far.address, register=True, username="box", password="s3cret"))
    first = far.expect("REGISTER")
    answers = [far.response(first, 401, "Prove it", headers=[("WWW-Authenticate", 'Digest realm="far", nonce="n1", qop="auth", algorithm=MD5')]),
               far.response(first, 100, "Trying"), far.response(first, 423, "Longer", headers=[("Min-Expires", "600")])]
    for number in range(1000):
        far.send(mutated(dice, answers), first.source)
        assert box.alive(), number
    far.box = box.udp
    assert far.ask("OPTIONS").status == 200
