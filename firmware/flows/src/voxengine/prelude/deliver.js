// What comes in: one message at a time. Gives when the next timer is due.
(function (host, box) {
  'use strict';
  const { parse } = JSON;
  const told = {
    begin: box.begin,
    started: box.started,
    alerting: box.alerting,
    control: box.control,
    call: box.callEvent,
    player: box.playerEvent,
    recorder: box.recorderEvent,
    conference: box.conferenceEvent,
    fetched: box.fetched,
    stored: box.stored,
    tick: box.tick,
    terminating: box.terminating,
    terminated: box.terminated,
  };
  box.deliver = (text) => {
    const m = parse(text);
    told[m.t](m);
  };
  box.due = () => (box.phase === 'running' ? box.nextDue() : null);
})
