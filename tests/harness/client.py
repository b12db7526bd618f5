"""A Matrix client of the standard library, for tests that want to see what goes over the wire.

https://spec.matrix.org/v1.19/client-server-api/
"""

import http.client
import json
from urllib.parse import quote, urlencode, urlsplit

REQUEST_LIMIT_S = 40.0


class Refused(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, body: dict) -> None:
        super().__init__(f"{status} {body.get('errcode')}: {body.get('error')}")
        self.status = status
        self.errcode = body.get("errcode")


# What a client sees when the server dies under it.
BROKEN = (OSError, http.client.HTTPException)


class Client:
    """One user's session, over one connection that is kept."""

    def __init__(self, url: str, token: str | None = None, user_id: str = "") -> None:
        self.url = url
        self.token = token
        self.user_id = user_id
        self._connection: http.client.HTTPConnection | None = None

    @classmethod
    def register(cls, url: str, username: str, password: str = "secret") -> "Client":
        body = {"username": username, "password": password, "auth": {"type": "m.login.dummy"}}
        answer = cls(url).call("POST", "/v3/register", body)
        return cls(url, answer["access_token"], answer["user_id"])

    def another(self) -> "Client":
        """The same session over a connection of its own."""
        return Client(self.url, self.token, self.user_id)

    def call(self, method: str, path: str, body: dict | None = None, query: dict | None = None) -> dict:
        """One request to /_matrix/client. Raises `Refused`, or one of `BROKEN`."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=REQUEST_LIMIT_S)
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        target = "/_matrix/client" + path + ("?" + urlencode(query) if query else "")
        try:
            self._connection.request(method, target, None if body is None else json.dumps(body), headers)
            answer = self._connection.getresponse()
            parsed = json.loads(answer.read())
        except BROKEN:
            self.close()
            raise
        except ValueError as error:
            self.close()
            raise http.client.HTTPException(f"{method} {path}: not JSON") from error
        if answer.status != 200:
            raise Refused(answer.status, parsed)
        return parsed

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def create_room(self, **options) -> str:
        return self.call("POST", "/v3/createRoom", options)["room_id"]

    def join(self, room: str) -> None:
        self.call("POST", f"/v3/join/{quote(room)}", {})

    def send(self, room: str, transaction: str, body: str) -> str:
        """Sends a text and returns its event id."""
        path = f"/v3/rooms/{quote(room)}/send/m.room.message/{quote(transaction)}"
        return self.call("PUT", path, {"msgtype": "m.text", "body": body})["event_id"]

    def sync(self, since: str | None = None, timeout_ms: int = 0, limit: int = 100) -> dict:
        query = {"timeout": timeout_ms, "filter": json.dumps({"room": {"timeline": {"limit": limit}}})}
        if since:
            query["since"] = since
        return self.call("GET", "/v3/sync", query=query)

    def messages(self, room: str, **query) -> dict:
        return self.call("GET", f"/v3/rooms/{quote(room)}/messages", query=query)

    def history(self, room: str, direction: str = "b", start: str | None = None) -> list[dict]:
        """All of a room's events in the order of `direction`, page by page."""
        events: list[dict] = []
        query = {"dir": direction, "limit": 100} | ({"from": start} if start else {})
        while True:
            page = self.messages(room, **query)
            events += page["chunk"]
            if "end" not in page:
                return events
            if page["end"] == query.get("from"):
                raise AssertionError(f"{room}: a page that ends where it begins, at {page['end']}")
            query["from"] = page["end"]


def texts(events: list[dict]) -> list[tuple[str, str, str]]:
    """(event id, sender, body) of the messages among events."""
    return [
        (event["event_id"], event["sender"], event["content"]["body"])
        for event in events
        if event["type"] == "m.room.message" and "body" in event["content"]
    ]
