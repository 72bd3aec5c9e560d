"""Distributed processes, environment, files, errors, logging. Imports no other package of fecnet."""
