// What is played, recorded and mixed, and who hears what.
(function (host, box) {
  'use strict';
  const { PlayerEvents, SequencePlayerEvents, RecorderEvents, ConferenceEvents } = box.events;
  const PLAYERS_MAX = 10;
  const SEGMENTS_MAX = 20;

  // --- Playing: players of the script, and what calls play by themselves.

  const plays = new Map();
  box.play = (sources, loop, told) => {
    const id = box.id();
    plays.set(id, told);
    box.send(box.plain({ t: 'play', player: id, sources, loop: Boolean(loop) }));
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
    #markers = [];
    #timers = [];
    #over = false;

    constructor(sources, loop, events) {
      if (players >= PLAYERS_MAX) throw new RangeError('more than ' + PLAYERS_MAX + ' players');
      players += 1;
      this.#events = events;
      this.#listeners = new box.Listeners(Object.values(events), []);
      this.#id = box.play(sources, loop, (name, fields) => this.#event(name, fields));
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
      if (ms < 0) return box.log('a marker from the end is never reached: the length is not known before');
      this.#markers.push(ms);
      return undefined;
    }
    #command(t) { if (!this.#over) box.send(box.plain({ t, player: this.#id })); }
    #end() {
      if (this.#over) return;
      this.#over = true;
      players -= 1;
      for (const timer of this.#timers) clearTimeout(timer);
    }
    #raise(name, fields) { this.#listeners.raise(name, { name, player: this, ...fields }); }
    #event(name, m) {
      if (name === 'created') return this.#raise(this.#events.Created, {});
      if (name === 'ready') return this.#raise(this.#events.PlaybackReady, {});
      if (name === 'started') {
        for (const offset of this.#markers) {
          this.#timers.push(setTimeout(() => this.#raise(this.#events.PlaybackMarkerReached, { offset }), offset));
        }
        return this.#raise(this.#events.Started, { duration: 0 });
      }
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
    return new Player([urlSource(request)], loop, PlayerEvents);
  };
  box.createTTSPlayer = (text, parameters) => {
    const isVoice = box.isVoice(parameters) || typeof parameters !== 'object' || parameters === null;
    return new Player([speech(text, isVoice ? parameters : parameters.voice)], false, PlayerEvents);
  };
  box.createToneScriptPlayer = (script, parameters) => {
    return new Player([{ tones: String(script).slice(0, 1024) }], box.flag(box.options(parameters).loop, false), PlayerEvents);
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
    return new Player(sources, false, SequencePlayerEvents);
  };

  // --- Recorders.

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
      box.send(box.plain({ t: 'recorder', recorder: this.#id, name }));
      Object.freeze(this);
    }
    id() { return 'recorder-' + this.#id; }
    mute(flag) { if (box.flag(flag, true)) box.log('a recorder is not muted on this appliance'); }
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
  class Conference {
    #id;
    #listeners = new box.Listeners(Object.values(ConferenceEvents), []);
    constructor() {
      this.#id = box.id();
      conferences.set(this.#id, (name, fields) => this.#raise(name, fields));
      box.send(box.plain({ t: 'conference', conference: this.#id }));
      Object.freeze(this);
    }
    id() { return 'conference-' + this.#id; }
    stop() {
      if (!conferences.has(this.#id)) return;
      box.send(box.plain({ t: 'stop_conference', conference: this.#id }));
    }
    getList() { return []; }
    get() { return null; }
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
    static {
      unitOfConference = (value) => (typeof value === 'object' && value !== null && #id in value ? { conference: value.#id } : null);
    }
  }
  Object.freeze(Conference.prototype);
  box.conferenceMembers = Object.getOwnPropertyNames(Conference.prototype);
  box.conferenceEvent = (m) => {
    const told = conferences.get(m.conference);
    if (!told) return;
    if (m.event === 'started') told(ConferenceEvents.Started, {});
    if (m.event === 'stopped') {
      conferences.delete(m.conference);
      told(ConferenceEvents.Stopped, {});
    }
    if (m.event === 'error') told(ConferenceEvents.ConferenceError, { error: m.error, code: m.code });
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
