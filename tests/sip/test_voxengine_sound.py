"""What VoxEngine scenarios do with sound: recorders that mix, players in conferences, players that stand still, a call that hears itself, how keys came, sound that stops."""
import time

import numpy as np

import audio
from box import phone
from test_voxengine import begin, log, only, scenario, send
from waiting import until

OFFICE = (phone("201"), phone("202"))


def hears(call, words, what):
    until(lambda: audio.likeness(words, call.rtp.heard()) > 0.9, 8,
          lambda: f"{what}: {audio.likeness(words, call.rtp.heard()):.2f}", 0.1)


def has(recording, words):
    found = audio.likeness(words, recording)
    assert found > 0.8, f"in the recording: {found:.2f}"


RECORDER = """
require(Modules.Recorder);
let recorder, calls;
VoxEngine.addEventListener(AppEvents.Started, () => {
  recorder = VoxEngine.createRecorder({ name: 'all' });
  for (const name of ['Started', 'Stopped']) recorder.addEventListener(RecorderEvents[name], (e) => Logger.write([e.name, e.url, e.duration]));
  calls = ['201', '202'].map((number) => VoxEngine.callUser(number, '100'));
  calls[0].addEventListener(CallEvents.Connected, () => calls[0].sendMediaTo(recorder));
});
VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  switch (e.content) {
    case 'second': calls[1].sendMediaTo(recorder); break;
    case 'first off': calls[0].stopMediaTo(recorder); break;
    case 'first on': calls[0].sendMediaTo(recorder); break;
    case 'mute': recorder.mute(true); break;
    case 'unmute': recorder.mute(false); break;
    case 'player': VoxEngine.createURLPlayer('%s').sendMediaTo(recorder); break;
    case 'stop': recorder.stop(); break;
    case 'end': VoxEngine.terminate(); break;
  }
  return e.content;
});
"""


def test_a_recorder_mixes_all_that_is_sent_to_it(tipring, server, desk, tmp_path):
    """Shows: two calls and a player in one file, one after the other and at once; muted is silent and time goes on; one who hangs up does not end it; its address and length."""
    notice = audio.voice(1.0, seed=101)
    server.sound("/notice.wav", audio.wav_bytes(notice))
    box = tipring(*OFFICE, scenario(tmp_path, RECORDER % server.url("/notice.wav")))
    desks = [desk(box, number) for number in ("201", "202")]
    session = begin(box)
    first, second = [one.expect_call() for one in desks]
    for call in (first, second):
        call.ring().answer()
    until(lambda: any("Recorder.Started" in line for line in log(box, session)), what="the recording begins")
    spoken = [audio.voice(1.2, seed=seed) for seed in range(102, 108)]
    first.rtp.say(spoken[0])
    assert send(box, session, "second") == "second"
    threads = [first.rtp.start_saying(spoken[1]), second.rtp.start_saying(spoken[2])]
    for thread in threads:
        thread.join()
    assert send(box, session, "mute") == "mute"
    first.rtp.say(spoken[3])
    assert send(box, session, "unmute") == "unmute"
    assert send(box, session, "first off") == "first off"
    threads = [first.rtp.start_saying(spoken[3]), second.rtp.start_saying(spoken[4])]
    for thread in threads:
        thread.join()
    assert send(box, session, "player") == "player"
    first.rtp.say(audio.silence(1.5))
    first.hang_up()
    second.rtp.say(spoken[5])
    assert send(box, session, "stop") == "stop"
    until(lambda: any("Recorder.Stopped" in line for line in log(box, session)), what="the recording ends")
    [file] = box.recordings()
    sound, rate_hz = audio.read_wav(file)
    assert rate_hz == 8000
    for words in (spoken[0], spoken[4], notice, spoken[5]):
        has(sound, words[1000:])
    # Each of two at once has half of the power.
    assert min(audio.likeness(part[1000:], sound) for part in (spoken[1], spoken[2])) > 0.5
    assert audio.likeness(spoken[3][1000:], sound) < 0.3, "muted, and later not sent"
    # In their order; what was muted has taken its time.
    starts = [audio.placed(words[1000:], sound)[1] for words in (spoken[0], spoken[1], spoken[4], notice, spoken[5])]
    assert starts == sorted(starts), starts
    assert starts[2] - starts[1] > 2.2 * audio.RATE_HZ, starts
    # The player was not heard by the parties.
    assert audio.loud_seconds(second.rtp.heard()) == 0
    stopped = next(line for line in log(box, session) if "Recorder.Stopped" in line)
    assert file.name in stopped and f",{int(len(sound) / 8000)}]" in stopped, (stopped, len(sound))
    assert send(box, session, "end") == "end"
    second.hung_up()


