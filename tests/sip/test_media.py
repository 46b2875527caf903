"""RTP: only the caller is heard and only the caller is sent to, whoever else knows the port (security.md, E)."""
import random
import socket
import statistics
import struct
import time

import audio
import pytest
from box import flow, phone, trunk
from rtp_party import build
from sip_party import sdp
from waiting import until

NEAR, FAR = "127.0.0.99", "127.9.9.9"      # the caller's own /24, and outside it
WORDS = audio.voice(2.0, seed=81)
NOISE = audio.voice(2.0, seed=82)


def recording_call(server, tipring, provider):
    """A call whose caller is recorded while a faint prompt plays to him (a recording holds both sides)."""
    server.flow("/flow", f"<RecordStart tag='ear'/><Play loop='40'>{server.url('/prompt.wav')}</Play>")
    server.sound("/prompt.wav", audio.wav_bytes(audio.voice(1.5, seed=80, level=250)))
    box = tipring()
    return box, provider.call(box, "100").answered()


def recorded(box):
    box.cdr()           # a recording is whole when its call is over
    return audio.read_wav(box.recordings()[0])[0]


def spoil(attacker, target, sound=NOISE):
    attacker.peer = target
    return attacker.start_saying(sound)


@pytest.mark.parametrize("ip", [FAR, NEAR])
def test_an_attacker_who_comes_later_is_neither_heard_nor_sent_to(tipring, server, provider, rtp, ip):
    """Shows: E-02, E-03: once the caller's address is learned nobody else's packets count, near or far."""
    box, call = recording_call(server, tipring, provider)
    attacker = rtp(ip)
    call.rtp.say(audio.silence(0.6))
    thread = spoil(attacker, call.rtp.peer)
    call.rtp.say(WORDS)
    thread.join()
    call.hang_up()
    sound = recorded(box)
    assert audio.likeness(WORDS, sound) >= 0.95
    assert audio.likeness(NOISE, sound) < 0.2
    assert attacker.packets == [] and attacker.rubbish == []
    assert box.cdr()["legs"][0]["rtp"]["rejected"] >= 90


def test_an_attacker_who_comes_first_is_not_learned(tipring, server, provider, rtp):
    """Shows: E-03: packets from outside the caller's network before the first of his own change nothing."""
    box, call = recording_call(server, tipring, provider)
    attacker = rtp(FAR)
    thread = spoil(attacker, call.rtp.peer, audio.voice(1, seed=82))
    until(lambda: not thread.is_alive(), what="the attacker's second of noise")
    call.rtp.say(WORDS)
    call.hang_up()
    sound = recorded(box)
    assert audio.likeness(WORDS, sound) >= 0.95
    assert audio.likeness(audio.voice(1, seed=82), sound) < 0.25
    assert attacker.packets == []
    assert audio.loud_seconds(call.rtp.heard()) > 2


def test_a_neighbour_who_comes_first_loses_to_the_address_that_was_signalled(tipring, server, provider, rtp):
    """Shows: E-03: even an attacker in the caller's own network does not keep the call once the caller speaks from the address in his SDP."""
    box, call = recording_call(server, tipring, provider)
    attacker = rtp(NEAR)
    attacker.peer = call.rtp.peer
    attacker.say(audio.voice(0.04, seed=82))        # two packets, within the window of five
    call.rtp.say(WORDS)
    call.hang_up()
    sound = recorded(box)
    assert audio.likeness(WORDS[1600:], sound) >= 0.95
    assert audio.loud_seconds(call.rtp.heard()) > 1.5


def test_a_caller_behind_address_translation_is_learned(tipring, server, provider, rtp):
    """Shows: the SDP names a neighbour of the address that speaks (same /24): the box answers where the sound comes from."""
    server.flow("/flow", f"<Play loop='4'>{server.url('/prompt.wav')}</Play>")
    server.sound("/prompt.wav", audio.wav_bytes(audio.voice(1, seed=80)))
    box = tipring()
    inside, outside = rtp("127.0.0.200"), rtp("127.0.0.2")
    call = provider.call(box, "100", rtp=outside, offer=sdp(inside.ip, inside.port)).answered()
    outside.say(audio.silence(0.5))
    since = time.monotonic()
    outside.say(audio.silence(0.5))
    outside.wait_loud(0.2, since=since)
    assert inside.audio_packets(since + 0.3) == []
    call.hang_up()


def test_after_hold_the_window_does_not_open_for_others(tipring, server, provider, rtp):
    """Shows: E-03: hold and resume by re-INVITE; an attacker who speaks first afterwards is not learned."""
    box, call = recording_call(server, tipring, provider)
    call.rtp.say(audio.silence(0.4))
    call.reinvite("sendonly")
    call.reinvite("sendrecv")
    attacker = rtp(FAR)
    thread = spoil(attacker, call.rtp.peer)
    call.rtp.say(WORDS)
    thread.join()
    call.hang_up()
    assert audio.likeness(WORDS, recorded(box)) >= 0.95
    assert attacker.packets == []


