"""The pages of a study: those of raters, with personal links, and the owner's (``owner.py``).

Without a token, no page shows anything of the study. Answers are stored by the thread that handles requests, since
passing one to another thread takes longer than its commit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route

from fecnet.rate.answers import AnswerConflict, AnswerRefused, GivenAnswer, take_answer
from fecnet.rate.owner import add_owner
from fecnet.rate.picture_files import picture
from fecnet.rate.raters import Rater, find_rater, is_open_link, join
from fecnet.rate.study import CONSENT, INSTRUCTIONS, Study
from fecnet.rate.tasks import Task, progress_of, tasks_from
from fecnet.rate.texts import as_html
from fecnet.utils.errors import UserError
from fecnet.web.app import error, new_app, templates
from fecnet.web.bodies import read_json

_HERE = Path(__file__).parent
MAX_BODY = 64 * 1024  # bytes: an answer has some hundred
_FIELDS = ("number", "key", "place", "seconds", "replaces")
_UNKNOWN_LINK = "this link is not known; ask whoever sent it for another one"


def study_app(study: Study, owner_token: str) -> Starlette:
    """The application of a study.

    Args:
        study: an open study, locked by this server.
        owner_token: token of the owner's link.
    """
    app = new_app("fecnet rate", _HERE / "static", description="Judgements of triplets of faces.")
    pages = templates(_HERE / "templates")
    _add_pages(app, study, pages)
    _add_interface(app, study)
    add_owner(app, study, pages, owner_token)
    # a full disk is a temporary error of the server: the page keeps the answer and sends it again
    app.add_exception_handler(OSError, _no_room)
    # most requests are answers, and FastAPI's dispatch would take as long as storing one
    answers = Route("/r/{token}/answers", _answers(study))
    return Starlette(routes=[answers, Mount("/", app)], exception_handlers=app.exception_handlers)


def _add_pages(app: FastAPI, study: Study, pages: Any) -> None:
    def page(name: str, status: int = 200, **values: Any) -> Response:
        return HTMLResponse(pages.get_template(name).render(**values), status)

    def texts() -> dict[str, Any]:
        return {
            "question": study.setting("question"),
            "instructions": as_html(study.text(INSTRUCTIONS)),
            "consent": as_html(study.text(CONSENT)),
        }

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return page("message.html", title="Faces", text="To take part, open the link that was sent to you.")

    @app.get("/r/{token}", include_in_schema=False)
    async def rater_page(token: str) -> Response:
        if find_rater(study, token) is None:
            return page("message.html", 404, title="Unknown link", text=f"Sorry, {_UNKNOWN_LINK}.")
        return page("rater.html", **texts())

    @app.get("/join/{token}", include_in_schema=False)
    async def join_page(token: str) -> Response:
        if not is_open_link(study, token):
            return page("message.html", 404, title="Unknown link", text=f"Sorry, {_UNKNOWN_LINK}.")
        return page("join.html", **texts())

    @app.post("/join/{token}", include_in_schema=False)
    async def join_study(token: str) -> Response:
        if not is_open_link(study, token):
            raise HTTPException(404, _UNKNOWN_LINK)
        if study.setting("stopped"):
            return page("message.html", 423, title="Paused", text="The study is paused. Please come back later.")
        own = join(study)
        if own is None:
            text = "As many people take part as this link was made for. Whoever sent it can make another one."
            return page("message.html", 403, title="No more places", text=text)
        return RedirectResponse(f"/r/{own}#agreed", 303)


def _add_interface(app: FastAPI, study: Study) -> None:
    @app.get("/r/{token}/tasks", summary="Tasks of a rater, from a number on or from the first without an answer")
    async def tasks(token: str, first: int | None = None) -> Response:
        rater = _rater_of(study, token)
        if first is not None and not 1 <= first < 1 << 53:
            raise UserError(f"first: {first}; allowed: the number of a task, from 1")
        if rater.excluded:
            return JSONResponse({"state": "excluded", "tasks": [], "done": 0, "total": 0})
        found = tasks_from(study, rater.id, first)
        progress = progress_of(study, rater.id)
        state = "paused" if study.setting("stopped") else "open"
        told = {"state": state, "tasks": [*map(_told, found)], "done": progress.done, "total": progress.total}
        return JSONResponse(told)

    @app.get("/r/{token}/faces/{number}", summary="A picture of a task of this rater")
    async def face(token: str, number: int) -> Response:
        rater = _rater_of(study, token)
        number = number if 0 < number < 1 << 53 else 0  # SQLite takes no larger ones
        row = study.one(
            "SELECT file FROM faces WHERE id = ? AND EXISTS (SELECT 1 FROM tasks "
            "JOIN triplets ON triplets.id = triplet WHERE rater = ? AND ? IN (a, b, c))",
            number,
            rater.id,
            number,
        )
        return picture(study, None if row is None else row["file"])


def _answers(study: Study) -> type[HTTPEndpoint]:
    known: dict[str, Rater] = {}  # raters by token; whether one is excluded is read again with each answer

    class Answers(HTTPEndpoint):
        async def post(self, request: Request) -> Response:
            token = request.path_params["token"]
            rater = known.get(token) or known.setdefault(token, _rater_of(study, token))
            given = _given(await read_json(request))
            try:
                return JSONResponse({"answer": take_answer(study, rater, given)})
            except AnswerConflict as conflict:
                return JSONResponse({"error": str(conflict), "answer": conflict.answer}, 409)
            except AnswerRefused as refused:
                return error(403 if _rater_of(study, token).excluded else 423, str(refused))

    return Answers


def _rater_of(study: Study, token: str) -> Rater:
    rater = find_rater(study, token)
    if rater is None:
        raise HTTPException(404, _UNKNOWN_LINK)
    return rater


def _told(task: Task) -> dict[str, Any]:
    # what is stored as "cannot tell" has an answer and no place
    return {"number": task.number, "faces": task.faces, "answer": task.answer, "place": task.place}


def _given(sent: dict[str, Any]) -> GivenAnswer:
    unknown = sorted(set(sent) - set(_FIELDS))
    lacking = [name for name in _FIELDS if name not in sent]
    if unknown or lacking:
        raise UserError(f"an answer has the fields {', '.join(_FIELDS)}; seen: {', '.join(map(str, sent)) or 'none'}")
    return GivenAnswer(**sent)


async def _no_room(_: Request, raised: Exception) -> Response:
    return error(507, f"the server could not store this: {getattr(raised, 'strerror', None) or raised}")