CONFERENCE = """
require(Modules.Conference);
require(Modules.Recorder);
const conference = VoxEngine.createConference();
const recorder = VoxEngine.createRecorder('meeting');
recorder.addEventListener(RecorderEvents.Stopped, (e) => { Logger.write([e.name, e.url, e.duration]); VoxEngine.terminate(); });
conference.sendMediaTo(recorder);
const calls = ['201', '202', '203'].map((number) => VoxEngine.callUser(number, '100'));
for (const call of calls) call.addEventListener(CallEvents.Connected, () => VoxEngine.sendMediaBetween(call, conference));
for (const name of ['EndpointAdded', 'EndpointRemoved']) {
  conference.addEventListener(ConferenceEvents[name], (e) => Logger.write(name + ' ' + e.endpoint.getCall().number() + ' of ' + conference.getList().length));
}
let player;
VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  if (e.content === 'play') {
    player = VoxEngine.createURLPlayer('%s');
    player.addEventListener(PlayerEvents.Started, (m) => Logger.write(m.name + ' ' + m.duration));
    player.addEventListener(PlayerEvents.PlaybackFinished, (m) => Logger.write(m.name));
    player.sendMediaTo(conference);
  }
  return e.content;
});
"""


def test_a_player_is_heard_in_a_conference_and_its_recording_goes_on(tipring, server, desk, tmp_path):
    """Shows: all members hear a file beside each other, and so does the recording, which has who speaks after the first has left; it ends with the last call."""
    notice = audio.voice(1.5, seed=111)
    server.sound("/notice.wav", audio.wav_bytes(notice))
    box = tipring(*OFFICE, phone("203"), scenario(tmp_path, CONFERENCE % server.url("/notice.wav")))
    desks = [desk(box, number) for number in ("201", "202", "203")]
    session = begin(box)
    calls = [one.expect_call() for one in desks]
    for call in calls:
        call.ring().answer()
        until(lambda: len(log(box, session)) == calls.index(call) + 1, what="it is in the conference")
    words = [audio.voice(1.5, seed=seed) for seed in (112, 113)]
    calls[0].rtp.say(words[0])
    for other in calls[1:]:
        hears(other, words[0][4000:], "the first is heard")
    assert send(box, session, "play") == "play"
    for call in calls:
        hears(call, notice[1000:], "the file is heard in the conference")
    until(lambda: "Player.PlaybackFinished" in log(box, session), what="the file is over")
    calls[0].hang_up()
    calls[1].rtp.say(words[1])
    hears(calls[2], words[1][4000:], "the second is heard after the first has left")
    for call in calls[1:]:
        call.hang_up()
    until(lambda: any("Recorder.Stopped" in line for line in log(box, session)), what="the recording ends with the last call")
    lines = log(box, session)
    assert [line for line in lines if "Player" in line] == ["Player.Started 1.5", "Player.PlaybackFinished"], lines
    assert sorted(line for line in lines if "Added" in line) == [f"EndpointAdded {201 + n} of {n + 1}" for n in range(3)], lines
    assert lines.index("EndpointRemoved 201 of 2") > lines.index("Player.PlaybackFinished"), lines
    [file] = box.recordings()
    sound = audio.read_wav(file)[0]
    for part in (words[0], notice, words[1]):
        has(sound, part[4000:])


