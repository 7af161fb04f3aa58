"""Export of a trained network to `model.onnx` with its model card."""
