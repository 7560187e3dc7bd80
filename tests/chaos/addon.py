"""The proxy's script: mitmproxy runs it, in its own environment, between the callers and the local AWS.

Told by the variable CHAOS, as JSON: seed, rates, upstream (the local AWS's URL), server (its process id), folder (where
its workers' files are), log (a file that gets a line of JSON for each request).
"""

import asyncio
import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from mitmproxy import http  # type: ignore[import-not-found]  # in requirements/mitmproxy.txt, not beside the tests

from tests.chaos import wire, workers
from tests.chaos.faults import Call, Fault, Policy, Rates

_MAX_DELAY_SECONDS = 1.0


class Chaos:
    """Decides on each request and carries it out."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._policy = Policy(seed=settings["seed"], rates=Rates(**settings["rates"]))
        self._upstream = settings["upstream"]
        self._server, self._folder = settings["server"], settings["folder"]
        self._log = Path(settings["log"]).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115  open for life

    async def request(self, flow: Any) -> None:
        """Answer in the service's place, lose the connection, or let the request through."""
        request = flow.request
        call = wire.call_of(request.method, request.path, dict(request.headers))
        fault, rng = self._policy.decide(call)
        body = request.content or b""
        flow.metadata["chaos"] = (call, fault)
        match fault:
            case Fault.ERROR_BEFORE:
                self._answer(flow, wire.internal_error(call))
            case Fault.THROTTLE:
                self._answer(flow, wire.throttled(call, rng, body))
            case Fault.CONFLICT:
                self._answer(flow, wire.conflict(call, rng, body))
            case Fault.DROP_BEFORE:
                self._lose(flow)
            case Fault.KILL_BEFORE if await self._kill(flow):
                self._lose(flow)
            case Fault.DELAY:
                await asyncio.sleep(rng.uniform(0, _MAX_DELAY_SECONDS))
            case Fault.PARTIAL:
                self._hold_back(flow, call, rng)
        if call.service == "dynamodb" and not flow.metadata.get("done"):
            document = json.loads(request.content)
            flow.metadata["asked"] = document
            request.content = json.dumps(document | {"ReturnConsumedCapacity": "TOTAL"}).encode()

    async def response(self, flow: Any) -> None:
        """Let the answer through, or not: by now the request was applied."""
        if flow.metadata.get("done"):
            return
        call, fault = flow.metadata["chaos"]
        reads, writes = self._units(flow, call)
        match fault:
            case Fault.ERROR_AFTER:
                self._answer(flow, wire.internal_error(call), reads, writes)
                return
            case Fault.DROP_AFTER:
                self._lose(flow, reads, writes)
                return
            case Fault.KILL_AFTER if await self._kill(flow):
                self._lose(flow, reads, writes)
                return
            case Fault.DUPLICATE:
                await asyncio.to_thread(self._send_again, flow.request.path, flow.request.content)
            case Fault.PARTIAL:
                self._own_up(flow, call)
        self._note(flow, reads, writes)

    def _units(self, flow: Any, call: Call) -> tuple[float, float]:
        if call.service != "dynamodb":
            return 0.0, 0.0
        answer = json.loads(flow.response.content)
        return wire.units(call, flow.metadata["asked"], flow.response.status_code, answer)

    def _answer(self, flow: Any, reply: wire.Reply, reads: float = 0.0, writes: float = 0.0) -> None:
        flow.response = http.Response.make(reply.status, reply.body, dict(reply.headers))
        self._note(flow, reads, writes)

    def _lose(self, flow: Any, reads: float = 0.0, writes: float = 0.0) -> None:
        flow.kill()
        self._note(flow, reads, writes)

    async def _kill(self, flow: Any) -> bool:
        """End the process that waits for the answer; tells whether it was found."""
        port = flow.client_conn.peername[1]
        killed = await asyncio.to_thread(workers.kill_caller, port, server=self._server, folder=self._folder)
        if killed is None:
            flow.metadata["chaos"] = (flow.metadata["chaos"][0], Fault.NONE)
        return killed is not None

    def _hold_back(self, flow: Any, call: Call, rng: Any) -> None:
        asked, kept = json.loads(flow.request.content), json.loads(flow.request.content)
        held = wire.hold_back(call, kept, rng)
        if not held:
            flow.metadata["chaos"] = (call, Fault.NONE)
            return
        flow.metadata["held"] = (asked, held)
        if kept.get("Entries") == []:  # nothing is left to hand on
            document = json.dumps(wire.own_up(call, asked, held, {})).encode()
            self._answer(flow, wire.Reply(200, {"Content-Type": "application/x-amz-json-1.0"}, document))
        else:
            flow.request.content = json.dumps(kept).encode()

    def _own_up(self, flow: Any, call: Call) -> None:
        if flow.response.status_code == 200:
            asked, held = flow.metadata["held"]
            answer = wire.own_up(call, asked, held, json.loads(flow.response.content))
            flow.response.content = json.dumps(answer).encode()

    def _send_again(self, path: str, body: bytes) -> None:
        target = "AmazonSQS.SendMessageBatch" if b'"Entries"' in body else "AmazonSQS.SendMessage"
        headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.0", "Authorization": _SIGNED}
        again = urllib.request.Request(f"{self._upstream}{path}", data=body, headers=headers)  # noqa: S310  loopback
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(again, timeout=30) as answer:
            answer.read()

    def _note(self, flow: Any, reads: float, writes: float) -> None:
        flow.metadata["done"] = True
        call, fault = flow.metadata["chaos"]
        line = {"caller": call.caller, "call": call.name, "fault": fault, "reads": reads, "writes": writes}
        self._log.write(json.dumps(line) + "\n")


_SIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0"

addons = [Chaos(json.loads(os.environ["CHAOS"]))]
