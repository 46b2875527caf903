"""The programs that the tests drive. One that is missing fails the test and names its package."""
import importlib
import os
import pathlib
import shutil
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = {"sipp": "sip-tester", "baresip": "baresip-core", "espeak-ng": "espeak-ng", "lame": "lame", "cc": "gcc", "openssl": "openssl"}


class Missing(AssertionError):
    pass


def program(name):
    path = shutil.which(name)
    if not path:
        raise Missing(f"{name} is not installed: apt-get install {PACKAGES[name]}")
    return path


def tipring():
    """The daemon's binary: $TIPRING_BIN, else the newest build of this tree."""
    named = os.environ.get("TIPRING_BIN")
    found = [pathlib.Path(named)] if named else sorted(
        REPOSITORY.glob("target/*/tipring"), key=lambda path: path.stat().st_mtime)
    if not found or not found[-1].is_file():
        raise Missing(f"no tipring binary ({named or 'target/*/tipring'}): build it, or set TIPRING_BIN")
    return str(found[-1].resolve())


def simulator(name):
    """A device in software of the test kit: beside the daemon's binary, else the newest build of this tree."""
    beside = [pathlib.Path(os.environ["TIPRING_BIN"]).with_name(name)] if "TIPRING_BIN" in os.environ else []
    built = sorted(REPOSITORY.glob(f"target/*/{name}"), key=lambda path: path.stat().st_mtime)
    found = [path for path in beside if path.is_file()] or built
    if not found:
        raise Missing(f"no {name}: cargo build -p tipring-testkit --bins")
    return str(found[-1])


def tus_server():
    """The interpreter's search path with a server for resumable uploads in it; `cargo xtask test` fetches it."""
    folder = REPOSITORY / "target" / "python"
    if not (folder / "tuspyserver").is_dir():
        raise Missing(f"tuspyserver is not there: python3 -m pip install --target {folder} tuspyserver uvicorn")
    return str(folder)


def standard_webhooks():
    """The receiver's side of Standard Webhooks as its authors publish it; `cargo xtask test` fetches it."""
    return _package("standardwebhooks")


def json_schema():
    """The reference validator of JSON Schema; `cargo xtask test` fetches it."""
    return _package("jsonschema")


def mail_server():
    """A mail server in Python; `cargo xtask test` fetches it."""
    _package("aiosmtpd")
    from aiosmtpd import controller, smtp
    return controller, smtp


def twilio_library():
    """The library with which customers write TwiML and check signatures; `cargo xtask test` fetches it."""
    _package("twilio")
    from twilio.request_validator import RequestValidator
    from twilio.twiml import voice_response
    return voice_response, RequestValidator


def voximplant_client():
    """The vendor's own client of the control API; `cargo xtask test` fetches it."""
    return _package("voximplant.apiclient")


def json_web_tokens():
    """PyJWT, which that client signs with."""
    return _package("jwt")


def websockets():
    """What serves a WebSocket; `cargo xtask test` fetches it."""
    _package("websockets")
    from websockets.sync.server import serve
    return serve


def _package(name):
    folder = REPOSITORY / "target" / "python"
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Missing(f"{name} is not there: python3 -m pip install --target {folder} {name}") from None
