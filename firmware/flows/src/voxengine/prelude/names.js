// Names and texts of events, modules and voices, as published.
(function (host, box) {
  'use strict';
  const named = (prefix, names) => {
    const all = {};
    for (const name of names.split(' ')) {
      const [key, text] = name.split('=');
      all[key] = prefix + (text || key);
    }
    return box.frozen(all);
  };
  const events = {
    AppEvents: box.frozen({
      CallAlerting: 'Application.CallAlerting',
      Terminating: 'Application.Terminating',
      Terminated: 'Application.Terminated',
      Started: 'Application.Started',
      HttpRequest: 'Application.HttpRequest',
      WebSocket: 'AppEvents.NewWebSocketConnection',
      NewWebSocketFailed: 'Application.OnNewWebSocketFailed',
    }),
    CallEvents: named('Call.', 'AudioStarted AudioIdentificationStarted AudioIdentificationResult ' +
      'AudioIdentificationStopped AudioIdentificationError BlindTransferRequested Connected Forwarding ' +
      'Disconnected Failed InfoReceived MessageReceived MicStatusChange OffHold OnHold PlaybackFinished ' +
      'PlaybackReady PlaybackStarted PushSent ReInviteAccepted ReInviteReceived ReInviteRejected ' +
      'RecordStarted RecordStopped RecordError Ringing StateChanged Statistics ToneDetected ToneReceived ' +
      'TransferComplete TransferFailed VideoTrackCreated=Video.TrackCreated FirstAudioPacketReceived ' +
      'FirstVideoPacketReceived RtpStopped RtpResumed BeepDetectionComplete BeepDetectionError ' +
      'AudioQualityDetected'),
    PlayerEvents: named('Player.', 'Created PlaybackReady Started Stopped PlaybackFinished Error ' +
      'PlaybackMarkerReached PlaybackBuffering=Buffering'),
    RecorderEvents: named('Recorder.', 'RecorderError=Error Started Stopped'),
    ConferenceEvents: named('Conference.', 'ConferenceError=Error Started Stopped EndpointAdded ' +
      'EndpointUpdated EndpointRemoved EndpointManaged'),
    SequencePlayerEvents: named('SequencePlayer.', 'Created PlaybackReady Started Stopped PlaybackFinished Error PlaybackMarkerReached'),
  };
  box.events = events;
  for (const name of Object.keys(events)) box.global(name, events[name]);
  box.never = {
    call: Object.keys(events.CallEvents)
      .filter((key) => /^(AudioId|AudioQ|Beep|MicStatus|PushSent|ToneDetected|Statistics|Video|FirstVideo)/.test(key))
      .map((key) => events.CallEvents[key]),
  };

  box.global('Modules', box.frozen({
    ACD: 'acd', AI: 'ai', ApplicationStorage: 'applicationstorage', ASR: 'asr', Avatar: 'avatar',
    Conference: 'conference', ElevenLabs: 'elevenlabs', Gemini: 'gemini', IVR: 'ivr', OpenAI: 'openai',
    PushService: 'pushservice', Recorder: 'recorder', SmartQueue: 'smartqueue',
    StreamingAgent: 'streamingagent', Ultravox: 'ultravox', Cartesia: 'cartesia', Yandex: 'yandex',
    VoximplantAPI: 'voximplantapi',
  }));
  const inScope = ['conference', 'recorder', 'applicationstorage', 'ivr', 'ai', 'pushservice'];
  const enabled = new Set();
  box.global('require', (module) => {
    if (module === undefined) return box.log('require: there is no such module, and none is needed');
    const name = String(module);
    if (!inScope.includes(name)) {
      const key = Object.keys(Modules).find((one) => Modules[one] === name);
      throw box.absent(key || name);
    }
    enabled.add(name);
    return undefined;
  });
  box.needs = (module, member) => {
    if (!enabled.has(module)) throw new Error(member + ' needs require(Modules.' + Object.keys(Modules).find((one) => Modules[one] === module) + ')');
  };

  box.global('DTMFType', box.frozen({ ALL: '0', TELEPHONE_EVENT: '1', IN_BAND: '2', SIP_INFO: '3' }));
  box.global('URLPlayerRequestMethod', box.frozen({ GET: 'GET', POST: 'POST' }));
  box.global('CallAudioQuality', box.frozen({ HD: 'HD', STANDARD: 'Standard' }));
  box.global('RecordExpireTime', box.frozen({
    THREEMONTHS: '', SIXMONTHS: '-6m', ONEYEAR: '-1y', TWOYEARS: '-2y', THREEYEARS: '-3y', FIVEYEARS: '-5y',
  }));
  box.global('TransferRole', box.frozen({ TRANSFEROR: 'transferor', TRANSFEREE: 'transferee', TARGET: 'target' }));

  // Any path below these is a voice: the box maps it to what it has.
  const paths = new WeakMap();
  const token = (path) => {
    const proxy = new Proxy(box.frozen({}), {
      get: (_, key) => {
        if (key === Symbol.toPrimitive || key === 'toString' || key === 'toJSON' || key === 'valueOf') return () => path;
        if (typeof key !== 'string') return undefined;
        return path.length > 200 ? undefined : token(path + '.' + key);
      },
      set: () => false,
      defineProperty: () => false,
    });
    paths.set(proxy, path);
    return proxy;
  };
  box.global('Language', token('Language'));
  box.global('VoiceList', token('VoiceList'));
  box.isVoice = (value) => typeof value === 'object' && value !== null && paths.has(value);
  box.voice = (value) => {
    if (value === undefined || value === null) return '';
    const path = typeof value === 'object' ? paths.get(value) : undefined;
    return (path || String(value)).slice(0, 256);
  };
})
