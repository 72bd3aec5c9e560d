"""Shared parts of fecnet's web pages: a guarded FastAPI application, a server, uploads, tokens.

Only this package, ``fecnet.serve`` and ``fecnet.rate`` import the packages of the extra ``web``, and commands import
these three inside functions, after ``fecnet.web.extra.check_web``.
"""
