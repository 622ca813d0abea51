"""What a person sees and does on the page to chat, in a real Chromium."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.contract.page.conftest import Answer, Chat, Open
from tests.doubles.model_server import Call

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_an_answer_is_seen_while_it_comes_with_its_figures(visit: Open) -> None:
    chat = await visit()
    answer = await chat.ask("What is a pod?")
    assert answer.asked["messages"] == [{"role": "user", "content": "What is a pod?"}]
    assert answer.asked["model"] == "tiny" and answer.asked["stream"] is True
    assert not {"temperature", "top_p", "max_tokens"} & set(answer.asked)
    await answer.say("A group ")
    await chat.page.until_shown(".body", "A group")
    await chat.page.until_shown(".foot", "first token ")
    await answer.say("of containers")
    await chat.page.until_shown(".body", "A group of containers")
    while "tokens/s" not in await chat.page.text(".foot"):
        await answer.say(".")
    assert "≈" in await chat.page.text(".foot")
    assert not await chat.page.read("document.querySelector('#stop').hidden")
    await answer.end(tokens=7)
    await chat.until_done()
    figures = await chat.page.text(".foot")
    assert "7 tokens" in figures and "tokens/s" in figures and "≈" not in figures
    assert await chat.page.text(".question") == "What is a pod?"
    assert chat.page.errors == [] and chat.page.hosts == {urlsplit(chat.url).netloc}


async def test_a_conversation_goes_on_and_a_new_one_forgets_it(visit: Open) -> None:
    chat = await visit()
    first = await chat.ask("one")
    await first.say("eins")
    await first.end(1)
    await chat.until_done()
    second = await chat.ask("two")
    assert [message["content"] for message in second.asked["messages"]] == ["one", "eins", "two"]
    await second.say("zwei")
    await second.end(1)
    await chat.until_done()
    await chat.page.click("#new")
    assert await chat.page.texts(".question") == []
    assert await chat.page.read("document.activeElement.id") == "prompt"
    third = await chat.ask("three")
    assert [message["content"] for message in third.asked["messages"]] == ["three"]
    await third.end(0)


@pytest.mark.parametrize("way", ["Escape", "the button"])
async def test_stop_ends_the_request_and_keeps_what_has_come(visit: Open, way: str) -> None:
    chat = await visit()
    answer = await chat.ask("Count.")
    await answer.say("1, 2, 3")
    await chat.page.until_shown(".body", "1, 2, 3")
    await (chat.page.press("Escape") if way == "Escape" else chat.page.click("#stop"))
    async with asyncio.timeout(10):
        await answer.call.gone.wait()
    await chat.until_done()
    assert "stopped" in await chat.page.text(".foot")
    on = await chat.ask("Go on.")
    assert [message["content"] for message in on.asked["messages"]] == ["Count.", "1, 2, 3", "Go on."]
    await on.end(0)
    assert chat.page.errors == []


async def test_enter_sends_and_with_shift_begins_a_line(visit: Open) -> None:
    chat = await visit()
    await chat.page.click("#prompt")
    low = await chat.page.read("document.querySelector('#prompt').clientHeight")
    for line in ("first", "second"):
        await chat.page.type(line)
        await chat.page.press("Enter", shift=True)
    await chat.page.type("third")
    assert await chat.page.read("document.querySelector('#prompt').clientHeight") > low
    await chat.page.press("Enter")
    answer = await chat.begin()
    assert answer.asked["messages"][0]["content"] == "first\nsecond\nthird"
    assert await chat.page.read("document.querySelector('#prompt').value") == ""
    await chat.page.type("too early")
    await chat.page.press("Enter")
    await answer.say("done")
    await answer.end(1)
    await chat.until_done()
    assert chat.server.calls.empty()
    assert await chat.page.read("document.querySelector('#prompt').value") == "too early"


async def test_a_click_on_an_idea_asks_it(visit: Open) -> None:
    chat = await visit()
    idea = await chat.page.text("#ideas button:nth-child(2)")
    await chat.page.click("#ideas button:nth-child(2)")
    answer = await chat.begin()
    assert answer.asked["messages"] == [{"role": "user", "content": idea}]
    await answer.end(0)


async def set_field(chat: Chat, field: str, value: str) -> None:
    await chat.page.click(f"#{field}")
    await chat.page.type(value)


async def test_settings_are_sent_and_kept_for_the_tab_alone(visit: Open) -> None:
    chat = await visit()
    await chat.page.click("#open")
    given = {"system": "Be brief.", "temperature": "0.5", "top_p": "0.9", "max_tokens": "12", "key": "key-of-alice"}
    for field, value in given.items():
        await set_field(chat, field, value)
    await chat.page.click("#done")
    answer = await chat.ask("Hi")
    asked = answer.asked
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (asked["temperature"], asked["top_p"], asked["max_tokens"]) == (0.5, 0.9, 12)
    await answer.end(0)
    assert await chat.page.read("localStorage.length") == 0
    assert await chat.page.read("document.cookie") == ""
    assert not any("key-of-alice" in url for url in chat.page.asked)
    await chat.open()
    await chat.page.click("#open")
    assert await chat.page.read("document.querySelector('#key').value") == "key-of-alice"
    assert await chat.page.read("document.querySelector('#key').type") == "password"
    await chat.page.press("Escape")
    assert not await chat.page.read("document.querySelector('#settings').open")


async def test_a_number_out_of_bounds_is_not_sent(visit: Open) -> None:
    chat = await visit()
    await chat.page.click("#open")
    await set_field(chat, "temperature", "3")
    await set_field(chat, "max_tokens", "-1")
    assert await chat.page.read("document.querySelectorAll(':is(input):invalid').length") == 2
    await chat.page.click("#done")
    answer = await chat.ask("Hi")
    assert not {"temperature", "max_tokens"} & set(answer.asked)
    await answer.end(0)


async def test_who_has_no_key_is_asked_for_one(visit: Open, tmp_path_factory: pytest.TempPathFactory) -> None:
    keys = tmp_path_factory.mktemp("keys")
    (keys / "alice").write_text("key-of-alice")
    chat = await visit(is_loaded=False, api_keys_dir=keys)
    await chat.page.open(chat.url)
    await chat.page.until_shown("#model", "needs an API key")
    await chat.page.until("document.activeElement.id === 'key'")
    await chat.page.type("key-of-alice")
    await chat.page.press("Enter")
    call = await chat.answer_models()
    assert call.headers["x-pagoda-tenant"] == "alice"
    await chat.page.until_shown("#model", "tiny")
    answer = await chat.ask("Hi")
    assert answer.call.headers["x-pagoda-tenant"] == "alice"
    await answer.end(0)


HOSTILE = """# Title

