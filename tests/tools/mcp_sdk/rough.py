"""An MCP server over stdio with bad habits, in plain Python so that it starts at once: `python rough.py [HABIT] [FILE]`.

FILE counts the starts, one line each with the process id; tools that behave differently after a restart look at it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HABIT = sys.argv[1] if len(sys.argv) > 1 else ""
STARTS = Path(sys.argv[2]) if len(sys.argv) > 2 else None
TOOLS = ["ok", "hang", "die", "die_once", "die_unsafe", "flood", "long", "garbage", "nonsense", "chatter", "change", "environment", "count"]


def say(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def starts() -> int:
    return len(STARTS.read_text().splitlines()) if STARTS else 1


def listed() -> list[dict[str, Any]]:
    names = TOOLS[:-1] if HABIT == "changes" and starts() > 1 else TOOLS
    return [
        {"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": name not in ("die_unsafe", "count")}}
        for name in names
    ]


def text(number: int, value: str) -> None:
    say({"id": number, "result": {"content": [{"type": "text", "text": value}]}})


def call(number: int, name: str) -> None:
    if name == "hang":
        return
    if name in ("die", "die_unsafe") or (name == "die_once" and starts() == 1):
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(3)
    if name == "flood":
        while True:
            os.write(1, b"x" * 2**16)
    if name == "garbage":
        print("this is no JSON\n{]", flush=True)
    if name == "nonsense":
        say({"id": number, "result": {"content": "not a list"}})
    elif name == "chatter":
        for _ in range(2000):
            say({"method": "notifications/message", "params": {"level": "info", "data": "x" * 100}})
        text(number, "done")
    elif name == "change":
        TOOLS.remove("ok")
        for _ in range(50):
            say({"method": "notifications/tools/list_changed"})
        text(number, "changed")
    elif name == "environment":
        text(number, " ".join([*os.environ, os.getcwd()]))
    elif name == "count":
        call.count = getattr(call, "count", 0) + 1  # type: ignore[attr-defined]
        text(number, str(call.count))  # type: ignore[attr-defined]
    else:
        text(number, "y" * 3_000_000 if name == "long" else f"{name} of start {starts()}")


def main() -> None:
    if STARTS:
        with STARTS.open("a") as file:
            file.write(f"{os.getpid()}\n")
    if HABIT == "exits":
        sys.exit("no luck today")
    if HABIT == "stays":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "1000"])
        print(f"child {child.pid}", file=sys.stderr, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if HABIT == "mute" or "id" not in request:
            continue
        number, method = request["id"], request["method"]
        if method == "initialize":
            version = request["params"]["protocolVersion"]
            capabilities = {"tools": {"listChanged": True}}
            say(
                {
                    "id": number,
                    "result": {"protocolVersion": version, "capabilities": capabilities, "serverInfo": {"name": "rough", "version": "1"}},
                }
            )
        elif method == "tools/list":
            page = {"tools": [], "nextCursor": "more"} if HABIT == "endless" else {"tools": listed()}
            say({"id": number, "result": page})
        elif method == "tools/call":
            call(number, request["params"]["name"])
        else:
            say({"id": number, "error": {"code": -32601, "message": "Method not found"}})
    if HABIT == "stays":
        time.sleep(1000)


if __name__ == "__main__":
    main()
