"""Every metric there is: its name, kind, help, labels and buckets. Nothing else names one.

Names follow Prometheus' conventions: base units, `_total` for counters, `_info`. RFC 6076 numbers
stand where a histogram is one of its measures.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from sipwatch.devices.counts import DELAY_EDGES

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

PREFIX = "sipwatch_"


class Family(NamedTuple):
    """One metric: all series of one name."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    #: Upper bounds of a histogram, in seconds, rising; +Inf is left out.
    buckets: tuple[float, ...] = ()

    @property
    def unit(self) -> str:
        """`seconds` or `bytes` where the name ends in it, else empty."""
        unit = self.name.rpartition("_")[2]
        return unit if unit in ("seconds", "bytes") else ""


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(PREFIX + name, "counter", text, labels)


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(PREFIX + name, "gauge", text, labels)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Family:
    return Family(PREFIX + name, "histogram", text, labels, buckets)


#: Network delays: from a quick LAN to the end of Timer B.
DELAY = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4, 8, 16, 32)
#: Ringing: around the ring timers that phones and PBXs are shipped with.
RING = (1, 2, 3, 5, 8, 10, 12, 15, 18, 20, 25, 30, 45, 60, 90, 120)
#: Signalling and ringing together.
SETUP = (0.1, 0.2, 0.5, 1, 2, 4, 8, 12, 16, 20, 25, 30, 45, 60, 90, 120, 180)
#: Conversations: from a wrong number to a conference.
TALK = (1, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)

# --- what became of attempts and calls ----------------------------------------------------------

ATTEMPTS = _counter(
    "attempts_total",
    "Call attempts that came to an end, by outcome and final status (none without one).",
    "direction",
    "peer",
    "outcome",
    "code",
)
CONFIDENCE = _counter(
    "attempt_confidence_total",
    "Call attempts by how sure the outcome is: said by the wire, by another leg, or by timing.",
    "outcome",
    "confidence",
)
DETAILS = _counter(
    "attempt_details_total", "Call attempts whose outcome has a detail.", "outcome", "detail"
)
CAUSE_HINTS = _counter(
    "attempt_cause_hints_total",
    "Failed call attempts whose technical cause was seen.",
    "cause_hint",
)
AMBIGUOUS = _counter(
    "ambiguous_attempts_total",
    "Legs for which several callers fitted equally well and that count as calls of their own.",
)
CALLS = _counter(
    "calls_total",
    "Whole calls that came to an end, by what the caller experienced.",
    "direction",
    "peer",
    "outcome",
)
MISSED_CALLS = _counter(
    "missed_calls_total", "Calls from outside that reached nobody though somebody was called."
)
MISSED_CALLS_HIDDEN = _counter(
    "missed_calls_hidden_total", "Missed calls of hidden numbers, which nobody can call back."
)
MISSED_CALLS_RETURNED = _counter(
    "missed_calls_returned_total", "Missed calls whose caller was called back."
)
MISSED_CALLS_NEVER_RETURNED = _counter(
    "missed_calls_never_returned_total",
    "Missed calls whose caller was not called back within the configured window.",
)
MISSED_CALLS_PENDING = _gauge(
    "missed_calls_pending", "Missed calls within the window whose caller was not called back yet."
)
CALLBACK_REQUESTS = _counter(
    "callback_requests_total", "Missed calls whose caller asked to be called back."
)
DIALOG_ENDS = _counter(
    "dialogs_ended_total", "Conversations that came to an end, by how they ended.", "end"
)
AGENT_ATTEMPTS = _counter(
    "agent_attempts_total",
    "Call attempts by agent; agents beyond the configured limit are counted together as other.",
    "agent",
    "outcome",
)

# --- how long it took ---------------------------------------------------------------------------

SESSION_REQUEST_DELAY = _histogram(
    "session_request_delay_seconds",
    "From the first INVITE to the first status: 180, 183, 2xx or refusal (RFC 6076 4.3).",
    DELAY,
    "result",
)
POST_DIAL_DELAY = _histogram(
    "post_dial_delay_seconds", "From the first INVITE to the first 180, 183 or 2xx.", DELAY
)
RING_DURATION = _histogram(
    "ring_duration_seconds",
    "From the first 180 or 183 to the answer, the refusal or the CANCEL.",
    RING,
    "outcome",
)
SESSION_SETUP = _histogram(
    "session_setup_seconds",
    "From the first INVITE to the answer, the refusal or the CANCEL.",
    SETUP,
    "outcome",
)
SESSION_DURATION = _histogram(
    "session_duration_seconds", "From the answer to the BYE (RFC 6076 4.5).", TALK
)
SESSION_DISCONNECT_DELAY = _histogram(
    "session_disconnect_delay_seconds", "From the BYE to its answer (RFC 6076 4.4).", DELAY
)

# --- registrations ------------------------------------------------------------------------------

REGISTRATION_ATTEMPTS = _counter(
    "registration_attempts_total",
    "REGISTERs with their repetition with credentials, by what became of them (RFC 6076 4.2).",
    "result",
)
REGISTRATION_REQUEST_DELAY = _histogram(
    "registration_request_delay_seconds",
    "From the first REGISTER to its 2xx, a challenge between them included (RFC 6076 4.1).",
    DELAY_EDGES,
)
REGISTRATION_MOVES = _counter(
    "registration_moves_total", "Registrations that were renewed from another address or port."
)

# --- messages -----------------------------------------------------------------------------------

