"""Processor time and memory of a process tree, read from /proc."""
import os
import time

HZ = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    text = open(f"/proc/{pid}/stat").read()
    return text[text.rindex(")") + 2:].split()


def tree(pid):
    """The process and all its descendants."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                children.setdefault(int(_stat(name)[1]), []).append(int(name))
            except (OSError, ValueError):
                pass
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def cpu_s(pids):
    """To the nanosecond for the processes themselves, by their clocks (clock_getcpuclockid(3)), ended threads included; in ticks for children that have ended."""
    total = 0.0
    for pid in pids:
        try:
            total += time.clock_gettime(~pid << 3 | 2) + sum(int(x) for x in _stat(pid)[13:15]) / HZ
        except OSError:
            pass
    return total


def memory(pids):
    figures = {"rss_kb": 0, "pss_kb": 0, "anon_kb": 0, "threads": 0, "fds": 0}
    names = {"Rss:": "rss_kb", "Pss:": "pss_kb", "Anonymous:": "anon_kb"}
    for pid in pids:
        try:
            for line in open(f"/proc/{pid}/smaps_rollup"):
                words = line.split()
                if words[0] in names:
                    figures[names[words[0]]] += int(words[1])
            figures["threads"] += int(_stat(pid)[17])
            figures["fds"] += len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            pass
    return figures


def _machine():
    fields = [int(x) for x in open("/proc/stat").readline().split()[1:]]
    return (sum(fields[0:3]) + sum(fields[5:7])) / HZ


class Window:
    """Processor time of the server and of everything else on the machine between two instants."""

    def __init__(self, server, generators=()):
        self.server, self.generators = server, [g.pid for g in generators]
        self.began, self.cpu, self.machine, self.own = time.monotonic(), server.cpu_s(), _machine(), self._generators()

    def _generators(self):
        return cpu_s(pid for g in self.generators for pid in tree(g))

    def end(self):
        seconds, cpu, own = time.monotonic() - self.began, self.server.cpu_s() - self.cpu, self._generators() - self.own
        other = max(0.0, _machine() - self.machine - cpu - own)
        return {"secs": round(seconds, 3), "cpu_s": round(cpu, 3), "generators_cpu": round(own / seconds, 2), "other_cpu": round(other / seconds, 2)}


def percentile(values, share):
    values = sorted(values)
    return round(values[min(len(values) - 1, int(share * (len(values) - 1) + 0.5))], 2) if values else None
