// Menus made of states.
(function (host, box) {
  'use strict';
  const { CallEvents } = box.events;
  const TIMEOUT_MS = 5000;
  let states = new Map();

  class IVRState {
    #complete;
    #timeout;
    #timer = null;
    #call = null;
    constructor(name, settings, onInputComplete, onInputTimeout) {
      box.needs('ivr', 'IVRState');
      this.name = String(name);
      this.settings = { ...box.options(settings) };
      this.input = '';
      this.#complete = onInputComplete;
      this.#timeout = onInputTimeout;
      states.set(this.name, this);
    }
    enter(call) {
      if (!box.unitOfCall(call)) throw new TypeError('enter needs a call');
      this.input = '';
      this.#call = call;
      const prompt = box.options(this.settings.prompt);
      call.removeEventListener(CallEvents.PlaybackFinished);
      call.removeEventListener(CallEvents.ToneReceived);
      const { type } = this.settings;
      const played = () => {
        call.removeEventListener(CallEvents.PlaybackFinished);
        if (type === 'noinput') this.#done();
        else this.#wait();
      };
      if (type !== 'noinput') {
        call.addEventListener(CallEvents.ToneReceived, (e) => this.#key(String(e.tone)));
        call.handleTones(true);
      }
      if (prompt.play !== undefined) call.startPlayback(prompt.play);
      else if (prompt.say !== undefined) call.say(prompt.say, prompt.lang);
      else return played();
      call.addEventListener(CallEvents.PlaybackFinished, played);
      return undefined;
    }
    #wait() {
      clearTimeout(this.#timer ?? 0);
      this.#timer = setTimeout(() => {
        this.#leave();
        const { type } = this.settings;
        if (type === 'inputunknown' && this.input !== '') this.#finish();
        else if (typeof this.#timeout === 'function') this.#timeout(this.input);
      }, Number(this.settings.timeout) || TIMEOUT_MS);
    }
    #key(tone) {
      const call = this.#call;
      call.removeEventListener(CallEvents.PlaybackFinished);
      call.stopPlayback();
      const { type, terminateOn, inputLength, inputValidator } = this.settings;
      if (terminateOn !== undefined && tone === String(terminateOn)) return this.#done();
      this.input += tone;
      const length = type === 'select' ? 1 : Number(inputLength) || 0;
      const valid = typeof inputValidator === 'function' && inputValidator(this.input) === true;
      if (valid || (length > 0 && type !== 'inputunknown' && this.input.length >= length)) return this.#done();
      return this.#wait();
    }
    #leave() {
      clearTimeout(this.#timer ?? 0);
      this.#call.removeEventListener(CallEvents.ToneReceived);
      this.#call.removeEventListener(CallEvents.PlaybackFinished);
    }
    #done() {
      this.#leave();
      this.#finish();
    }
    #finish() {
      const { nextStates, nextState } = this.settings;
      const next = box.options(nextStates)[this.input] ?? nextState;
      if (typeof this.#complete === 'function') this.#complete(this.input);
      if (next && typeof next.enter === 'function') next.enter(this.#call);
    }
  }
  Object.freeze(IVRState.prototype);
  box.global('IVRState', IVRState);
  box.global('IVR', box.frozen({ reset: () => { states = new Map(); }, IVRState }));
})
