// One party.
(function (host, box) {
  'use strict';
  const { CallEvents } = box.events;
  const known = Object.values(CallEvents);
  const DIGITS_MAX = 256;
  const SAY_MAX = 1500;
  const MESSAGE_MAX = 8192;

  class Call {
    #id;
    #name;
    #state;
    #incoming;
    #number;
    #callerid;
    #displayName;
    #kind;
    #data = '';
    #tones = false;
    #watched = false;
    #connected = 0;
    #player = null;
    #recorders = [];
    #listeners = new box.Listeners(known, box.never.call);

    constructor(facts) {
      this.#id = facts.id;
      this.#name = facts.name;
      this.#state = facts.incoming ? 'ALERTING' : 'PROGRESSING';
      this.#incoming = facts.incoming;
      this.#number = facts.number;
      this.#callerid = facts.callerid;
      this.#displayName = facts.displayName;
      this.#kind = facts.kind;
      Object.freeze(this);
    }

    id() { return this.#name; }
    state() { return this.#state; }
    incoming() { return this.#incoming; }
    number() { return this.#number; }
    callerid() { return this.#callerid; }
    displayName() { return this.#displayName; }
    clientType() { return this.#kind; }
    vad() { return false; }
    toString() { return 'Call{id=' + this.#name + '}'; }
    customData(text) {
      if (text !== undefined) this.#data = box.shortText(text, 200, 'customData');
      return this.#data;
    }

    addEventListener(event, listener) {
      this.#listeners.add(event, listener);
      const isWatch = event === CallEvents.RtpStopped || event === CallEvents.RtpResumed;
      if (isWatch && !this.#watched && this.#state !== 'TERMINATED') {
        this.#watched = true;
        this.#command('watch', {});
      }
    }
    removeEventListener(event, listener) { this.#listeners.remove(event, listener); }

    #command(t, fields) { box.send(box.plain({ t, call: this.#id, ...fields })); }

    answer() {
      if (!this.#incoming || this.#state !== 'ALERTING') return;
      this.#command('answer', {});
    }
    answerDirect() { this.answer(); }
    reject(code) {
      const status = Number(code);
      if (!Number.isInteger(status) || status < 300 || status > 699) {
        throw new RangeError('reject needs a code from 300 to 699');
      }
      if (this.#incoming && this.#state === 'ALERTING') this.#command('reject', { code: status });
    }
    decline(code) { this.reject(code); }
    ring() { if (this.#incoming && this.#state === 'ALERTING') this.#command('ring', {}); }
    startEarlyMedia() { if (this.#incoming && this.#state === 'ALERTING') this.#command('early', {}); }
    hangup() { if (this.#state !== 'TERMINATED') this.#command('hangup', {}); }

    #play(sources, loop, kind) {
      this.stopPlayback();
      if (this.#state === 'TERMINATED') return;
      const id = box.play(sources, loop, true, (name, fields) => {
        if (kind === 'tone' || this.#state === 'TERMINATED') return;
        if (name === 'ready') this.#raise(CallEvents.PlaybackReady, {});
        if (name === 'started') this.#raise(CallEvents.PlaybackStarted, { duration: fields.duration });
        if (name === 'finished') this.#raise(CallEvents.PlaybackFinished, fields.error ? { error: fields.error } : {});
        if (name === 'finished' && this.#player === id) this.#player = null;
      });
      this.#player = id;
      box.route({ player: id }, { call: this.#id }, true);
    }
    say(text, parameters) {
      const words = String(text);
      // The voice itself, in older scripts.
      const isVoice = box.isVoice(parameters) || typeof parameters !== 'object' || parameters === null;
      const voice = box.voice(isVoice ? parameters : parameters.voice);
      this.#play([{ say: words.slice(0, SAY_MAX + 1), voice }], false, 'say');
    }
    startPlayback(url, parameters) {
      const loop = typeof parameters === 'object' && parameters !== null ? box.flag(parameters.loop, false) : Boolean(parameters);
      this.#play([{ url: String(url) }], loop, 'url');
    }
    stopPlayback() {
      if (this.#player !== null) box.stopPlay(this.#player);
      this.#player = null;
    }
    playProgressTone(country) {
      this.#play([{ progress: String(country) === 'RU' ? 'RU' : 'US' }], true, 'tone');
    }
    record(parameters) {
      const options = box.options(parameters);
      if (options.transcribe) throw box.absent('transcribe');
      if (options.video) throw box.absent('video');
      const id = box.id();
      this.#recorders.push(id);
      box.recorders.set(id, (name, fields) => {
        if (name === 'started') this.#raise(CallEvents.RecordStarted, { url: fields.url });
        if (name === 'stopped') this.#raise(CallEvents.RecordStopped, { url: fields.url, cost: '0', duration: fields.duration });
        if (name === 'error') this.#raise(CallEvents.RecordError, { error: fields.error });
      });
      this.#command('record', { recorder: id, stereo: box.flag(options.stereo, false) });
    }

    sendMediaTo(unit) { box.route({ call: this.#id }, box.unit(unit), true); }
    stopMediaTo(unit) { box.route({ call: this.#id }, box.unit(unit), false); }

    handleTones(flag, kind) {
      this.#tones = box.flag(flag, true);
      this.#command('tones', { on: this.#tones, kind: String(kind ?? '0').slice(0, 8) });
    }
    sendDigits(digits) {
      const keys = String(digits);
      if (!/^[0-9*#p]*$/i.test(keys) || keys.length > DIGITS_MAX) throw new RangeError('sendDigits takes up to ' + DIGITS_MAX + ' of 0-9, *, # and p');
      if (keys) this.#command('digits', { digits: keys.toLowerCase() });
    }
    sendTone(digit) { this.sendDigits(digit); }
    sendInfo(mime, body) { this.#untold('sendInfo', body); }
    sendMessage(text) { this.#untold('sendMessage', text); }
    #untold(what, body) {
      if (box.utf8(String(body)).length > MESSAGE_MAX) throw new RangeError(what + ' takes up to ' + MESSAGE_MAX + ' bytes');
      box.log(what + ' is not sent: this line carries none');
    }

    transferTo(parameters) {
      const options = box.options(parameters);
      if (options.call !== undefined) throw box.absent('transferTo with a call');
      if (options.to === undefined) throw new TypeError('transferTo needs `to`');
      this.#command('refer', { to: String(options.to) });
    }
    // A transfer that a telephone asks for is done by the box itself.
    handleBlindTransfer() {}
    notifyBlindTransferSuccess() {}
    notifyBlindTransferFailed() {}
    reInvite() {}
    acceptReInvite() {}
    rejectReInvite() {}
    handleMicStatus() { throw box.absent('handleMicStatus'); }
    enableBeepDetection() { throw box.absent('enableBeepDetection'); }
    disableBeepDetection() { throw box.absent('disableBeepDetection'); }

    #raise(name, fields) {
      this.#listeners.raise(name, { name, call: this, id: this.#name, ...fields });
    }
    #become(state) {
      if (this.#state === state) return;
      const oldState = this.#state;
      this.#state = state;
      this.#raise(CallEvents.StateChanged, { oldState, newState: state });
    }
    #event(m) {
      const headers = {};
      switch (m.event) {
        case 'ringing': return this.#raise(CallEvents.Ringing, { headers });
        case 'audio': return this.#raise(CallEvents.AudioStarted, { headers });
        case 'connected':
          this.#connected = host.now();
          this.#become('CONNECTED');
          this.#raise(CallEvents.Connected, { headers, customData: this.#data });
          return this.#raise(CallEvents.FirstAudioPacketReceived, {});
        case 'disconnected': {
          const duration = this.#connected === 0 ? 0 : Math.round((host.now() - this.#connected) / 1000);
          this.#end();
          return this.#raise(CallEvents.Disconnected, {
            headers, internalCode: m.code, reason: m.reason, duration, cost: 0,
            direction: this.#incoming ? 'Incoming' : 'Outgoing',
          });
        }
        case 'failed':
          this.#end();
          return this.#raise(CallEvents.Failed, { headers, code: m.code, reason: m.reason });
        case 'tone':
          return this.#tones ? this.#raise(CallEvents.ToneReceived, { tone: m.tone, type: m.type }) : undefined;
        case 'rtp_stopped': return this.#raise(CallEvents.RtpStopped, {});
        case 'rtp_resumed': return this.#raise(CallEvents.RtpResumed, {});
        case 'hold': return this.#raise(CallEvents.OnHold, {});
        case 'unhold': return this.#raise(CallEvents.OffHold, {});
        case 'transferred': return this.#raise(CallEvents.TransferComplete, { role: 'transferor' });
        case 'not_transferred':
          return this.#raise(CallEvents.TransferFailed, { code: m.code, reason: m.reason, role: 'transferor' });
        default: return undefined;
      }
    }
    #end() {
      this.stopPlayback();
      this.#become('TERMINATED');
      box.calls.delete(this.#id);
    }

    static {
      box.unitOfCall = (value) => (typeof value === 'object' && value !== null && #id in value ? { call: value.#id } : null);
      box.callEvent = (m) => {
        const call = box.calls.get(m.call);
        if (call) call.#event(m);
      };
    }
  }
  Object.freeze(Call.prototype);
  Object.freeze(Call);

  box.calls = new Map();
  box.newCall = (facts) => {
    const call = new Call(facts);
    box.calls.set(facts.id, call);
    return call;
  };
  box.callMembers = Object.getOwnPropertyNames(Call.prototype);
})
