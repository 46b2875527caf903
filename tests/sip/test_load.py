"""Many calls: none fails, none is late, and nothing of them stays behind."""
import pytest
import time

import audio
from box import flow, trunk
from sink import Sink
from waiting import until

pytestmark = pytest.mark.load

RSS_GROWTH_KB = 24_000              # 20,000 calls against 500: what an allocator keeps after its busiest moment
RSS_STEADY_GROWTH_KB = 3_000        # while the rate stays the same: 6,000 calls at less than half a kilobyte each
DESCRIPTORS_TOLERANCE = 4


@pytest.fixture
def sink(tmp_path, _kept):
    return _kept.add(Sink(tmp_path))


@pytest.fixture
def addresses(tmp_path):
    """A media address for each call: SIPp's input file."""
    path = tmp_path / "addresses.csv"
    path.write_text("SEQUENTIAL\n" + "".join(f"127.{16 + (n >> 16)}.{n >> 8 & 255}.{n & 255};\n" for n in range(1, 20_001)))
    return path


def static(tmp_path, document):
    path = tmp_path / "load.xml"
    path.write_text(f"<Response>{document}</Response>")
    return flow(file=str(path))


def test_a_thousand_calls_at_a_hundred_a_second(tipring, sipp, sink, addresses, tmp_path):
    """Shows: none fails, nothing is repeated, one record each."""
    box = tipring(static(tmp_path, "<Pause length='20000'/>"), calls_max=200)
    caller = sipp("load_setup.xml", box, rtp=sink, addresses=addresses, calls=1000, rate=100, at_once=400, timeout=60).finish()
    figures = caller.stats()
    assert (figures["ok"], figures["failed"], figures["retransmitted"]) == (1000, 0, 0), figures
    until(lambda: len(box.cdrs()) >= 1000, 5, lambda: f"1,000 records (have {len(box.cdrs())})")
    records = box.cdrs()
    assert len(records) == len({r["id"] for r in records}) == 1000
    assert {(r["cause"], r["ended_by"]) for r in records} == {("normal-clearing", "caller")}


def test_two_hundred_calls_hear_their_prompt_at_once(tipring, server, sipp, sink, addresses, tmp_path):
    """Shows: 200 streams of 50 packets a second for 6 s: none lost, at most one packet in 1,000 too late for a jitter buffer of 60 ms."""
    server.sound("/prompt.wav", audio.wav_bytes(audio.voice(13, seed=91)))
    box = tipring(static(tmp_path, f"<Play>{server.url('/prompt.wav')}</Play>"), calls_max=300)
    caller = sipp("load_listens.xml", box, rtp=sink, addresses=addresses, calls=200, rate=50, at_once=400, timeout=60)
    until(lambda: box.counter("calls_active") == 200, 10, lambda: f"200 calls (have {box.counter('calls_active')})", 0.1)
    until(lambda: sink.figures()["streams"] == 200, 5, "200 streams", 0.2)
    sink.tell("reset")
    measured_from = time.monotonic()
    time.sleep(6)                   # the time that is measured
    took, figures = time.monotonic() - measured_from, sink.figures()
    caller.finish()
    assert figures["streams"] == 200
    assert figures["lost"] == 0 and figures["dup"] == 0 and figures["reordered"] == 0, figures
    assert figures["packets"] >= 0.97 * took * 50 * 200, figures
    assert figures["late60"] <= 0.001 * figures["packets"], figures
    assert figures["sink_drops"] == 0
    stats = caller.stats()
    assert (stats["ok"], stats["failed"]) == (200, 0)


def quiet(box, timeout=50):
    """Until the last SIP transaction is over (64*T1 after the last call)."""
    until(lambda: box.counter("sip_transactions") == 0, timeout, lambda: f"no transaction left (have {box.counter('sip_transactions')})", 0.5)
    box.wait_idle()


@pytest.mark.limit(330)
def test_twenty_thousand_calls_leave_nothing_behind(tipring, sipp, sink, addresses, tmp_path):
    """Shows: memory, descriptors and counters after 20,000 calls are where 500 left them; none fails on the way."""
    box = tipring(static(tmp_path, "<Pause length='20000'/>"), calls_max=1000)

    def run(calls):
        return sipp("load_setup.xml", box, rtp=sink, addresses=addresses, calls=calls, rate=400, at_once=2000, timeout=120)

    run(500).finish()
    box.wait_idle()
    counters, before_kb, descriptors = box.status()["counters"], box.memory_kb(), box.descriptors()

    many, samples = run(19_500), []
    while many.process.poll() is None:
        samples.append((many.stats()["ok"] if (many.base.parent / f"{many.base.name}.csv").exists() else 0, box.memory_kb()))
        try:
            many.process.wait(1)
        except Exception:
            pass
    many.finish()
    figures = many.stats()
    assert (figures["ok"], figures["failed"]) == (19_500, 0), figures
    assert figures["retransmitted"] <= 195, figures

    steady = [kb for done, kb in samples if done >= 14_000]
    assert steady and max(steady) - steady[0] <= RSS_STEADY_GROWTH_KB, f"memory grew at an even rate of calls: {steady} kB"
    quiet(box)
    after = box.status()["counters"]
    for name in ("calls_active", "legs_active", "rtp_sockets", "sip_transactions", "sip_dialogs", "fetches_active"):
        assert after[name] == 0, f"{name}: {after[name]}"
    assert after["timers"] <= counters["timers"]
    assert after["calls_total"] == 20_000
    assert box.descriptors() <= descriptors + DESCRIPTORS_TOLERANCE
    assert box.memory_kb() - before_kb <= RSS_GROWTH_KB, f"{before_kb} kB after 500 calls, {box.memory_kb()} kB after 20,000"
    assert len({r["id"] for r in box.cdrs()}) == 20_000


def test_a_flood_from_strangers_does_not_disturb_a_call(tipring, server, provider, party):
    """Shows: D-07, shortened: 500 INVITEs and 500 pieces of garbage a second for 6 s; a prompt sounds the same, trunk calls get through, memory stays."""
    prompt = audio.voice(7, seed=92)
    server.flow("/flow", f"<Play>{server.url('/prompt.wav')}</Play>")
    server.sound("/prompt.wav", audio.wav_bytes(prompt))
    box = tipring(trunk())
    before_kb = box.memory_kb()
    call = provider.call(box, "100").answered()
    flooder = party("127.0.0.66", user="flood", box=box)
    invites = [flooder.request("INVITE", f"sip:100@{box.udp[0]}", body="v=0\r\n") for _ in range(500)]
    started, sent = time.monotonic(), 0
    while sent < 6000:
        for text in invites[sent // 2 % 450:][:5]:
            flooder.send(text)
            flooder.send(b"\x80garbage\r\n\r\n" * 10)
            sent += 2
        time.sleep(max(0, started + sent / 1000 - time.monotonic()))
    others = [provider.call(box, "100").answered() for _ in range(10)]
    call.hung_up()
    assert audio.likeness(prompt, call.rtp.heard()) >= 0.99 and call.rtp.lost() == 0
    packets = call.rtp.audio_packets()
    late = sum(1 for a, b in zip(packets, packets[1:]) if b.at - a.at > 0.06)
    assert late <= len(packets) // 100
    assert flooder.seen == []
    for other in others:
        other.hang_up()
    assert box.memory_kb() - before_kb <= 12_000
    assert len(box.log()) < 200_000
