"""What the pages of fecnet share: a guarded application on FastAPI, a server on this machine, uploads, tokens.

Only this package, ``fecnet.serve`` and ``fecnet.rate`` import the packages of the extra ``web``, and commands import
these three inside functions, after ``fecnet.web.extra.check_web``.
"""
