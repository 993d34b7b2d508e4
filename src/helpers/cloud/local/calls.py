"""Calls of Functions: inputs in, attempts with retries, results out."""

import asyncio
import contextlib
from dataclasses import dataclass, field

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2 as pb

__all__ = ["Calls"]

_SUCCESS, _FAILURE = pb.GenericResult.GENERIC_STATUS_SUCCESS, pb.GenericResult.GENERIC_STATUS_FAILURE


@dataclass
class _Call:
    function_id: str
    arrived: asyncio.Queue = field(default_factory=asyncio.Queue)
    done: list = field(default_factory=list)
    open: int = 0


class Calls:
    """Answers what concerns calls. Each input goes to a fresh container; retries follow at once, without a delay."""

    def __init__(self, new_id, functions, containers):
        self.new_id, self.functions, self.containers = new_id, functions, containers
        self.calls, self.tasks = {}, set()

    def FunctionMap(self, request):
        call_id = self.new_id("fc")
        self.calls[call_id] = _Call(request.function_id)
        items = [self._take(call_id, item) for item in request.pipelined_inputs]
        return pb.FunctionMapResponse(
            function_call_id=call_id, function_call_jwt="model", pipelined_inputs=items, max_inputs_outstanding=100
        )

    def FunctionPutInputs(self, request):
        items = [self._take(request.function_call_id, item) for item in request.inputs]
        return pb.FunctionPutInputsResponse(inputs=items)

    def FunctionFinishInputs(self, request):
        return Empty()

    def FunctionCallCancel(self, request):
        return Empty()

    async def FunctionGetOutputs(self, request):
        call = self.calls[request.function_call_id]
        if not call.done or request.last_entry_id not in ("", "0-0"):  # wait for a new one, or repeat the old ones
            with contextlib.suppress(asyncio.TimeoutError):
                call.done.append(await asyncio.wait_for(call.arrived.get(), max(request.timeout, 0.01)))
        fresh = call.done[int(request.last_entry_id.split("-")[0] or 0) :]
        return pb.FunctionGetOutputsResponse(
            outputs=fresh, num_unfinished_inputs=call.open, last_entry_id=f"{len(call.done)}-0"
        )

    def _take(self, call_id, item):
        input_id = self.new_id("in")
        self.calls[call_id].open += 1
        task = asyncio.ensure_future(self._work(self.calls[call_id], input_id, item))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return pb.FunctionPutInputsResponseItem(idx=item.idx, input_id=input_id, input_jwt=input_id)

    async def _work(self, call, input_id, item):
        """All attempts at one input: as many as the Function's retries allow, until one succeeds."""
        attempt = 0
        try:
            function, parameters = self.functions.called(call.function_id)
            for attempt in range(1 + function.retry_policy.retries):
                result, final = await self.containers.run(function, parameters, item.input, attempt)
                if final or result.status == _SUCCESS:
                    break
        except LookupError as fault:
            result = pb.GenericResult(status=_FAILURE, exception=f"[model] {fault.args[0]}")
        except Exception as fault:  # of this model; the client must not wait for ever
            result = pb.GenericResult(status=_FAILURE, exception=f"[model] a fault of the model itself: {fault!r}")
        call.open -= 1
        call.arrived.put_nowait(
            pb.FunctionGetOutputsItem(
                result=result,
                idx=item.idx,
                input_id=input_id,
                data_format=pb.DATA_FORMAT_PICKLE,
                retry_count=attempt,
            )
        )
