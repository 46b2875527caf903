"""A call reaches a flow and hears what the flow plays and says.

The caller is SIPp, over UDP and over TCP; its media address is a socket of ours,
so what was sent can be compared with what was meant.
"""
import subprocess

import pytest

import audio
import programs
from box import flow, trunk
from flow_server import Answer
from waiting import until

PROMPT = audio.voice(3, seed=11)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_a_wav_fetched_by_url_is_heard_as_it_is(tipring, server, provider, party, rtp, transport, codec):
    """Shows: INVITE, flow request, Play of a WAV, flow end, BYE; the sound is the file's to 0.99."""
    server.flow("/flow", f"<Play>{server.url('/prompt.wav')}</Play>")
    server.sound("/prompt.wav", audio.wav_bytes(PROMPT))
    box = tipring(trunk(codecs=["PCMU", "PCMA"]))
    caller = provider if transport == "udp" else party("127.0.0.2", "tcp", box=box)

    call = caller.call(box, "100", codecs=[codec]).answered()
    call.hung_up()

    assert audio.likeness(PROMPT, call.rtp.heard()) >= 0.99
    assert call.rtp.lost() == 0
    assert {p.payload_type for p in call.rtp.audio_packets()} == {audio.PAYLOAD_TYPE[codec]}
    assert box.cdr()["cause"] == "normal-clearing"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sipp_calls_and_hears_the_prompt(tipring, server, sipp, rtp, transport):
    """Shows: an independent SIP implementation completes the call over UDP and TCP, without a repetition."""
    server.flow("/flow", f"<Play url='{server.url('/prompt.wav')}'/><Hangup tag='done'/>")
    server.sound("/prompt.wav", audio.wav_bytes(PROMPT))
    box, ear = tipring(), rtp()

    call = sipp("caller_listens.xml", box, transport=transport, rtp=ear).finish()

    assert audio.likeness(PROMPT, ear.heard()) >= 0.99
    assert call.stats()["retransmitted"] == 0
    assert box.cdr()["ended_by"] == "flow"


def test_packets_come_at_the_pace_of_speech(tipring, server, provider):
    """Shows: one packet in 20 ms with consecutive numbers and time stamps; the marker only at a start."""
    server.flow("/flow", f"<Play>{server.url('/prompt.wav')}</Play>")
    server.sound("/prompt.wav", audio.wav_bytes(PROMPT))
    call = provider.call(tipring(), "100").answered()
    call.hung_up()

    packets = call.rtp.audio_packets()
    steps = {(b.seq - a.seq & 0xFFFF, b.timestamp - a.timestamp & 0xFFFFFFFF) for a, b in zip(packets, packets[1:])}
    assert steps == {(1, 160)}
    assert {len(p.payload) for p in packets} == {160}
    assert len({p.ssrc for p in packets}) == 1
    took = packets[-1].at - packets[0].at
    assert abs(took - (len(packets) - 1) * 0.02) < 0.1, f"{len(packets)} packets in {took:.2f} s"


@pytest.mark.parametrize("rate_hz, expected", [(16000, 0.98), (44100, 0.98), (48000, 0.98), (8000, 0.99)])
def test_a_wav_of_any_usual_rate_is_resampled(tipring, server, provider, rate_hz, expected):
    """Shows: files at 16, 44.1 and 48 kHz come out at the right speed and pitch."""
    server.flow("/flow", f"<Play>{server.url('/prompt.wav')}</Play>")
    sound = audio.voice(2, seed=5, rate_hz=rate_hz)
    server.sound("/prompt.wav", audio.wav_bytes(sound, rate_hz))
    call = provider.call(tipring(), "100").answered()
    call.hung_up()
    assert audio.likeness(audio.resampled(sound, rate_hz), call.rtp.heard()) >= expected


def test_an_mp3_is_heard(tipring, server, provider, tmp_path):
    """Shows: Play decodes MP3 (made here by lame); the same sound, as near as MP3 keeps it."""
    sound = audio.voice(3, seed=21, rate_hz=16000)
    wav = audio.write_wav(tmp_path / "prompt.wav", sound, 16000)
    subprocess.run([programs.program("lame"), "--quiet", "-b", "128", "--resample", "16", str(wav), str(tmp_path / "prompt.mp3")], check=True)
    server.flow("/flow", f"<Play>{server.url('/prompt.mp3')}</Play>")
    server.sound("/prompt.mp3", (tmp_path / "prompt.mp3").read_bytes(), "audio/mpeg")

    call = provider.call(tipring(), "100").answered()
    call.hung_up()

    assert audio.likeness(audio.resampled(sound, 16000), call.rtp.heard()) >= 0.95


def test_play_repeats_as_often_as_loop_says(tipring, server, provider):
    """Shows: loop=3 plays the file three times, one after another."""
    sound = audio.voice(0.6, seed=8)
    server.flow("/flow", f"<Play loop='3'>{server.url('/prompt.wav')}</Play>")
    server.sound("/prompt.wav", audio.wav_bytes(sound))
    call = provider.call(tipring(), "100").answered()
    call.hung_up()
    heard = call.rtp.heard()
    assert abs(audio.loud_seconds(heard) - 1.8) < 0.15
    assert audio.likeness(audio.np.concatenate([sound] * 3), heard) >= 0.9


