"""A gated tool in a crew: what the person sees, what runs, what the LLM is told."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from crewai.tools import BaseTool, ToolFailure, ToolFailureReason, tool
from pydantic import BaseModel, Field, field_validator

from looppause_sdk import current_approval
from looppause_sdk.testing import FakeLoopPause
from tests.crews import (
    Ledger,
    Payment,
    People,
    agent_of,
    client_of,
    crew_of,
    gate,
    pays,
    run,
    scripted,
)


def test_an_approved_call_runs_with_what_was_approved(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """The person sees the validated arguments, and exactly those are paid."""
    people.deciding("approved")
    ledger, llm = Ledger(), scripted(style, [("pay", {"amount": "10", "to": "Beta"})])

    assert run(crew_of(llm, gate(ledger.tool(), looppause))) == "done"

    [asked] = people.asked
    assert asked["request"]["action"] == {
        "type": "pay",
        "description": "pay(amount=10, to='Beta')",
        "details": {"amount": 10, "to": "Beta"},
    }
    assert ledger.payments == [{"amount": 10, "to": "Beta"}]
    assert "paid 10 to Beta" in llm.heard


@pytest.mark.parametrize(
    "answer, reason",
    [
        pytest.param({"decision": "rejected", "comment": "too dear"}, "too dear", id="rejected"),
        pytest.param(
            {"decision": "approved", "authorization_type": "system_fallback"},
            "a configured default is no approval",
            id="fallback",
        ),
    ],
)
def test_a_denied_call_does_not_run_and_the_llm_is_told_why(
    style: str, looppause: FakeLoopPause, people: People, answer: dict[str, Any], reason: str
) -> None:
    """A denial is text that begins with DENIED, and the crew goes on."""
    people.deciding(**answer)
    ledger, llm = Ledger(), scripted(style, *pays(10))

    assert run(crew_of(llm, gate(ledger.tool(), looppause))) == "done"

    assert ledger.payments == []
    assert "DENIED: pay was not run" in llm.heard
    assert reason in llm.heard


@pytest.mark.parametrize("how", ["time_out", "expire"])
def test_a_pause_that_ends_unanswered_is_a_denial(
    style: str, looppause: FakeLoopPause, people: People, how: str
) -> None:
    """Timed out and expired: nothing runs, and the LLM is told."""
    people.answering(lambda pause: getattr(looppause, how)(pause["pause_id"]))
    ledger, llm = Ledger(), scripted(style, *pays(10))

    assert run(crew_of(llm, gate(ledger.tool(), looppause))) == "done"

    assert ledger.payments == []
    assert "DENIED: pay was not run" in llm.heard


def test_a_deadline_of_the_gates_own_is_a_denial(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """Nobody answers before `deadline_seconds`: denied, and the crew goes on."""
    ledger, llm = Ledger(), scripted(style, *pays(10))

    assert run(crew_of(llm, gate(ledger.tool(), looppause, deadline_seconds=0.05))) == "done"

    assert ledger.payments == []
    assert "nobody answered in time" in llm.heard


def test_a_default_may_answer_where_no_human_is_required(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """`require_human=False` takes a signed system fallback."""
    people.deciding("approved", authorization_type="system_fallback")
    ledger = Ledger()

    run(crew_of(scripted(style, *pays(10)), gate(ledger.tool(), looppause, require_human=False)))

    assert ledger.amounts == [10]


def test_only_fields_on_the_list_are_edited(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """An answer to the form replaces an argument only if `fields` names it, and is coerced."""
    people.deciding("approved", fields={"amount": "7", "to": "Mallory"})
    ledger = Ledger()

    run(crew_of(scripted(style, *pays(10)), gate(ledger.tool(), looppause, fields=["amount"])))

    assert ledger.payments == [{"amount": 7, "to": "Acme"}]


def test_an_edit_that_does_not_fit_is_a_denial(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """What the tool could not take is not run, neither edited nor unedited."""
    people.deciding("approved", fields={"amount": "a few"})
    ledger, llm = Ledger(), scripted(style, *pays(10))

    run(crew_of(llm, gate(ledger.tool(), looppause, fields=["amount"])))

    assert ledger.payments == []
    assert "DENIED: pay was not run, because the reviewer's changes do not fit" in llm.heard


def test_an_edit_leaves_the_other_arguments_as_they_were_approved(
    looppause: FakeLoopPause, people: People
) -> None:
    """A validator that takes its own result differently is not asked about them again."""

    class Dear(BaseModel):
        amount: int
        fee: int

        @field_validator("fee")
        @classmethod
        def _with_tax(cls, fee: int) -> int:
            return fee * 2

    people.deciding("approved", fields={"amount": 7})
    made: list[dict[str, int]] = []

    class Pay(BaseTool):
        name: str = "pay"
        description: str = "Pays."
        args_schema: type[BaseModel] = Dear

        def _run(self, amount: int, fee: int) -> str:
            made.append({"amount": amount, "fee": fee})
            return "paid"

    llm = scripted("native", [("pay", {"amount": 10, "fee": 1})])
    run(crew_of(llm, gate(Pay(), looppause, fields=["amount"])))

    assert people.asked[0]["request"]["action"]["details"] == {"amount": 10, "fee": 2}
    assert made == [{"amount": 7, "fee": 2}]


def test_the_tool_knows_who_approved_it(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """`current_approval` is that of this call, for the payment provider's idempotency key."""
    people.deciding("approved")
    keys: list[Any] = []

    @tool
    def pay(amount: int) -> str:
        """Pays."""
        keys.append(current_approval()["pause_id"])
        return f"paid {amount}"

    run(crew_of(scripted(style, *pays(10)), gate(pay, looppause)))

    assert keys == [pause["pause_id"] for pause in people.asked]


