"""The profile: processor time is put down to the layer that used it, all of it and no more."""

import time
from collections.abc import Callable

import pytest

from benchmarks.layers import LAYERS, OTHERS, WRITER, Sampler

ENOUGH = 200
"""Times that a processor is kept busy for a moment, until its clock must have ticked."""
BUSY = """
import time
def work(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(100))
"""


def code_in(path: str) -> Callable[[float], None]:
    """Something that keeps a processor busy for so many seconds, as if it stood in this file."""
    names: dict[str, Callable[[float], None]] = {}
    exec(compile(BUSY, path, "exec"), names)  # noqa: S102 - the text above
    return names["work"]


@pytest.mark.parametrize("part", LAYERS)
def test_processor_time_is_put_down_to_the_layer_whose_code_used_it(part: str) -> None:
    work = code_in(f"/somewhere{part}" if part.endswith(".py") else f"/somewhere{part}code.py")
    with Sampler() as sampler:
        for _ in range(ENOUGH):
            work(0.01)
            if sampler.seconds[LAYERS[part]] > 0.05:  # the clock ticks when it ticks
                break
    assert sampler.seconds[LAYERS[part]] > 0.5 * sum(sampler.seconds.values())


def test_the_parts_add_up_to_what_was_used() -> None:
    began = time.process_time()
    with Sampler() as sampler:
        code_in("/somewhere/aiohttp/code.py")(0.02)
        code_in("/somewhere/bulksms/engine/code.py")(0.02)
    used = time.process_time() - began
    assert sum(sampler.seconds.values()) == pytest.approx(used, rel=0.1)


def test_what_is_nobody_s_belongs_to_its_caller_and_without_one_to_the_rest() -> None:
    with Sampler() as sampler:
        code_in("/somewhere/json/code.py")(0.05)
    in_test = sampler.seconds[OTHERS] + sampler.seconds[LAYERS["/benchmarks/"]]
    assert in_test + sampler.seconds[WRITER] == pytest.approx(sum(sampler.seconds.values()))
