"""No secret of an address stays in text."""

import json

import pytest

from chandlery.errors import UserError
from chandlery.redaction import redacted, redacted_values


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pa@ss@host/a.csv", "https://***@host/a.csv"),
        ("see https://host/a?X-Amz-Signature=s3cret&b=1 now", "see https://host/a?*** now"),
        ("HTTPS://host/a?sig=s3cret", "HTTPS://host/a?***"),
        ("https://host/a#token=s3cret", "https://host/a?***"),
        ("postgresql://me:s3cret@db/x", "postgresql://***@db/x"),
        ('{"a": "http://host/a?token=s3cret\\u0026x=s3cret", "b": 1}', '{"a": "http://host/a?***", "b": 1}'),
        ("s3://bucket/what?.csv", "s3://bucket/what?.csv"),
        ("models:/digits@champion", "models:/digits@champion"),
        ("https://host/a@b/c.csv", "https://host/a@b/c.csv"),
    ],
)
def test_user_and_query_are_hidden_and_the_rest_stays(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_json_stays_json() -> None:
    document = {"source": "https://me:s3cret@host/a?sig=s3cret", "n": [1, "http://h/?k=s3cret"]}
    again = json.loads(redacted(json.dumps(document)))
    assert "s3cret" not in str(again)
    assert again == redacted_values(document)


def test_an_error_shows_no_secret() -> None:
    error = UserError("source https://me:s3cret@host/a: refused", "see https://host/a?sig=s3cret")
    assert "s3cret" not in f"{error} {error.args} {error.message} {error.hint}"
