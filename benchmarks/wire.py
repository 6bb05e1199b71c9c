"""Wire: what every contender sends and is answered: the example of the API's documentation, one person at a time."""

import json

PATH = "/api/directoryObjects/sendSms"
TOKEN = "sandbox"  # noqa: S105 - it opens nothing
HEADERS = {"Adm-Authorization": TOKEN}

RESULT = {
    "resultType": 0,
    "innerMessages": [],
    "exception": None,
    "actualObjectDN": "CN=John Smith,CN=Users,DC=example,DC=com",
    "extraInfo": {},
}
ANSWER = json.dumps(RESULT)
"""The documented answer to a message that was taken."""


def recipient(number: int) -> str:
    """The DN of one of the people that are sent to."""
    return f"CN=User {number},OU=Staff,DC=example,DC=com"


def text(number: int) -> str:
    """What that person is told."""
    return f"Hello {number}"


def body(number: int) -> dict[str, str]:
    """The request for that person, to be made JSON of."""
    return {"directoryObject": recipient(number), "text": text(number)}


def require_taken(answers: int, messages: int) -> None:
    """Raises RuntimeError if not everybody was taken: a contender that loses messages has no speed."""
    if answers != messages:
        raise RuntimeError(f"only {answers} of {messages} messages were taken")