SIP_REQUESTS = _counter("sip_requests_total", "SIP requests seen.", "method")
SIP_RESPONSES = _counter("sip_responses_total", "SIP responses seen.", "method", "code")
SIP_RETRANSMISSIONS = _counter(
    "sip_retransmissions_total",
    "INVITEs, and final responses to them, that were sent once more.",
    "method",
    "kind",
)
DUPLICATES = _counter(
    "duplicates_total", "Messages that were seen twice on this host: counted, and used once."
)

# --- what goes on now ---------------------------------------------------------------------------

IN_PROGRESS = _gauge("attempts_in_progress", "Call attempts without an outcome yet.")
DIALOGS_ACTIVE = _gauge("dialogs_active", "Conversations that go on.")
REGISTRATIONS_ACTIVE = _gauge("registrations_active", "Contacts registered now.")

# --- the capture --------------------------------------------------------------------------------

CAPTURE_PACKETS = _counter(
    "capture_packets_total", "Packets that passed the filter and were read.", "interface"
)
CAPTURE_DROPS = _counter(
    "capture_drops_total",
    "Packets lost: in the capture ring for want of room, or by the interface before it.",
    "interface",
    "where",
)
CAPTURE_SNAPPED = _counter(
    "capture_snapped_total", "Packets of which only the beginning was captured.", "interface"
)
CAPTURE_INFLATED = _counter(
    "capture_inflated_total",
    "Packets longer than the MTU, joined by offloads of the interface.",
    "interface",
)
CAPTURE_RING_BYTES = _gauge("capture_ring_bytes", "Memory of the capture ring.", "interface")
INTERFACE_UP = _gauge("interface_up", "Whether the interface is listened on now.", "interface")
INTERFACE_EVENTS = _counter(
    "interface_events_total", "What happened to interfaces and to the clock.", "kind"
)
TLS_PACKETS = _counter(
    "tls_packets_total", "Packets of SIP over TLS, which cannot be read without keys."
)
HEP_MIRRORED = _counter(
    "hep_mirrored_packets_total", "HEP packets sent to the collector: messages and records.", "kind"
)
HEP_MIRROR_DROPPED = _counter(
    "hep_mirror_dropped_packets_total",
    "HEP packets that were too long, that the network refused, or that had no room to wait.",
    "reason",
)
DECODE_ERRORS = _counter(
    "decode_errors_total",
    "Packets and messages that made no sense or could not be looked into.",
    "layer",
    "reason",
)
LAST_PACKET = _gauge(
    "last_packet_timestamp_seconds", "When the newest packet was seen; 0 before the first."
)
LAG = _gauge(
    "processing_lag_seconds", "How long after its time stamp the oldest packet read was judged."
)
CLOCK_SHIFT = _gauge(
    "clock_shift_seconds", "By how much times differ from the clock, since it was set."
)

# --- sipwatch itself ----------------------------------------------------------------------------

PROBLEM = _gauge(
    "problem", "Whether something keeps the numbers from meaning what they should.", "kind"
)
TRACKER_ENTRIES = _gauge("tracker_entries", "What is remembered now.", "kind")
TRACKER_LIMIT = _gauge("tracker_entries_limit", "How much may be remembered at most.", "kind")
TRACKER_EVICTIONS = _counter(
    "tracker_evictions_total", "What was given up early to stay within the limit.", "kind"
)
METRIC_SERIES = _gauge("metric_series", "Series of a metric whose labels vary.", "metric")
METRIC_SERIES_LIMIT = _gauge(
    "metric_series_limit", "Series of it at most; more are counted together as other.", "metric"
)
METRIC_OVERFLOW = _counter(
    "metric_overflow_total", "Times that a metric's limit of series was met.", "metric"
)
RECORDS_WRITTEN = _counter("records_written_total", "Records written.", "sink")
RECORDS_DROPPED = _counter(
    "records_dropped_total", "Records lost because they could not be written for too long.", "sink"
)
RECORDS_ERRORS = _counter("records_errors_total", "Tries to write that failed.", "sink")
RECORDS_EXPIRED = _counter(
    "records_expired_total", "Records deleted by age or for their size.", "sink"
)
RECORDS_QUEUE = _gauge("records_queue_length", "Records that wait to be written.", "sink")
RECORDS_BYTES = _gauge("records_bytes", "What the written records take.", "sink")
RECORDS_WRITABLE = _gauge("records_writable", "Whether the last try to write succeeded.", "sink")
PREVIOUS_RUN = _gauge(
    "previous_run_in_progress",
    "What was in progress when this host was last watched: its outcome is not known.",
    "kind",
)
PREVIOUS_RUN_END = _gauge(
    "previous_run_end_timestamp_seconds", "When the run before this one was last heard of."
)
RELOAD_SUCCESS = _gauge(
    "config_reload_success", "Whether the configuration could be read when it was last looked at."
)
RELOAD_TIME = _gauge(
    "config_reload_success_timestamp_seconds", "When the configuration was last taken up."
)
WEB_RELOAD_SUCCESS = _gauge(
    "web_config_reload_success", "Whether the web configuration that is in the file is in use."
)
FAULTS = _counter(
    "internal_errors_total", "Faults of sipwatch itself, each of which left messages out."
)
LOG_SUPPRESSED = _counter(
    "log_messages_suppressed_total", "Log messages left out because they came too often."
)
BUILD_INFO = _gauge("build_info", "What is running.", "version", "python")

#: The daemon's own families, in the order in which they are shown.
FAMILIES: tuple[Family, ...] = tuple(
    each for each in list(globals().values()) if isinstance(each, Family)
)
