"""Emotions of the turns that a diarization or a transcript names: who says what, and how."""
