// What everything else stands on: the way out, listeners, time, timers, numbers of things.
(function (host, box) {
  'use strict';
  const { stringify } = JSON;
  const { apply } = Reflect;
  const { toWellFormed } = String.prototype;
  // Half of a pair is a text to a script, and none to the box.
  const whole = (name, value) => (typeof value === 'string' ? apply(toWellFormed, value, []) : value);
  const RealDate = Date;
  const TEXT_MAX = 15000;
  const TIMERS_MAX = 100;
  // A shorter timer would only keep the box busy.
  const TIMER_MIN_MS = 10;

  box.phase = 'running'; // running, terminating, terminated
  box.plain = (fields) => Object.assign(Object.create(null), fields);
  box.send = (command) => {
    if (box.phase === 'terminated' && command.t !== 'log' && command.t !== 'finished') return;
    host.send(stringify(command, whole));
  };

  let nextId = 0;
  box.id = () => { nextId += 1; return nextId; };

  // --- Text.

  box.text = (value) => {
    if (typeof value === 'string') return value;
    if (typeof value === 'object' && value !== null && !(value instanceof Error)) {
      try {
        const json = stringify(value);
        if (json !== undefined) return json;
      } catch (error) {
        return '[object]';
      }
    }
    return String(value);
  };
  box.log = (value) => {
    const text = box.text(value);
    box.send(box.plain({ t: 'log', text: text.length > TEXT_MAX ? text.slice(0, TEXT_MAX) : text }));
  };
  box.absent = (name) => new Error(name + ' is not available on this appliance');
  box.absentFunction = (name) => function () { throw box.absent(name); };
  // For members that scripts of old name, and that never happen here.
  box.flag = (value, otherwise) => (value === undefined ? otherwise : Boolean(value));
  box.options = (value) => (typeof value === 'object' && value !== null ? value : {});
  box.shortText = (value, bytesMax, name) => {
    const text = String(value);
    if (box.utf8(text).length > bytesMax) throw new RangeError(name + ' is longer than ' + bytesMax + ' bytes');
    return text;
  };
  box.utf8 = (text) => {
    const bytes = [];
    for (const char of text) {
      const code = char.codePointAt(0);
      if (code < 0x80) bytes.push(code);
      else if (code < 0x800) bytes.push(0xc0 | code >> 6, 0x80 | code & 63);
      else if (code < 0x10000) bytes.push(0xe0 | code >> 12, 0x80 | code >> 6 & 63, 0x80 | code & 63);
      else bytes.push(0xf0 | code >> 18, 0x80 | code >> 12 & 63, 0x80 | code >> 6 & 63, 0x80 | code & 63);
    }
    return bytes;
  };

  // Header fields: an object, or in older scripts a list of "Name: value".
  box.headers = (value, only) => {
    const list = [];
    const put = (name, text) => {
      if (only && !/^X-/i.test(name)) box.log('header ' + name + ' is not sent: only X- headers are');
      else list.push([name, text]);
    };
    if (Array.isArray(value)) {
      for (const entry of value) {
        if (typeof entry === 'object' && entry !== null) {
          put(String(entry.name ?? entry.key), String(entry.value));
          continue;
        }
        const at = String(entry).indexOf(':');
        if (at > 0) put(String(entry).slice(0, at).trim(), String(entry).slice(at + 1).trim());
      }
    } else if (typeof value === 'object' && value !== null) {
      for (const name of Object.keys(value)) put(name, String(value[name]));
    }
    return list;
  };

  // Those that a command carries, if any.
  box.extras = (value) => {
    const headers = box.headers(value, true);
    return headers.length > 0 ? { headers } : {};
  };
  box.byName = (list) => {
    const headers = {};
    for (const [name, value] of list || []) headers[name] = value;
    return headers;
  };

  // --- Listeners.

  box.Listeners = class Listeners {
    #known;
    #never;
    #map = new Map();

    constructor(known, never) {
      this.#known = known;
      this.#never = never;
    }

    add(event, listener, refused) {
      if (typeof listener !== 'function') throw new TypeError('a listener must be a function');
      const name = String(event);
      if (refused && refused.has(name)) throw box.absent(refused.get(name));
      if (this.#never.includes(name)) box.log(name + ' never happens on this appliance');
      else if (!this.#known.includes(name)) box.log('unknown event ' + name);
      const list = this.#map.get(name);
      if (list) list.push(listener);
      else this.#map.set(name, [listener]);
    }

    remove(event, listener) {
      const name = String(event);
      if (listener === undefined) this.#map.delete(name);
      else this.#map.set(name, (this.#map.get(name) || []).filter((one) => one !== listener));
    }

    has(name) {
      return (this.#map.get(name) || []).length > 0;
    }

    // Calls every listener; gives the first value that is not undefined.
    raise(name, event) {
      let value;
      for (const listener of (this.#map.get(name) || []).slice()) {
        const said = listener(event);
        if (value === undefined) value = said;
      }
      return value;
    }
  };

  box.define = (target, name, value) => {
    Object.defineProperty(target, name, { value, writable: false, enumerable: true, configurable: false });
  };
  box.global = (name, value) => box.define(globalThis, name, value);
  box.frozen = (object) => Object.freeze(object);

  // --- Time. There is one instant for each input, so that a run can be told again.

  function BoxDate(...parts) {
    if (new.target === undefined) return new RealDate(host.now()).toString();
    return Reflect.construct(RealDate, parts.length === 0 ? [host.now()] : parts, new.target);
  }
  BoxDate.prototype = RealDate.prototype;
  Object.defineProperty(RealDate.prototype, 'constructor', { value: BoxDate, writable: true, configurable: true });
  Object.defineProperty(BoxDate, 'now', { value: () => host.now(), writable: true, configurable: true });
  Object.defineProperty(BoxDate, 'parse', { value: RealDate.parse, writable: true, configurable: true });
  Object.defineProperty(BoxDate, 'UTC', { value: RealDate.UTC, writable: true, configurable: true });
  globalThis.Date = BoxDate;
  Math.random = () => host.random();
  // A clock of their own, memory that others share, and waits that block.
  for (const name of ['performance', 'Atomics', 'SharedArrayBuffer']) delete globalThis[name];

  const timers = new Map();
  let nextTimer = 0;
  let inTimer = false;
  const timer = (name, repeats) => function (listener, ms, ...rest) {
    if (typeof listener !== 'function') throw new TypeError(name + ' needs a function');
    if (box.phase !== 'running') return 0;
    if (timers.size >= TIMERS_MAX) throw new RangeError('more than ' + TIMERS_MAX + ' timers');
    const wait = Math.max(Number(ms) || 0, repeats || inTimer ? TIMER_MIN_MS : 0);
    nextTimer += 1;
    const every = repeats ? wait : null;
    timers.set(nextTimer, { due: host.now() + Math.min(wait, 2147483647), every, listener, rest });
    return nextTimer;
  };
  const clear = (id) => { timers.delete(Number(id)); };
  box.global('setTimeout', timer('setTimeout', false));
  box.global('setInterval', timer('setInterval', true));
  box.global('clearTimeout', clear);
  box.global('clearInterval', clear);
  box.dropTimers = () => timers.clear();

  // When the next is due, in milliseconds since 1970; null for never.
  box.nextDue = () => {
    let due = null;
    for (const one of timers.values()) if (due === null || one.due < due) due = one.due;
    return due;
  };
  // Runs what is due now, in order; what becomes due meanwhile waits for the next time.
  box.tick = () => {
    const now = host.now();
    const due = [...timers.entries()].filter(([, one]) => one.due <= now).sort((a, b) => a[1].due - b[1].due || a[0] - b[0]);
    for (const [id, one] of due) {
      if (!timers.has(id)) continue;
      if (one.every === null) timers.delete(id);
      else one.due = Math.max(one.due + one.every, now + TIMER_MIN_MS);
      inTimer = true;
      try {
        one.listener(...one.rest);
      } finally {
        inTimer = false;
      }
    }
  };

  // --- The log.

  box.global('Logger', box.frozen({
    write: (text) => box.log(text),
    hideTones: (flag) => box.send(box.plain({ t: 'hide_tones', on: box.flag(flag, true) })),
  }));
  globalThis.console = box.frozen({
    log: (...all) => box.log(all.map(box.text).join(' ')),
    info: (...all) => box.log(all.map(box.text).join(' ')),
    warn: (...all) => box.log(all.map(box.text).join(' ')),
    error: (...all) => box.log(all.map(box.text).join(' ')),
  });
})
