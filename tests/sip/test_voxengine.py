"""VoxEngine scenarios: sessions with and without a call, the sound between parties, and processes that loop or are killed."""
import os
import signal
import subprocess

import audio
from box import flow, phone, trunk
from flow_server import Answer
from test_transfer import talk
from waiting import until

OFFICE = (phone("201"), phone("202"))


def scenario(tmp_path, text, name="office", **keys):
    """A flow that runs this script."""
    path = tmp_path / f"{name}.js"
    path.write_text(text)
    return flow(name=name, dialect="voxengine", file=str(path), **keys)


def begin(box, data="", name="office"):
    return box.run("scenario", "start", name, "--data", data, check=0).stdout.strip()


def send(box, session, body):
    return box.run("scenario", "send", session, body).stdout.strip()


def log(box, session):
    return box.run("scenario", "log", session, check=0).stdout.splitlines()


def scripts(box):
    """The processes of scripts, the warm one included."""
    children = f"/proc/{box.process.pid}/task/{box.process.pid}/children"
    found = {}
    for pid in open(children).read().split():
        try:
            command = open(f"/proc/{pid}/cmdline").read().split("\0")
        except FileNotFoundError:
            continue
        if "script" in command:
            found[int(pid)] = command
    return found


def running(box):
    """The processes that the log says were given to a session, by its name."""
    return {line.split("call=")[1].split()[0]: int(line.split("process=")[1].split()[0])
            for line in box.log().splitlines() if "script began" in line}


def only(box):
    """The one session that there is or was: the daemon's log comes later than what it tells of."""
    until(lambda: len(running(box)) == 1, what="the log tells of the session")
    return next(iter(running(box)))


CALL_BACK = """
VoxEngine.addEventListener(AppEvents.Started, () => {
  const [first, second] = VoxEngine.customData().split(':');
  const a = VoxEngine.callUser(first, '100');
  a.addEventListener(CallEvents.Connected, () => {
    const b = VoxEngine.callPSTN(second, '100');
    b.addEventListener(CallEvents.Connected, () => VoxEngine.sendMediaBetween(a, b));
    for (const c of [a, b]) c.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  });
});
"""


def test_a_call_back_joins_a_telephone_and_a_number_outside(tipring, party, desk, tmp_path):
    """Shows: one command makes the box call both; each hears the other; one hang-up ends both."""
    far = party("127.0.0.2", user="far")
    box = tipring(*OFFICE, trunk(host=far.address), scenario(tmp_path, CALL_BACK))
    first = desk(box, "201")
    begin(box, "201:15550123")
    at_first = first.expect_call()
    at_first.ring().answer()
    outside = far.expect_call()
    assert "15550123" in outside.invite_message.get("to")
    outside.ring().answer()
    talk(at_first, outside, 71)
    at_first.hang_up()
    outside.hung_up()
    record = box.cdr(1)
    assert record["label"] == "script_end" and len(record["legs"]) == 2, record


