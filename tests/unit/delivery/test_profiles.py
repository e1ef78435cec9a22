"""The table of receiver profiles: what is guessed from a URL, and what an answer means to whom."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.delivery.ladder import RESUME, SUBSCRIPTION
from service.delivery.profiles import PROFILES, STANDARD, guess, profile_of, understood

PAGE = (Path(__file__).parents[3] / "docs" / "events.md").read_text(encoding="utf-8")
UUID = "0b1f6c0e-5a4d-4c8e-9a53-7f1d0a9b2c3d"
profiles = st.sampled_from(sorted(PROFILES))


def test_the_profiles_are_the_documented_ones():
    """There are eight, and the page has a row for each."""
    section = PAGE.partition("## Receivers that Halley knows")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", section, re.MULTILINE)

    assert list(PROFILES) == rows
    assert rows == [
        "standard",
        "n8n-resume",
        "n8n-webhook",
        "zapier-hook",
        "zapier-callback",
        "make",
        "power-automate",
        "plain",
    ]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://n8n.example/webhook-waiting/231", "n8n-resume"),
        ("https://n8n.example/webhook-waiting/231?signature=ab%2Fc", "n8n-resume"),
        ("https://n8n.example/webhook-waiting/231/my-suffix?signature=abc", "n8n-resume"),
        ("http://10.0.0.7:5678/tools/webhook-waiting/231", "n8n-resume"),
        ("https://flows.example/WEBHOOK-WAITING/231", "n8n-resume"),
        ("https://acme.app.n8n.cloud/webhook/orders", "n8n-webhook"),
        ("https://n8n.example:8443/webhook-test/orders", "n8n-webhook"),
        ("https://my-n8n.example/webhook/a/b", "n8n-webhook"),
        (f"https://flows.example/webhook/{UUID}", "n8n-webhook"),
        (f"https://flows.example/webhook/{UUID}/part", "n8n-webhook"),
        ("https://flows.example/webhook-test/orders", "n8n-webhook"),
        ("https://hooks.zapier.com/hooks/catch/123/abc/", "zapier-hook"),
        ("https://hooks.zapier.com/hooks/standard/123/abc/", "zapier-hook"),
        ("HTTPS://HOOKS.ZAPIER.COM/hooks/catch/123/abc/", "zapier-hook"),
        ("https://zapier.com/hooks/callback/abc/def/", "zapier-callback"),
        ("https://hooks.zapier.com/hooks/callback/abc/", "zapier-callback"),
        ("https://hook.eu2.make.com/abcdefgh", "make"),
        ("https://hook.us1.make.celonis.com/abcdefgh", "make"),
        ("https://hook.integromat.com/abcdefgh", "make"),
        (
            "https://prod-12.westeurope.logic.azure.com:443/workflows/ab/triggers/manual/paths/invoke?sig=x",
            "power-automate",
        ),
        (
            "https://d1.a.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/ab/triggers/x?sig=x",
            "power-automate",
        ),
        ("https://emea.powerautomate.com/direct/workflows/ab/triggers/manual/paths/invoke", "power-automate"),
        ("https://example.com/webhook/orders", "standard"),
        ("https://example.com/webhook-waiting/", "standard"),
        ("https://example.com/my-webhook-waiting/7", "standard"),
        ("https://example.com/?next=/webhook-waiting/7", "standard"),
        ("https://example.com/#/webhook-waiting/7", "standard"),
        ("https://n8n.example/rest/orders", "standard"),
        ("https://nn8nn.example/webhook/orders", "standard"),
        ("https://hooks.zapier.com.evil.example/hooks/catch/1/a/", "standard"),
        ("https://evil.example/hooks.zapier.com/hooks/catch/1/a/", "standard"),
        ("https://www.make.com/en/help", "standard"),
        ("https://prod-12.westeurope.logic.azure.com/", "standard"),
        ("https://[::1/x", "standard"),
        ("", "standard"),
    ],
)
def test_the_profile_is_guessed_from_the_url(url: str, name: str):
    """Host and path of well-known receivers are recognised, and nothing that only looks a little like them."""
    assert guess(url).name == name


@given(st.text(max_size=300))
def test_any_text_has_a_guess(url: str):
    """Guessing never fails."""
    assert guess(url).name in PROFILES


@pytest.mark.parametrize(
    ("name", "status", "answer", "meaning"),
    [
        ("standard", 404, "", "failed"),
        ("standard", 409, "", "failed"),
        ("standard", 200, "n8n is starting up. Please wait", "not_ready"),
        ("n8n-resume", 404, "", "not_ready"),
        ("n8n-resume", 409, 'The execution "7" is running already.', "not_ready"),
        ("n8n-resume", 409, 'The execution "7 has finished already.', "gone"),
        ("n8n-resume", 409, 'The execution "7" has finished with error.', "gone"),
        ("n8n-resume", 404, "has finished", "not_ready"),
        ("n8n-resume", 401, '{"error":"Invalid token"}', "gone"),
        ("n8n-resume", 401, "<h1>Authorization Required</h1>", "failed"),
        ("n8n-webhook", 404, "", "failed"),
        ("zapier-callback", 404, "", "failed"),
        ("make", 400, "Queue is full.", "throttled"),
        ("make", 404, "", "failed"),
        ("power-automate", 202, "", "delivered"),
        ("power-automate", 404, "", "failed"),
        ("plain", 400, "", "failed"),
    ],
)
def test_profiles_differ_in_what_an_answer_means(name: str, status: int, answer: str, meaning: str):
    """What is final for one receiver is worth another attempt for the next."""
    told, reason = understood(profile_of(name), status, answer)

    assert told == meaning
    assert str(status) in reason
    assert reason.endswith(".")


@pytest.mark.parametrize("name", ["n8n-resume", "n8n-webhook"])
def test_a_sender_that_n8n_takes_for_a_bot_is_told_what_to_remove(name: str):
    """n8n's own answer speaks of a sign-in; the option that is meant is named beside it, and the event is kept."""
    told, reason = understood(profile_of(name), 403, "Authorization data is wrong!")

    assert (told, "Ignore Bots" in reason) == ("failed", True)


