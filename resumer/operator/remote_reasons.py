"""What the reason codes mean that only threads on a LangGraph server have."""

from __future__ import annotations

from collections.abc import Mapping

from .words import DISCARD, DOCTOR, NOTHING, RETRY, Words

__all__ = ["PARKED_THERE", "POSTPONED_THERE"]

# While it waits for something and is looked at again.
POSTPONED_THERE: Mapping[str, Words] = {
    "running_there": Words(
        "Its run goes on on the LangGraph server.",
        "The answer was handed to the server, which runs the thread now. However long that takes, "
        "the run is only looked at, never started a second time.",
        "Nothing has to be done, unless it takes longer than the graph should: then look at the "
        "run on the server.",
    ),
    "busy_there": Words(
        "The LangGraph server is busy with this thread.",
        "Somebody else has a run of the thread going on there. Two at once would do things twice, "
        "so the end of that run is waited for.",
        "If that run hangs, cancel it on the server.",
    ),
    "lost_there": Words(
        "The LangGraph server contradicts itself.",
        "It lists the question with its thread, and the thread's state has no such interrupt. It "
        "is looked at again for RESUMER_SETTLE_SECONDS (five minutes), then the pause is parked.",
        NOTHING,
    ),
    "server_away": Words(
        "The LangGraph server does not answer.",
        "The thread is on that server, or may be. The answer is kept, and the server is asked "
        "again and again, for up to a day.",
        "See whether the server runs, and whether the worker reaches it.",
        (DOCTOR,),
    ),
    "server_refused": Words(
        "The LangGraph server lets nobody in.",
        "It answers, and refuses what it is asked: the key is not its, or the address leads to "
        "something else. It is asked again for ten minutes, then the pause is parked.",
        "Compare RESUMER_REMOTE_KEY and the address in RESUMER_GRAPHS with the server's.",
        (DOCTOR,),
    ),
}

# When a person has to act.
PARKED_THERE: Mapping[str, Words] = {
    "lost_there": Words(
        "The LangGraph server has lost what the thread asked.",
        "It lists the question with its thread, and the thread's state has no such interrupt: a "
        "server that was killed loses what it had not written yet. There is nothing that this "
        "answer could be handed to.",
        "Run the agent again; it asks again. Then discard this pause.",
        (DISCARD,),
    ),
    "server_away": Words(
        "The LangGraph server did not answer for a day.",
        "The thread is on that server, or may be, and in all that time it could not be asked. Once "
        "it answers, the sweep takes the pause up by itself.",
        "See whether the server runs, and whether the worker reaches it. To go on at once, retry.",
        (DOCTOR, RETRY),
    ),
    "server_refused": Words(
        "The LangGraph server lets nobody in.",
        "It answers, and refuses what it is asked: the key is not its, or the address leads to "
        "something else. Once that is mended, the sweep takes the pause up by itself.",
        "Correct RESUMER_REMOTE_KEY or the address in RESUMER_GRAPHS, restart the workers, and "
        "retry.",
        (DOCTOR, RETRY),
    ),
    "thread_gone": Words(
        "The server has deleted the thread.",
        "It hibernated on the LangGraph server when it was seen, and is not there any more: "
        "somebody deleted it, or its time to live was over.",
        "There is nothing to resume. Run the agent again if it is still wanted; it asks anew. Then "
        "discard this pause.",
        (DISCARD,),
    ),
    "other_graph": Words(
        "The server runs this thread as another graph.",
        "The address that is registered for {agent} names another graph than the one that the "
        "thread was run with. Resuming it there would run the wrong nodes.",
        "Correct RESUMER_GRAPHS, restart the workers, and retry.",
        (RETRY,),
    ),
    "cancelled_there": Words(
        "Its run was cancelled on the server.",
        "The answer was handed to the LangGraph server, and somebody cancelled the run before its "
        "end. What it had done stays done.",
        "If it should go on after all, retry: it goes on from where it stopped. If not, discard.",
        (RETRY, DISCARD),
    ),
}
