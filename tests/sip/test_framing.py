"""SIP over TCP: messages cut, glued and wrongly measured."""
import time

import pytest
from box import flow


def options(party, number):
    return party.request("OPTIONS", call_id=f"framing-{number}", headers=[("Subject", "cut me anywhere")], body="some body\r\n\r\nwith a gap", content_type="text/plain")


def test_a_message_may_arrive_in_two_pieces_cut_anywhere(tipring, party):
    """Shows: cut after every byte, each is parsed as if whole (SP-04)."""
    sender = party("127.0.0.2", "tcp", box=tipring())
    size = len(options(sender, 0))
    for cut in range(1, size):
        text = options(sender, cut)
        sender.send(text[:cut])
        time.sleep(0.0005)          # lets the first piece travel alone
        sender.send(text[cut:])
    for cut in range(1, size):
        assert sender.expect(lambda m: m.status, call_id=f"framing-{cut}").status in (200, 415)


def test_a_message_may_arrive_byte_by_byte(tipring, party):
    """Shows: one byte at a time."""
    sender = party("127.0.0.2", "tcp", box=tipring())
    for byte in options(sender, 1):
        sender.send(bytes([byte]))
        time.sleep(0.0005)
    assert sender.expect(lambda m: m.status, call_id="framing-1").status in (200, 415)


def test_messages_may_be_glued(tipring, party):
    """Shows: two, then fifty messages in one write are as many answers; blank lines between them are ignored."""
    sender = party("127.0.0.2", "tcp", box=tipring())
    sender.send(options(sender, 1) + options(sender, 2))
    sender.send(b"\r\n\r\n".join(options(sender, n) for n in range(3, 53)))
    for number in range(1, 53):
        assert sender.expect(lambda m: m.status, call_id=f"framing-{number}").status in (200, 415)


def test_a_call_cut_and_glued(tipring, server, party):
    """Shows: INVITE in pieces of 7 bytes; ACK and BYE glued together."""
    server.flow("/flow", "<Pause length='60000'/>")
    caller = party("127.0.0.2", "tcp", box=tipring())
    whole, pieces = caller.send, []
    caller.send = lambda data, to=None: pieces.append(data)
    call = caller.call(caller.box, "100")
    for start in range(0, len(pieces[0]), 7):
        whole(pieces[0][start:start + 7])
    call.answered()
    pieces.clear()
    call.ack()
    call.cseq += 1
    call._send("BYE")
    whole(b"".join(pieces))
    caller.send = whole
    assert call._answer_to("BYE").status == 200


@pytest.mark.parametrize("length", ["-1", "4294967295", "4294967296", "18446744073709551615", "99999999999999999999999", "abc", "", "1e3", "0x10", "70000"])
def test_a_bad_content_length_costs_its_own_connection_only(tipring, server, party, length):
    """Shows: a length that cannot be is answered 400 or not at all, the connection is closed; others and their calls go on."""
    server.flow("/flow", "<Pause length='60000'/>")
    box = tipring()
    other = party("127.0.0.2", "tcp", box=box)
    call = other.call(box, "100").answered()
    bad = party("127.0.0.2", "tcp", box=box)
    bad.send(bad.request("OPTIONS", without=("Content-Length",), headers=[("Content-Length", length)]) + b"x" * 100_000)
    bad.wait_closed()
    assert not any(m.status == 200 for m in bad.seen)
    assert call.ask("OPTIONS").status == 200
    call.hang_up()


def test_two_content_lengths_that_differ_are_refused(tipring, party):
    """Shows: no guess which one is right."""
    box = tipring()
    bad = party("127.0.0.2", "tcp", box=box)
    bad.send(bad.request("OPTIONS", headers=[("Content-Length", "7")]))
    bad.wait_closed()
    assert not any(m.status == 200 for m in bad.seen)
    assert party("127.0.0.2", "tcp", box=box).ask("OPTIONS").status == 200


def test_headers_without_end_are_cut_off(tipring, party):
    """Shows: 300 kB of header are not collected; the connection is closed."""
    box = tipring()
    before_kb = box.memory_kb()
    bad = party("127.0.0.2", "tcp", box=box)
    try:
        bad.send(b"OPTIONS sip:x SIP/2.0\r\nX: " + b"y" * 300_000)
    except OSError:
        pass                        # closed while we were still sending: as it should
    bad.wait_closed()
    assert box.memory_kb() - before_kb < 2_000


def test_a_ping_is_answered_with_a_pong(tipring, party):
    """Shows: RFC 5626, 3.5.1: CRLF CRLF is answered CRLF."""
    import socket
    box = tipring()
    with socket.socket() as raw:
        raw.bind(("127.0.0.2", 0))
        raw.connect(box.tcp)
        raw.settimeout(3)
        raw.sendall(b"\r\n\r\n")
        assert raw.recv(10) == b"\r\n"


def test_idle_connections_do_not_shut_others_out(tipring, party):
    """Shows: 200 silent connections from strangers and 100 from a peer; a call by TCP is still possible (RS-03)."""
    import socket
    box = tipring()
    held = []
    for number in range(300):
        raw = socket.socket()
        raw.bind(("127.0.0.66" if number < 200 else "127.0.0.2", 0))
        raw.settimeout(2)
        try:
            raw.connect(box.tcp)
            raw.sendall(b"OPT")
            held.append(raw)
        except OSError:
            raw.close()
    try:
        assert party("127.0.0.2", "tcp", box=box).ask("OPTIONS").status == 200
    finally:
        for raw in held:
            raw.close()


def test_an_answer_follows_the_connection_it_came_by(tipring, server, party):
    """Shows: a call by TCP is hung up over the same connection."""
    server.flow("/flow", "<Hangup/>")
    caller = party("127.0.0.2", "tcp", box=tipring(flow(url=server.url("/flow"))))
    caller.call(caller.box, "100").answered().hung_up()


def test_a_connection_that_breaks_does_not_leave_a_call(tipring, server, party):
    """Shows: the caller's connection is gone; the flow ends the call and everything is released."""
    server.flow("/flow", "<Pause length='1500'/><Hangup/>")
    box = tipring()
    caller = party("127.0.0.2", "tcp", box=box)
    caller.call(box, "100").answered()
    caller.close()
    box.cdr(timeout=10)
    box.wait_idle(timeout=45)
