// Requests to servers, values kept on the box.
(function (host, box) {
  'use strict';
  const ACTIVE_MAX = 3;
  const ALL_MAX = 35;
  const MAILS_MAX = 2;
  const MAIL_PORT = 587;
  const TIMEOUT_S = 90;
  const CONNECT_S = 6;
  const BODY_MAX = 1048576;
  const AGENT = 'VoxEngine/1.0';
  const Answer = Promise;

  const waiting = [];
  const active = new Map();
  let last = false;

  const seconds = (value, most) => {
    const wanted = Number(value);
    return wanted > 0 ? Math.min(wanted, most) : most;
  };
  const query = (url, params) => {
    const parts = Object.keys(params).map((name) => encodeURIComponent(name) + '=' + encodeURIComponent(String(params[name])));
    if (parts.length === 0) return url;
    const [bare, fragment] = url.split('#', 2);
    return bare + (bare.includes('?') ? '&' : '?') + parts.join('&') + (fragment === undefined ? '' : '#' + fragment);
  };
  const pump = () => {
    while (active.size < ACTIVE_MAX && waiting.length > 0) {
      const one = waiting.shift();
      active.set(one.command.id, one);
      box.send(one.command);
    }
  };
  const request = (url, parameters, done) => {
    if (box.phase === 'terminated') return;
    if (box.phase === 'terminating') {
      if (last) throw new Error('one request may be made while a session ends');
      last = true;
    }
    if (active.size + waiting.length >= ALL_MAX) throw new Error('Exceeded the HTTP connection count limit!');
    const options = box.options(parameters);
    const headers = box.headers(options.headers);
    if (!headers.some(([name]) => name.toLowerCase() === 'user-agent')) headers.push(['User-Agent', AGENT]);
    const command = box.plain({
      t: 'fetch', id: box.id(),
      method: String(options.method ?? 'GET').toUpperCase(),
      url: query(String(url), box.options(options.params)),
      headers,
      timeout_ms: Math.round(seconds(options.timeout, TIMEOUT_S) * 1000),
      connect_ms: Math.round(seconds(options.connectionTimeout, CONNECT_S) * 1000),
      raw: box.flag(options.rawOutput, false),
    });
    const data = options.postData;
    if (data !== undefined && data !== null) {
      const bytes = Array.isArray(data) || ArrayBuffer.isView(data);
      const length = bytes ? data.length : String(data).length;
      if (length > BODY_MAX) throw new RangeError('postData is longer than ' + BODY_MAX + ' bytes');
      if (bytes) command.bytes = base64_encode(Array.from(data));
      else command.text = String(data);
    }
    waiting.push({ command, done });
    pump();
  };
  box.fetched = (m) => {
    if (mails.has(m.id)) return mailed(m);
    const one = active.get(m.id);
    if (!one) return undefined;
    active.delete(m.id);
    pump();
    const headers = m.headers.map(([key, value]) => ({ key, value }));
    const result = {
      code: m.code, headers,
      raw_headers: m.headers.map(([key, value]) => key + ': ' + value).join('\r\n'),
    };
    if (m.text !== null) result.text = m.text;
    if (m.bytes !== null) result.data = base64_decode(m.bytes);
    if (m.error !== null) result.error = m.error;
    return one.done(result);
  };
  box.pending = () => active.size + mails.size;
  // What has not been sent when a session ends is not sent.
  box.dropRequests = () => { waiting.length = 0; };

  const mails = new Map();
  const addresses = (value) => {
    if (value === undefined || value === null || value === '') return [];
    return (Array.isArray(value) ? value : String(value).split(',')).map((one) => String(one).trim());
  };
  const text = (value) => (value === undefined || value === null ? '' : String(value));
  const mail = (server, from, to, subject, body, parameters, done) => {
    if (box.phase !== 'running') return;
    if (mails.size >= MAILS_MAX) throw new Error('more than ' + MAILS_MAX + ' mails at one time');
    const options = box.options(parameters);
    const port = Number(options.port ?? MAIL_PORT);
    const command = box.plain({
      t: 'mail', id: box.id(),
      server: text(server),
      port: port >= 1 && port <= 65535 ? Math.round(port) : 0,
      from: text(from).trim(), to: addresses(to), cc: addresses(options.cc), bcc: addresses(options.bcc),
      subject: text(subject), text: text(body),
    });
    if (text(options.login) !== '') command.login = [text(options.login), text(options.password)];
    if (text(options.html) !== '') command.html = text(options.html);
    mails.set(command.id, done);
    box.send(command);
  };
  const mailed = (m) => {
    const done = mails.get(m.id);
    if (!done) return;
    mails.delete(m.id);
    const result = { code: m.code };
    if (m.error !== null) result.error = m.error;
    else if (m.code >= 400) result.error = text(m.text);
    done(result);
  };

  box.global('Net', box.frozen({
    httpRequest: (url, done, options) => {
      request(url, options, typeof done === 'function' ? done : () => {});
    },
    httpRequestAsync: (url, options) => new Answer((resolve) => request(url, options, resolve)),
    HttpRequestOptions: function HttpRequestOptions() { return {}; },
    sendMail: (server, from, to, subject, body, done, options) => {
      let given = options;
      if (given === undefined && typeof done === 'object' && done !== null) {
        box.log('sendMail: options stand in place of the callback function, and are taken as options');
        given = done;
      }
      mail(server, from, to, subject, body, given, typeof done === 'function' ? done : () => {});
    },
    sendMailAsync: (server, from, to, subject, body, options) =>
      new Answer((resolve) => mail(server, from, to, subject, body, options, resolve)),
  }));

  // --- Values kept on the box.

  const asked = new Map();
  const store = (fields) => new Answer((resolve, reject) => {
    const id = box.id();
    asked.set(id, { resolve, reject });
    box.send(box.plain({ t: 'store', id, ...fields }));
  });
  box.stored = (m) => {
    const one = asked.get(m.id);
    asked.delete(m.id);
    if (!one) return;
    if (m.error === null) one.resolve(m.value);
    else one.reject(new Error(m.error));
  };
  const key = (value) => {
    const text = String(value);
    if (text.length === 0 || text.length > 200) throw new RangeError('a key has 1 to 200 characters');
    return text;
  };
  box.global('ApplicationStorage', box.frozen({
    put: async (name, value, ttl) => {
      box.needs('applicationstorage', 'ApplicationStorage');
      const text = String(value);
      if (text.length > 2000) throw new RangeError('a value has up to 2000 characters');
      const s = Number(ttl ?? 0);
      if (!(s >= 0 && s <= 7776000)) throw new RangeError('a ttl is from 0 to 7776000 seconds');
      return store({ op: 'put', key: key(name), value: text, ttl_s: Math.round(s) });
    },
    get: async (name) => {
      box.needs('applicationstorage', 'ApplicationStorage');
      return store({ op: 'get', key: key(name) });
    },
    remove: async (name) => {
      box.needs('applicationstorage', 'ApplicationStorage');
      return store({ op: 'remove', key: key(name) });
    },
    keys: async (pattern, count) => {
      box.needs('applicationstorage', 'ApplicationStorage');
      const most = Math.min(Math.max(Math.round(Number(count ?? 1000)) || 1000, 1), 1000);
      return store({ op: 'keys', key: pattern === undefined || pattern === null ? '' : String(pattern).slice(0, 200), count: most });
    },
  }));

  // --- Call lists: this box has no engine for them.

  const noList = { code: -8, error: 'this session was not started by a call list' };
  const report = (done) => {
    box.log('CallList: ' + noList.error);
    if (typeof done === 'function') box.after(() => done({ ...noList }));
  };
  const reportAsync = async () => {
    report();
    return { ...noList };
  };
  const list = {};
  for (const name of ['reportResult', 'reportError', 'reportProgress', 'requestNextAttempt']) {
    list[name] = (value, done) => report(typeof value === 'function' ? value : done);
    list[name + 'Async'] = reportAsync;
  }
  box.global('CallList', box.frozen(list));
})