def test_spraying_the_port_range_gets_not_a_byte_back(tipring, server, provider, rtp):
    """Shows: E-01: with four calls up, RTP and RTCP sent to every port of the range from elsewhere is answered by nothing, and the calls sound the same, also for those who only listen."""
    low = free_range(200)
    server.flow("/flow", f"<Play>{server.url('/prompt.wav')}</Play>")
    prompt = audio.voice(4, seed=83)
    server.sound("/prompt.wav", audio.wav_bytes(prompt))
    box = tipring(rtp=f"{low}-{low + 199}")
    calls = [provider.call(box, "100").answered() for _ in range(4)]
    for call in calls[:2]:
        call.rtp.say(audio.silence(0.15))       # these callers' addresses are learned
    assert all(low <= call.rtp.peer[1] <= low + 199 and call.rtp.peer[1] % 2 == 0 for call in calls)
    sprayers = [rtp(FAR), rtp(NEAR)]
    until_time = time.monotonic() + 3
    count = 0
    while time.monotonic() < until_time:
        for port in range(low, low + 200):
            for sprayer in sprayers:
                sprayer.send(build(b"\x55" * 160, count, count * 160, 7), (box.udp[0], port))
                count += 1
        time.sleep(0.2)
    for call in calls:
        call.hung_up()
        call.rtp.wait_packets(199)
        assert audio.likeness(prompt, call.rtp.heard()) >= 0.99 and call.rtp.lost() == 0
    assert count >= 4_000
    for sprayer in sprayers:
        assert sprayer.packets == [] and sprayer.rubbish == []


def free_range(size):
    """The first of `size` UDP ports in a row that nobody has."""
    for low in random.Random(time.time_ns()).sample(range(21_000, 60_000, 2), 400):
        probes = []
        try:
            for port in range(low, low + size):
                probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                probes.append(probe)
                probe.bind(("127.0.0.1", port))
            return low
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError(f"no {size} free UDP ports in a row")


def taken(low, size):
    """Which UDP ports of the range somebody has, by the kernel's table."""
    ports = (int(line.split()[1].split(":")[1], 16) for line in open("/proc/net/udp").readlines()[1:])
    return [port for port in ports if low <= port < low + size]


def test_ports_are_given_back(tipring, server, provider):
    """Shows: with a range of four pairs, twenty calls one after another work, and a fifth at a time is refused cleanly."""
    low = free_range(8)
    server.flow("/flow", "<Pause length='60000'/>")
    box = tipring(rtp=f"{low}-{low + 7}")
    for _ in range(20):
        provider.call(box, "100").answered().hang_up()
        until(lambda: not taken(low, 8), what="the media socket closed")
    calls = [provider.call(box, "100").answered() for _ in range(4)]
    assert len({call.rtp.peer for call in calls}) == 4
    provider.call(box, "100").refused((503, 500, 480))
    for call in calls:
        call.hang_up()


def hostile_packets():
    """Names and bytes of packets that a parser might trip over."""
    good = build(b"\xff" * 160, 1000, 160_000, 99)
    yield "empty", b""
    yield "one byte", b"\x80"
    yield "header cut", good[:11]
    yield "no payload", good[:12]
    yield "version 0", b"\x00" + good[1:]
    yield "version 3", b"\xc0" + good[1:]
    yield "15 sources, none there", b"\x8f" + good[1:12]
    yield "extension longer than the packet", b"\x90" + good[1:12] + struct.pack("!HH", 0xBEDE, 0xFFFF) + b"\0" * 20
    yield "extension without its header", b"\x90" + good[1:12]
    yield "padding longer than the packet", b"\xa0" + good[1:-1] + b"\xff"
    yield "padding of zero", b"\xa0" + good[1:-1] + b"\x00"
    yield "an unknown payload type", build(b"\x00" * 160, 1001, 160_160, 99, 77)
    yield "payload of one byte", build(b"\x00", 1002, 160_320, 99)
    yield "payload of 1,400 bytes", build(b"\x00" * 1400, 1003, 160_480, 99)
    yield "a large datagram", build(b"\x00" * 60_000, 1004, 160_640, 99)
    yield "an event cut short", build(b"\x05", 1005, 160_800, 99, 101)
    yield "an event that does not exist", build(struct.pack("!BBH", 200, 0x8A, 800), 1006, 160_960, 99, 101)
    yield "an event of 8 s", build(struct.pack("!BBH", 1, 0x0A, 65535), 1007, 161_120, 99, 101)
    yield "RTCP goodbye", struct.pack("!BBHI", 0x81, 203, 1, 99)
    yield "RTCP report cut short", struct.pack("!BBHI", 0x81, 200, 6, 99)
    yield "RTCP that claims to be long", struct.pack("!BBHI", 0x81, 200, 65535, 99)
    yield "STUN", b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"\0" * 12
    yield "DTLS hello", b"\x16\xfe\xff" + b"\0" * 60


