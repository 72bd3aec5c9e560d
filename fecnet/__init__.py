"""fecnet: learn when two facial expressions look alike to people."""

__version__ = "0.1.0"
