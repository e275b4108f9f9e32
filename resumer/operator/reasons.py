"""What each reason code means, for whoever is woken at three in the morning.

The codes are those of the rules. A test reads them out of the code and fails for one that has no
words here. `{agent}` is put in, and `{pause}` and `{held}` (what is
held, the agent or `*`) as words of commands.
"""

from __future__ import annotations

from collections.abc import Mapping

from .remote_reasons import PARKED_THERE, POSTPONED_THERE
from .words import DISCARD, DOCTOR, NOTHING, RELEASE, RETRY, SWEEP, WORK, Words

__all__ = ["DOCTOR", "PARKED", "POSTPONED", "SWEEP", "WORK", "Words"]

# While it waits for something and is looked at again.
POSTPONED: Mapping[str, Words] = {
    "early": Words(
        "The answer is here, its thread is not.",
        "A person was quicker than the agent's process: no thread has hibernated at this pause "
        "yet. It is looked for again and again, for RESUMER_EARLY_HOURS (a day), then parked.",
        "Should the thread have hibernated by now, see whether the agent's process still runs, and "
        "whether it writes to the database that RESUMER_CHECKPOINT_URL names.",
        (DOCTOR,),
    ),
    "unwritten": Words(
        "The thread is just about to hibernate.",
        "Its question is stored, the checkpoint it belongs to is not yet: the agent's process is "
        "still writing. Resuming now would start a new run beside it.",
        NOTHING,
    ),
    "no_graph": Words(
        "No worker can load what to resume.",
        "The thread asked as {agent}, and the worker that looked has no such graph or flow, or "
        "cannot load it. For ten minutes that is taken for a deployment under way, then the pause "
        "is parked.",
        "Start a worker with that graph: RESUMER_GRAPHS (or --graph) names graphs by agent id, "
        "RESUMER_FLOWS flows, and * stands for all others.",
        (DOCTOR,),
    ),
    "unsettled": Words(
        "Something beside the gate is still running.",
        "The step that hibernates has another task without a result. Resuming now would run that "
        "task twice, so its process is waited for; after RESUMER_SETTLE_SECONDS (five minutes) "
        "without an end it is taken for dead, and the thread is resumed.",
        NOTHING,
    ),
    "busy": Words(
        "Another resume of this thread is running.",
        "A thread is resumed by one worker at a time, and one has it now. This pause follows as "
        "soon as that run has ended or hibernates again.",
        "Nothing has to be done, unless that run hangs: look at the thread's other pauses.",
    ),
    "hidden": Words(
        "Another gate of the same node comes first.",
        "The node asks several questions one after the other. It stopped at one before it came to "
        "this, and this answer is kept until that one has its own.",
        "See which of the thread's pauses is waiting, and have it answered.",
    ),
    "transient": Words(
        "The database or the network failed while it ran.",
        "The run got as far as its last checkpoint and no further, because something it needs "
        "was out of reach. It goes on from there, for up to a day; no attempt is counted.",
        "See whether the database and what the graph calls can be reached from the worker.",
        (DOCTOR,),
    ),
    "unverified": Words(
        "No key of the worker has signed the answer.",
        "It was genuine when it was received. Its key has not reached the worker yet, or has been "
        "taken out since. For ten minutes that is taken for a rotation under way, then the pause "
        "is parked.",
        "See that the workers have the same keys as the receiver.",
        (DOCTOR,),
    ),
    "held": Words(
        "Its agent is held.",
        "Somebody has told the resumer to resume nothing of {agent}. The answer is kept, and the "
        "thread goes on as soon as the hold ends.",
        "Release the agent when what it was held for is over.",
        (RELEASE,),
    ),
    "raised": Words(
        "The graph raised, and is tried again.",
        "It was resumed with this answer and raised an exception on its way. LangGraph keeps what "
        "the nodes before have done; the failing one runs again.",
        "Mend what the error below says. Its next attempt comes by itself; a retry makes it now, "
        "and starts the attempts anew.",
        (RETRY,),
    ),
    **POSTPONED_THERE,
}

