from tests.api.conftest import AppServer


async def test_serves(app_server: AppServer) -> None:
    async with app_server.http.get("/openapi.json") as answer:
        assert answer.status == 200
