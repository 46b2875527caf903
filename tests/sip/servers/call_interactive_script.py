#!/usr/bin/env python3
"""The office's script for Call Interactive, as it lies on many a web server: started for each request, told by CGI what is asked.

OFFICE_LOG     file that gets a line of JSON for each request
OFFICE_NOW     the time in ISO 8601, if it is not to be now
OFFICE_RING_S  how long the front desk rings
OFFICE_PHONE, OFFICE_VOICEMAIL  whom to ring, and who takes a message
"""
import datetime
import json
import os
import sys
import xml.etree.ElementTree as xml
import zoneinfo
from urllib.parse import parse_qsl

MENU, CLOSED = "2", "4"                 # contexts of the IVR


def main():
    query = dict(parse_qsl(os.environ.get("QUERY_STRING", ""), keep_blank_values=True))
    length = int(os.environ.get("CONTENT_LENGTH") or 0)
    body = sys.stdin.buffer.read(length).decode() if length else ""
    posted = dict(parse_qsl(body, keep_blank_values=True))
    method = os.environ.get("REQUEST_METHOD", "GET")
    with open(os.environ["OFFICE_LOG"], "a", encoding="utf-8") as log:
        log.write(json.dumps({"method": method, "query": query, "posted": posted, "text": os.environ.get("QUERY_STRING", ""),
                              "type": os.environ.get("CONTENT_TYPE", "")}) + "\n")
    steps = {"hours": hours, "desk": desk, "say": say}
    step = steps.get(query.get("step"))
    if step is None or "CallID" not in {**query, **posted}:
        sys.stdout.write("Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nno such step\n")
        return
    response = xml.Element("Response")
    step(response, {**query, **posted})
    sys.stdout.write("Content-Type: text/html; charset=utf-8\r\n\r\n")      # as PHP says, whatever it is
    sys.stdout.write('<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(response, encoding="unicode") + "\n")


def hours(response, _fields):
    """Nothing to say but where to go on."""
    xml.SubElement(response, "Jump", context=MENU if is_open() else CLOSED, option="start")


def desk(response, _fields):
    """The front desk, and whoever takes a message when nobody is there."""
    first = xml.SubElement(response, "SimpleTransfer", final="no", timeout=os.environ.get("OFFICE_RING_S", "20"))
    first.text = os.environ.get("OFFICE_PHONE", "201")
    xml.SubElement(response, "SimpleTransfer").text = os.environ.get("OFFICE_VOICEMAIL", "211")


def say(response, fields):
    """A sound by its name, and a variable that later requests can send."""
    xml.SubElement(response, "SetVar", name="said").text = fields.get("sound", "")
    xml.SubElement(response, "PlaySound").text = fields.get("sound", "")


def is_open():
    told = os.environ.get("OFFICE_NOW")
    now = datetime.datetime.fromisoformat(told) if told else datetime.datetime.now(datetime.timezone.utc)
    here = now.astimezone(zoneinfo.ZoneInfo("Europe/Berlin"))
    return here.weekday() < 5 and datetime.time(9) <= here.time() < datetime.time(17)


if __name__ == "__main__":
    main()
