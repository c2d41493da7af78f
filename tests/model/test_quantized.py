"""8-bit and 4-bit weights: by bitsandbytes where it is installed, and a reason where it is not."""

from __future__ import annotations

import importlib.util
import logging

import numpy as np
import pytest

import explorer
from explorer.model import devices
from explorer.model.errors import ModelError

INSTALLED = importlib.util.find_spec("bitsandbytes") is not None


@pytest.mark.skipif(INSTALLED, reason="bitsandbytes is installed")
@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_that_without_the_package_the_reason_is_told(dtype: str) -> None:
    with pytest.raises(ModelError, match="bitsandbytes is not installed"):
        explorer.load("en-gpt", device="cpu", dtype=dtype)
    reasons = {choice.name: choice.unavailable for choice in devices.precision_choices("cuda")}
    assert "bitsandbytes" in reasons[dtype]


@pytest.mark.skipif(not INSTALLED, reason="bitsandbytes is not installed")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_that_packed_weights_are_smaller_and_near_the_same(
    dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "bitsandbytes")
    whole = explorer.load("en-gpt", device="cpu", dtype="float32")
    packed = explorer.load("en-gpt", device="cpu", dtype=dtype)
    assert packed.info.dtype == dtype
    assert packed.info.parameter_count == whole.info.parameter_count
    expected = explorer.inspect("en-gpt").bytes_by_dtype[dtype]
    assert packed.info.resident_bytes == pytest.approx(expected, rel=0.15)
    text = "The cat sat on the"
    ours, theirs = packed.generate(text), whole.generate(text)
    logits = [run.step().logits for run in (ours, theirs)]
    assert np.corrcoef(*logits)[0, 1] > (0.99 if dtype == "int8" else 0.9)
    assert ours.attention("decoder", 0, 0).sum(-1) == pytest.approx(1.0, abs=1e-3)
