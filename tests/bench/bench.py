#!/usr/bin/python3
"""Drives tipring, and Asterisk beside it, over loopback and prints what each needs. See README.md."""
import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import drivers
from drivers import CALLEE_MEDIA_IP, Sink, Sipp, Web
from figures import Window, percentile
from server import NotHere, Server

PEERS = ("tipring", "asterisk")


class Bench:
    """One run of every test against one server."""

    def __init__(self, server, options, lab):
        self.server, self.options, self.lab = server, options, lab
        self.prompts, self.web = drivers.prompts(lab / "prompts"), None

    def log(self, test, figures):
        print(time.strftime("%H:%M:%S"), self.server.name, test, json.dumps(figures), file=sys.stderr, flush=True)
        return figures

    def start(self):
        self.web = Web(self.server, self.prompts, self.options.gen_cpus)
        self.server.start(self.prompts, self.options.sut_cpus)
        time.sleep(1)

    def stop(self):
        self.server.stop()
        if self.web:
            self.web.stop()

    def caller(self, scenario, sink, **keys):
        return Sipp(self.lab, self.options.gen_cpus, scenario, self.server.caller_port, sink, remote=self.server.address, **keys)

    # -------------------------------------------------------------- tests

    def idle(self):
        """Start, rest."""
        out = []
        for _ in range(self.options.runs):
            self.start()
            time.sleep(2)
            window = Window(self.server)
            time.sleep(3 if self.options.quick else 5)
            figures = window.end()
            out.append(self.log("idle", dict(self.server.memory(), ready_s=round(self.server.ready_s, 3), idle_cpu_pct=round(figures["cpu_s"] / figures["secs"] * 100, 2))))
            self.stop()
        return out

    def ivr(self):
        """N calls at a time hear a 10 s prompt."""
        out = []
        for n in self.options.n:
            for _ in range(self.options.runs):
                self.start()
                out.append(self.log("ivr", self._ivr(n)))
                self.stop()
            if not out[-1]["clean"]:
                break
        return out

    def _ivr(self, n):
        sink = Sink(self.lab, self.options.gen_cpus)
        before = self.server.memory()
        seconds = 6 if self.options.quick else 10
        caller = self.caller("uac_play.xml", sink, calls=int(n * (1.25 + seconds / 10)), rate=n, period_ms=10_000, at_once=4 * n, number=self.server.number("play10"), timeout=60)
        time.sleep(11.5)            # until N are up
        sink.tell("reset")
        window = Window(self.server, [sink, caller])
        time.sleep(seconds)
        figures, during, heard = window.end(), self.server.memory(), sink.figures()
        caller.wait(30)
        calls = caller.stats()
        caller.stop()
        sink.stop()
        packets = max(1, heard["packets"])
        figures.update(n=n, cpu_ms_per_call_s=round(figures["cpu_s"] * 1000 / figures["secs"] / n, 4), kb_per_call=round((during["rss_kb"] - before["rss_kb"]) / n, 1),
                       packet_ratio=round(packets / (figures["secs"] * 50 * n), 4), loss=round(heard["lost"] / max(1, heard["expected"]), 6), late60=round(heard["late60"] / packets, 6),
                       jitter_ms=heard["jitter_mean_ms"], transit_p99=heard["transit_ms"]["p99"], failed=calls["failed"], repeated=calls["repeated"], sink_drops=heard["sink_drops"])
        figures["clean"] = calls["failed"] == 0 and figures["packet_ratio"] > 0.97 and figures["loss"] <= 0.001 and figures["late60"] <= 0.001
        return figures

    def setup(self):
        """Answer, ACK, BYE at once."""
        out = []
        for _ in range(self.options.runs):
            self.start()
            sink = Sink(self.lab, self.options.gen_cpus)
            warm = self.caller("uac_setup.xml", sink, calls=50, rate=25, at_once=100, number=self.server.number("answer"), timeout=20)
            warm.wait(20)
            for rate in self.options.rates:
                seconds = 5
                caller = self.caller("uac_setup.xml", sink, calls=rate * seconds, rate=rate, at_once=20_000, number=self.server.number("answer"), timeout=seconds + 20)
                window = Window(self.server, [caller])
                caller.wait(seconds + 25)
                figures, calls = window.end(), caller.stats()
                figures.update(calls, rate=rate, cpu_ms_per_call=round(figures["cpu_s"] * 1000 / max(1, calls["ok"]), 3))
                figures["clean"] = calls["failed"] == 0 and calls["ok"] >= rate * seconds and calls["repeated"] <= rate * seconds * 0.01 and figures["secs"] < seconds + 2
                out.append(self.log("setup", figures))
                if not figures["clean"]:
                    break
            sink.stop()
            self.stop()
        return out

    def hook(self):
        """One web request for instructions, then a prompt: from INVITE to the first sound."""
        out = []
        for _ in range(self.options.runs):
            self.start()
            for rate in self.options.hook_rates:
                out.append(self.log("hook", self._hook(rate)))
                if not out[-1]["clean"]:
                    break
            self.stop()
        return out

    def away(self):
        """As hook, while the web server is away: the box's own copy. Nothing to measure where there is none."""
        if not self.server.profile.get("keeps_copies"):
            return []
        self.start()
        self._hook(5, seconds=1)
        self.web.stop()
        self._hook(5, seconds=1)         # until the server counts as away
        out = [self.log("away", self._hook(rate)) for rate in self.options.hook_rates]
        self.stop()
        return out

    def _hook(self, rate, seconds=8):
        sink = Sink(self.lab, self.options.gen_cpus)
        caller = self.caller("uac_hook.xml", sink, calls=rate * seconds, rate=rate, at_once=20_000, number=self.server.number("hook"), timeout=seconds + 20)
        window = Window(self.server, [sink, caller] + [self.web] * self.web.alive())
        caller.wait(seconds + 25)
        figures, calls, first = window.end(), caller.stats(), sink.first_arrivals()
        sink.stop()
        times = {"INV": {}, "ANS": {}}
        for line in caller.logged():
            words = line.split()
            if len(words) >= 4 and words[0] in times:
                times[words[0]][words[1]] = float(words[2]) + float(words[3]) / 1e6
        sound = [(first[a] / 1e9 - at) * 1000 for a, at in times["INV"].items() if a in first]
        answer = [(times["ANS"][a] - at) * 1000 for a, at in times["INV"].items() if a in times["ANS"]]
        figures.update(calls, rate=rate, heard=len(sound), rtp_p50=percentile(sound, 0.5), rtp_p99=percentile(sound, 0.99), answer_p50=percentile(answer, 0.5),
                       cpu_ms_per_call=round(figures["cpu_s"] * 1000 / max(1, calls["ok"]), 3))
        figures["clean"] = calls["failed"] == 0 and len(sound) >= 0.99 * rate * seconds and (figures["rtp_p99"] or 1e9) < 1000
        return figures

    def bridge(self):
        """N calls of two legs with sound both ways: PCMU to PCMU, G.722, Opus."""
        out = []
        for codec in self.options.codecs:
            payload_type, size = {"pcmu": (0, 160), "g722": (9, 160), "opus": (111, 3)}[codec]
            for _ in range(self.options.runs):
                self.start()
                out.append(self.log("bridge", self._bridge(codec, payload_type, size, self.options.bridged)))
                self.stop()
        return out

    def _bridge(self, codec, payload_type, size, n):
        sink = Sink(self.lab, self.options.gen_cpus)
        converting = codec != "pcmu"
        sink.tell(f"phases {1 if converting else 20}")
        sink.tell(f"pulse {1 if converting else 0}")
        seconds = 6 if self.options.quick else 10
        hold_ms = (seconds + 12) * 1000 + n * 40
        name = {"pcmu": "PCMU/8000", "g722": "G722/8000", "opus": "opus/48000/2"}[codec]
        callee = Sipp(self.lab, self.options.gen_cpus, "uas_bridge_opus.xml" if codec == "opus" else "uas_bridge.xml", self.server.callee_port, sink,
                      keys=(("pt", payload_type), ("codec", name)), timeout=hold_ms // 1000 + 60)
        time.sleep(0.5)
        before = self.server.memory()
        caller = self.caller("uac_bridge.xml", sink, calls=n, rate=25, at_once=n * 2, number=self.server.number(f"bridge_{codec}"), hold_ms=hold_ms, timeout=hold_ms // 1000 + 40)
        seen, until = [0, 0], time.monotonic() + n / 25 + 4
        while time.monotonic() < until:
            for side, sipp in enumerate((caller, callee)):
                lines = sipp.logged()
                for words in (line.split() for line in lines[seen[side]:]):
                    if len(words) >= 4 and words[0] == "TX":
                        sink.tell(f"tx {words[1]} {words[2]} {words[3]} 0 160" if side == 0 else f"tx {CALLEE_MEDIA_IP} {words[2]} {words[3]} {words[4] if len(words) > 4 else payload_type} {size}")
                seen[side] = len(lines)
            time.sleep(0.1)
        time.sleep(1)
        sink.tell("reset")
        window = Window(self.server, [sink, caller, callee])
        time.sleep(seconds)
        figures, during, heard = window.end(), self.server.memory(), sink.figures()
        caller.stop()
        callee.stop()
        sink.stop()
        latency = heard["pulse_ms" if converting else "ts_ms"]
        figures.update(codec=codec, n=n, legs=seen, cpu_ms_per_call_s=round(figures["cpu_s"] * 1000 / figures["secs"] / n, 4), kb_per_call=round((during["rss_kb"] - before["rss_kb"]) / n, 1),
                       packet_ratio=round(heard["packets"] / (figures["secs"] * 100 * n), 4), lost=heard["lost"], late60=heard["late60"], latency_p50=latency["p50"], latency_p99=latency["p99"])
        figures["clean"] = figures["packet_ratio"] > 0.97 and heard["lost"] <= 0.001 * heard["expected"] and heard["late60"] <= 0.003 * heard["packets"]
        return figures

    def leak(self):
        """Memory and descriptors after many calls."""
        self.start()
        sink, out, done = Sink(self.lab, self.options.gen_cpus), [], 0
        for calls in self.options.leak:
            caller = self.caller("uac_setup.xml", sink, calls=calls, rate=self.options.leak_rate, at_once=20_000, number=self.server.number("answer"), timeout=calls // self.options.leak_rate + 30)
            caller.wait(calls // self.options.leak_rate + 35)
            stats = caller.stats()
            done += stats["ok"]
            time.sleep(3 if self.options.quick else 6)
            out.append(self.log("leak", dict(self.server.memory(), calls=done, failed=stats["failed"])))
        if not self.options.quick:
            time.sleep(45)          # longer than the 32 s for which a SIP transaction may be kept
            out.append(self.log("leak", dict(self.server.memory(), calls=done, failed=0, settled=True)))
        sink.stop()
        self.stop()
        return out


TESTS = ("idle", "ivr", "setup", "hook", "away", "bridge", "leak")


def floors(options, lab):
    """What a bare C program needs, in ms of CPU a call-second: to send a prompt (a socket a call, 20 ms pace), and to pass on a call of two legs (every 5 ms what has come)."""
    def us_a_packet(*mode):
        command = ["taskset", "-c", options.sut_cpus, drivers.rtptool(lab), "floor", *mode]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["us_per_packet"]
    send = us_a_packet("paced-sockets", str(options.n[0]), "3", "5")
    relay = us_a_packet("relay", str(options.bridged), "3", "5")
    return {"send": round(send * 50 / 1000, 4), "relay": round(relay * 100 / 1000, 4)}


# ------------------------------------------------------------------ the table


def rows(options):
    """(what, test, which rows, figure, floor?)"""
    yield "ready after start, s", "idle", {}, "ready_s", None
    yield "memory at rest, MB", "idle", {}, "pss_kb", None
    yield "processor at rest, %", "idle", {}, "idle_cpu_pct", None
    for n in options.n:
        yield f"prompt, {n} at a time: CPU ms a call-second", "ivr", {"n": n}, "cpu_ms_per_call_s", "send"
        yield f"prompt, {n} at a time: kB a call", "ivr", {"n": n}, "kb_per_call", None
        yield f"prompt, {n} at a time: late, p99 ms", "ivr", {"n": n}, "transit_p99", None
    for rate in options.rates:
        yield f"set-up, {rate} a second: CPU ms a call", "setup", {"rate": rate}, "cpu_ms_per_call", None
    for rate in options.hook_rates:
        yield f"web request, {rate} a second: CPU ms a call", "hook", {"rate": rate}, "cpu_ms_per_call", None
        yield f"web request, {rate} a second: INVITE to sound, p50 ms", "hook", {"rate": rate}, "rtp_p50", None
        yield f"web request, {rate} a second: INVITE to sound, p99 ms", "hook", {"rate": rate}, "rtp_p99", None
        yield f"web server away, {rate} a second: INVITE to sound, p50 ms", "away", {"rate": rate}, "rtp_p50", None
        yield f"web server away, {rate} a second: INVITE to sound, p99 ms", "away", {"rate": rate}, "rtp_p99", None
    for codec in options.codecs:
        yield f"two legs, PCMU to {codec.upper()}: CPU ms a call-second", "bridge", {"codec": codec}, "cpu_ms_per_call_s", "relay"
        yield f"two legs, PCMU to {codec.upper()}: added delay, p50 ms", "bridge", {"codec": codec}, "latency_p50", None
    yield "memory gained over the calls of leak, kB", "leak", {}, "gained", None


def table(results, options, least_ms):
    def value(peer, test, chosen, figure):
        found = [r for r in results.get(peer, {}).get(test, []) if all(r.get(k) == v for k, v in chosen.items())]
        if figure == "gained":
            return found[-1]["rss_kb"] - found[0]["rss_kb"] if len(found) > 1 else None
        numbers = [r[figure] for r in found if r.get(figure) is not None]
        if not numbers:
            return None
        middle = statistics.median(numbers)
        return round(middle / 1024, 1) if figure == "pss_kb" else round(middle, 3), all(r.get("clean", True) for r in found)

    def shown(cell):
        if cell is None:
            return "-"
        number, clean = cell if isinstance(cell, tuple) else (cell, True)
        return f"{number:g}" + ("" if clean else " (not clean)")

    lines = [("what", "tipring", "asterisk", "ratio", "floor")]
    for what, test, chosen, figure, least in rows(options):
        cells = [value(peer, test, chosen, figure) for peer in PEERS]
        if cells == [None, None]:
            continue
        plain = [c[0] if isinstance(c, tuple) else c for c in cells]
        ratio = f"{plain[1] / plain[0]:.1f}" if None not in plain and plain[0] else "-"
        lines.append((what, shown(cells[0]), shown(cells[1]), ratio, f"{least_ms[least]:g}" if least else "-"))
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    for number, line in enumerate(lines):
        print(" | ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        if number == 0:
            print("-|-".join("-" * width for width in widths))


def options_of(arguments):
    numbers = lambda text: [int(x) for x in text.split(",")]
    cpus = os.cpu_count()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run of small steps: about 3 minutes a server")
    parser.add_argument("--servers", default=",".join(PEERS), help="which, in order; one whose variable is not set is left out and said so")
    parser.add_argument("--tests", default=",".join(TESTS))
    parser.add_argument("--runs", type=int)
    parser.add_argument("--n", type=numbers, help="prompts at a time")
    parser.add_argument("--rates", type=numbers, help="set-ups a second")
    parser.add_argument("--hook-rates", type=numbers, help="web requests a second")
    parser.add_argument("--bridged", type=int, help="calls of two legs")
    parser.add_argument("--codecs", type=lambda text: text.split(","), default=["pcmu", "g722", "opus"], help="of the second leg")
    parser.add_argument("--sut-cpus", default="0", help="taskset list of the server")
    parser.add_argument("--gen-cpus", default=f"1-{cpus - 1}" if cpus > 2 else "1" if cpus > 1 else "0", help="taskset list of SIPp, sink and web server")
    parser.add_argument("--out", help="write every figure to this JSON file")
    options = parser.parse_args(arguments)
    quick = options.quick
    options.runs = options.runs or (1 if quick else 3)
    options.n = options.n or ([100] if quick else [50, 100, 200, 400])
    options.rates = options.rates or ([100] if quick else [100, 200, 400, 800])
    options.hook_rates = options.hook_rates or ([50] if quick else [25, 50, 100, 200])
    options.bridged = options.bridged or (20 if quick else 50)
    options.leak, options.leak_rate = ([500, 2500], 200) if quick else ([500, 4500, 5000], 100)
    return options


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = options_of(sys.argv[1:])
    results = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        lab = pathlib.Path(folder)
        least_ms = floors(options, lab)
        for name in options.servers.split(","):
            try:
                server = Server(name, lab)
            except NotHere as missing:
                print(f"left out: {missing}", file=sys.stderr)
                continue
            results[name] = {"version": server.version()}
            bench = Bench(server, options, lab)
            for test in options.tests.split(","):
                try:
                    results[name][test] = getattr(bench, test)()
                except (RuntimeError, OSError, AssertionError) as error:
                    print(f"{name} {test} failed: {error}", file=sys.stderr)
                    results[name][test + "_error"] = str(error)
                finally:
                    bench.stop()
        if options.out:
            pathlib.Path(options.out).write_text(json.dumps({"floor_ms_per_call_s": least_ms, "results": results}, indent=1))
        print("\n" + "\n".join(f"{name}: {r['version']}" for name, r in results.items()) + "\n")
        table(results, options, least_ms)
    failed = [f"{n} {k}" for n, r in results.items() for k in r if k.endswith("_error")]
    if failed or not results:
        sys.exit("failed: " + (", ".join(failed) or "no server to measure"))


if __name__ == "__main__":
    main()
