"""Expression models whose weights are inside a package, each fed as its package feeds it: a file per package.

A file has ``load(folder)``, which reads the weights and gives an ``Opponent``, or raises ``Absent``. The code of a
package is neither imported nor copied: what it does to a face is described here anew. Weights are read without
executing anything of their files. ``benchmarks/shipped.py`` measures them.
"""
