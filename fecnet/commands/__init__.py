"""The commands of ``fecnet``, one file each: ``add(parser)`` describes one; only running it imports torch or numpy."""
