"""One story for all set-ups: sensors replay the committed recording and deliver, something is
killed, and in the end each alert that a sensor told is stored once, as it was told last."""

import os
import random
import signal
import time
from pathlib import Path

import support
from books import balance

SPEED = 120  # the recording's six minutes in three seconds


def children(pid):
    """{name: pid} of a process's living children."""
    found = {}
    try:
        pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in pids:
            status = Path(f"/proc/{child}/status").read_text()
            if "\nState:\tZ" not in status:
                found[status.split("\n", 1)[0].split("\t")[1]] = int(child)
    except OSError:
        pass
    return found


class Sensor:
    """A replay at a pace that leaves time to do harm."""

    def __init__(self, folder, name, settings, speed=SPEED):
        self.folder, self.name = folder, name
        words = ["-r", support.CAPTURE, "-l", folder, "--speed", str(speed), "--run-id", name]
        words += support.settings(settings | {"sensor.name": name, "uplink.drain": "2m"})
        self.process = support.Process("wind-sensor", *words, log=folder.with_suffix(".log"))

    def kill(self, child):
        """`child` is "analyser" or "uplink"; false when it is over already."""
        pid = children(self.process.popen.pid).get(f"wind-{child}")
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        return pid is not None

    def wait(self):
        assert self.process.wait(180) == 0, self.process.log
        stats = support.eve(self.folder)[-1]["stats"]
        balance(stats)
        alert = stats["alert"]
        assert alert["spooled"] == alert["lost_spool"] == alert["rejected"] == 0, alert

    def end(self):
        if self.process.is_running:
            self.process.stop(signal.SIGKILL)

    @property
    def told(self):
        """uid -> the alert's last revision, by the sensor's own log."""
        alerts = [a["wind"] for a in support.eve(self.folder) if a["event_type"] == "alert"]
        return {alert["uid"]: (alert["rev"], alert["count"]) for alert in alerts}


def stored(collector):
    """uid -> the alert as it is stored."""
    alerts = collector.all("alerts")
    found = {a["uid"]: (a["rev"], a["metadata"]["count"]) for a in alerts}
    assert len(found) == len(alerts), "an alert is stored twice"
    return found


def arrives(collector, *sensors, after=()):
    """All that was told is there, once, and in one incident; maybe a moment later."""
    told = {uid: last for sensor in sensors for uid, last in sensor.told.items()}
    assert len(told) >= 3 * len(sensors), "hardly an alert"
    end = time.monotonic() + 60
    while stored(collector) != told and time.monotonic() < end:
        time.sleep(0.5)
    assert stored(collector) == told, f"after {after}"
    joined = [a for i in collector.all("incidents") for a in i["related_alerts"]]
    assert sorted(joined) == sorted(a["id"] for a in collector.all("alerts"))


class Story:
    """Sensors that run at once, and victims: {name: a function that kills and brings back}."""

    def __init__(self, folder, sensor_settings, seed):
        self.folder, self.settings = folder, sensor_settings
        self.choose = random.Random(seed)
        self.sensors = []
        self.victims = {
            "analyser": lambda: self.choose.choice(self.running).kill("analyser"),
            "uplink": lambda: self.choose.choice(self.running).kill("uplink"),
        }
        self.killed = []

    @property
    def running(self):
        return [s for s in self.sensors if s.process.is_running]

    def add_server(self, name, server, *parts):
        """A real server as a victim; of a cluster one of its parts."""

        def kill():
            server.kill(*([self.choose.choice(parts)] if parts else []))
            time.sleep(self.choose.random())
            server.start()

        self.victims[name] = kill

    def start_sensors(self, count):
        for _ in range(count):
            name = f"edge-{len(self.sensors)}"
            self.sensors.append(Sensor(self.folder / name, name, self.settings))

    def play(self, rounds):
        """Every victim once, in any order, then anyone; new sensors follow on those that end."""
        order = list(self.victims)
        self.choose.shuffle(order)
        for number in range(max(rounds, len(order))):
            self.start_sensors(2 - len(self.running))
            time.sleep(0.2 + self.choose.random())
            victim = order[number] if number < len(order) else self.choose.choice(order)
            self.start_sensors(1 if not self.running else 0)
            self.victims[victim]()
            self.killed.append(victim)
        for sensor in self.sensors:
            sensor.wait()

    def end(self):
        for sensor in self.sensors:
            sensor.end()

    def check(self, collector):
        arrives(collector, *self.sensors, after=self.killed)
