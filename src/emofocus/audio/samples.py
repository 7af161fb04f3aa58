"""Samples in an array, a list or a tensor → floats of shape (channels, T)."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.channels import Channels
from emofocus.errors import AudioError

Waveform: TypeAlias = NDArray[np.float32]
"""Mono samples of shape (T,)."""

SIXTEEN_BITS = 1 << 15
"""Full scale of samples of 16 bits."""


def checked_rate(rate: Any) -> int:
    """A sampling rate in hertz.

    Raises:
        AudioError: Not a positive whole number.
    """
    if not isinstance(rate, int | np.integer) or isinstance(rate, bool) or rate <= 0:
        raise AudioError(f"sampling_rate must be a positive whole number of hertz, not {rate!r}")
    return int(rate)


def channels_of(array: Any, whole: bool = False) -> Channels:
    """Samples (T,) or (channels, T), floats or integers of any width → floats (channels, T).

    Args:
        array: An array, a list of numbers, or a tensor of torch, on any device.
        whole: Whether these are all samples of a recording, and no chunk, which may be soft.

    Raises:
        AudioError: Something else, or a whole recording of wide integers that hold samples of fewer bits.
    """
    samples = _as_array(array)
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fiu" or samples.shape[:-1] == (0,):
        raise AudioError(f"array must hold numbers of shape (T,) or (channels, T), not {samples.dtype} {samples.shape}")
    if samples.ndim == 2 and samples.shape[0] > samples.shape[1] > 0:
        raise AudioError(f"array of shape {samples.shape} looks like (T, channels); pass (channels, T)")
    if whole and samples.dtype.kind in "iu" and samples.dtype.itemsize >= 4:
        _refuse_narrow(samples)
    return as_float(np.atleast_2d(samples))


def _as_array(array: Any) -> NDArray[Any]:
    """Anything that holds numbers, as an array.

    Raises:
        AudioError: Nothing of the kind.
    """
    try:
        if hasattr(array, "detach"):  # a tensor of torch, which converts none that has a gradient, or is elsewhere
            array = array.detach().cpu()
            array = array.float() if str(array.dtype) == "torch.bfloat16" else array  # numpy has no such type
        if isinstance(array, np.ndarray) and np.any(getattr(array, "mask", False)):  # numpy.ma is slow to load
            raise AudioError("array holds masked samples; fill them, or leave them out")
        samples = np.asarray(array)
        return samples.astype(np.float32) if samples.dtype.name == "bfloat16" else samples
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:  # e.g. rows of different lengths
        raise AudioError(f"array must hold numbers of shape (T,) or (channels, T) ({error})") from error


def _refuse_narrow(samples: NDArray[Any]) -> None:
    """Refuse wide integers that hold samples of fewer bits: at their own scale they would be silence.

    Raises:
        AudioError: All are smaller than the full scale of the next narrower type.
    """
    largest = max(int(samples.max()), -int(samples.min())) if samples.size else 0
    bits = 8 * samples.dtype.itemsize
    narrower = "int16" if largest <= SIXTEEN_BITS or bits == 32 else "int32"
    if 0 < largest <= np.iinfo(narrower).max + 1:
        raise AudioError(
            f"array holds integers up to {largest} as {samples.dtype}, whose full scale is 2^{bits - 1}; "
            f"if they are samples of {narrower[3:]} bits, pass numpy.asarray(array, numpy.{narrower})"
        )


def as_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Integers of any width to [-1, 1); floats with their values."""
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes infinite, which is refused later
            return samples.astype(np.float32)
    limits = np.iinfo(samples.dtype)
    middle = (int(limits.max) + int(limits.min) + 1) / 2  # 0 when signed, 128 for 8-bit unsigned
    return ((samples - middle) / ((int(limits.max) - int(limits.min) + 1) / 2)).astype(np.float32)
