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
    #blind = false;
    #takes = { remarks: false, referrals: false };
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

    addEventListener(event, listener) { this.#listeners.add(event, listener); this.#listen(); }
    removeEventListener(event, listener) { this.#listeners.remove(event, listener); this.#listen(); }
    // The far end is told that a text is taken, or is not; and its silence is watched over.
    #listen() {
      if (this.#state === 'TERMINATED') return;
      const silence = this.#listeners.has(CallEvents.RtpStopped) || this.#listeners.has(CallEvents.RtpResumed);
      if (silence && !this.#watched) {
        this.#watched = true;
        this.#command('watch', {});
      }
      const remarks = this.#listeners.has(CallEvents.InfoReceived) || this.#listeners.has(CallEvents.MessageReceived);
      if (this.#takes.remarks === remarks && this.#takes.referrals === this.#blind) return;
      this.#takes = { remarks, referrals: this.#blind };
      this.#command('takes', this.#takes);
    }

    #command(t, fields) { box.send(box.plain({ t, call: this.#id, ...fields })); }

    answer(extraHeaders, parameters) {
      if (!this.#incoming || this.#state !== 'ALERTING') return;
      const name = box.options(parameters).displayName;
      const shown = name === undefined || name === null || name === '' ? {} : { name: String(name).slice(0, 128) };
      this.#command('answer', { ...box.extras(extraHeaders), ...shown });
    }
    answerDirect(peer, extraHeaders, parameters) { this.answer(extraHeaders, parameters); }
    reject(code, extraHeaders) {
      const status = Number(code);
      if (!Number.isInteger(status) || status < 300 || status > 699) {
        throw new RangeError('reject needs a code from 300 to 699');
      }
      if (this.#incoming && this.#state === 'ALERTING') this.#command('reject', { code: status, ...box.extras(extraHeaders) });
    }
    decline(code, extraHeaders) { this.reject(code, extraHeaders); }
    ring(extraHeaders) { if (this.#incoming && this.#state === 'ALERTING') this.#command('ring', box.extras(extraHeaders)); }
    startEarlyMedia(extraHeaders) { if (this.#incoming && this.#state === 'ALERTING') this.#command('early', box.extras(extraHeaders)); }
    hangup(extraHeaders) { if (this.#state !== 'TERMINATED') this.#command('hangup', box.extras(extraHeaders)); }

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
      this.#play([box.urlSource(url)], loop, 'url');
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
      this.#command('record', { recorder: id, stereo: box.flag(options.stereo, false), ...box.namePrefix(options) });
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
    sendInfo(mime, body, headers) {
      const text = this.#short('sendInfo', body);
      if (this.#state === 'CONNECTED') this.#command('info', { mime: String(mime), body: text, ...box.extras(headers) });
      else box.log('sendInfo: the call is not connected');
    }
    sendMessage(message) {
      const text = this.#short('sendMessage', message);
      if (this.#state === 'CONNECTED') this.#command('message', { text });
      else box.log('sendMessage: the call is not connected');
    }
    #short(what, value) {
      const text = String(value);
      if (box.utf8(text).length > MESSAGE_MAX) throw new RangeError(what + ' takes up to ' + MESSAGE_MAX + ' bytes');
      return text;
    }

    transferTo(parameters) {
      const options = box.options(parameters);
      if (options.call !== undefined) {
        const other = box.unitOfCall(options.call);
        if (!other) throw new TypeError('transferTo needs a call in `call`');
        this.#command('refer_to', { other: other.call, ...box.extras(options.headers) });
        return;
      }
      if (options.to === undefined) throw new TypeError('transferTo needs `to` or `call`');
      this.#command('refer', { to: String(options.to), ...box.extras(options.headers) });
    }
    // Without that, what a telephone asks for is done by the box itself.
    handleBlindTransfer(flag) {
      this.#blind = box.flag(flag, true);
      this.#listen();
    }
    notifyBlindTransferSuccess() { this.#command('referred', { code: 200 }); }
    notifyBlindTransferFailed(code) {
      const status = Number(code);
      this.#command('referred', { code: status >= 300 && status < 700 ? Math.trunc(status) : 603 });
    }
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
      const headers = box.byName(m.headers);
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
        case 'forwarding': return this.#raise(CallEvents.Forwarding, { headers });
        case 'hold': return this.#raise(CallEvents.OnHold, {});
        case 'unhold': return this.#raise(CallEvents.OffHold, {});
        case 'info': return this.#raise(CallEvents.InfoReceived, { headers, mimeType: m.mime, body: m.text });
        case 'message': return this.#raise(CallEvents.MessageReceived, { headers, text: m.text });
        case 'asks_transfer': return this.#raise(CallEvents.BlindTransferRequested, { headers, transferTo: m.text });
        case 'transferred': return this.#raise(CallEvents.TransferComplete, { role: m.type || 'transferor' });
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