def test_hostile_packets_from_the_caller_himself(tipring, server, provider):
    """Shows: E-05, E-06, E-07: 23 broken packets, then 5,000 random ones: the call lives, what he says afterwards is heard."""
    box, call = recording_call(server, tipring, provider)
    call.rtp.say(audio.silence(0.3))
    before_kb = box.memory_kb()
    for _, data in hostile_packets():
        call.rtp.send(data)
        call.rtp.send(data, (call.rtp.peer[0], call.rtp.peer[1] + 1))
    dice = random.Random(8)
    for number in range(5_000):
        data = bytearray(build(dice.randbytes(dice.choice((0, 1, 4, 160, 320, 1000))), dice.getrandbits(16), dice.getrandbits(32), dice.getrandbits(32), dice.getrandbits(7)))
        for _ in range(dice.randrange(4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        call.rtp.send(bytes(data))
        if number % 50 == 0:
            time.sleep(0.005)           # keeps to what the socket's buffer holds
    assert call.ask("OPTIONS").status == 200
    call.rtp.say(WORDS)
    call.rtp.say(audio.silence(0.3))
    assert box.memory_kb() - before_kb < 4_000
    call.hang_up()
    assert audio.likeness(WORDS[8000:], recorded(box)) >= 0.95


def test_strange_dtls_and_stun_do_not_end_a_call(tipring, server, provider, rtp):
    """Shows: E-05: 1,000 stray ClientHellos and STUN requests from elsewhere: no answer, the call lives."""
    box, call = recording_call(server, tipring, provider)
    call.rtp.say(audio.silence(0.3))
    stranger = rtp(FAR)
    for number in range(500):
        stranger.send(b"\x16\xfe\xff" + bytes(60), call.rtp.peer)
        stranger.send(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12), call.rtp.peer)
    since = time.monotonic()
    call.rtp.wait_loud(0.5, since=since)
    assert stranger.packets == [] and stranger.rubbish == []
    call.hang_up()


def test_loss_and_disorder_are_concealed(tipring, server, provider):
    """Shows: every twentieth packet lost, neighbours swapped, some doubled: the recording keeps its length and most of its sound."""
    box, call = recording_call(server, tipring, provider)
    call.rtp.say(audio.silence(0.3))
    ear, original, held = call.rtp, call.rtp.send, []
    sound, count = audio.voice(3, seed=84), [0]

    def unruly(data, to=None):
        count[0] += 1
        if count[0] % 20 == 0:
            return
        if count[0] % 7 == 0:
            held.append(data)
            return
        original(data)
        if count[0] % 11 == 0:
            original(data)
        while held:
            original(held.pop())

    ear.send = unruly
    ear.say(sound)
    ear.send = original
    call.rtp.say(audio.silence(0.3))
    call.hang_up()
    kept = recorded(box)
    # By pieces: a moment in which the sender itself was held up moves what follows.
    pieces = [audio.likeness(sound[at:at + 4000], kept) for at in range(0, len(sound) - 3999, 4000)]
    assert statistics.median(pieces) >= 0.85, pieces
    legs = box.cdr()["legs"]
    assert 5 <= legs[0]["rtp"]["lost"] <= 12


def test_two_callers_never_hear_each_other(tipring, server, provider, party):
    """Shows: eight calls at once, four of them connected to phones: each hears its own partner only."""
    numbers = ["201", "202", "203", "204"]
    server.flow("/flow", "")
    flows = []
    for number in numbers:
        server.flow(f"/to{number}", f"<Dial><To>{number}</To></Dial>")
        flows.append(flow(f"to{number}", url=server.url(f"/to{number}"), numbers=["9" + number]))
    box = tipring(trunk(flow="to201"), *[phone(n) for n in numbers], *flows)
    pairs = []
    for index, number in enumerate(numbers):
        desk = party(f"127.0.0.{20 + index}", user=number, password="opensesame")
        desk.register(box)
        call = provider.call(box, "9" + number)
        far = desk.expect_call().ring().answer()
        pairs.append((call.answered(), far, audio.voice(2, seed=100 + index), audio.voice(2, seed=200 + index)))
    threads = [t for call, far, a, b in pairs for t in (call.rtp.start_saying(a), far.rtp.start_saying(b))]
    for thread in threads:
        thread.join()
    for index, (call, far, mine, theirs) in enumerate(pairs):
        assert audio.likeness(mine[4000:], far.rtp.heard()) >= 0.99
        assert audio.likeness(theirs[4000:], call.rtp.heard()) >= 0.99
        assert audio.likeness(pairs[index - 1][2], far.rtp.heard()) < 0.2
        call.hang_up()
        far.hung_up()
