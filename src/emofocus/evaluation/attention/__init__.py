"""The paper's claims about attention, measured on trained folds, with tables and figures of the measures."""

from emofocus.evaluation.attention.measure import HEADS, ClaimSettings, keep_settings, measure_fold
from emofocus.evaluation.attention.measurements import read_measures
from emofocus.evaluation.attention.tables import write_tables

__all__ = ["HEADS", "ClaimSettings", "keep_settings", "measure_fold", "read_measures", "write_tables"]