<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>

[link](javascript:document.title='owned') and ![image](https://evil.example/x.png)

- one **bold** and *slanted*
- two with `a < b`
  1. inner

| a | b |
|---|---|
| 1 | `2` |

```python
print("<b>")
```

> said
"""


async def test_what_a_model_writes_is_text_whatever_it_looks_like(visit: Open) -> None:
    chat = await visit()
    answer = await chat.ask("Write.")
    for at in range(0, len(HOSTILE), 7):
        await answer.say(HOSTILE[at : at + 7])
    await answer.end(99)
    await chat.until_done()
    tags = await chat.page.read("[...new Set([...document.querySelectorAll('.body *')].map((e) => e.tagName))].sort()")
    expected = "BLOCKQUOTE BUTTON CODE DIV EM H3 LI OL P PRE SPAN STRONG TABLE TD TH TR UL"
    assert tags == expected.split()
    body = await chat.page.text(".body")
    assert '<img src=x onerror="document.title=' in body and "](javascript:" in body and "https://evil.example" in body
    assert await chat.page.text(".body ul ol li") == "inner"
    assert await chat.page.text(".body pre") == 'print("<b>")'
    assert await chat.page.texts(".body li > code") == ["a < b"]
    assert "owned" not in await chat.page.read("document.title")
    assert chat.page.hosts == {urlsplit(chat.url).netloc} and chat.page.errors == []


async def test_drawing_piece_by_piece_gives_what_drawing_at_once_gives(visit: Open) -> None:
    chat = await visit()
    drawn = []
    for size in (1, 5, len(HOSTILE)):
        answer = await chat.ask("Write.")
        for at in range(0, len(HOSTILE), size):
            await answer.say(HOSTILE[at : at + size])
        await answer.end(9)
        await chat.until_done()
        drawn.append(await chat.page.read("[...document.querySelectorAll('.body')].at(-1).innerHTML"))
    assert drawn[0] == drawn[1] == drawn[2]


async def test_the_policy_lets_no_markup_and_no_other_script_in(visit: Open) -> None:
    chat = await visit()
    for script in (
        "document.body.innerHTML = '<b>x</b>'",
        "document.body.setAttribute('onclick', 'document.title = 1') || document.body.onclick()",
        "document.body.append(Object.assign(document.createElement('script'), {text: 'document.title = 1'}))",
        "eval('1')",
    ):
        assert (
            await chat.page.read(f"(() => {{ try {{ {script}; return 'ran' }} catch (error) {{ return 'no' }} }})()")
            == "no"
        )
    assert await chat.page.read("fetch('https://other.example/').then(() => 'got', () => 'refused')") == "refused"
    assert "tiny" in await chat.page.read("document.title")


async def test_reasoning_is_folded_and_calls_of_tools_can_be_read(visit: Open) -> None:
    chat = await visit()
    answer = await chat.ask("Weather?")
    await answer.say(reasoning_content="The user wants ")
    await chat.page.until_shown(".thought summary", "Thinking")
    await answer.say(reasoning_content="the weather.")
    await answer.say("Let me look.")
    await chat.page.until_shown(".thought summary", "Thought for")
    assert "wants" not in await chat.page.text("article")
    for part in ('{"city": "P', 'aris"}'):
        function: dict[str, Any] = {"arguments": part} | ({"name": "weather"} if "city" in part else {})
        await answer.say(tool_calls=[{"index": 0, "function": function}])
    await answer.end(20, finish="tool_calls")
    await chat.until_done()
    assert await chat.page.text(".call pre") == '{\n  "city": "Paris"\n}'
    assert "calls weather" in await chat.page.text(".call")
    await chat.page.click(".thought summary")
    assert await chat.page.text(".thought div") == "The user wants the weather."
    on = await chat.ask("And?")
    assert [message["content"] for message in on.asked["messages"]] == ["Weather?", "Let me look.", "And?"]
    await on.end(0)


async def refuse(call: Call, status: int, message: str) -> None:
    body = json.dumps({"error": {"message": message, "type": "x", "param": None, "code": "x"}})
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nRetry-After: 7\r\n"
    await call.send(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    call.writer.close()


async def test_an_error_is_told_in_the_words_of_the_api_and_can_be_tried_again(visit: Open) -> None:
    chat = await visit()
    await chat.page.click("#prompt")
    await chat.page.type("Hi")
    await chat.page.press("Enter")
    await refuse(await chat.server.next_call(), 503, "the model is not ready; try again")
    await chat.until_done()
    failure = await chat.page.text(".failure")
    assert "the model is not ready; try again" in failure and "wait 7 s" in failure and "req_" in failure
    await chat.page.click("article .actions button:last-child")
    answer = await chat.begin()
    assert [message["content"] for message in answer.asked["messages"]] == ["Hi"]
    assert await chat.page.texts(".failure") == []
    await answer.say("Hello.")
    await answer.end(2)
    await chat.until_done()
    assert await chat.page.text(".body") == "Hello."
    assert [error for error in chat.page.errors if "503" not in error] == []


@pytest.mark.parametrize("way", ["an event", "a cut"])
async def test_a_stream_that_breaks_is_told_below_what_has_come(visit: Open, way: str) -> None:
    chat = await visit()
    answer = await chat.ask("Hi")
    await answer.say("Half")
    await chat.page.until_shown(".body", "Half")
    if way == "an event":
        await answer.event({"error": {"message": "the engine has stopped", "code": "x"}})
        await answer.call.end_stream()
    else:
        answer.call.writer.close()
    await chat.until_done()
    assert await chat.page.text(".body") == "Half"
    assert ("the engine has stopped" if way == "an event" else "incomplete") in await chat.page.text(".failure")


async def test_who_waits_for_a_turn_is_told_so(visit: Open) -> None:
    chat = await visit(ping_seconds=0.05)
    ask = "fetch('v1/completions', {method: 'POST', body: '{}', headers: {'Content-Type': 'application/json'}})"
    other = asyncio.create_task(chat.page.read(f"{ask}.then(() => 1)"))
    holder = await chat.server.next_call()
    await chat.page.click("#prompt")
    await chat.page.type("Hi")
    await chat.page.press("Enter")
    await chat.page.until_shown(".foot", "waiting for a turn")
    await holder.answer()
    await other
    answer = await chat.begin()
    await answer.say("Hello.")
    await answer.end(2)
    await chat.until_done()
    assert await chat.page.text(".body") == "Hello."


@pytest.mark.parametrize("width", [320, 390])
async def test_a_phone_shows_all_of_it(visit: Open, width: int) -> None:
    chat = await visit()
    await chat.page.look(width=width, height=568, is_phone=True)
    answer = await chat.ask("A very long word: " + "x" * 200)
    await answer.say("```\n" + "y" * 300 + "\n```\n\n" + "z" * 300)
    await answer.end(3)
    await chat.until_done()
    wide = "[...document.querySelectorAll('body, main, header, footer, #turns, .question, .code')]"
    assert await chat.page.read(f"{wide}.filter((one) => one.getBoundingClientRect().right > innerWidth).length") == 0
    assert await chat.page.read(
        "document.querySelector('main').scrollWidth <= document.querySelector('main').clientWidth"
    )
    small = "[...document.querySelectorAll('header button, #composer button:not([hidden])')]"
    assert await chat.page.read(f"Math.min(...{small}.map((one) => one.getBoundingClientRect().width))") >= 38
    assert await chat.page.read("parseFloat(getComputedStyle(document.querySelector('#prompt')).fontSize)") >= 16
    await chat.page.click("#open")
    await chat.page.click("#done")


async def test_a_long_answer_is_followed_until_its_reader_scrolls_up(visit: Open) -> None:
    chat = await visit()
    answer = await chat.ask("Long.")
    await answer.say("\n\n".join(f"Line {number}." for number in range(60)))
    main = "document.querySelector('main')"
    at_end = f"{main}.scrollHeight - {main}.scrollTop - {main}.clientHeight < 60"
    await chat.page.until(f"document.querySelectorAll('.body p').length === 60 && {at_end}")
    await chat.page.read("document.querySelector('main').scrollTop = 0")
    await chat.page.until("!document.querySelector('#latest').hidden")
    await answer.say("\n\nMore.")
    await chat.page.until_shown(".body", "More.")
    assert await chat.page.read("document.querySelector('main').scrollTop") == 0
    await chat.page.click("#latest")
    assert await chat.page.read(at_end)
    await answer.end(3)


async def test_a_screen_reader_is_told_twice_in_an_answer_and_not_for_each_token(visit: Open) -> None:
    chat = await visit()
    await chat.page.read(
        """window.told = [], new MutationObserver(() => told.push(document.querySelector('#said').textContent))
        .observe(document.querySelector('#said'), {childList: true, characterData: true, subtree: true}), 0"""
    )
    answer = await chat.ask("Count.")
    for number in range(200):
        await answer.say(f"{number} ")
    await answer.end(200)
    await chat.until_done()
    told = await chat.page.read("told")
    assert told[0] == "Answering." and told[-1].startswith("0 1 2 ") and len(told) == 2
    assert await chat.page.read("document.querySelector('#turns').getAttribute('aria-live')") == "off"
    assert await chat.page.read("document.querySelector('#said').getAttribute('aria-live')") == "polite"


async def test_every_control_is_reached_by_tab_shows_it_and_has_a_name(visit: Open) -> None:
    chat = await visit()
    answer = await chat.ask("Hi")
    await answer.say("Hello.")
    await answer.end(2)
    await chat.until_done()
    await chat.page.read("document.activeElement.blur()")
    seen = {}
    for _ in range(12):
        await chat.page.press("Tab")
        name, ring = await chat.page.read(
            """(() => { const e = document.activeElement, s = getComputedStyle(e);
            const box = getComputedStyle(document.querySelector('#composer')).borderColor;
            return [e.ariaLabel || e.innerText, e.id === 'prompt' ? box : s.outlineStyle] })()"""
        )
        seen[name] = ring
    assert {"New chat", "Settings", "Message", "Copy", "Try again"} <= set(seen)
    assert seen.pop("Message") == "rgb(0, 121, 107)"
    assert all(ring == "solid" for name, ring in seen.items() if name in {"New chat", "Settings", "Copy", "Try again"})


CONTRAST = """(() => { const read = (c) => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (c) => read(c).map((v) => (v /= 255, v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05) };
  const of = (s) => getComputedStyle(document.querySelector(s)), paper = of('body').backgroundColor;
  const own = (s) => ratio(of(s).color, of(s).backgroundColor);
  return [...['body', '.foot', '#model'].map((s) => ratio(of(s).color, paper)), own('#send'), own('.question')] })()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_can_be_read_in_the_colours_of_the_readers_system(visit: Open, scheme: str) -> None:
    chat = await visit()
    await chat.page.look(scheme=scheme)
    answer = await chat.ask("Hi")
    await answer.end(0)
    await chat.until_done()
    assert min(await chat.page.read(CONTRAST)) >= 4.5
    dark = await chat.page.read("matchMedia('(prefers-color-scheme: dark)').matches")
    assert dark is (scheme == "dark")


async def test_copy_takes_the_answer_as_the_model_wrote_it(visit: Open) -> None:
    chat = await visit()
    await chat.page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    answer = await chat.ask("Write.")
    await answer.say("**bold**\n\n```\ncode\n```")
    await answer.end(5)
    await chat.until_done()
    await chat.page.click(".foot .actions button")
    await chat.page.until_shown(".foot .actions button", "Copied")
    assert await chat.page.read("navigator.clipboard.readText()") == "**bold**\n\n```\ncode\n```"
    await chat.page.click(".code button")
    await chat.page.until_shown(".code button", "Copied")
    assert await chat.page.read("navigator.clipboard.readText()") == "code"


async def test_a_server_that_loads_is_waited_for(visit: Open) -> None:
    chat = await visit(is_loaded=False)
    await chat.page.open(chat.url)
    await refuse(await chat.server.next_call(), 503, "not ready")
    await chat.page.until_shown("#model", "not ready yet")
    assert await chat.page.read("document.querySelector('#send').disabled")
    await chat.answer_models()
    await chat.page.until_shown("#model", "tiny")


async def test_an_answer_without_a_word_is_no_part_of_the_conversation(visit: Open) -> None:
    chat = await visit()
    empty: Answer = await chat.ask("Nothing?")
    await empty.end(0)
    await chat.until_done()
    on = await chat.ask("Hi")
    assert [message["content"] for message in on.asked["messages"]] == ["Hi"]
    await on.end(0)