def test_a_prompt_played_often_is_fetched_once(tipring, server, provider):
    """Shows: the second call plays the same file from the box's store."""
    server.flow("/flow", f"<Play>{server.url('/prompt.wav')}</Play>")
    server.answer("/prompt.wav", Answer(audio.wav_bytes(audio.voice(0.5, seed=3)), content_type="audio/wav",
                                        headers=[("ETag", '"v1"'), ("Cache-Control", "max-age=3600")]))
    box = tipring()
    for _ in range(2):
        call = provider.call(box, "100").answered()
        call.hung_up()
        assert audio.loud_seconds(call.rtp.heard()) > 0.4
    assert len(server.seen("/prompt.wav")) == 1


def test_say_speaks_and_the_second_time_comes_from_the_store(tipring, server, provider):
    """Shows: Say is heard as speech; the same words again start sooner and sound the same."""
    server.flow("/flow", "<Say>You have reached the office. Please hold the line.</Say>")
    box, sounds, waits = tipring(), [], []
    for _ in range(2):
        call = provider.call(box, "100").answered()
        call.rtp.wait_loud(0.1, timeout=10)
        waits.append(next(p.at for p in call.rtp.audio_packets() if audio.loud_seconds(audio.decode(p.payload))) - call.final.at)
        call.hung_up()
        sounds.append(call.rtp.heard())
    assert audio.loud_seconds(sounds[0]) > 1.5
    assert audio.level_dbfs(sounds[0]) > -40
    assert audio.likeness(_trimmed(sounds[0]), sounds[1]) >= 0.99
    assert waits[1] < max(waits[0], 0.3), f"first word after {waits[0]:.2f} s, the second time after {waits[1]:.2f} s"
    assert any(path.is_file() for path in (box.data / "cache").rglob("*")), "nothing in the store of prompts"


def _trimmed(pcm):
    loud = audio.np.flatnonzero(audio.np.abs(pcm) > 200)
    return pcm[loud[0]:loud[-1]]


def test_say_attribute_beats_content_and_empty_text_is_no_failure(tipring, server, provider):
    """Shows: an empty Say plays nothing and goes on (Opentact, 5.4)."""
    server.flow("/flow", f"<Say text=''/><Say></Say><Callback url='{server.url('/after')}'/>")
    server.flow("/after", "<Hangup/>")
    call = provider.call(tipring(), "100").answered()
    server.wait_for("/after")
    call.hung_up()
    assert audio.loud_seconds(call.rtp.heard()) == 0


def test_pause_is_silence_of_the_length_asked_for(tipring, server, provider):
    """Shows: Pause length in milliseconds, between two prompts."""
    server.flow("/flow", f"<Play>{server.url('/a.wav')}</Play><Pause length='1500'/><Play>{server.url('/b.wav')}</Play>")
    first, second = audio.voice(0.5, seed=31), audio.voice(0.5, seed=32)
    server.sound("/a.wav", audio.wav_bytes(first))
    server.sound("/b.wav", audio.wav_bytes(second))
    call = provider.call(tipring(), "100").answered()
    call.hung_up()
    packets = [p for p in call.rtp.audio_packets() if audio.loud_seconds(audio.decode(p.payload))]
    gap = max(b.at - a.at for a, b in zip(packets, packets[1:]))
    assert abs(gap - 1.5) < 0.25, f"{gap:.2f} s of silence, expected 1.5"
    assert audio.likeness(first, call.rtp.heard()) >= 0.98 and audio.likeness(second, call.rtp.heard()) >= 0.98


def test_a_flow_kept_in_a_file_needs_no_server(tipring, server, provider, tmp_path):
    """Shows: a static flow runs without any request."""
    document = tmp_path / "flow.xml"
    document.write_text("<Response><Say>Static.</Say></Response>")
    call = provider.call(tipring(flow(file=str(document))), "100").answered()
    call.hung_up()
    assert audio.loud_seconds(call.rtp.heard()) > 0.2
    assert server.requests == []


def test_answer_waits_when_auto_answer_is_off(tipring, server, provider):
    """Shows: with auto_answer = false the call rings until Answer, whose delay comes before the next command."""
    server.flow("/flow", f"<Pause length='600'/><Answer delay='400'/><Callback url='{server.url('/answered')}'/>")
    server.flow("/answered", "<Hangup/>")
    box = tipring(flow(url=server.url("/flow"), auto_answer=False))
    call = provider.call(box, "100")
    invited_at = call.ringing() and server.wait_for("/flow").at
    call.answered()
    assert call.final.at - invited_at > 0.5
    assert server.wait_for("/answered").at - call.final.at > 0.3
    call.hung_up()
    until(lambda: box.cdrs(), what="the call record")
    assert box.cdr()["answered_after_ms"] >= 500
