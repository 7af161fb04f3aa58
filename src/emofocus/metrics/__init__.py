"""WA, UA and F1, calibration, intervals and paired tests."""
