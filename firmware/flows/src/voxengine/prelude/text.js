// Bytes, digests and other small things.
(function (host, box) {
  'use strict';
  const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const bytesOf = (value) => (typeof value === 'string' ? box.utf8(value) : Array.from(value, (one) => Number(one) & 255));

  box.global('base64_encode', (value) => {
    const bytes = bytesOf(value);
    const parts = [];
    for (let at = 0; at < bytes.length; at += 3) {
      const left = bytes.length - at;
      const three = bytes[at] << 16 | (left > 1 ? bytes[at + 1] << 8 : 0) | (left > 2 ? bytes[at + 2] : 0);
      parts.push(ALPHABET[three >> 18] + ALPHABET[three >> 12 & 63] +
        (left > 1 ? ALPHABET[three >> 6 & 63] : '=') + (left > 2 ? ALPHABET[three & 63] : '='));
    }
    return parts.join('');
  });
  box.global('base64_decode', (text) => {
    const bytes = [];
    let held = 0;
    let bits = 0;
    for (const char of String(text)) {
      const six = ALPHABET.indexOf(char);
      if (six < 0) continue;
      held = (held << 6 | six) & 0xffff;
      bits += 6;
      if (bits >= 8) {
        bits -= 8;
        bytes.push(held >> bits & 255);
      }
    }
    return bytes;
  });
  box.global('bytes2hex', (bytes) => bytesOf(bytes).map((one) => one.toString(16).padStart(2, '0')).join(''));
  box.global('hex2bytes', (text) => {
    const hex = String(text);
    if (!/^([0-9a-f]{2})*$/i.test(hex)) throw new RangeError('hex2bytes needs pairs of hexadecimal digits');
    return (hex.match(/../g) || []).map((pair) => parseInt(pair, 16));
  });
  box.global('str2bytes', (text) => box.utf8(String(text)));
  box.global('bytes2str', (bytes) => {
    const percent = bytesOf(bytes).map((one) => '%' + one.toString(16).padStart(2, '0')).join('');
    try {
      return decodeURIComponent(percent);
    } catch (error) {
      return bytesOf(bytes).map((one) => String.fromCharCode(one)).join('');
    }
  });
  box.global('uuidgen', () => {
    const bytes = Array.from({ length: 16 }, () => Math.floor(host.random() * 256));
    bytes[6] = bytes[6] & 15 | 64;
    bytes[8] = bytes[8] & 63 | 128;
    const hex = bytes2hex(bytes);
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  });
  box.global('getLocalTime', (zone, date) => {
    const at = date === undefined ? host.now() : Number(date);
    const offset = host.offset(String(zone), at);
    if (offset === null || offset === undefined) throw new RangeError('unknown time zone ' + String(zone));
    return new Date(at + offset);
  });
  box.global('levenshtein_distance', (a, b) => {
    const [from, to] = [Array.from(String(a)), Array.from(String(b))];
    let row = Array.from({ length: to.length + 1 }, (_, at) => at);
    for (let i = 0; i < from.length; i += 1) {
      const next = [i + 1];
      for (let j = 0; j < to.length; j += 1) {
        next.push(Math.min(row[j + 1] + 1, next[j] + 1, row[j] + (from[i] === to[j] ? 0 : 1)));
      }
      row = next;
    }
    return row[to.length];
  });
  box.global('Crypto', box.frozen({
    md5: (text) => host.digest('md5', '', String(text)),
    sha1: (text) => host.digest('sha1', '', String(text)),
    sha256: (text) => host.digest('sha256', '', String(text)),
    hmac_sha256: (key, text) => host.digest('hmac_sha256', String(key), String(text)),
  }));
})
