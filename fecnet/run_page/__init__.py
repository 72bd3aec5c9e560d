"""One HTML page of training runs (``fecnet report``), from the files of the runs; no metric is computed here."""
