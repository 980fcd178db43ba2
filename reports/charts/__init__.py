"""The native charts of the workbook."""
