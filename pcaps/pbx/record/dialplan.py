"""The dialplan of the recordings: what each number called does.

Every Dial and Queue is followed by a line in the log that tells how it ended; the handler
`witness` runs at the end of every channel and ties the SIP Call-ID to the call.
"""

from __future__ import annotations

SAY = "Log(NOTICE,TRUTH {what} uid=${{UNIQUEID}} linked=${{CHANNEL(linkedid)}} {more})"


def say(what: str, more: str = "") -> str:
    return SAY.format(what=what, more=more)


DIALLED = say("dial", "status=${DIALSTATUS} cause=${HANGUPCAUSE}")
QUEUED = say("queue", "status=${QUEUESTATUS}")


def extension(pattern: str, *steps: str) -> str:
    first, *rest = steps
    lines = [f"exten => {pattern},1,{first}", *(f" same => n,{step}" for step in rest)]
    return "\n".join(lines) + "\n"


def dial(target: str, *after: str) -> tuple[str, ...]:
    """A Dial, its witness line and what follows; nothing more is Hangup without a cause."""
    return (f"Dial({target})", DIALLED, *(after or ("Hangup()",)))


def step(target: str) -> tuple[str, str]:
    """A Dial after which the dialplan goes on."""
    return f"Dial({target})", DIALLED


def queue(arguments: str, *after: str, answer: bool = True) -> tuple[str, ...]:
    before = ("Answer()",) if answer else ()
    return (*before, f"Queue({arguments})", QUEUED, *(after or ("Hangup()",)))


def agents(*users: str) -> str:
    return "&".join(f"PJSIP/{user}" for user in users)


MAILBOX = ("Answer()", "Wait(1)", "Playback(custom/announce)", "Wait(3)", "Hangup()")

# Single agents. The digits name timer and agent: 3-12-05 rings 105 for 12 s.
SINGLE = (
    extension("_3XXXX", *dial("PJSIP/1${EXTEN:3},${EXTEN:1:2}"))
    + extension("_4XXXX", *dial("PJSIP/1${EXTEN:3},${EXTEN:1:2},c"))
    + extension("_5XXXX", *dial("PJSIP/1${EXTEN:3},${EXTEN:1:2},r"))
    # The cause of the failed Dial is handed on.
    + extension("_6XXXX", *dial("PJSIP/1${EXTEN:3},${EXTEN:1:2}", "Hangup(${HANGUPCAUSE})"))
    # Mailbox after no answer.
    + extension("_7XXXX", *dial("PJSIP/1${EXTEN:3},${EXTEN:1:2}", *MAILBOX))
    # A menu first: answered, an announcement, then the agent.
    + extension(
        "_8XXXX",
        "Answer()",
        "Playback(custom/announce)",
        "Wait(1)",
        *dial("PJSIP/1${EXTEN:3},${EXTEN:1:2}"),
    )
    # A menu with early media, the caller is not answered.
    + extension(
        "_9XXXX",
        "Progress()",
        "Playback(custom/announce,noanswer)",
        *dial("PJSIP/1${EXTEN:3},${EXTEN:1:2}"),
    )
)

GROUPS = (
    extension("2201", *dial(agents("101", "102", "103") + ",15"))
    + extension("2202", *dial(agents("104", "105", "106", "107") + ",20"))
    + extension("2203", *dial(agents("108", "109", "110") + ",12,c"))
    + extension("2204", *dial("Local/111@agents&Local/112@agents&Local/113@agents,18"))
    + extension("2205", *step(agents("101", "102") + ",10"), *dial(agents("103", "104") + ",10"))
    + extension("2206", *step("PJSIP/101,8"), *step("PJSIP/102,8"), *dial("PJSIP/103,8"))
    + extension("2207", *step("PJSIP/114,7"), *dial("PJSIP/115,9", *MAILBOX))
    + extension("2208", *dial("PJSIP/116&PJSIP/0170${RAND(1000000,9999999)}@carrier2,16"))
    + extension("2209", *dial(agents("117", "118", "119", "120") + ",14,r"))
    + extension("2210", *dial(agents("101", "102", "103") + ",13", "Busy(2)"))
    + extension("2211", *dial(agents("105", "106") + ",11", "Congestion(2)"))
    + extension(
        "2212", *dial(agents("107", "108") + ",9", "Playback(custom/announce,noanswer)", "Hangup()")
    )
)

