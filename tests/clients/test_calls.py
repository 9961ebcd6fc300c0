"""Tests of calls without a network: what is sent again, when, and what is not."""

import httpx2
import msgspec
import pytest

from chiron_client import JobFailed, Problem, Retries, TooManyRequests, Unavailable, Unreachable
from chiron_client.calls import Lost, Reply, Request, Wait
from chiron_client.operation import FINISHED, wait

REQUEST = Request("GET", "/models")
FULL = b'{"type": "/problems/overloaded", "status": 503, "detail": "full"}'


def begun(retries: Retries, replies: list[Reply | Lost]):
    """Return the generator of a call and all its steps up to the last reply."""
    steps = retries.steps(REQUEST, lambda reply: reply.content)
    taken = [next(steps)]
    for reply in replies:
        taken.append(steps.send(reply))
        if isinstance(taken[-1], Wait):
            taken.append(next(steps))
    return steps, taken


def test_the_seconds_of_retry_after_are_waited_and_the_same_request_is_sent_again():
    steps, taken = begun(Retries(), [Reply(503, {"retry-after": "2"}, FULL), Reply(429, {"retry-after": "3"}, b"{}")])
    assert taken == [REQUEST, Wait(2.0), REQUEST, Wait(3.0), REQUEST]
    with pytest.raises(StopIteration) as end:
        steps.send(Reply(200, {}, b"done"))
    assert end.value.value == b"done"


def test_a_wait_beyond_the_cap_is_an_error_at_once_and_so_is_the_last_try():
    steps, _ = begun(Retries(longest_s=4), [Reply(429, {"retry-after": "3"}, b"{}")])
    with pytest.raises(TooManyRequests) as refused:
        steps.send(Reply(429, {"retry-after": "2"}, b"{}"))
    assert refused.value.retry_after == 2
    steps, _ = begun(Retries(times=0), [])
    with pytest.raises(Unavailable, match="full"):
        steps.send(Reply(503, {"retry-after": "1"}, FULL))


def test_without_a_named_time_the_waits_double():
    _, taken = begun(Retries(), [Reply(503, {}, FULL)] * 4)
    seconds = [step.seconds for step in taken if isinstance(step, Wait)]
    assert [low <= second <= 1.5 * low for second, low in zip(seconds, (0.25, 0.5, 1, 2), strict=True)] == [True] * 4


def test_a_request_that_may_have_arrived_is_not_sent_again():
    _, taken = begun(Retries(), [Lost(httpx2.ConnectError("refused"), sent=False)])
    assert taken[-1] == REQUEST
    steps, _ = begun(Retries(), [])
    with pytest.raises(Unreachable, match="too slow"):
        steps.send(Lost(httpx2.ReadTimeout("too slow"), sent=True))


@pytest.mark.parametrize(
    "content", [b"<html>Bad Gateway</html>", b"", b"[1]", b'"text"', b'{"status": "odd", "errors": 3}']
)
def test_the_error_page_of_a_proxy_is_a_problem_with_its_status(content):
    steps, _ = begun(Retries(), [])
    with pytest.raises(Problem) as refused:
        steps.send(Reply(502, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, content))
    assert refused.value.status == 502
    assert refused.value.retry_after is None


@pytest.mark.parametrize("state", FINISHED)
def test_a_job_is_asked_for_until_it_has_ended(state):
    def reply(state: str) -> Reply:
        job = {"id": "j", "kind": "train", "state": state, "detail": "", "spec": {}, "attempt": 1, "created_at": 0.0}
        return Reply(200, {}, msgspec.json.encode({**job, "progress": {"step": 3, "steps": 9}}))

    steps = wait("j", every_s=7, progress=False)(Retries())
    assert next(steps) == Request("GET", "/jobs/j", {})
    assert steps.send(reply("running")) == Wait(7)
    assert next(steps) == Request("GET", "/jobs/j", {})
    with pytest.raises(StopIteration if state == "succeeded" else JobFailed):
        steps.send(reply(state))
