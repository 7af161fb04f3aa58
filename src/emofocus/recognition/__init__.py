"""Waveform → prediction, without torch."""
