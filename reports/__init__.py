"""What people read: the workbook and its pictures. Nothing here computes a measure; the ledger does."""
