// What the cloud has and the box does not: each name throws, and says which it was.
(function (host, box) {
  'use strict';
  const absent = (path) => {
    const refuse = () => { throw box.absent(path); };
    return new Proxy(box.frozen(function () {}), {
      apply: refuse,
      construct: refuse,
      set: refuse,
      defineProperty: refuse,
      get: (target, key) => {
        if (typeof key !== 'string' || key === 'prototype' || key === 'length') return target[key];
        if (key === 'toString' || key === 'name') return key === 'name' ? path : () => path;
        throw box.absent(path + '.' + key);
      },
    });
  };
  for (const name of ['ACD', 'ASR', 'Avatar', 'SmartQueue', 'StreamingAgent', 'OpenAI', 'ElevenLabs', 'Gemini',
    'Ultravox', 'Cartesia', 'Yandex', 'CCAI', 'PushService', 'VoximplantAPI', 'WebSocket', 'MeasurementProtocol',
    'PhoneNumber', 'ASRDictionary', 'ASREvents', 'ASRProfileList', 'WebSocketEvents', 'WebSocketAudioEncoding',
    'WebSocketCloseCode', 'WebSocketReadyState', 'ACDEvents', 'Deepgram', 'Inworld', 'Grok']) {
    box.global(name, absent(name));
  }
})
