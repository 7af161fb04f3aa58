"""Voice agents: the emotion of each turn of their user, for Pipecat and LiveKit Agents."""
