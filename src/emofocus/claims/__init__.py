"""The paper's claims about attention, measured on trained folds: files, and the tables and figures made of them."""

from emofocus.claims.measured import read_measures
from emofocus.claims.measuring import HEADS, ClaimSettings, keep_settings, measure_fold
from emofocus.claims.tables import write_tables

__all__ = ["HEADS", "ClaimSettings", "keep_settings", "measure_fold", "read_measures", "write_tables"]