@given(profiles, st.integers(200, 299), st.text(max_size=50))
def test_2xx_is_delivered_for_all(name: str, status: int, answer: str):
    """No profile knows a success that is none, but for the one sentence of n8n's below."""
    assert understood(profile_of(name), status, answer)[0] == "delivered"


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_an_n8n_that_starts_has_taken_nothing(name: str):
    """It says 200 to every path, and its webhooks may be anywhere."""
    meaning, reason = understood(profile_of(name), 200, "n8n is starting up. Please wait")

    assert meaning == "not_ready"
    assert "not ready yet" in reason
    assert understood(profile_of(name), 201, "n8n is starting up. Please wait")[0] == "delivered"


@given(profiles, st.text(max_size=50))
def test_410_ends_for_all(name: str, answer: str):
    """No profile sends again to what is gone."""
    assert understood(profile_of(name), 410, answer)[0] == "gone"


@given(profiles, st.sampled_from([429, 502, 503, 504]))
def test_signs_of_overload_slow_all_down(name: str, status: int):
    """Each profile knows them."""
    assert understood(profile_of(name), status, "")[0] == "throttled"


@given(profiles, st.integers(300, 399))
def test_redirects_are_failures_for_all(name: str, status: int):
    """They say so."""
    meaning, reason = understood(profile_of(name), status, "")

    assert meaning == "failed"
    assert "redirects are not followed" in reason


def test_only_executions_that_wait_are_tried_densely():
    """The ladder of resume URLs is theirs alone, and only `plain` gets the bare run."""
    assert {name: each.ladder for name, each in PROFILES.items() if each.ladder is not SUBSCRIPTION} == {
        "n8n-resume": RESUME
    }
    assert {name for name, each in PROFILES.items() if each.envelope == "run"} == {"plain"}


def test_a_profile_of_another_version_is_served_like_any_receiver():
    """A row may name a profile that this version does not have."""
    assert profile_of("teams") is STANDARD
