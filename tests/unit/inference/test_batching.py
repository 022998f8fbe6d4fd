"""Protects: requests share calls of the model, each gets its own rows' answers, and a bad one fails alone."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from chandlery.errors import RecipeError
from chandlery.inference import batching
from chandlery.inference.batching import Batcher
from chandlery.inference.refusal import Refused


class Model:
    """Doubles x; 13 raises, 14 is refused by the recipe, and `gate` holds each call up."""

    def __init__(self) -> None:
        self.calls: list[list[float]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, rows):
        self.gate.wait(5)
        x = rows["x"]
        self.calls.append(x.tolist())
        if 13 in x:
            raise ValueError("bad luck\nand more")
        if 14 in x:
            raise RecipeError("request: 14", "expected others")
        return {"y": 2 * x}


def serve(model, scenario, **options):
    settings = {"max_batch": 4, "max_wait": 0.0, "max_queue": 100, "timeout": 5.0} | options

    async def main():
        batcher = Batcher(model, **settings)
        try:
            return await scenario(batcher)
        finally:
            model.gate.set()
            await batcher.stop()

    return asyncio.run(main())


def ask(batcher, *values, **options):
    return asyncio.ensure_future(batcher.submit({"x": np.array(values, dtype=float)}, **options))


async def settle():
    for _ in range(5):
        await asyncio.sleep(0.005)


def test_requests_that_arrive_during_a_call_share_the_next():
    model = Model()

    async def scenario(batcher):
        model.gate.clear()
        first = ask(batcher, 1)
        await settle()
        others = [ask(batcher, 2, 3), ask(batcher, 4), ask(batcher, 5, 6, 7)]
        await settle()
        model.gate.set()
        return await asyncio.gather(first, *others)

    answers = serve(model, scenario)
    assert [a["y"].tolist() for a in answers] == [[2], [4, 6], [8], [10, 12, 14]]
    assert model.calls == [[1], [2, 3, 4], [5, 6, 7]]  # 4 rows a call at most, and no request is cut


def test_a_request_larger_than_a_batch_is_cut_and_put_together_again():
    model = Model()
    answer = serve(model, lambda b: ask(b, *range(100, 137)))
    assert answer["y"].tolist() == [2 * i for i in range(100, 137)]
    assert sorted(x for call in model.calls for x in call) == list(range(100, 137)), "each row once"
    assert len(model.calls[0]) == 4, "nothing is known of the model yet"
    assert len(model.calls) < 7, "slices grow as long as they are quick"


def test_whoever_comes_after_a_large_request_waits_for_one_call(monkeypatch):
    monkeypatch.setattr(batching, "SLICE_SECONDS", 0.0)  # slices of a batch each
    model = Model()
    order = []

    async def scenario(batcher):
        model.gate.clear()
        large = ask(batcher, *range(100, 140))
        large.add_done_callback(lambda _: order.append("large"))
        await settle()
        small = [ask(batcher, 1), ask(batcher, 2, 3)]
        for future in small:
            future.add_done_callback(lambda _: order.append("small"))
        await settle()
        model.gate.set()
        return await asyncio.gather(large, *small)

    answers = serve(model, scenario)
    assert answers[0]["y"].tolist() == [2 * i for i in range(100, 140)]
    assert order == ["small", "small", "large"]
    assert model.calls[1][:3] == [1, 2, 3], "the call after the one under way"
    assert len(model.calls[1]) > 3, "the large one goes on in the same call"


def test_large_requests_take_turns(monkeypatch):
    monkeypatch.setattr(batching, "SLICE_SECONDS", 0.0)
    model = Model()

    async def scenario(batcher):
        return await asyncio.gather(ask(batcher, *range(100, 108)), ask(batcher, *range(200, 208)))

    answers = serve(model, scenario)
    assert [a["y"].tolist() for a in answers] == [
        [2 * i for i in range(100, 108)],
        [2 * i for i in range(200, 208)],
    ]
    assert [call[0] for call in model.calls] == [100, 200, 104, 204]


def test_a_slice_that_fails_fails_its_request_alone(monkeypatch):
    monkeypatch.setattr(batching, "SLICE_SECONDS", 0.0)
    model = Model()

    async def scenario(batcher):
        return await asyncio.gather(
            ask(batcher, *range(100, 104), 13, *range(200, 220)), ask(batcher, 1), return_exceptions=True
        )

    large, small = serve(model, scenario)
    assert isinstance(large, Refused)
    assert small["y"].tolist() == [2]
    assert len(model.calls) <= 6, "the rest of a request that failed is not computed"


def test_callers_take_turns():
    model = Model()

    async def scenario(batcher):
        model.gate.clear()
        first = ask(batcher, 1)
        await settle()
        many = [ask(batcher, 100 + i, caller="many") for i in range(20)]
        one = ask(batcher, 2, caller="one")
        two = ask(batcher, 3, caller="two")
        await settle()
        model.gate.set()
        return await asyncio.gather(first, *many, one, two)

    answers = serve(model, scenario)
    assert [a["y"].tolist() for a in answers[-2:]] == [[4], [6]]
    assert model.calls[1] == [100, 2, 3, 101], "each caller in turn, the one with many again"


def test_what_is_late_is_not_computed():
    model = Model()

    async def scenario(batcher):
        model.gate.clear()
        first = ask(batcher, 1)
        await settle()
        hurried = ask(batcher, 2, within=0.02)
        patient = ask(batcher, 3)
        began = time.monotonic()
        with pytest.raises(Refused) as refused:
            await hurried
        waited = time.monotonic() - began
        model.gate.set()
        await asyncio.gather(first, patient)
        return refused.value.status, waited

    status, waited = serve(model, scenario)
    assert status == 504
    assert waited < 1
    assert model.calls == [[1], [3]]


def test_a_request_without_any_time_left_is_refused_at_once():
    model = Model()

    async def scenario(batcher):
        with pytest.raises(Refused) as refused:
            await batcher.submit({"x": np.array([1.0])}, within=0)
        return refused.value.status

    assert serve(model, scenario) == 504
    assert model.calls == []


def test_waiting_gathers_a_batch_and_gives_up_in_time():
    model = Model()

    async def scenario(batcher):
        first = ask(batcher, 1)
        await asyncio.sleep(0.02)
        second = ask(batcher, 2)
        return await asyncio.gather(first, second)

    serve(model, scenario, max_wait=0.2)
    assert model.calls == [[1, 2]]


def test_bad_request_fails_alone():
    model = Model()

    async def scenario(batcher):
        model.gate.clear()
        first = ask(batcher, 0)
        await settle()
        batch = [ask(batcher, 1), ask(batcher, 13), ask(batcher, 14), ask(batcher, 2)]
        await settle()
        model.gate.set()
        await first
        return await asyncio.gather(*batch, return_exceptions=True)

    good, broken, refused, also_good = serve(model, scenario)
    assert good["y"].tolist() == [2]
    assert also_good["y"].tolist() == [4]
    assert (broken.status, broken.info) == (500, "the model raised ValueError: bad luck")
    assert (refused.status, refused.info) == (400, "request: 14; expected others")


def test_full_queue_refuses_and_slow_answer_times_out():
    model = Model()

    async def scenario(batcher):
        model.gate.clear()
        running = ask(batcher, 1)
        await settle()
        waiting = [ask(batcher, 2), ask(batcher, 3)]
        await settle()
        refused = await asyncio.gather(ask(batcher, 4), return_exceptions=True)
        late = await asyncio.gather(running, *waiting, return_exceptions=True)
        model.gate.set()
        return refused + late

    began = time.monotonic()
    outcomes = serve(model, scenario, max_queue=2, timeout=0.2)
    assert time.monotonic() - began < 2
    assert [o.status for o in outcomes] == [503, 504, 504, 504]
    assert outcomes[0].retry_after == 1


def test_whoever_waits_at_the_stop_is_refused():
    model = Model()

    async def main():
        batcher = Batcher(model, 4, 0.0, 100, 5.0)
        model.gate.clear()
        running, waiting = ask(batcher, 1), None
        await settle()
        waiting = ask(batcher, 2)
        await settle()
        await batcher.stop()
        running.cancel()
        model.gate.set()
        with pytest.raises(Refused) as refused:
            await waiting
        return refused.value.status

    assert asyncio.run(main()) == 503


def test_answer_of_another_length_is_our_fault():
    async def scenario(batcher):
        return await asyncio.gather(ask(batcher, 1, 2), return_exceptions=True)

    class Short(Model):
        def __call__(self, rows):
            return {"y": rows["x"][:1]}

    (error,) = serve(Short(), scenario)
    assert error.status == 500


def test_a_quick_model_is_called_without_a_change_of_threads_and_a_slow_one_beside_the_event_loop():
    threads: list[str] = []
    pause = 0.0

    def model(rows):
        threads.append(threading.current_thread().name)
        time.sleep(pause)
        return {"y": rows["x"]}

    model.gate = threading.Event()

    async def scenario(batcher):
        nonlocal pause
        for _ in range(40):
            await ask(batcher, 1)
        quick = threads[1:]  # one of 40 may be held up by a busy machine, hardly all
        pause = 0.1
        for _ in range(3):
            await ask(batcher, 1)
        return quick

    assert threading.current_thread().name in serve(model, scenario)
    assert threads[0].startswith("model")  # it may be slow: nothing is known of it yet
    assert threads[-1].startswith("model")


def test_after_a_shared_call_the_next_waits_for_what_is_being_read():
    model = Model()

    async def scenario(batcher):
        await asyncio.gather(ask(batcher, 0))  # a quick call: from now on they are made on the loop
        await asyncio.gather(ask(batcher, 1), ask(batcher, 2))

        async def later(value):
            await asyncio.sleep(0)
            return await batcher.submit({"x": np.array([value], dtype=float)})

        await asyncio.gather(ask(batcher, 3), later(4.0))
        await ask(batcher, 5)
        await asyncio.gather(ask(batcher, 6), later(7.0))

    serve(model, scenario)
    assert model.calls == [[0.0], [1.0, 2.0], [3.0, 4.0], [5.0], [6.0], [7.0]]


def threads(seconds, calls):
    """The threads in which calls of such length are made, one after the other."""
    seen = []

    def model(rows):
        seen.append(threading.current_thread() is threading.main_thread())
        time.sleep(seconds(len(seen)))
        return {"y": rows["x"]}

    class Open:
        gate = threading.Event()

        def __call__(self, rows):
            return model(rows)

    async def scenario(batcher):
        for _ in range(calls):
            await ask(batcher, 1)

    serve(Open(), scenario)
    return seen


def test_a_model_that_becomes_quick_comes_back_to_the_loop():
    on_loop = threads(lambda number: 0.008 if number < 10 else 0.0005, 10 + 2 * batching.SEE_EVERY)
    assert not any(on_loop[:10])
    assert on_loop[-1]


def test_a_slow_model_never_holds_the_loop_up():
    assert not any(threads(lambda number: 0.025, batching.SEE_EVERY + 5))


def test_a_model_that_is_not_quite_quick_is_tried_on_the_loop_now_and_then():
    on_loop = threads(lambda number: 0.007, 2 * batching.SEE_EVERY + 10)
    assert on_loop.count(True) == 2


def test_all_that_wait_too_long_are_refused_each_in_its_time():
    model = Model()
    model.gate.clear()

    async def scenario(batcher):
        began = time.monotonic()
        waits = []

        async def one():
            with pytest.raises(Refused) as caught:
                await ask(batcher, 1)
            assert caught.value.status == 504
            waits.append(time.monotonic() - began)

        async def two():
            await asyncio.sleep(0.1)
            await one()

        await asyncio.gather(one(), two())
        assert 0.2 <= waits[0] < waits[1]
        assert 0.3 <= waits[1] < 3

    serve(model, scenario, timeout=0.2)
