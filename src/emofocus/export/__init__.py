"""Trained network → model.onnx and its model card."""