# When a person has to act. Nothing was consumed: the answer is kept.
PARKED: Mapping[str, Words] = {
    "early": Words(
        "No thread ever asked this.",
        "The pause was answered, and in all the time allowed for it (RESUMER_EARLY_HOURS) no "
        "thread hibernated at it: the agent's process died before, it writes to another database, "
        "or the pause belongs to something else. Should the thread turn up after all, it is "
        "resumed by itself.",
        "Compare the agent's database with RESUMER_CHECKPOINT_URL. If the agent's process died, "
        "run it again (it asks anew) and discard this pause.",
        (DOCTOR, DISCARD),
    ),
    "unwritten": Words(
        "The thread never hibernated.",
        "Its process wrote the question and died before it wrote the checkpoint. There is no "
        "thread to go on from: resuming would start a new run.",
        "Run the agent again; it asks again. Then discard this pause.",
        (DISCARD,),
    ),
    "no_graph": Words(
        "No worker can load what to resume.",
        "The thread asked as {agent}, and no worker has had such a graph or flow, or could load "
        "it. Once one has, the sweep takes the pause up by itself within minutes.",
        "Register it with the workers: RESUMER_GRAPHS (or --graph) names graphs by agent id, "
        "RESUMER_FLOWS flows, and * stands for all others. To go on at once, retry.",
        (DOCTOR, RETRY),
    ),
    "ambiguous": Words(
        "It could be a thread of several graphs.",
        "The gate does not say which graph it belongs to, and more than one of those registered "
        "has all that the thread has used so far. Nothing was run: the wrong one would act on an "
        "approval that was not given to it.",
        "Register the right graph under the agent's id, as the only one that the thread could be "
        "of, then retry. So that it does not come again, have the gate name its graph: graph=... "
        "with the name it is registered under.",
        (RETRY,),
    ),
    "no_gate": Words(
        "The flow has no such gate any more.",
        "The flow hibernates in a method that the deployed class no longer has, or whose gate has "
        "changed. Nothing was run.",
        "Deploy a version that has the gate as it was, then retry.",
        (RETRY,),
    ),
    "no_node": Words(
        "The graph has no such node any more.",
        "The thread hibernates in a node that the deployed graph no longer has, so there is "
        "nothing to hand the answer to. Nothing was run.",
        "Deploy a version that has the node, then retry; or resume the thread by hand and discard "
        "this pause.",
        (RETRY, DISCARD),
    ),
    "transient": Words(
        "The database or the network kept failing.",
        "For a whole day something that the graph needs was out of reach whenever it ran.",
        "See that the worker reaches the database and what the graph calls, then retry. It goes "
        "on from its last checkpoint.",
        (DOCTOR, RETRY),
    ),
    "undecodable": Words(
        "What the thread asked cannot be read.",
        "The interrupt was found, and no serializer at hand can decode it: the agent encrypts or "
        "pickles its checkpoints, and the worker does not know how.",
        "Give the worker's graph a checkpointer with the agent's serializer, or set `serializer` "
        "on Resumer, then retry.",
        (RETRY,),
    ),
    "unloadable": Words(
        "The thread's state cannot be loaded.",
        "The checkpoint is there, and the deployed graph raised while it was read: most often a "
        "class that is part of the state was renamed or moved. Nothing was run.",
        "Deploy a version that can read it, then retry.",
        (RETRY,),
    ),
    "unverified": Words(
        "No key of the worker has signed the answer.",
        "Its key was taken out after it had been received, or the record was changed in the "
        "database. The thread still waits, and nothing was run.",
        "If the key was taken out too early, put it back and retry. If it was stolen, nothing that "
        "it signed is to be believed: discard the pause, and have the agent ask again.",
        (DOCTOR, RETRY, DISCARD),
    ),
    "refused": Words(
        "The gate refused the proof.",
        "The receiver found the answer genuine, the gate did not: it has other keys than the "
        "receiver. The thread still waits at it.",
        "Give the gate's LoopPause client the same signing secret or public keys as the "
        "receiver, then retry.",
        (DOCTOR, RETRY),
    ),
    "raised": Words(
        "The graph kept raising.",
        "It was resumed with this answer, raised an exception each time, and has had all its "
        "attempts (RESUMER_RETRY_DELAYS). The error below is the last one.",
        "Mend what it says, deploy, then retry: the failing node runs again, those before do not.",
        (RETRY,),
    ),
    "shared_pause": Words(
        "Several threads ask with this one pause.",
        "One approval must not open two gates, and nothing tells which thread was meant: most "
        "often an idempotency key is used twice, or a thread was copied.",
        "Find out which thread it was for, resume that one by hand, and discard this pause.",
        (DISCARD,),
    ),
    "two_gates": Words(
        "Two gates of the thread ask with this one pause.",
        "One approval must not open two gates, and nothing tells which of the thread's gates was "
        "meant: most often both use the same idempotency key.",
        "Resume the right gate by hand and discard this pause; give each gate its own key.",
        (DISCARD,),
    ),
    "not_advanced": Words(
        "It was resumed, and still waits at the same gate.",
        "The run ended without an error, and the thread hibernates where it did before: the node "
        "asks again with the same pause, or something swallowed the answer.",
        "Look at the node: it should ask once a visit. When that is mended, retry.",
        (RETRY,),
    ),
    **PARKED_THERE,
}
