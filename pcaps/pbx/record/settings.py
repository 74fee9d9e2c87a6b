"""Asterisk's configuration for the recordings, as text: endpoints, queues, what is written down.

The dialplan is in dialplan.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab import CARRIERS, PBX, PHONES

PASSWORD = "only-for-recordings"
AGENTS = [str(101 + n) for n in range(len(PHONES))]
ADDRESS = dict(zip(AGENTS, PHONES, strict=True))


@dataclass(frozen=True, slots=True)
class Options:
    """What a recording wants different from the usual."""

    reasons: bool = True  # res_pjsip_rfc3326: Reason headers
    registering: tuple[str, ...] = ()  # phones without a fixed contact
    challenged: tuple[str, ...] = ()  # phones that must authenticate
    qualified: tuple[str, ...] = ()  # phones that get OPTIONS
    direct_media: bool = False
    trunk_identity: bool = False  # P-Asserted-Identity to the phones
    user_agent: str = ""
    trunk: str = ""  # another next hop for calls that go out, "ip:port"
    phones_by: str = ""  # a proxy between the PBX and its phones, "ip:port"
    redirect: str = "user"  # redirect_method
    follow_early: bool = False
    qualify_frequency: int = 5
    rtp_timeout: int = 0  # seconds without media after which a call is ended


MODULES = """
app_dial app_directed_pickup app_echo app_exec app_milliwatt app_originate app_playback
app_queue app_record app_senddtmf app_stack app_system app_verbose app_voicemail app_while
bridge_builtin_features bridge_holding bridge_native_rtp bridge_simple bridge_softmix cdr_custom
cel_custom chan_bridge_media chan_pjsip codec_a_mu codec_alaw codec_gsm codec_resample
codec_ulaw format_gsm format_pcm format_sln format_wav func_callerid func_cdr func_channel
func_cut func_db func_devstate func_dialplan func_global func_hangupcause func_logic func_math
func_periodic_hook func_pjsip_aor func_pjsip_contact func_pjsip_endpoint func_rand func_strings
func_timeout pbx_config pbx_spool res_adsi res_ael_share res_agi res_cdrel_custom
res_clioriginate res_convert res_crypto res_curl res_format_attr_silk res_geolocation
res_http_websocket res_musiconhold res_parking res_pjproject res_pjsip res_pjsip_acl
res_pjsip_authenticator_digest res_pjsip_caller_id res_pjsip_dialog_info_body_generator
res_pjsip_diversion res_pjsip_dlg_options res_pjsip_dtmf_info res_pjsip_empty_info
res_pjsip_endpoint_identifier_anonymous res_pjsip_endpoint_identifier_ip
res_pjsip_endpoint_identifier_user res_pjsip_exten_state res_pjsip_geolocation
res_pjsip_header_funcs res_pjsip_history res_pjsip_logger res_pjsip_messaging res_pjsip_mwi
res_pjsip_mwi_body_generator res_pjsip_nat res_pjsip_notify res_pjsip_one_touch_record_info
res_pjsip_outbound_authenticator_digest res_pjsip_outbound_registration res_pjsip_path
res_pjsip_pidf_body_generator res_pjsip_pubsub res_pjsip_refer res_pjsip_registrar
res_pjsip_rfc3326 res_pjsip_sdp_rtp res_pjsip_session res_pjsip_sips_contact res_pjsip_t38
res_pjsip_xpidf_body_generator res_rtp_asterisk res_smdi res_sorcery_astdb res_sorcery_config
res_sorcery_memory res_sorcery_memory_cache res_sorcery_realtime res_speech res_stasis
res_stir_shaken res_timing_timerfd
""".split()


def static_files(options: Options) -> dict[str, str]:
    """Everything but pjsip.conf, queues.conf and extensions.conf."""
    modules = [m for m in MODULES if options.reasons or m != "res_pjsip_rfc3326"]
    return {
        "modules.conf": "[modules]\nautoload = no\n" + "".join(f"load = {m}.so\n" for m in modules),
        "logger.conf": "[general]\ndateformat = %s.%6q\n[logfiles]\n"
        "truth => [plain]notice\nmessages => notice,warning,error\n",
        "cdr.conf": "[general]\nenable = yes\nunanswered = yes\ncongestion = yes\n",
        "cdr_custom.conf": "[mappings]\nMaster.csv => "
        + ",".join(
            "${CSV_QUOTE(${CDR(%s)})}" % name  # noqa: UP031 braces are Asterisk's own
            for name in CDR_FIELDS
        )
        + "\n",
        "cel.conf": "[general]\nenable = yes\nevents = PICKUP,BLINDTRANSFER,ATTENDEDTRANSFER\n",
        "cel_custom.conf": "[mappings]\nMaster.csv => "
        "${CSV_QUOTE(${eventtype})},${CSV_QUOTE(${eventtime})},${CSV_QUOTE(${CHANNEL(name)})},"
        "${CSV_QUOTE(${CHANNEL(linkedid)})},${CSV_QUOTE(${eventextra})}\n",
        "rtp.conf": "[general]\nrtpstart = 30000\nrtpend = 31998\nstrictrtp = no\n",
        "musiconhold.conf": "[default]\nmode = files\n"
        "directory = /usr/share/asterisk/sounds/custom\n",
        "features.conf": "[general]\npickupexten = *8\n[featuremap]\nblindxfer = ##\natxfer = *2\n",
        "voicemail.conf": "[general]\nformat = wav\nmaxsecs = 4\nmaxsilence = 2\n[default]\n"
        + "".join(f"{agent} => 1234,Agent {agent}\n" for agent in AGENTS),
        "indications.conf": "[general]\ncountry = us\n[us]\nringcadence = 2000,4000\n"
        "dial = 350+440\nbusy = 480+620/500,0/500\nring = 440+480/2000,0/4000\n"
        "congestion = 480+620/250,0/250\n",
        "acl.conf": "",
        "stasis.conf": "",
        "sorcery.conf": "",
        "udptl.conf": "",
    }


CDR_FIELDS = (
    "start",
    "src",
    "dst",
    "channel",
    "dstchannel",
    "lastapp",
    "duration",
    "billsec",
    "disposition",
    "uniqueid",
    "linkedid",
)


def section(name: str, **values: object) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()) + "\n"


def pjsip(options: Options) -> str:
    """The endpoints: agents 101 and up, the carriers."""
    agent = options.user_agent or "Asterisk PBX 22.10.1~dfsg"
    text = section(
        "global", type="global", user_agent=agent, endpoint_identifier_order="ip,username"
    )
    text += section("udp", type="transport", protocol="udp", bind=f"{PBX}:5060")
    text += section("tcp", type="transport", protocol="tcp", bind=f"{PBX}:5060")
    for user in AGENTS:
        text += _phone(user, options)
    for number, address in enumerate(CARRIERS, 1):
        text += _carrier(f"carrier{number}", address, options)
    if options.trunk:
        text += _carrier("proxy", options.trunk.partition(":")[0], options)
    return text


# Every channel tells at its end which SIP dialog and which call it was of.
WITNESS = "CHANNEL(hangup_handler_push)=witness,s,1"


def _phone(user: str, options: Options) -> str:
    values: dict[str, object] = {
        "type": "endpoint",
        "context": "internal",
        "disallow": "all",
        "allow": "ulaw,alaw",
        "aors": user,
        "direct_media": "yes" if options.direct_media else "no",
        "call_group": 1,
        "pickup_group": 1,
        "set_var": WITNESS,
        "callerid": f"Agent {user} <{user}>",
        "from_domain": PBX,
        "redirect_method": options.redirect,
        "device_state_busy_at": 3,
        "rtp_symmetric": "no",
        "send_pai": "yes" if options.trunk_identity else "no",
    }
    if options.phones_by:
        values["outbound_proxy"] = f"sip:{options.phones_by}\\;lr"
    if user in options.challenged:
        values["auth"] = user
    text = section(user, **values)
    if user in options.challenged:
        text += section(user, type="auth", auth_type="userpass", username=user, password=PASSWORD)
    aor: dict[str, object] = {
        "type": "aor",
        "max_contacts": 1,
        "remove_existing": "yes",
        "minimum_expiration": 10,
        "default_expiration": 120,
    }
    if user not in options.registering:
        aor["contact"] = f"sip:{user}@{ADDRESS[user]}:5060"
    if user in options.qualified:
        aor |= {"qualify_frequency": options.qualify_frequency, "qualify_timeout": 3.0}
    return text + section(user, **aor)


def _carrier(name: str, address: str, options: Options) -> str:
    values: dict[str, object] = {
        "type": "endpoint",
        "context": "from-trunk",
        "disallow": "all",
        "allow": "ulaw,alaw",
        "aors": name,
        "direct_media": "yes" if options.direct_media else "no",
        "set_var": WITNESS,
        "outbound_auth": name,
        "trust_id_inbound": "yes",
        "from_domain": PBX,
        "rtp_symmetric": "no",
    }
    if options.rtp_timeout:
        values["rtp_timeout"] = options.rtp_timeout
    text = section(name, **values)
    text += section(name, type="aor", contact=f"sip:{address}:5060")
    text += section(name, type="auth", auth_type="userpass", username="trunk", password=PASSWORD)
    return text + section(f"{name}-by-address", type="identify", endpoint=name, match=address)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of queues.conf."""

    name: str
    strategy: str
    members: tuple[str, ...]
    timeout: int = 10
    retry: int = 3
    local: bool = False  # members are Local channels, as graphical front ends make them
    more: tuple[tuple[str, object], ...] = ()


