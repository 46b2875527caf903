// What is played, recorded and mixed, and who hears what.
(function (host, box) {
  'use strict';
  const { PlayerEvents, SequencePlayerEvents, RecorderEvents, ConferenceEvents } = box.events;
  const PLAYERS_MAX = 10;
  const SEGMENTS_MAX = 20;
  const MARKER_MAX = 86400000; // A day, in ms.

  // --- Playing: players of the script, and what calls play by themselves.

  const plays = new Map();
  box.play = (sources, loop, own, told) => {
    const id = box.id();
    plays.set(id, told);
    box.send(box.plain({ t: 'play', player: id, sources, loop: Boolean(loop), own }));
    return id;
  };
  box.stopPlay = (id) => {
    plays.delete(id);
    box.send(box.plain({ t: 'stop', player: id }));
  };
  box.playerEvent = (m) => {
    const told = plays.get(m.player);
    if (m.event === 'finished') plays.delete(m.player);
    if (told) told(m.event, m);
  };

  box.route = (from, to, on) => {
    if (from.player !== undefined && to.player !== undefined) return;
    box.send(box.plain({ t: on ? 'route' : 'unroute', from, to }));
  };
  box.unit = (value) => {
    const unit = box.unitOfCall(value) || unitOfPlayer(value) || unitOfRecorder(value) || unitOfConference(value);
    if (!unit) throw new TypeError('media can be sent to a call, a player, a recorder or a conference');
    return unit;
  };
  // Both ways, as far as each can speak and hear.
  box.between = (a, b, on) => {
    const [one, other] = [box.unit(a), box.unit(b)];
    const speaks = (unit) => unit.recorder === undefined;
    const hears = (unit) => unit.player === undefined;
    if (speaks(one) && hears(other)) box.route(one, other, on);
    if (speaks(other) && hears(one)) box.route(other, one, on);
  };

  let unitOfPlayer;
  let players = 0;
  class Player {
    #id = null;
    #name;
    #events;
    #listeners;
    #over = false;

    constructor(sources, loop, events, parameters) {
      if (players >= PLAYERS_MAX) throw new RangeError('more than ' + PLAYERS_MAX + ' players');
      players += 1;
      this.#events = events;
      this.#listeners = new box.Listeners(Object.values(events), []);
      this.#id = box.play(sources, loop, false, (name, fields) => this.#event(name, fields));
      if (box.flag(box.options(parameters).onPause, false)) this.pause();
      this.#name = 'player-' + this.#id;
      Object.freeze(this);
    }
    id() { return this.#name; }
    addEventListener(event, listener) { this.#listeners.add(event, listener); }
    removeEventListener(event, listener) { this.#listeners.remove(event, listener); }
    pause() { this.#command('pause'); }
    resume() { this.#command('resume'); }
    stop() {
      if (this.#over) return;
      this.#end();
      box.stopPlay(this.#id);
      box.after(() => this.#raise(this.#events.Stopped, {}));
    }
    sendMediaTo(unit) { if (!this.#over) box.route({ player: this.#id }, box.unit(unit), true); }
    stopMediaTo(unit) { if (!this.#over) box.route({ player: this.#id }, box.unit(unit), false); }
    addMarker(offset) {
      const ms = Number(offset);
      if (!Number.isFinite(ms)) throw new TypeError('addMarker needs milliseconds');
      this.#command('marker', { offset: Math.round(Math.min(Math.max(ms, -MARKER_MAX), MARKER_MAX)) });
    }
    #command(t, fields) { if (!this.#over) box.send(box.plain({ t, player: this.#id, ...fields })); }
    #end() {
      if (this.#over) return;
      this.#over = true;
      players -= 1;
    }
    #raise(name, fields) { this.#listeners.raise(name, { name, player: this, ...fields }); }
    #event(name, m) {
      if (name === 'created') return this.#raise(this.#events.Created, {});
      if (name === 'ready') return this.#raise(this.#events.PlaybackReady, {});
      if (name === 'started') return this.#raise(this.#events.Started, { duration: m.duration });
      if (name === 'marker') return this.#raise(this.#events.PlaybackMarkerReached, { offset: m.offset });
      this.#end();
      if (m.error) this.#raise(this.#events.Error, { error: m.error });
      return this.#raise(this.#events.PlaybackFinished, m.error ? { error: m.error } : {});
    }
    static {
      unitOfPlayer = (value) => (typeof value === 'object' && value !== null && #id in value ? { player: value.#id } : null);
    }
  }
  Object.freeze(Player.prototype);
  box.playerMembers = Object.getOwnPropertyNames(Player.prototype);

  const urlSource = (request) => {
    if (typeof request !== 'object' || request === null) return { url: String(request) };
    const source = { url: String(request.url), headers: box.headers(request.headers) };
    if (request.method !== undefined && request.method !== null) source.method = String(request.method);
    const { text, binary } = box.options(request.body);
    if (text !== undefined && text !== null) source.text = String(text);
    else if (binary instanceof ArrayBuffer) source.bytes = base64_encode(new Uint8Array(binary));
    else if (Array.isArray(binary) || ArrayBuffer.isView(binary)) source.bytes = base64_encode(binary);
    return source;
  };
  box.urlSource = urlSource;
  const speech = (text, voice) => ({ say: String(text).slice(0, 1501), voice: box.voice(voice) });
  box.createURLPlayer = (request, parameters) => {
    const loop = typeof parameters === 'object' && parameters !== null ? box.flag(parameters.loop, false) : Boolean(parameters);
    return new Player([urlSource(request)], loop, PlayerEvents, parameters);
  };
  box.createTTSPlayer = (text, parameters) => {
    const isVoice = box.isVoice(parameters) || typeof parameters !== 'object' || parameters === null;
    return new Player([speech(text, isVoice ? parameters : parameters.voice)], false, PlayerEvents, isVoice ? {} : parameters);
  };
  box.createToneScriptPlayer = (script, parameters) => {
    return new Player([{ tones: String(script).slice(0, 1024) }], box.flag(box.options(parameters).loop, false), PlayerEvents, parameters);
  };
  box.createSequencePlayer = (parameters) => {
    const segments = box.options(parameters).segments;
    if (!Array.isArray(segments) || segments.length === 0 || segments.length > SEGMENTS_MAX) {
      throw new RangeError('createSequencePlayer takes 1 to ' + SEGMENTS_MAX + ' segments');
    }
    const sources = segments.map((segment) => {
      const one = box.options(segment);
      if (one.text !== undefined) return speech(one.text, box.options(one.parameters ?? one.options).voice ?? one.voice);
      return urlSource(one.request ?? one.url);
    });
    return new Player(sources, false, SequencePlayerEvents, parameters);
  };

  // --- Recorders.

  box.namePrefix = (options) => {
    const prefix = options.recordNamePrefix;
    return prefix === undefined || prefix === null ? {} : { prefix: String(prefix).slice(0, 64) };
  };
  let unitOfRecorder;
  box.recorders = new Map();
  class Recorder {
    #id;
    #listeners = new box.Listeners(Object.values(RecorderEvents), []);
    constructor(parameters) {
      this.#id = box.id();
      box.recorders.set(this.#id, (name, m) => {
        if (name === 'started') this.#raise(RecorderEvents.Started, { url: m.url });
        if (name === 'stopped') this.#raise(RecorderEvents.Stopped, { url: m.url, cost: '0', duration: m.duration });
        if (name === 'error') this.#raise(RecorderEvents.RecorderError, { error: m.error });
      });
      const name = String(parameters.name ?? '').slice(0, 64);
      box.send(box.plain({ t: 'recorder', recorder: this.#id, name, hd: box.flag(parameters.hd_audio, false), ...box.namePrefix(parameters) }));
      Object.freeze(this);
    }
    id() { return 'recorder-' + this.#id; }
    mute(flag) { box.send(box.plain({ t: 'mute_record', recorder: this.#id, on: box.flag(flag, true) })); }
    stop() { box.send(box.plain({ t: 'stop_record', recorder: this.#id })); }
    addEventListener(event, listener) { this.#listeners.add(event, listener); }
    removeEventListener(event, listener) { this.#listeners.remove(event, listener); }
    #raise(name, fields) { this.#listeners.raise(name, { name, recorder: this, ...fields }); }
    static {
      unitOfRecorder = (value) => (typeof value === 'object' && value !== null && #id in value ? { recorder: value.#id } : null);
    }
  }
  for (const name of ['update', 'setConference', 'setPriority', 'getPriority']) {
    Object.defineProperty(Recorder.prototype, name, { value: box.absentFunction('ConferenceRecorder.' + name) });
  }
  Object.freeze(Recorder.prototype);
  box.recorderMembers = Object.getOwnPropertyNames(Recorder.prototype);
  box.recorderEvent = (m) => {
    const told = box.recorders.get(m.recorder);
    if (m.event !== 'started') box.recorders.delete(m.recorder);
    if (told) told(m.event, m);
  };
  box.createRecorder = (parameters) => {
    box.needs('recorder', 'createRecorder');
    const options = typeof parameters === 'string' ? { name: parameters } : box.options(parameters);
    if (options.transcribe) throw box.absent('transcribe');
    if (options.video) throw box.absent('video');
    return new Recorder(options);
  };

  // --- Conferences.

  let unitOfConference;
  const conferences = new Map();
  // A call in a conference.
  class Endpoint {
    #call;
    #direction;
    constructor(call, direction) {
      this.#call = call;
      this.#direction = direction;
      Object.freeze(this);
    }
    id() { return this.#call.id(); }
    getCall() { return this.#call; }
    getDirection() { return this.#direction; }
    getMode() { return 'MIX'; }
    setDisplayName() { box.log('setDisplayName has no effect: nobody is shown it'); }
    manageEndpoint() { throw box.absent('Endpoint.manageEndpoint'); }
    static {
      box.endpointTurns = (endpoint, direction) => { endpoint.#direction = direction; };
    }
  }
  Object.freeze(Endpoint.prototype);
  class Conference {
    #id;
    #endpoints = new Map();
    #listeners = new box.Listeners(Object.values(ConferenceEvents), []);
    constructor() {
      this.#id = box.id();
      conferences.set(this.#id, (m) => this.#event(m));
      box.send(box.plain({ t: 'conference', conference: this.#id }));
      Object.freeze(this);
    }
    id() { return 'conference-' + this.#id; }
    stop() {
      if (!conferences.has(this.#id)) return;
      box.send(box.plain({ t: 'stop_conference', conference: this.#id }));
    }
    getList() { return [...this.#endpoints.values()]; }
    get(id) { return this.getList().find((one) => one.id() === String(id)) || null; }
    add() {
      box.after(() => this.#raise(ConferenceEvents.ConferenceError, {
        error: 'add is for video conferences', code: 102,
      }));
      return null;
    }
    sendMediaTo(unit) { box.route({ conference: this.#id }, box.unit(unit), true); }
    stopMediaTo(unit) { box.route({ conference: this.#id }, box.unit(unit), false); }
    addEventListener(event, listener) { this.#listeners.add(event, listener); }
    removeEventListener(event, listener) { this.#listeners.remove(event, listener); }
    #raise(name, fields) { this.#listeners.raise(name, { name, conference: this, ...fields }); }
    #endpoint(name, m, endpoint) {
      if (!endpoint) return;
      this.#raise(name, { endpointId: endpoint.id(), endpoint, mode: 'MIX', direction: m.direction });
    }
    #event(m) {
      const endpoint = this.#endpoints.get(m.call);
      switch (m.event) {
        case 'started': return this.#raise(ConferenceEvents.Started, {});
        case 'stopped': return this.#raise(ConferenceEvents.Stopped, {});
        case 'error': return this.#raise(ConferenceEvents.ConferenceError, { error: m.error, code: m.code });
        case 'added': {
          const call = box.calls.get(m.call);
          if (!call) return undefined;
          this.#endpoints.set(m.call, new Endpoint(call, m.direction));
          return this.#endpoint(ConferenceEvents.EndpointAdded, m, this.#endpoints.get(m.call));
        }
        case 'updated':
          if (endpoint) box.endpointTurns(endpoint, m.direction);
          return this.#endpoint(ConferenceEvents.EndpointUpdated, m, endpoint);
        case 'removed':
          this.#endpoints.delete(m.call);
          return this.#endpoint(ConferenceEvents.EndpointRemoved, m, endpoint);
        default: return undefined;
      }
    }
    static {
      unitOfConference = (value) => (typeof value === 'object' && value !== null && #id in value ? { conference: value.#id } : null);
    }
  }
  Object.freeze(Conference.prototype);
  box.conferenceMembers = Object.getOwnPropertyNames(Conference.prototype);
  box.conferenceEvent = (m) => {
    const told = conferences.get(m.conference);
    if (m.event === 'stopped') conferences.delete(m.conference);
    if (told) told(m);
  };
  box.createConference = () => {
    box.needs('conference', 'createConference');
    return new Conference();
  };
  box.destroyConference = (conference) => {
    if (!unitOfConference(conference)) throw new TypeError('destroyConference needs a conference');
    conference.stop();
  };

  // What is told after the script has done what it does now.
  const Later = Promise;
  box.after = (told) => { Later.resolve().then(told); };
})