def test_when_says_which_calls_need_a_person(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """Small payments run at once; large ones are asked about."""
    people.deciding("rejected")
    ledger, llm = Ledger(), scripted(style, *pays(10, 1000))

    run(crew_of(llm, gate(ledger.tool(), looppause, when=lambda args: args["amount"] > 100)))

    assert ledger.amounts == [10]
    assert people.amounts == [1000]


def test_settings_may_follow_from_the_call(looppause: FakeLoopPause, people: People) -> None:
    """Description, recipients, form and the rest may be callables of the call."""
    people.deciding("approved")
    settings: dict[str, Any] = {
        "description": lambda call: f"Pay {call.arguments['amount']} EUR",
        "recipients": lambda call: [{"channel": "email", "target": f"{call.tool}@example.com"}],
        "form": lambda _: {"fields": [{"name": "amount", "type": "number"}]},
        "escalation": {"after_hours": 1, "fallback_action": "auto_reject"},
        "timeout_hours": 2,
        "webhook_url": "https://agent.example/webhooks/looppause",
    }

    run(crew_of(scripted("native", *pays(10)), gate(Ledger().tool(), looppause, **settings)))

    request = people.asked[0]["request"]
    assert request["action"]["description"] == "Pay 10 EUR"
    assert request["recipients"] == [{"channel": "email", "target": "pay@example.com"}]
    assert request["form"] == {"fields": [{"name": "amount", "type": "number"}]}
    assert request["escalation"]["fallback_action"] == "auto_reject"
    assert request["timeout_hours"] == 2
    assert request["webhook_url"] == "https://agent.example/webhooks/looppause"


def test_parallel_calls_each_get_their_own_answer(looppause: FakeLoopPause, people: People) -> None:
    """Several calls in one message wait side by side, and no answer is spent on another call."""

    def answer(pause: dict[str, Any]) -> None:
        amount = pause["request"]["action"]["details"]["amount"]
        looppause.decide(pause["pause_id"], "approved" if amount % 2 else "rejected")

    people.answering(answer)
    ledger = Ledger()
    llm = scripted("native", [("pay", {"amount": amount}) for amount in (1, 2, 3, 4)])

    run(crew_of(llm, gate(ledger.tool(), looppause)))

    assert sorted(ledger.amounts) == [1, 3]
    results = [m["content"] for m in llm.asked[-1] if m["role"] == "tool"]
    assert [text.split()[0].rstrip(":") for text in results] == ["paid", "DENIED", "paid", "DENIED"]


def test_parallel_calls_may_be_answered_in_any_order(
    looppause: FakeLoopPause, people: People
) -> None:
    """The last of three is answered first: each call waits for its own person only."""

    def decide() -> None:
        for pause in reversed(people.asked):
            amount = pause["request"]["action"]["details"]["amount"]
            looppause.decide(pause["pause_id"], "rejected" if amount == 2 else "approved")

    all_asked = threading.Barrier(3, action=decide)

    def answer(_: dict[str, Any]) -> None:
        all_asked.wait(10)

    people.answering(answer)
    ledger = Ledger()
    llm = scripted("native", [("pay", {"amount": amount}) for amount in (1, 2, 3)])

    run(crew_of(llm, gate(ledger.tool(), looppause)))

    assert sorted(ledger.amounts) == [1, 3]


@pytest.mark.parametrize("kickoff", ["kickoff_async", "akickoff"])
async def test_a_crew_may_be_kicked_off_from_asyncio(
    style: str, looppause: FakeLoopPause, people: People, kickoff: str
) -> None:
    """The event loop goes on while the person thinks."""
    turned = threading.Event()
    loop = asyncio.get_running_loop()

    def answer(pause: dict[str, Any]) -> None:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(5)
        turned.set()
        looppause.decide(pause["pause_id"])

    people.answering(answer)
    ledger = Ledger()
    crew = crew_of(scripted(style, *pays(10)), gate(ledger.tool(), looppause))

    await getattr(crew, kickoff)(inputs={"bill": "invoice"})

    assert ledger.amounts == [10]
    assert turned.is_set()


def test_an_agent_alone_is_gated_too(style: str, looppause: FakeLoopPause, people: People) -> None:
    """`Agent.kickoff` without a crew asks as well."""
    people.deciding("rejected")
    ledger = Ledger()
    member = agent_of(scripted(style, *pays(10)), gate(ledger.tool(), looppause))

    member.kickoff("pay")

    assert people.amounts == [10]
    assert ledger.payments == []


class Receipt(BaseModel):
    number: int


class AsyncPay(BaseTool):
    name: str = "pay"
    description: str = "Pays."
    args_schema: type[BaseModel] = Payment
    made: list[Any] = Field(default_factory=list)

    async def _run(self, amount: int, to: str) -> str:
        await asyncio.sleep(0)
        self.made.append(amount)
        return f"paid {amount} to {to}"


def test_a_tool_whose_run_is_a_coroutine_is_gated(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """`async def _run` runs after the approval, and its result is the tool's."""
    people.deciding("approved")
    inner, llm = AsyncPay(), scripted(style, *pays(10))

    run(crew_of(llm, gate(inner, looppause)))

    assert inner.made == [10]
    assert "paid 10" in llm.heard


def test_a_coroutine_that_needs_no_person_runs(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """Below the threshold an async tool runs as if it were not gated."""
    inner = AsyncPay()

    run(crew_of(scripted(style, *pays(10)), gate(inner, looppause, when=lambda _: False)))

    assert inner.made == [10]
    assert people.asked == []


def test_a_decorated_function_is_gated(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """`@tool` functions are tools like any other."""
    people.deciding("approved")
    made: list[int] = []

    @tool
    def pay(amount: int, to: str = "Acme") -> str:
        """Pays."""
        made.append(amount)
        return f"paid {to}"

    run(crew_of(scripted(style, *pays(10)), gate(pay, looppause)))

    assert made == [10]


def test_what_raises_after_the_approval_is_told_and_not_tried_again(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """One call, one question, one attempt; under ReAct an exception would be tried six times."""
    people.deciding("approved")
    ledger = Ledger(fault=RuntimeError("the bank hung up"))
    llm = scripted(style, *pays(10))

    assert run(crew_of(llm, gate(ledger.tool(), looppause))) == "done"

    assert ledger.amounts == [10]
    assert people.amounts == [10]
    assert "raised RuntimeError: the bank hung up" in llm.heard


def test_a_failure_the_tool_reports_itself_goes_by_the_tools_policy(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """Only the missing decision stops the crew; the tool's own failures are as ever."""
    people.deciding("approved")

    @tool
    def pay(amount: int) -> Any:
        """Pays."""
        return ToolFailure(message="insufficient funds", reason=ToolFailureReason.TOOL_REPORTED)

    llm = scripted(style, *pays(10))

    assert run(crew_of(llm, gate(pay, looppause))) == "done"

    assert "insufficient funds" in llm.heard


def test_arguments_that_do_not_fit_are_told_to_the_llm_and_nobody_is_asked(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """Validation comes first, as with the bare tool."""
    ledger, llm = Ledger(), scripted(style, [("pay", {"amount": "a lot"})])

    assert run(crew_of(llm, gate(ledger.tool(), looppause))) == "done"

    assert people.asked == []
    assert "validation failed" in llm.heard


def test_a_result_as_answer_ends_the_task(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """What the tool returns is the crew's answer, as with the bare tool."""
    people.deciding("approved")
    llm = scripted(style, *pays(10))

    said = run(crew_of(llm, gate(Ledger().tool(result_as_answer=True), looppause)))

    assert said == "paid 10 to Acme"


def test_a_spent_limit_is_told_to_the_llm(looppause: FakeLoopPause, people: People) -> None:
    """`max_usage_count` is kept, and going over it does not stop the crew."""
    people.deciding("approved")
    ledger, llm = Ledger(), scripted("native", *pays(1, 2))

    assert run(crew_of(llm, gate(ledger.tool(max_usage_count=1), looppause))) == "done"

    assert ledger.amounts == [1]
    assert people.amounts == [1]
    assert "usage limit" in llm.heard


def test_a_denial_of_a_tool_with_a_result_schema_stays_text(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """A denial is not squeezed into the tool's result schema; a result still is."""
    people.answering(
        lambda pause: looppause.decide(
            pause["pause_id"],
            "approved" if pause["request"]["action"]["details"]["amount"] == 1 else "rejected",
        )
    )

    @tool
    def pay(amount: int) -> Receipt:
        """Pays."""
        return Receipt(number=41 + amount)

    llm = scripted(style, *pays(1, 2))
    run(crew_of(llm, gate(pay, looppause)))

    assert '{"number":42}' in llm.heard
    assert "DENIED: pay was not run" in llm.heard


def test_called_by_hand_it_asks_as_well(looppause: FakeLoopPause, people: People) -> None:
    """`run`, with arguments by name or by place, is no way around the gate."""
    people.deciding("rejected")
    ledger = Ledger()
    tool = gate(ledger.tool(), looppause)

    assert tool.run(amount="10").startswith("DENIED")
    assert tool.run("11", "Beta").startswith("DENIED")

    assert [p["request"]["action"]["details"] for p in people.asked] == [
        {"amount": 10, "to": "Acme"},
        {"amount": 11, "to": "Beta"},
    ]
    assert ledger.payments == []


async def test_arun_runs_the_tools_own_coroutine(looppause: FakeLoopPause, people: People) -> None:
    """A tool with an `_arun` has it run by `arun`, after the approval and with its arguments."""
    people.deciding("approved")

    class Pay(AsyncPay):
        async def _arun(self, amount: int, to: str) -> str:
            return f"sent {amount} to {to}"

    assert await gate(Pay(), looppause).arun(amount="10") == "sent 10 to Acme"
    assert people.amounts == [10]


async def test_arun_of_a_denied_call_runs_nothing(looppause: FakeLoopPause, people: People) -> None:
    """`arun` is gated like `run`."""
    people.deciding("rejected", comment="no")

    class Pay(AsyncPay):
        async def _arun(self, **payment: Any) -> str:
            raise AssertionError(f"it ran: {payment}")

    assert (await gate(Pay(), looppause).arun(amount=10)).startswith("DENIED")


def test_a_changed_argument_is_not_what_was_approved(
    looppause: FakeLoopPause, people: People
) -> None:
    """Whoever changes the arguments while the person thinks gets a denial."""
    basket = ["pen"]

    def answer(pause: dict[str, Any]) -> None:
        basket.append("car")
        looppause.decide(pause["pause_id"])

    people.answering(answer)
    bought: list[Any] = []

    class Buy(BaseTool):
        name: str = "buy"
        description: str = "Buys."

        def _run(self, **basket: Any) -> str:
            bought.append(basket)
            return "bought"

    assert "DENIED: buy was not run" in gate(Buy(), looppause).run(items=basket)
    assert bought == []


def test_two_gated_tools_share_a_client(looppause: FakeLoopPause, people: People) -> None:
    """One client serves every tool of a crew."""
    people.deciding("approved")
    ledger, client = Ledger(), client_of(looppause)
    tools = [gate(ledger.tool(name), looppause, client=client) for name in ("pay", "wire")]
    llm = scripted("native", [("pay", {"amount": 1}), ("wire", {"amount": 2})])

    run(crew_of(llm, *tools))

    assert sorted(ledger.amounts) == [1, 2]
    assert sorted(p["request"]["action"]["type"] for p in people.asked) == ["pay", "wire"]
