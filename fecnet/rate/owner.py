"""The owner's page: progress, agreement and reliability of the raters; stop and resume the study, exclude raters."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from fecnet.rate.overview import HOURS, Overview, coefficient, overview_of, percent
from fecnet.rate.picture_files import picture
from fecnet.rate.raters import exclude
from fecnet.rate.study import Study
from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown
from fecnet.web.bodies import read_form
from fecnet.web.tokens import same_token

_BAR_HEIGHT = 100  # units of the drawing


def add_owner(app: FastAPI, study: Study, pages: Any, token: str) -> None:
    """Add the owner's routes to the application of a study.

    Args:
        app: the application.
        study: an open study.
        pages: its templates.
        token: token of the owner's link.
    """

    def check(given: str) -> None:
        if not same_token(given, token):
            raise HTTPException(404, "this link is not known; the server prints the owner's link when it starts")

    def overview() -> Overview:
        with Study(study.path) as own:  # a separate connection, so that answers are accepted meanwhile
            return overview_of(own)

    @app.get("/owner/{given}", include_in_schema=False)
    async def owner_page(given: str) -> Response:
        check(given)
        found = await run_in_threadpool(overview)
        template = pages.get_template("owner.html")
        text = template.render(
            found=found,
            name=study.path.resolve().name,
            question=study.setting("question"),
            bars=_bars(found.hours),
            hours=HOURS,
            base=f"/owner/{given}",
            percent=percent,
            coefficient=coefficient,
        )
        return HTMLResponse(text, headers={"cache-control": "no-store"})

    @app.post("/owner/{given}/state", include_in_schema=False)
    async def state(given: str, request: Request) -> Response:
        check(given)
        study.set(stopped=await _choice(request, "stopped"))
        return RedirectResponse(f"/owner/{given}", 303)

    @app.post("/owner/{given}/raters/{number}", include_in_schema=False)
    async def rater(given: str, number: int, request: Request) -> Response:
        check(given)
        exclude(study, number, excluded=await _choice(request, "excluded"))
        return RedirectResponse(f"/owner/{given}", 303)

    @app.get("/owner/{given}/faces/{number}", include_in_schema=False)
    async def face(given: str, number: int) -> Response:
        check(given)
        row = study.one("SELECT file FROM faces WHERE id = ?", number) if 0 < number < 1 << 53 else None
        return picture(study, None if row is None else row["file"])


async def _choice(request: Request, name: str) -> bool:
    form = await read_form(request, max_file=0, max_files=0)
    if form.text.get(name) not in ("yes", "no"):
        raise UserError(f"{name}: {shown(form.text.get(name))}; allowed: yes, no")
    return form.text[name] == "yes"


def _bars(counts: tuple[int, ...]) -> list[dict[str, int]]:
    """Place, height and number of each bar of the answers per hour."""
    most = max(max(counts), 1)
    return [
        {"x": place * 10, "height": -(-_BAR_HEIGHT * count // most), "count": count, "ago": len(counts) - 1 - place}
        for place, count in enumerate(counts)
    ]