INCOMING = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.handleTones(true);
  call.addEventListener(CallEvents.Connected, () => call.startPlayback('%s', true));
  call.addEventListener(CallEvents.ToneReceived, (e) => {
    call.stopPlayback();
    Logger.write('key ' + e.tone);
    if (e.tone === '9') { Net.httpRequest('%s', (r) => { Logger.write('answer ' + r.text); call.hangup(); }); }
  });
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  call.answer();
});
"""


def test_a_caller_hears_a_file_presses_keys_and_a_server_is_told(tipring, server, provider, tmp_path):
    """Shows: playing, stopping, keys of RFC 4733, a request and its answer, the log of the session."""
    sound = audio.voice(1.5, seed=72)
    server.sound("/music.wav", audio.wav_bytes(sound))
    server.flow("/done", "well")
    box = tipring(scenario(tmp_path, INCOMING % (server.url("/music.wav"), server.url("/done"))))
    call = provider.call(box, "100").answered()
    until(lambda: audio.likeness(sound[2000:], call.rtp.heard()) > 0.9, 10, "the file is heard", 0.1)
    call.rtp.press("5")
    call.rtp.wait_quiet()
    call.rtp.press("9")
    call.hung_up()
    request = server.wait_for("/done")
    assert request.header("User-Agent") == "VoxEngine/1.0"
    assert box.cdr(1)["label"] == "script_end"
    session = only(box)
    lines = log(box, session)
    assert lines == ["key 5", "key 9", "answer <Response>well</Response>"], lines


CONTROLLED = """
let call;
VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  const [word, rest] = e.content.split(' ');
  if (word === 'call') { call = VoxEngine.callUser(rest, '100'); return 'calling'; }
  if (word === 'state') return { state: call ? call.state() : 'NONE' };
  if (word === 'digits') { call.sendDigits(rest); return 'sent'; }
  if (word === 'loop') for (;;) {}
  if (word === 'bomb') { const all = []; for (;;) all.push('x'.repeat(1e6) + all.length); }
  if (word === 'end') { VoxEngine.terminate(); return 'bye'; }
  return 'unknown';
});
VoxEngine.addEventListener(AppEvents.Terminating, (e) => Logger.write('terminating ' + e.systemError));
VoxEngine.addEventListener(AppEvents.Terminated, (e) => Logger.write('terminated ' + e.systemError));
"""


def test_a_running_session_is_spoken_to(tipring, desk, tmp_path):
    """Shows: requests place a call, ask for its state, send keys, end the session; then nobody answers."""
    box = tipring(*OFFICE, scenario(tmp_path, CONTROLLED))
    first = desk(box, "201")
    session = begin(box)
    assert send(box, session, "state") == '{"state":"NONE"}'
    assert send(box, session, "call 201") == "calling"
    called = first.expect_call()
    called.ring().answer()
    until(lambda: "CONNECTED" in send(box, session, "state"), what="the call is connected")
    assert send(box, session, "digits 42") == "sent"
    until(lambda: [code for code in called.rtp.events()][:1] != [], 5, "keys arrive")
    assert send(box, session, "end") == "bye"
    called.hung_up()
    until(lambda: box.run("scenario", "send", session, "state").returncode == 66, what="the session is gone")
    assert "terminating false" in log(box, session)


def test_a_session_that_the_operator_ends_hears_of_its_end(tipring, desk, tmp_path):
    """Shows: its telephone is let go, the script is told Terminating and Terminated, the record says who ended it."""
    box = tipring(*OFFICE, scenario(tmp_path, CONTROLLED))
    first = desk(box, "201")
    session = begin(box)
    assert send(box, session, "call 201") == "calling"
    called = first.expect_call()
    called.ring().answer()
    until(lambda: "CONNECTED" in send(box, session, "state"), what="the call is connected")
    box.run("call", "hangup", session, check=0)
    called.hung_up()
    record = box.cdr(1)
    assert (record["label"], record["ended_by"]) == ("operator", "operator"), record
    assert log(box, session)[-2:] == ["terminating false", "terminated false"]


def test_a_loop_a_bomb_and_a_killed_process_end_their_own_session_alone(tipring, server, provider, desk, tmp_path):
    """Shows: three sessions end with systemError, while a call of a fourth goes on and is heard."""
    sound = audio.voice(1.5, seed=73)
    server.sound("/music.wav", audio.wav_bytes(sound))
    well = scenario(tmp_path, INCOMING % (server.url("/music.wav"), server.url("/done")), name="well", numbers=["300"])
    box = tipring(*OFFICE, scenario(tmp_path, CONTROLLED), well)
    call = provider.call(box, "300").answered()
    until(lambda: audio.likeness(sound[2000:], call.rtp.heard()) > 0.9, 10, "the file is heard", 0.1)
    first = desk(box, "201")
    loop, bomb, killed = (begin(box) for _ in range(3))
    assert send(box, killed, "call 201") == "calling"
    called = first.expect_call()
    called.ring().answer()
    assert send(box, loop, "loop") == "the script failed"
    assert send(box, bomb, "bomb") == "the script failed"
    for session in (loop, bomb):
        until(lambda: "terminating true" in log(box, session), what="the session is told its end")
    os.kill(running(box)[killed], signal.SIGKILL)
    called.hung_up()
    until(lambda: box.run("scenario", "send", killed, "state").returncode == 66, what="the session is gone")
    labels = sorted(record["label"] for record in (box.cdr(1), box.cdr(2), box.cdr(3)))
    assert labels == ["system_error"] * 3, labels
    call.rtp.wait_loud(1.0)
    call.hang_up()
    assert box.alive()


STORE = """
require(Modules.ApplicationStorage);
VoxEngine.addEventListener(AppEvents.HttpRequest, async (e) => {
  const [word, key, value] = e.content.split(' ');
  if (word === 'put') return (await ApplicationStorage.put(key, value, 3600)).value;
  if (word === 'remove') return (await ApplicationStorage.remove(key)).value;
  const found = await ApplicationStorage.get(key);
  return found ? found.value : 'none';
});
"""


def test_what_one_session_keeps_another_finds_also_after_a_restart(tipring, tmp_path):
    """Shows: a value is seen by a session that runs already, removed by it, and outlasts the daemon."""
    box = tipring(scenario(tmp_path, STORE))
    one, other = begin(box), begin(box)
    assert send(box, other, "get a") == "none"
    assert send(box, one, "put a 1") == "1"
    assert send(box, other, "get a") == "1" and send(box, other, "remove a") == "1"
    assert send(box, one, "get a") == "none"
    assert send(box, one, "put b 2") == "2"
    until(lambda: "storage/b" in (box.data / "kept.json").read_text(), what="the value is written")
    box.kill()
    box.start()
    assert send(box, begin(box), "get b") == "2"
    box.calls_may_remain = True


NOTIFY = """
VoxEngine.addEventListener(AppEvents.Started, () => attempt(1));
function attempt(n) {
  const call = VoxEngine.callPSTN(VoxEngine.customData(), '+4721000000');
  call.addEventListener(CallEvents.Connected, () => call.startPlayback('%s'));
  call.addEventListener(CallEvents.PlaybackFinished, () => call.hangup());
  call.addEventListener(CallEvents.Disconnected, (e) => report('done', n));
  call.addEventListener(CallEvents.Failed, (e) => { if (n < 3) setTimeout(() => attempt(n + 1), 500); else report('failed', e.code); });
}
async function report(what, n) {
  const headers = { 'Content-Type': 'application/json' };
  const r = await Net.httpRequestAsync('%s', { method: 'POST', postData: JSON.stringify({ what, n }), headers });
  Logger.write('told ' + r.code);
  VoxEngine.terminate();
}
"""


def test_a_notification_tries_a_busy_number_again_and_tells_a_server(tipring, server, party, tmp_path):
    """Shows: busy, a second attempt after a timer, the file to its end, hang-up, one POST of JSON."""
    sound = audio.voice(1.0, seed=74)
    server.sound("/text.wav", audio.wav_bytes(sound))
    server.flow("/told", "ok")
    far = party("127.0.0.2", user="far")
    box = tipring(trunk(host=far.address), scenario(tmp_path, NOTIFY % (server.url("/text.wav"), server.url("/told"))))
    session = begin(box, "+4712345678")
    far.expect_call().refuse(486)
    call = far.expect_call()
    call.ring().answer()
    call.hung_up()
    assert audio.likeness(sound[1000:], call.rtp.heard()) > 0.9
    request = server.wait_for("/told")
    assert (request.method, request.body) == ("POST", b'{"what":"done","n":2}'), request
    assert box.cdr(1)["label"] == "script_end" and log(box, session) == ["told 200"]


SURVEY = """
require(Modules.IVR);
const answers = [];
const prompt = { play: '%s' };
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  const bye = new IVRState('bye', { type: 'noinput', prompt }, () => call.hangup());
  const third = new IVRState('3', { type: 'inputunknown', terminateOn: '#', timeout: 8000, prompt, nextState: bye }, (x) => answers.push(x));
  const second = new IVRState('2', { type: 'inputfixed', inputLength: 2, timeout: 8000, prompt, nextState: third }, (x) => answers.push(x));
  const first = new IVRState('1', { type: 'select', timeout: 8000, prompt, nextStates: { 5: second } }, (x) => answers.push(x));
  call.addEventListener(CallEvents.Connected, () => first.enter(call));
  call.addEventListener(CallEvents.Disconnected, () => {
    Net.httpRequest('%s', () => VoxEngine.terminate(), { method: 'POST', params: { n: answers.length }, postData: answers.join(',') });
  });
  call.answer();
});
"""


def test_a_survey_gathers_three_answers_and_posts_them(tipring, server, provider, tmp_path):
    """Shows: a menu, a number of a fixed length, one that a key ends; the answers reach a server."""
    server.sound("/q.wav", audio.wav_bytes(audio.voice(0.4, seed=75)))
    server.flow("/answers", "ok")
    box = tipring(scenario(tmp_path, SURVEY % (server.url("/q.wav"), server.url("/answers"))))
    call = provider.call(box, "100").answered()
    for keys in ("5", "12", "345#"):
        call.rtp.wait_loud(0.2)
        call.rtp.wait_quiet()
        call.rtp.press(keys)
    call.hung_up()
    request = server.wait_for("/answers")
    assert (request.body, request.query) == (b"5,12,345", [("n", "3")]), request
    assert box.cdr(1)["label"] == "script_end"


CONFERENCE = """
require(Modules.Conference);
require(Modules.Recorder);
const conference = VoxEngine.createConference();
const calls = ['201', '202', '203'].map((number) => VoxEngine.callUser(number, '100'));
let recorder;
for (const call of calls) {
  call.addEventListener(CallEvents.Connected, () => VoxEngine.sendMediaBetween(call, conference));
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
}
calls[0].addEventListener(CallEvents.Connected, () => {
  recorder = VoxEngine.createRecorder({ name: 'meeting' });
  recorder.addEventListener(RecorderEvents.Stopped, (e) => Logger.write(e.url));
  conference.sendMediaTo(recorder);
});
"""


def test_three_meet_in_a_conference_and_it_is_recorded(tipring, desk, tmp_path):
    """Shows: each of three hears the two others; one who leaves ends it; the recording has who spoke."""
    box = tipring(*OFFICE, phone("203"), scenario(tmp_path, CONFERENCE))
    desks = [desk(box, number) for number in ("201", "202", "203")]
    session = begin(box)
    calls = [one.expect_call() for one in desks]
    for call in calls:
        call.ring().answer()
    for speaker, others in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1))):
        words = audio.voice(1.5, seed=80 + speaker)
        calls[speaker].rtp.start_saying(words).join()
        for other in others:
            until(lambda: audio.likeness(words[4000:], calls[other].rtp.heard()) > 0.9, 5, f"{other} hears {speaker}", 0.1)
    calls[0].hang_up()
    for call in calls[1:]:
        call.hung_up()
    record = box.cdr(1)
    [file] = box.recordings()
    assert record["recordings"] == [file.name] and log(box, session)[-1].endswith(file.name), record
    assert audio.likeness(audio.voice(1.5, seed=82)[4000:], audio.read_wav(file)[0]) > 0.8


EARLY = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.startEarlyMedia();
  call.startPlayback('%s', true);
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
});
VoxEngine.addEventListener(AppEvents.HttpRequest, () => VoxEngine.terminate());
"""


