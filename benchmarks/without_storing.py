"""The application whose webhook answers 202 without storing: the reference for durable intake.

    python -m benchmarks.without_storing serve

All else is the product's: the server, the middleware, the route, the secret, parsing, deduplication's hash
and the answer. Only the steps that make the signal durable are omitted.
"""

import runpy
from uuid import UUID

from app import main
from app.intake.service import IntakeService
from app.intake.storing import Post


class AnswersAtOnce(IntakeService):
    """Treats every post as stored."""

    async def _commit(self, post: Post, *_: object) -> tuple[UUID, bool]:
        return post.id, False


if __name__ == "__main__":
    vars(main)["IntakeService"] = AnswersAtOnce  # the object that the composition root gives the route
    runpy.run_module("app", run_name="__main__", alter_sys=True)
