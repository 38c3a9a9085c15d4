"""Webhook signatures, judged by the published verifier."""

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.domain.signatures import new_secret, sign

bodies = st.text().map(str.encode)


def headers(signature: str, message_id: str, timestamp: int) -> dict[str, str]:
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}


def now() -> int:
    return int(datetime.now(UTC).timestamp())


def is_accepted(secret: str, body: bytes, sent: dict[str, str]) -> bool:
    try:
        Webhook(secret).verify(body, sent, json_parse=False)
    except (WebhookVerificationError, UnicodeDecodeError):
        # The verifier decodes a body before it looks at the signature.
        return False
    return True


@given(body=bodies, message_id=st.from_regex(r"evt_[0-9a-zA-Z]{1,30}", fullmatch=True))
def test_the_published_verifier_accepts_our_signature(body: bytes, message_id: str) -> None:
    secret = new_secret()
    signature = sign(secret, message_id, now(), body)
    assert is_accepted(secret, body, headers(signature, message_id, now()))


@given(body=bodies.filter(len), place=st.integers(0), flip=st.integers(1, 255))
def test_any_changed_byte_is_rejected(body: bytes, place: int, flip: int) -> None:
    secret = new_secret()
    sent = headers(sign(secret, "evt_1", now(), body), "evt_1", now())
    place %= len(body)
    changed = body[:place] + bytes([body[place] ^ flip]) + body[place + 1 :]
    assert not is_accepted(secret, changed, sent)


def test_id_time_and_secret_are_signed_too() -> None:
    secret, time = new_secret(), now()
    signature = sign(secret, "evt_1", time, b"body")
    assert is_accepted(secret, b"body", headers(signature, "evt_1", time))
    assert not is_accepted(secret, b"body", headers(signature, "evt_2", time))
    assert not is_accepted(secret, b"body", headers(signature, "evt_1", time + 1))
    assert not is_accepted(new_secret(), b"body", headers(signature, "evt_1", time))


def test_the_signature_of_the_specification_is_reproduced() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_32_random_bytes() -> None:
    secrets = {new_secret() for _ in range(50)}
    assert len(secrets) == 50
    assert {len(base64.b64decode(secret.removeprefix("whsec_"))) for secret in secrets} == {32}


@pytest.mark.parametrize(
    ("secret", "message_id"),
    [("whsec_AAAA", "evt.1"), ("AAAA", "evt_1"), ("whsec_no base64", "evt_1"), ("whsk_AAAA", "evt_1")],
)
def test_what_cannot_be_signed_safely_is_refused(secret: str, message_id: str) -> None:
    with pytest.raises(ValueError, match=r"message id|webhook secret"):
        sign(secret, message_id, 1, b"")
