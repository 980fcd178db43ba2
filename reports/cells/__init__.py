"""How tables get onto sheets: fields, formulas, formats, rows as XML, and the file."""