EARS = """
require(Modules.Conference);
const room = VoxEngine.createConference();
const [a, b, c] = ['201', '202', '203'].map((number) => VoxEngine.callUser(number, '100'));
for (const call of [b, c]) call.addEventListener(CallEvents.Connected, () => { VoxEngine.sendMediaBetween(call, room); Logger.write('in'); });
a.addEventListener(CallEvents.Connected, () => Logger.write('in'));
for (const name of ['EndpointUpdated', 'EndpointRemoved']) room.addEventListener(ConferenceEvents[name], (e) => Logger.write(name + ' ' + e.direction));
VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  if (e.content === 'whisper') a.sendMediaTo(b);
  if (e.content === 'play') VoxEngine.createURLPlayer('%s', { loop: true }).sendMediaTo(b);
  if (e.content === 'talk') VoxEngine.sendMediaBetween(a, b);
  if (e.content === 'back') room.sendMediaTo(b);
  if (e.content === 'end') VoxEngine.terminate();
  return e.content;
});
"""


def test_who_hears_something_else_still_speaks_in_the_conference(tipring, server, desk, tmp_path):
    """Shows: a file, a whisper and a talk with somebody outside take the ears of a member, and never the voice; the way back; nobody leaves meanwhile."""
    notice = audio.voice(1.5, seed=121)
    server.sound("/notice.wav", audio.wav_bytes(notice))
    box = tipring(*OFFICE, phone("203"), scenario(tmp_path, EARS % server.url("/notice.wav")))
    desks = [desk(box, number) for number in ("201", "202", "203")]
    session = begin(box)
    outside, member, listener = calls = [one.expect_call() for one in desks]
    for call in calls:
        call.ring().answer()
    until(lambda: log(box, session).count("in") == 3, what="all are there")
    for seed, (order, speaker) in enumerate((("whisper", outside), ("play", None), ("talk", outside), ("back", listener))):
        assert send(box, session, order) == order
        words = audio.voice(1.5, seed=130 + seed)
        member.rtp.say(words)
        hears(listener, words[4000:], f"{order}: the member is heard in the conference")
        if order == "talk":
            hears(outside, words[4000:], "and outside")
        if speaker is None:
            hears(member, notice[1000:], "the member hears the file")
        else:
            words = audio.voice(1.5, seed=140 + seed)
            speaker.rtp.say(words)
            hears(member, words[4000:], f"{order}: the member hears who speaks to it")
    lines = [line for line in log(box, session) if "Endpoint" in line]
    assert lines == ["EndpointUpdated SEND", "EndpointUpdated BOTH"], lines
    assert send(box, session, "end") == "end"
    for call in calls:
        call.hung_up()


STILL = """
let call, player;
VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
  call = e.call;
  call.addEventListener(CallEvents.Connected, () => {
    player = VoxEngine.createURLPlayer('%s', { onPause: true });
    for (const name of ['Started', 'PlaybackMarkerReached', 'PlaybackFinished']) {
      player.addEventListener(PlayerEvents[name], (m) => Logger.write(m.name + ' ' + (m.offset ?? m.duration ?? '')));
    }
    player.addMarker(-500);
    player.addMarker(800);
    player.addEventListener(PlayerEvents.PlaybackMarkerReached, (m) => { if (m.offset === 800) player.pause(); });
    player.sendMediaTo(call);
  });
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  call.answer();
});
VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => { player.resume(); return 'resumed'; });
"""


def test_a_player_stands_still_and_goes_on_where_it_stood(tipring, server, provider, tmp_path):
    """Shows: nothing before resume; a marker at 0.8 s stops it; the rest comes without what was heard already; length, a marker from the end."""
    sound = audio.voice(2.0, seed=121)
    server.sound("/a.wav", audio.wav_bytes(sound))
    box = tipring(scenario(tmp_path, STILL % server.url("/a.wav")))
    call = provider.call(box, "100").answered()
    session = only(box)
    call.rtp.say(audio.silence(0.6))
    assert audio.loud_seconds(call.rtp.heard()) == 0
    assert send(box, session, "go") == "resumed"
    until(lambda: "Player.PlaybackMarkerReached 800" in log(box, session), what="the first marker")
    call.rtp.wait_quiet(0.5)
    before = audio.loud_seconds(call.rtp.heard())
    assert 0.7 < before < 1.2, before
    assert send(box, session, "go") == "resumed"
    until(lambda: any("PlaybackFinished" in line for line in log(box, session)), 8, "the end")
    heard = call.rtp.heard()
    # Without the pause it is the file, once.
    runs = [heard[begins:ends] for loud, begins, ends in audio.bursts(heard) if loud]
    assert len(runs) == 2, audio.bursts(heard)
    assert abs(sum(map(len, runs)) - len(sound)) < 800, [len(run) for run in runs]
    half = len(runs[0])
    assert audio.likeness(sound[800:half - 400], runs[0]) > 0.9
    assert audio.likeness(sound[half + 400:-800], runs[1]) > 0.9
    assert audio.likeness(sound[800:half - 400], np.concatenate([runs[1], audio.silence(1)])) < 0.3, "not anew"
    lines = log(box, session)
    assert lines == ["Player.Started 2", "Player.PlaybackMarkerReached 800", "Player.PlaybackMarkerReached -500", "Player.PlaybackFinished "], lines
    call.hang_up()


