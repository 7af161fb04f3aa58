"""Evaluation of models on labeled speech: `emofocus evaluate`."""

from emofocus.evaluation.assessment.evaluation import EvaluationOptions, Report, evaluate

__all__ = ["EvaluationOptions", "Report", "evaluate"]