QUEUED_CALLS = (
    extension("2301", *queue("all"))
    + extension("2302", *queue("line"))
    + extension("2303", *queue("memory"))
    + extension("2304", *queue("recent"))
    + extension("2305", *queue("wide,,,,25"))
    + extension("2306", *queue("strict"))
    + extension("2307", *queue("told,,,,40"))
    + extension("2308", *queue("wide,r,,,30", answer=False))
    + extension("2309", *queue("local,,,,45"))
    + extension("2310", *queue("locals,,,,35"))
    + extension("2311", *queue("fewest,,,,33"))
    + extension("2312", *queue("all,C,,,30"))
    + extension("2313", *queue("leaving,,,,8"))
    + extension("2314", *queue("recent,n,,,20", *MAILBOX))
    + extension("2315", *queue("memory,,,,28", answer=False))
    + extension("2316", "Answer()", "Playback(custom/announce)", *queue("all,,,,26", answer=False))
)

REFUSED = (
    extension("2501", "Hangup(21)")
    + extension("2502", "Hangup()")
    + extension("2503", "Busy()")
    + extension("2504", "Congestion()")
    + extension("2505", "Progress()", "Playback(custom/announce,noanswer)", "Hangup(21)")
    + extension("2506", "Answer()", "Playback(custom/announce)", "Hangup()")
    + extension("2507", "Playback(custom/announce,noanswer)", "Busy()")
    + extension("_25[1-9]X", "Hangup(${EXTEN:2})")
)

# Numbers that reach the same places: +49 30 5555 <extension>, and the prefixes of other carriers.
PREFIXES = (
    extension("_+49305555.", "Goto(${EXTEN:9},1)")
    + extension("_0049305555.", "Goto(${EXTEN:10},1)")
    + extension("_0305555.", "Goto(${EXTEN:7},1)")
    # The dialplan rewrites the caller's number to the national form, hides it, or names the DID.
    + extension("_*61.", "Set(CALLERID(num)=0${CALLERID(num):3})", "Goto(${EXTEN:3},1)")
    + extension("_*62.", "Set(CALLERID(all)=Anonymous <anonymous>)", "Goto(${EXTEN:3},1)")
    + extension("_*63.", "Set(CALLERID(name)=Sales line)", "Goto(${EXTEN:3},1)")
    + extension("_*64.", "Set(CALLERID(num)=0800${RAND(1000,9999)})", "Goto(${EXTEN:3},1)")
)

BLACKLIST = extension("_[+0-9*]!/_+49900X.", say("blacklist"), "Hangup(21)")

INTERNAL = (
    extension("_1XX", *dial("PJSIP/${EXTEN},20"))
    + extension("_*8XXX", "PickupChan(PJSIP/${EXTEN:2})", say("pickup"), "Hangup()")
    + extension("*8", "Pickup()", say("pickup"), "Hangup()")
    + extension("_0X.", *dial("PJSIP/${EXTEN}@carrier2,60"))
    + extension("_90X.", *dial("PJSIP/${EXTEN:1}@carrier3,25", "Hangup(${HANGUPCAUSE})"))
    + extension("*43", "Answer()", "Wait(5)", "Hangup()")
)

WITNESS = extension(
    "s",
    say(
        "end",
        "chan=${CHANNEL(name)} callid=${CHANNEL(pjsip,call-id)} dialstatus=${DIALSTATUS}"
        " cause=${HANGUPCAUSE} source=${CHANNEL(hangupsource)}",
    ),
    "Return()",
)


def extensions() -> str:
    """extensions.conf"""
    return "\n".join(
        [
            "[general]\nstatic = yes\nwriteprotect = yes\n",
            "[witness]",
            WITNESS,
            "[numbers]",
            SINGLE,
            GROUPS,
            QUEUED_CALLS,
            REFUSED,
            PREFIXES,
            "[from-trunk]",
            BLACKLIST,
            "include => numbers\ninclude => extensions-only\n",
            "[extensions-only]",
            extension("_1XX", *dial("PJSIP/${EXTEN},20")),
            "[internal]",
            INTERNAL,
            "include => numbers\n",
            "[agents]",
            extension("_1XX", "Dial(PJSIP/${EXTEN},60)", DIALLED, "Hangup()"),
        ]
    )
