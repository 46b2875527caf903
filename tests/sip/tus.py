"""A server for resumable uploads, other people's: `python3 tus.py PORT FOLDER` serves, `TusServer` runs that."""
import json
import pathlib
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import programs
from waiting import until


class TusServer:
    def __init__(self, folder, port=0):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        if not port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
        self.port, self.authority, self.process = port, f"127.0.0.1:{port}", None
        self.url = f"http://{self.authority}/files"
        self.start()

    def start(self):
        self.process = subprocess.Popen(["/usr/bin/python3", __file__, str(self.port), str(self.folder)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=open(self.folder.parent / "tus.log", "ab"))
        until(self._answers, timeout=20, what="the upload server")

    def _answers(self):
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url, method="OPTIONS")):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def uploads(self):
        """(what the server was told of the file, its bytes so far), by name."""
        found = {}
        for path in self.folder.iterdir():
            info = path.with_suffix(".info")
            if path.suffix == "" and info.exists():
                told = json.loads(info.read_text())["metadata"]
                found[told["filename"]] = (told, path.read_bytes())
        return found

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


def serve(port, folder):
    sys.path.insert(0, programs.tus_server())
    import uvicorn
    from fastapi import FastAPI
    from tuspyserver import create_tus_router
    app = FastAPI()
    app.include_router(create_tus_router(prefix="files", files_dir=folder))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