def test_a_caller_hears_a_file_before_the_answer(tipring, server, provider, tmp_path):
    """Shows: 183 with a session, sound before the answer, and a call that is never answered."""
    sound = audio.voice(1.5, seed=95)
    server.sound("/music.wav", audio.wav_bytes(sound))
    box = tipring(scenario(tmp_path, EARLY % server.url("/music.wav")))
    call = provider.call(box, "100")
    assert b"m=audio" in call.expect(183).body
    until(lambda: audio.likeness(sound[2000:], call.rtp.heard()) > 0.9, 10, "the file is heard", 0.1)
    session = only(box)
    send(box, session, "end")
    call.refused()
    assert box.cdr(1)["answered_after_ms"] is None


ASKED = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.answer();
  const request = (token, words) => ({ url: '%s', method: 'POST', headers: [{ name: 'Authorization', value: token }, { name: 'Content-Type', value: 'application/json' }], body: { text: words } });
  const segments = [['Bearer one', 'a'], ['Bearer two', 'a'], ['Bearer one', 'a']].map(([token, words]) => ({ request: request(token, words) }));
  const said = VoxEngine.createSequencePlayer({ segments });
  said.addEventListener(SequencePlayerEvents.PlaybackFinished, (e) => {
    Logger.write('said ' + e.error);
    const slow = VoxEngine.createURLPlayer({ url: '%s' }, { hideHeaders: true });
    slow.addEventListener(PlayerEvents.PlaybackFinished, (e) => {
      Logger.write('slow ' + e.error);
      call.startPlayback({ url: '%s', headers: [{ name: 'X-Long', value: 'yes' }] });
    });
    slow.sendMediaTo(call);
  });
  call.addEventListener(CallEvents.PlaybackFinished, (e) => { Logger.write('long ' + e.error); VoxEngine.terminate(); });
  call.addEventListener(CallEvents.Connected, () => said.sendMediaTo(call));
});
"""


def test_files_are_asked_for_as_the_script_says(tipring, server, provider, tmp_path):
    """Shows: POST with header fields and body, one request for the same and another for another login; twelve seconds and ten megabytes at most; neither fields nor bodies in the log."""
    sound = audio.voice(1, seed=96)
    server.answer("/say", Answer(audio.wav_bytes(sound), content_type="audio/wav"))
    server.answer("/slow", Answer(audio.wav_bytes(sound), content_type="audio/wav", delay_s=20))
    server.answer("/long", Answer(b"RIFF" + bytes(10_000_000), content_type="audio/wav"))
    box = tipring(scenario(tmp_path, ASKED % (server.url("/say"), server.url("/slow"), server.url("/long"))))
    call = provider.call(box, "100").answered()
    call.hung_up(timeout=40)
    session = only(box)
    slow, long = f"a player of {server.url('/slow')} has failed: TR-HOOK-TIMEOUT", f"a player of {server.url('/long')} has failed: TR-HOOK-SIZE"
    assert log(box, session) == ["said undefined", slow, "slow Timeout is reached", long, "long TR-HOOK-SIZE"]
    asked = server.seen("/say")
    assert [(one.method, one.header("authorization"), one.header("content-type"), one.body) for one in asked] == [
        ("POST", "Bearer one", "application/json", b"a"), ("POST", "Bearer two", "application/json", b"a")]
    assert server.seen("/long")[0].header("x-long") == "yes"
    assert audio.likeness(sound[2000:], call.rtp.heard()) > 0.9
    assert "Bearer" not in box.log()


FORWARD = """
VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
  const first = VoxEngine.callUser('201', e.callerid, 'Front', { 'X-Why': 'forward' });
  e.call.handleTones(true);
  e.call.addEventListener(CallEvents.ToneReceived, (t) => Logger.write('key ' + t.tone));
  first.addEventListener(CallEvents.Failed, (f) => {
    Logger.write('first ' + f.code);
    VoxEngine.easyProcess(e.call, VoxEngine.callUser('202', e.callerid), () => Logger.write('established'));
  });
});
"""


def test_a_busy_telephone_and_then_another_takes_the_caller(tipring, provider, desk, tmp_path):
    """Shows: Failed 486; the caller is answered when the second telephone is; both hear each other, and the script their keys; one hang-up ends both."""
    box = tipring(*OFFICE, scenario(tmp_path, FORWARD))
    first, second = desk(box, "201"), desk(box, "202")
    call = provider.call(box, "100")
    busy = first.expect_call()
    assert busy.invite_message.get("x-why") == "forward" and "Front" in busy.invite_message.get("from")
    busy.refuse(486)
    called = second.expect_call()
    called.ring()
    call.ringing()
    called.answer()
    call.answered()
    talk(call, called, 91)
    call.rtp.press("7")
    session = only(box)
    until(lambda: "key 7" in log(box, session), what="a key that is pressed while they talk")
    called.hang_up()
    call.hung_up()
    assert box.cdr(1)["label"] == "script_end"
    assert log(box, session) == ["first 486", "established", "key 7"]


def test_processes_of_scripts_are_shut_in_and_bounded(tipring, tmp_path):
    """Shows: each session has one process with no files and no rights; more than 32 are refused; all are gone at the end."""
    box = tipring(scenario(tmp_path, CONTROLLED), calls_max=64)
    until(lambda: len(scripts(box)) == 1, what="a warm process")
    sessions = [begin(box) for _ in range(32)]
    for session in sessions:
        assert send(box, session, "state") == '{"state":"NONE"}'
    refused = box.run("scenario", "start", "office")
    assert refused.returncode == 75 and "TR-SCRIPT-START" in refused.stderr, refused
    resident = []
    for pid in scripts(box):
        status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1" and int(status["CapEff"], 16) == 0, status
        resident.append(int(status["VmRSS"].split()[0]))
        links = subprocess.run(["ls", "-l", f"/proc/{pid}/fd"], capture_output=True, text=True).stdout
        opened = [line.split(" -> ")[1] for line in links.splitlines() if " -> " in line]
        assert all(link.startswith("socket:") or link == "/dev/null" for link in opened), opened
    assert max(resident) < 40_000, resident
    for session in sessions:
        assert send(box, session, "end") == "bye"
    until(lambda: len(scripts(box)) <= 1, what="the processes are gone")
