"""The chat box, on a real model and on answers that no model gives at will."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..test_clients import Server
from .conftest import Visit, url_of, visiting

pytestmark = pytest.mark.engine


def say(visit: Visit, text: str) -> None:
    visit.page.get_by_role("textbox", name="Message").fill(text)
    visit.page.get_by_role("button", name="Send").click()


def answers(visit: Visit) -> list[str]:
    return list(visit.page.locator("article.assistant > .text").all_inner_texts())


def answered(visit: Visit, n: int) -> bool:
    """n answers are there and none is being written."""
    page = visit.page
    return len(answers(visit)) == n and page.locator("article[aria-busy]").count() == 0


def endless(route: Any) -> None:
    """The same request, whose answer ends only where its length does."""
    route.continue_(post_data=json.dumps({**route.request.post_data_json, "ignore_eos": True}))


def stop_button(visit: Visit) -> Any:
    return visit.page.get_by_role("button", name="Stop")


def test_an_answer_comes_bit_by_bit_and_is_remembered(browser: Any, server: Server) -> None:
    with visiting(browser, url_of(server)) as visit:
        visit.until_live()
        visit.page.route("**/v1/chat/completions", endless)
        visit.page.get_by_label("Max tokens").fill("800")
        visit.page.get_by_label("Temperature").fill("0")
        say(visit, "Tell me a story about a mule.")
        seen = set()
        while not answered(visit, 1):
            seen.update(answers(visit))
        first = answers(visit)[0]
        foot = visit.page.locator("article.assistant > .fine").inner_text()
        status = visit.page.get_by_role("status").inner_text()
        visit.page.get_by_label("Max tokens").fill("20")
        say(visit, "And another one.")
        visit.until(lambda: answered(visit, 2))
        visit.page.get_by_role("button", name="New chat").click()
        assert visit.page.get_by_role("article", name="You").count() == 0
        assert visit.page.get_by_role("textbox", name="Message").evaluate(
            "node => node === document.activeElement"
        )
    assert len(seen - {""}) > 1 and all(first.startswith(part) for part in seen)
    assert "tokens/s" in foot and status == "The answer is complete."
    one, two = visit.asked
    assert one == {
        "messages": [{"role": "user", "content": "Tell me a story about a mule."}],
        "stream": True,
        "max_tokens": 800,
        "temperature": 0,
    }
    assert [message["role"] for message in two["messages"]] == ["user", "assistant", "user"]
    assert two["messages"][1]["content"].strip() == first.strip()


def test_stop_ends_the_request_and_keeps_what_was_said(browser: Any, server: Server) -> None:
    with visiting(browser, url_of(server)) as visit:
        visit.until_live()
        visit.page.route("**/v1/chat/completions", endless)
        say(visit, "Tell me a story about a mule.")
        visit.until(lambda: len("".join(answers(visit))) > 20)
        assert server.get("/memory")["activity"]["n_running"] == 1
        stop_button(visit).click()
        visit.until(lambda: answered(visit, 1))
        assert not stop_button(visit).is_visible()
        said = answers(visit)[0]
        foot = visit.page.locator("article.assistant > .fine").inner_text()
        visit.until(lambda: server.get("/memory")["activity"]["n_running"] == 0)
        say(visit, "Go on.")
        visit.until(lambda: len(visit.asked) == 2)
        stop_button(visit).click()
    assert foot == "Stopped."
    assert visit.asked[1]["messages"][1] == {"role": "assistant", "content": said}


def test_what_the_server_refuses_is_said_and_can_be_sent_again(
    browser: Any, server: Server
) -> None:
    text = "mule " * 40_000
    with visiting(browser, url_of(server), expect_failures=True) as visit:
        visit.until_live()
        say(visit, text)
        alert = visit.page.get_by_role("alert")
        visit.until(lambda: "exceeds the available context size" in alert.inner_text())
        assert visit.page.get_by_role("textbox", name="Message").input_value() == text
        assert visit.page.get_by_role("article", name="You").count() == 0
        visit.page.get_by_label("Max tokens").fill("4")
        say(visit, "Hello")
        visit.until(lambda: answered(visit, 1))
        assert alert.inner_text() == ""
    assert [message["content"] for message in visit.asked[1]["messages"]] == ["Hello"]


def chunk(delta: dict[str, str], **more: Any) -> str:
    shape = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}], **more}
    return f"data: {json.dumps(shape)}\n\n"


def test_words_of_the_server_are_never_html(browser: Any, server: Server) -> None:
    evil = "<img src=x onerror=alert(1)><b>bold</b>"
    body = chunk({"reasoning_content": evil}) + chunk({"content": evil}) + "data: [DONE]\n\n"
    with visiting(browser, url_of(server)) as visit:
        visit.page.route("**/v1/chat/completions", lambda route: route.fulfill(body=body))
        visit.until_live()
        say(visit, evil)
        visit.until(lambda: answered(visit, 1))
        assert answers(visit) == [evil]
        visit.page.get_by_text("Reasoning").click()
        assert visit.page.locator("article details .text").inner_text() == evil
        assert visit.page.locator("#messages :is(img, b)").count() == 0


def test_an_answer_that_breaks_off_does_not_count(browser: Any, server: Server) -> None:
    error = {"error": {"code": 503, "message": "the engine ended", "type": "unavailable_error"}}
    body = chunk({"content": "Once upon"}) + f"data: {json.dumps(error)}\n\n"
    with visiting(browser, url_of(server)) as visit:
        visit.page.route("**/v1/chat/completions", lambda route: route.fulfill(body=body))
        visit.until_live()
        say(visit, "Hello")
        visit.until(lambda: visit.page.get_by_role("alert").inner_text() == "The engine ended.")
        assert answers(visit) == ["Once upon"]
        assert "Broken off" in visit.page.locator("article.assistant > .fine").inner_text()
        visit.page.unroute("**/v1/chat/completions")
        visit.page.get_by_label("Max tokens").fill("4")
        say(visit, "Hello again")
        visit.until(lambda: len(visit.asked) == 2 and answered(visit, 2))
    assert len(visit.asked[1]["messages"]) == 1


def test_the_keyboard_is_enough(browser: Any, server: Server) -> None:
    def focused() -> str:
        return str(visit.page.evaluate("document.activeElement.id"))

    with visiting(browser, url_of(server)) as visit:
        visit.until_live()
        press = visit.page.keyboard.press
        press("Tab")
        skip = visit.page.get_by_role("link", name="Skip to the chat")
        assert skip.bounding_box()["y"] >= 0, "it shows when it has the focus"
        press("Enter")
        assert focused() == "chat"
        press("Tab")  # the conversation, which scrolls
        assert focused() == "messages"
        press("Tab")
        assert focused() == "message"
        outline = visit.page.locator("#message").evaluate("n => getComputedStyle(n).outlineStyle")
        assert outline == "solid"
        visit.page.keyboard.type("Tell me")
        press("Shift+Enter")
        visit.page.keyboard.type("a story.")
        press("Tab")
        press("Tab")
        assert focused() == "max-tokens"
        visit.page.keyboard.type("3")
        press("Tab")
        assert focused() == "send"
        press("Enter")
        visit.until(lambda: answered(visit, 1))
    assert visit.asked[0]["messages"][0]["content"] == "Tell me\na story."
    assert visit.asked[0]["max_tokens"] == 3
