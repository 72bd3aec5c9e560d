"""One HTML page of training runs (``fecnet report``). It reads what runs have written; it measures nothing itself."""
