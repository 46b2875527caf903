// The session, and what it begins.
(function (host, box) {
  'use strict';
  const { AppEvents, CallEvents } = box.events;
  const listeners = new box.Listeners(Object.values(AppEvents), []);
  // By the name that a script writes.
  const refused = new Map(['WebSocket', 'NewWebSocketFailed'].map((name) => [AppEvents[name], 'AppEvents.' + name]));
  const DATA_MAX = 200;
  let data = '';

  const place = (kind, to, options) => {
    const id = box.id();
    const wait = Number(options.wait);
    box.send(box.plain({
      t: 'call', call: id, kind, to: String(to).slice(0, 255),
      callerid: options.callerid === undefined || options.callerid === null ? '' : String(options.callerid).slice(0, 128),
      name: options.name === undefined || options.name === null ? '' : String(options.name).slice(0, 128),
      headers: options.headers || [],
      user: options.user === undefined ? null : String(options.user),
      password: options.password === undefined ? null : String(options.password),
      ...options.over,
      wait_ms: wait > 0 ? Math.round(Math.min(Math.max(wait, 10), 400) * 1000) : 60000,
    }));
    return box.newCall({
      id, name: box.callName(id), incoming: false, number: String(to),
      callerid: String(options.callerid ?? ''), displayName: String(options.name ?? ''), kind,
    });
  };
  box.callName = (id) => box.session + '-' + id;

  const callPSTN = (number, callerid) => {
    // Only the digits are dialled.
    const to = String(number).replace(/[^0-9+]/g, '');
    return place('pstn', to, { callerid: String(callerid ?? '').replace(/[^0-9+]/g, '') });
  };
  const callSIP = (uri, parameters, displayName, password, authUser, extraHeaders, video, outProxy) => {
    const options = typeof parameters === 'object' && parameters !== null && !box.isVoice(parameters) ? parameters : {
      callerid: parameters, displayName, password, authUser, headers: extraHeaders, video, outProxy,
    };
    if (options.video) box.log('callSIP: audio only');
    // The registration decides before the proxy: it has one of its own.
    const over = {};
    if (options.outProxy) over.proxy = String(options.outProxy).replace(/^sips?:/i, '').split(';')[0];
    if (options.regId) over.trunk = String(options.regId);
    return place('sip', String(uri), {
      callerid: options.callerid, name: options.displayName, headers: box.headers(options.headers, true),
      user: options.authUser ?? (options.password === undefined ? undefined : options.callerid),
      password: options.password, over,
    });
  };
  const callUser = (parameters, callerid, displayName, headers, video) => {
    const options = typeof parameters === 'object' && parameters !== null ? parameters : {
      username: parameters, callerid, displayName, extraHeaders: headers, video,
    };
    const all = box.headers(options.extraHeaders);
    const wait = all.find(([name]) => name.toLowerCase() === 'vi-calltimeout');
    return place('user', String(options.username ?? ''), {
      callerid: options.callerid, name: options.displayName,
      headers: box.headers(all.filter((one) => one !== wait).map(([name, value]) => ({ name, value })), true),
      wait: wait ? wait[1] : undefined,
    });
  };
  const callUserDirect = (incoming, username, parameters) => callUser({ ...box.options(parameters), username });
  const callConference = (parameters, callerid, displayName, headers) => {
    const options = typeof parameters === 'object' && parameters !== null ? parameters : {
      conferenceId: parameters, callerid, displayName, headers,
    };
    return place('conference', String(options.conferenceId ?? ''), {
      callerid: options.callerid, name: options.displayName, headers: box.headers(options.headers, true),
    });
  };

  const terminate = () => {
    if (box.phase === 'running') box.send(box.plain({ t: 'terminate' }));
  };

  // --- Two calls become one conversation.

  const easyProcess = (a, b, established) => {
    let over = false;
    const end = () => {
      if (over) return;
      over = true;
      a.hangup();
      b.hangup();
      terminate();
    };
    b.addEventListener(CallEvents.Connected, (e) => {
      VoxEngine.sendMediaBetween(a, b);
      a.answer(e.headers);
    });
    b.addEventListener(CallEvents.Ringing, () => a.ring());
    b.addEventListener(CallEvents.AudioStarted, () => {
      if (b.state() !== 'CONNECTED') {
        a.startEarlyMedia();
        b.sendMediaTo(a);
      }
    });
    if (typeof established === 'function') a.addEventListener(CallEvents.Connected, () => established(a, b));
    for (const call of [a, b]) {
      call.addEventListener(CallEvents.Failed, end);
      call.addEventListener(CallEvents.Disconnected, end);
    }
    for (const [from, to] of [[a, b], [b, a]]) {
      from.addEventListener(CallEvents.MessageReceived, (e) => to.sendMessage(e.text));
      from.addEventListener(CallEvents.InfoReceived, (e) => to.sendInfo(e.mimeType, e.body, e.headers));
    }
  };
  const forward = (make, established) => {
    VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
      easyProcess(e.call, make(e), established);
    });
  };

  const playSoundAndHangup = (url) => {
    VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
      const { call } = e;
      call.addEventListener(CallEvents.Connected, () => call.startPlayback(url));
      call.addEventListener(CallEvents.PlaybackFinished, () => { call.hangup(); terminate(); });
      call.addEventListener(CallEvents.Failed, terminate);
      call.addEventListener(CallEvents.Disconnected, terminate);
      call.answer();
    });
  };

  const VoxEngine = {
    addEventListener: (event, listener) => listeners.add(event, listener, refused),
    removeEventListener: (event, listener) => listeners.remove(event, listener),
    callPSTN,
    callSIP,
    callUser,
    callUserDirect,
    callConference,
    sendMediaBetween: (a, b) => box.between(a, b, true),
    stopMediaBetween: (a, b) => box.between(a, b, false),
    easyProcess,
    forwardCallToPSTN: (transform, established, parameters) => forward((e) => {
      const number = typeof transform === 'function' ? transform(e.destination) : e.destination;
      return callPSTN(number, box.options(parameters).callerid ?? e.callerid);
    }, established),
    forwardCallToUser: (established) => forward((e) => callUser({
      username: e.destination, callerid: e.callerid, displayName: e.displayName,
    }), established),
    forwardCallToUserDirect: (established) => forward((e) => callUserDirect(e.call, e.destination, {
      callerid: e.callerid, displayName: e.displayName,
    }), established),
    forwardCallToSIP: (established) => forward((e) => callSIP(e.toURI, {
      callerid: e.callerid, displayName: e.displayName,
    }), established),
    playSoundAndHangup,
    createURLPlayer: box.createURLPlayer,
    createTTSPlayer: box.createTTSPlayer,
    createToneScriptPlayer: box.createToneScriptPlayer,
    createSequencePlayer: box.createSequencePlayer,
    createConference: box.createConference,
    destroyConference: box.destroyConference,
    createRecorder: box.createRecorder,
    createAMD: (parameters) => AMD.create(parameters),
    customData: (text) => {
      if (text !== undefined) data = box.shortText(text, DATA_MAX, 'customData');
      return data;
    },
    terminate,
    CallList,
  };
  for (const name of ['callWhatsappUser', 'createASR', 'createWebSocket', 'allowWebSocketConnections',
    'createStreamingAgent', 'enqueueACDRequest', 'enqueueTask', 'enableStatisticsForIncomingWebsockets',
    'disableStatisticsForIncomingWebsockets', 'enableTraceForIncomingWebsockets',
    'disableTraceForIncomingWebsockets']) {
    VoxEngine[name] = box.absentFunction('VoxEngine.' + name);
  }
  box.global('JSession', box.frozen({ close: terminate }));

  // --- Answering machines: none is told from a person here, and scripts must not believe so.

  const amdEvents = box.frozen({ DetectionComplete: 'AMD.Events.DetectionComplete', DetectionError: 'AMD.Events.DetectionError' });
  const undetected = () => box.absent('voicemail detection');
  class Detector {
    #listeners = new box.Listeners(Object.values(amdEvents), []);
    #call = null;
    constructor(parameters) {
      const options = box.options(parameters);
      this.model = options.model;
      this.timeout = options.timeout;
      if (options.call !== undefined) this.#watch(options.call);
    }
    get call() { return this.#call; }
    id() { return 'amd'; }
    detect() { return Promise.reject(undetected()); }
    addEventListener(event, listener) { this.#listeners.add(event, listener); }
    removeEventListener(event, listener) { this.#listeners.remove(event, listener); }
    #watch(call) {
      if (!box.unitOfCall(call)) throw new TypeError('AMD needs a call');
      this.#call = call;
      const name = amdEvents.DetectionError;
      call.addEventListener(CallEvents.Connected, () => {
        this.#listeners.raise(name, { name, amd: this, call, message: undetected().message });
      });
    }
    static {
      box.watch = (amd, call) => { if (typeof amd === 'object' && amd !== null && #call in amd) amd.#watch(call); };
    }
  }
  box.global('AMD', box.frozen({
    create: (parameters) => new Detector(parameters),
    Events: amdEvents,
    Model: box.frozen({
      BR: 'br', CL: 'cl', CO: 'colombia', KZ: 'kz', MX: 'mx', RU: 'ru', PH: 'ph', PE: 'pe', US: 'us', EU_GENERAL: 'eu_general',
    }),
    ResultClass: box.frozen({ VOICEMAIL: 'VOICEMAIL', HUMAN: 'HUMAN', TIMEOUT: 'TIMEOUT', CALL_ENDED: 'CALL_ENDED' }),
    ResultSubtype: box.frozen({ MIMIC: 'MIMIC', NONE: 'NONE' }),
  }));
  const withAmd = (make) => (...all) => {
    const call = make(...all);
    for (const one of all) if (typeof one === 'object' && one !== null && 'amd' in one) box.watch(one.amd, call);
    return call;
  };
  for (const name of ['callPSTN', 'callSIP', 'callUser']) VoxEngine[name] = withAmd(VoxEngine[name]);
  box.global('VoxEngine', box.frozen(VoxEngine));

  const ai = {
    detectVoicemail: () => Promise.reject(undetected()),
    Events: box.frozen({
      DialogflowQueryResult: 'AI.Events.DialogflowQueryResult',
      DialogflowRecognitionResult: 'AI.Events.DialogflowRecognitionResult',
      DialogflowResponse: 'AI.Events.DialogflowResponse',
      DialogflowError: 'AI.Events.DialogflowError',
      DialogflowStopped: 'AI.Events.DialogflowStopped',
      DialogflowPlaybackFinished: 'AI.Events.DialogflowPlaybackFinished',
      DialogflowPlaybackStarted: 'AI.Events.DialogflowPlaybackStarted',
      DialogflowPlaybackMarkerReached: 'AI.Events.DialogflowPlaybackMarkerReached',
      VoicemailDetected: 'AI.Events.VoicemailDetected',
      VoicemailNotDetected: 'AI.Events.VoicemailNotDetected',
    }),
    createDialogflow: box.absentFunction('AI.createDialogflow'),
  };
  box.global('AI', box.frozen(ai));

  // --- What is told.

  const raise = (name, fields) => listeners.raise(name, { name, ...fields });
  const answer = (id, value) => {
    if (value === undefined || value === null) return box.send(box.plain({ t: 'reply', id, status: 200, type: 'text/plain; charset=utf-8', body: '' }));
    const isText = typeof value === 'string' || typeof value === 'number';
    const body = isText ? String(value) : JSON.stringify(value);
    const type = isText ? 'text/plain; charset=utf-8' : 'application/json';
    return box.send(box.plain({ t: 'reply', id, status: 200, type, body: body === undefined ? '' : body }));
  };
  box.begin = (m) => {
    data = m.custom_data;
    box.session = m.id;
  };
  box.started = (m) => raise(AppEvents.Started, {
    accessURL: m.access_url, accessSecureURL: m.secure_access_url, accountId: m.account_id,
    applicationId: m.application_id, logURL: m.log_url, sessionId: m.session_id,
    conference_name: m.conference_name,
  });
  box.alerting = (m) => {
    const call = box.newCall({
      id: m.call, name: box.callName(m.call), incoming: true, number: m.to, callerid: m.from,
      displayName: m.name, kind: m.kind,
    });
    raise(AppEvents.CallAlerting, {
      call, callerid: m.from, destination: m.to, toURI: m.to_uri, fromURI: m.from_uri,
      displayName: m.name, headers: box.byName(m.headers), customData: '', scheme: {},
    });
  };
  box.control = (m) => {
    const headers = m.headers.map(([key, value]) => ({ key, value }));
    const value = raise(AppEvents.HttpRequest, { method: m.method, path: m.path, content: m.content, headers });
    if (typeof value !== 'object' || value === null || typeof value.then !== 'function') return answer(m.id, value);
    value.then((said) => answer(m.id, said), (error) => {
      box.log('the promise of a control request was rejected: ' + box.text(error));
      box.send(box.plain({ t: 'reply', id: m.id, status: 500, type: 'text/plain; charset=utf-8', body: 'the script failed' }));
    });
    return undefined;
  };
  box.terminating = (m) => {
    box.phase = 'terminating';
    box.dropTimers();
    box.dropRequests();
    raise(AppEvents.Terminating, { systemError: m.system_error });
  };
  box.terminated = (m) => {
    box.phase = 'terminated';
    raise(AppEvents.Terminated, { systemError: m.system_error });
    box.send(box.plain({ t: 'finished' }));
  };
})