QUEUES = [
    Queue("all", "ringall", ("101", "102"), 10, 3),
    Queue("wide", "ringall", ("103", "104", "105", "106", "107"), 12, 2),
    Queue("line", "linear", ("101", "102", "103"), 6, 2),
    Queue("memory", "rrmemory", ("104", "105", "106", "107"), 8, 1),
    Queue("recent", "leastrecent", ("108", "109", "110", "111"), 9, 1),
    Queue("fewest", "fewestcalls", ("112", "113", "114"), 7, 4),
    Queue("local", "ringall", ("115", "116", "117"), 11, 3, local=True),
    Queue("locals", "rrmemory", ("118", "119", "120"), 8, 2, local=True),
    Queue(
        "told",
        "ringall",
        ("111", "112"),
        10,
        2,
        more=(
            ("announce-frequency", 6),
            ("announce-position", "yes"),
            ("announce-holdtime", "no"),
            ("periodic-announce", "custom/announce"),
            ("periodic-announce-frequency", 7),
        ),
    ),
    Queue("strict", "ringall", (), more=(("joinempty", "no"),)),
    Queue("leaving", "ringall", ("101", "102"), 8, 2, more=(("joinempty", "yes"),)),
]


def queues() -> str:
    text = "[general]\nupdatecdr = no\nlog_membername_as_agent = yes\n\n"
    for queue in QUEUES:
        text += f"[{queue.name}]\nstrategy = {queue.strategy}\ntimeout = {queue.timeout}\n"
        text += f"retry = {queue.retry}\nringinuse = yes\nautofill = yes\nwrapuptime = 0\n"
        text += "".join(f"{key} = {value}\n" for key, value in queue.more)
        for user in queue.members:
            channel = f"Local/{user}@agents/n" if queue.local else f"PJSIP/{user}"
            text += f"member => {channel},0,{user}\n"
        text += "\n"
    return text