ECHO = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.addEventListener(CallEvents.Connected, () => call.sendMediaTo(call));
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  call.answer();
});
"""


def test_a_call_that_is_sent_to_itself_hears_itself(tipring, provider, tmp_path):
    """Shows: what the caller says comes back."""
    box = tipring(scenario(tmp_path, ECHO))
    call = provider.call(box, "100").answered()
    words = audio.voice(1.5, seed=131)
    call.rtp.say(words)
    hears(call, words[4000:], "its own words")
    call.hang_up()
    assert box.cdr(1)["label"] == "script_end"


TONES = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.addEventListener(CallEvents.ToneReceived, (e) => {
    Logger.write(e.tone + ' ' + e.type);
    if (e.tone === '3') call.handleTones(true, DTMFType.SIP_INFO);
  });
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  call.handleTones(true);
  call.answer();
});
"""


def test_a_key_says_how_it_came(tipring, provider, tmp_path):
    """Shows: keys as sound, by SIP INFO and as named events have types 2, 3 and 1; then those of SIP INFO alone are told."""
    box = tipring(scenario(tmp_path, TONES))
    call = provider.call(box, "100").answered()
    call.rtp.say(audio.dtmf("1"))
    session = only(box)
    until(lambda: log(box, session) == ["1 2"], what="a key as sound")
    call.info("2")
    until(lambda: log(box, session)[1:] == ["2 3"], what="a key by SIP INFO")
    call.rtp.press("3")
    until(lambda: log(box, session)[2:] == ["3 1"], what="a named event")
    call.rtp.press("4")
    call.info("5")
    until(lambda: log(box, session)[3:] == ["5 3"], what="SIP INFO alone")
    call.hang_up()


RTP = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  for (const name of ['RtpStopped', 'RtpResumed', 'OnHold', 'OffHold']) call.addEventListener(CallEvents[name], (e) => Logger.write(e.name));
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  call.answer();
});
"""


def test_a_call_that_sends_nothing_is_told_of_and_one_on_hold_is_not(tipring, provider, tmp_path):
    """Shows: RtpStopped after seven seconds without a packet, RtpResumed with the next; neither while the caller has put the box on hold."""
    box = tipring(scenario(tmp_path, RTP))
    call = provider.call(box, "100").answered()
    call.rtp.say(audio.voice(0.5, seed=141))
    session = only(box)
    silent = time.monotonic()
    until(lambda: log(box, session) == ["Call.RtpStopped"], 12, "no packet comes")
    assert time.monotonic() - silent > 6, "not before its time"
    call.rtp.say(audio.voice(0.2, seed=142))
    until(lambda: log(box, session)[1:] == ["Call.RtpResumed"], what="packets come again")
    call.reinvite("sendonly")
    until(lambda: log(box, session)[2:] == ["Call.OnHold"], what="hold")
    held = time.monotonic()
    until(lambda: time.monotonic() - held > 9, 12, "longer than that")
    assert log(box, session)[2:] == ["Call.OnHold"]
    call.reinvite()
    until(lambda: log(box, session)[3:] == ["Call.OffHold"], what="the caller is back")
    until(lambda: log(box, session)[4:] == ["Call.RtpStopped"], 12, "no packet comes after that either")
    call.hang_up()
