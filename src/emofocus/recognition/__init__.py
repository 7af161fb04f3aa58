"""Recognition: waveforms → predictions, timelines, events and explanations, without torch."""
