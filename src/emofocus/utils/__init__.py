"""Atomic files, storage, progress, Markdown tables and plot style."""
