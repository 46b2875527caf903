"""Recordings hold what the caller said, and can be played back to him."""
import audio
from box import flow, phone
from waiting import until

WORDS = audio.voice(2.5, seed=61)


def only_recording(box):
    box.cdr()           # a recording is whole when its call is over
    assert len(box.recordings()) == 1
    return box.recordings()[0]


def test_record_around_commands_keeps_the_callers_words(tipring, server, provider):
    """Shows: Record with children records while they run; the file is <call>-<tag>.wav, 16 bit, mono, and listed in the record."""
    server.flow("/flow", "<Record tag='memo'><Pause length='3500'/></Record><Hangup/>")
    box = tipring()
    call = provider.call(box, "100").answered()
    call.rtp.say(WORDS)
    call.hung_up()
    record, path = box.cdr(), only_recording(box)
    assert path.name == f"{record['id']}-memo.wav"
    assert record["recordings"] == [path.name]
    sound, rate_hz = audio.read_wav(path)
    assert rate_hz in (8000, 16000)
    assert audio.likeness(WORDS[3200:], sound) >= 0.95
    assert 3.0 <= len(sound) / 8000 <= 4.0


def test_a_key_ends_the_recording_early(tipring, server, provider):
    """Shows: Pause dtmf_stop inside Record; then Play record= plays it back to the caller."""
    server.flow("/flow", "<Record tag='memo'><Pause length='30000' dtmf_stop='#'/></Record><Play record='memo'/><Hangup/>")
    box = tipring()
    call = provider.call(box, "100").answered()
    call.rtp.say(WORDS)
    call.rtp.press("#")
    call.hung_up()
    assert audio.likeness(WORDS[3200:], call.rtp.heard()) >= 0.95
    assert audio.likeness(WORDS[3200:], audio.read_wav(only_recording(box))[0]) >= 0.95


def test_record_without_children_runs_in_the_background(tipring, server, provider):
    """Shows: Record, Pause, Play record: the recording ends when it is to be played."""
    server.flow("/flow", "<Record tag='memo'/><Pause length='3000'/><Play record='memo'/><Hangup/>")
    box = tipring()
    call = provider.call(box, "100").answered()
    call.rtp.say(WORDS)
    call.hung_up()
    assert audio.likeness(WORDS[3200:], call.rtp.heard()) >= 0.95


def test_start_stop_and_wait(tipring, server, provider):
    """Shows: RecordStart, RecordStop, RecordWait; what is said after the stop is not in the file."""
    server.flow("/flow", f"<RecordStart tag='part'/><Pause length='1500'/><RecordStop tag='part'/><RecordWait tag='part' timeout='3000'/><Curl url='{server.url('/stored')}'/><Pause length='1500'/><Hangup/>")
    server.flow("/stored", "")
    box = tipring()
    call = provider.call(box, "100").answered()
    call.rtp.say(audio.voice(3, seed=62))
    server.wait_for("/stored")
    call.hung_up()
    sound, _ = audio.read_wav(only_recording(box))
    assert 1.2 <= len(sound) / 8000 <= 1.9
    assert audio.likeness(audio.voice(3, seed=62)[3200:9600], sound) >= 0.95


def test_hanging_up_ends_and_keeps_the_recording(tipring, server, provider):
    """Shows: what was said before the caller hung up is in a complete file."""
    server.flow("/flow", "<Record tag='memo'><Pause length='30000'/></Record>")
    box = tipring()
    call = provider.call(box, "100").answered()
    call.rtp.say(WORDS)
    call.hang_up()
    assert box.cdr()["recordings"] == [only_recording(box).name]
    assert audio.likeness(WORDS[3200:], audio.read_wav(only_recording(box))[0]) >= 0.95


def test_the_time_limit_ends_the_recording(tipring, server, provider):
    """Shows: timeout='1000' keeps a second."""
    server.flow("/flow", "<Record tag='memo' timeout='1000'/><Pause length='2500'/><Hangup/>")
    box = tipring()
    call = provider.call(box, "100").answered()
    call.rtp.say(audio.voice(2, seed=63))
    call.hung_up()
    assert 0.8 <= len(audio.read_wav(only_recording(box))[0]) / 8000 <= 1.3


def test_more_recordings_than_a_leg_carries_fail_and_say_so(tipring, server, provider):
    """Shows: 48 are kept; the others are told as failed, with a warning each, and leave no file."""
    server.flow("/flow", "".join(f"<RecordStart tag='r{number}'/>" for number in range(50)) + "<Pause length='1500'/><Hangup/>")
    box = tipring()
    provider.call(box, "100").answered().hung_up()
    record = box.cdr()
    assert len(record["recordings"]) == len(box.recordings()) == 48
    assert all(len(audio.read_wav(path)[0]) > 8000 for path in box.recordings())
    until(lambda: box.log().count("a recording, stream or echo failed") == 2, 3, "two warnings")


def test_playing_a_recording_that_was_never_made_fails(tipring, server, provider):
    """Shows: an unknown tag runs the Error block."""
    server.flow("/flow", "<Play record='nothing'><Error><Hangup tag='no-such'/></Error></Play>")
    box = tipring()
    provider.call(box, "100").answered().hung_up()
    assert box.cdr()["label"] == "no-such"


def test_a_tag_cannot_leave_the_folder(tipring, server, provider):
    """Shows: slashes, dots and control characters in a tag do not make paths."""
    server.flow("/flow", "<Record tag='../../escaped'><Pause length='400'/></Record><Record tag='a&#9;b/c'><Pause length='400'/></Record><Hangup/>")
    box = tipring()
    call = provider.call(box, "100").answered()
    call.rtp.say(audio.voice(0.8, seed=1))
    call.hung_up()
    box.cdr()
    outside = [p for p in box.directory.parent.rglob("*.wav") if p.parent != box.data / "recordings"]
    assert outside == []
    assert len(box.recordings()) == 2


def test_a_dialled_call_can_be_recorded_from_its_answer(tipring, server, provider, party):
    """Shows: Dial record='record-from-answer' keeps both voices."""
    server.flow("/flow", "<Dial record='record-from-answer'><To>201</To></Dial><Hangup/>")
    box = tipring(phone("201"), flow(url=server.url("/flow")))
    desk = party("127.0.0.11", user="201", password="opensesame")
    desk.register(box)
    call = provider.call(box, "100")
    ringing = desk.expect_call().ring().answer()
    call.answered()
    call.rtp.say(audio.voice(1.5, seed=65))
    ringing.rtp.say(audio.voice(1.5, seed=66))
    call.hang_up()
    ringing.hung_up()
    path = only_recording(box)
    assert box.cdr()["recordings"] == [path.name]
    sound, _ = audio.read_wav(path)
    assert audio.likeness(audio.voice(1.5, seed=65)[3200:], sound) >= 0.9
    assert audio.likeness(audio.voice(1.5, seed=66)[3200:], sound) >= 0.9
