"""Proof of a workbook, as it was written or as others saved it."""
