//! Keys of the modules that every office uses.

use super::{ITEMS_MAX, Key, Kind, TEXT_MAX};

pub(in crate::kazoo) const BRANCH_VARIABLE: &[Key] = &[
    Key::of("id", Kind::Text),
    Key::of("scope", Kind::Text).or("custom_channel_vars").one_of(&[
        "account",
        "custom_channel_vars",
        "device",
        "merged",
        "user",
        "doc",
    ]),
    Key::of("variable", Kind::TextOrList).needed(),
];

pub(in crate::kazoo) const CALLFLOW: &[Key] = &[
    Key::of("doc_id", Kind::Text),
    Key::of("flow", Kind::Object),
    Key::of("id", Kind::Text),
    Key::of("path", Kind::TextOrList),
];

pub(in crate::kazoo) const CHECK_CID: &[Key] = &[
    Key::of("caller_id", Kind::Object),
    Key::of("caller_id.external", Kind::Object),
    Key::of("caller_id.external.name", Kind::Text),
    Key::of("caller_id.external.number", Kind::Text),
    Key::of("regex", Kind::Text).or(".*"),
    Key::of("use_absolute_mode", Kind::Toggle).or("false"),
    Key::of("user_id", Kind::Text),
];

pub(in crate::kazoo) const COLLECT_DTMF: &[Key] = &[
    Key::of("collection_name", Kind::Text),
    Key::of("interdigit_timeout", Kind::Integer).from(1),
    Key::of("max_digits", Kind::Integer).or("1").from(1),
    Key::of("terminator", Kind::Text)
        .or("#")
        .one_of(&["1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "#", "*"]),
    Key::of("terminators", Kind::List).unique(),
    Key::of("terminators[]", Kind::Text)
        .one_of(&["1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "#", "*"]),
    Key::of("timeout", Kind::Integer).or("5000").from(1),
];

pub(in crate::kazoo) const CONFERENCE: &[Key] = &[
    Key::of("config", Kind::Object),
    Key::of("id", Kind::Text).length(1, 128),
    Key::of("moderator", Kind::Toggle),
    Key::of("play_entry_tone", Kind::ToggleOrText),
    Key::of("play_exit_tone", Kind::ToggleOrText),
    Key::of("welcome_prompt", Kind::Object),
    Key::of("welcome_prompt.media_id", Kind::Text),
    Key::of("welcome_prompt.play", Kind::Toggle).or("true"),
];

pub(in crate::kazoo) const DEVICE: &[Key] = &[
    Key::of("can_call_self", Kind::Toggle),
    Key::of("can_text_self", Kind::Toggle),
    Key::of("custom_sip_headers", Kind::Object),
    Key::of("delay", Kind::Integer).or("0"),
    Key::of("dial_strategy", Kind::Text).or("simultaneous").one_of(&["simultaneous", "single"]),
    Key::of("fail_on_single_reject", Kind::Toggle),
    Key::of("id", Kind::Text),
    Key::of("static_invite", Kind::Text),
    Key::of("suppress_clid", Kind::Toggle),
    Key::of("timeout", Kind::Integer).or("0"),
];

pub(in crate::kazoo) const FAX_DETECT: &[Key] = &[Key::of("duration", Kind::Integer)];

pub(in crate::kazoo) const FLUSH_DTMF: &[Key] = &[Key::of("collection_name", Kind::Text).or("default")];

pub(in crate::kazoo) const GROUP: &[Key] = &[
    Key::of("endpoints", Kind::List).or(""),
    Key::of("endpoints[]", Kind::Text),
    Key::of("fail_on_single_reject", Kind::Toggle),
    Key::of("group_id", Kind::Text),
    Key::of("group_name", Kind::Text),
    Key::of("hard_stop_after_successful_group", Kind::Toggle),
    Key::of("id", Kind::Text),
    Key::of("ignore_early_media", Kind::Toggle),
    Key::of("ignore_forward", Kind::Toggle).or("true"),
    Key::of("repeats", Kind::Integer).or("1"),
    Key::of("ringback", Kind::Text),
    Key::of("ringtones", Kind::Object),
    Key::of("ringtones.external", Kind::Text),
    Key::of("ringtones.internal", Kind::Text),
    Key::of("sca", Kind::Object),
    Key::of("sca.enabled", Kind::Toggle),
    Key::of("strategy", Kind::Text).or("simultaneous").one_of(&["single", "simultaneous"]),
    Key::of("timeout", Kind::Integer).or("20"),
];

pub(in crate::kazoo) const LANGUAGE: &[Key] = &[Key::of("language", Kind::Text).needed()];

pub(in crate::kazoo) const MENU: &[Key] =
    &[Key::of("id", Kind::Text), Key::of("interdigit_timeout", Kind::Integer)];

pub(in crate::kazoo) const OFFNET: &[Key] = &[
    Key::of("addresses", Kind::Object),
    Key::of("addresses.emergency", Kind::Object),
    Key::of("bypass_e164", Kind::Toggle),
    Key::of("caller_id_type", Kind::Text).or("external"),
    Key::of("custom_sip_headers", Kind::Object),
    Key::of("do_not_normalize", Kind::Toggle),
    Key::of("dynamic_flags", Kind::List),
    Key::of("dynamic_flags[]", Kind::Text),
    Key::of("emit_account_id", Kind::Toggle),
    Key::of("format_from_uri", Kind::Toggle),
    Key::of("from_uri_realm", Kind::Text),
    Key::of("hunt_account_id", Kind::Text),
    Key::of("ignore_early_media", Kind::Toggle).or("false"),
    Key::of("outbound_flags", Kind::List).or(""),
    Key::of("outbound_flags[]", Kind::Text),
    Key::of("resource_type", Kind::Text),
    Key::of("ringback", Kind::Text),
    Key::of("timeout", Kind::Integer),
    Key::of("to_did", Kind::Text),
    Key::of("use_local_resources", Kind::Toggle).or("true"),
];

pub(in crate::kazoo) const PIVOT: &[Key] = &[
    Key::of("cdr_url", Kind::Text).length(7, TEXT_MAX),
    Key::of("custom_request_headers", Kind::Object),
    Key::of("debug", Kind::Toggle).or("false"),
    Key::of("method", Kind::Text).or("get").one_of(&["get", "post", "GET", "POST"]),
    Key::of("req_body_format", Kind::Text).or("form").one_of(&["form", "json"]),
    Key::of("req_format", Kind::Text).or("kazoo").one_of(&["kazoo", "twiml"]),
    Key::of("req_timeout_ms", Kind::Integer).or("5000").between(1, 5_000),
    Key::of("serverless", Kind::Object),
    Key::of("serverless.flow_doc", Kind::TextOrObject).needed(),
    Key::of("serverless.flow_type", Kind::Text).needed().one_of(&[
        "application/json",
        "application/xml",
        "text/xml",
    ]),
    Key::of("voice_url", Kind::Text).length(7, TEXT_MAX),
];

pub(in crate::kazoo) const PLAY: &[Key] = &[
    Key::of("answer", Kind::Toggle),
    Key::of("endless_playback", Kind::Toggle).or("false"),
    Key::of("id", Kind::Text),
    Key::of("loop_count", Kind::Integer).from(1),
    Key::of("terminators", Kind::List).or("0123456789*#"),
    Key::of("terminators[]", Kind::Text),
];

pub(in crate::kazoo) const PREPEND_CID: &[Key] = &[
    Key::of("action", Kind::Text).or("prepend").one_of(&["reset", "prepend"]),
    Key::of("apply_to", Kind::Text).or("current").one_of(&["original", "current"]),
    Key::of("caller_id_name_prefix", Kind::Text).or(""),
    Key::of("caller_id_number_prefix", Kind::Text).or(""),
];

pub(in crate::kazoo) const RECORD_CALL: &[Key] = &[
    Key::of("action", Kind::Text).or("start").needed().one_of(&["start", "stop"]),
    Key::of("format", Kind::Text).one_of(&["mp3", "wav"]),
    Key::of("label", Kind::Text),
    Key::of("media_id", Kind::Text),
    Key::of("media_name", Kind::Text),
    Key::of("method", Kind::Text).or("put").one_of(&["put", "post"]),
    Key::of("origin", Kind::Text),
    Key::of("record_min_sec", Kind::Integer),
    Key::of("record_on_answer", Kind::Toggle).or("false"),
    Key::of("record_on_bridge", Kind::Toggle).or("false"),
    Key::of("record_sample_rate", Kind::Integer),
    Key::of("should_follow_transfer", Kind::Toggle).or("true"),
    Key::of("silence_detection", Kind::Toggle).or("false"),
    Key::of("silence_final_timeout", Kind::Integer).or("5"),
    Key::of("silence_initial_timeout", Kind::Integer).or("0"),
    Key::of("silence_threshold", Kind::Integer).or("200"),
    Key::of("time_limit", Kind::Integer).or("3600").from(5).cut_to(10_800),
    Key::of("url", Kind::Text).length(5, TEXT_MAX),
];

pub(in crate::kazoo) const RECORD_CALLER: &[Key] = &[
    Key::of("format", Kind::Text).one_of(&["mp3", "wav"]),
    Key::of("media_id", Kind::Text),
    Key::of("media_name", Kind::Text),
    Key::of("method", Kind::Text).or("put").one_of(&["put", "post"]),
    Key::of("origin", Kind::Text),
    Key::of("record_min_sec", Kind::Integer),
    Key::of("record_on_answer", Kind::Toggle).or("false"),
    Key::of("record_on_bridge", Kind::Toggle).or("false"),
    Key::of("record_sample_rate", Kind::Integer),
    Key::of("should_follow_transfer", Kind::Toggle).or("true"),
    Key::of("silence_detection", Kind::Toggle).or("false"),
    Key::of("silence_final_timeout", Kind::Integer).or("5"),
    Key::of("silence_initial_timeout", Kind::Integer).or("0"),
    Key::of("silence_threshold", Kind::Integer).or("200"),
    Key::of("time_limit", Kind::Integer).or("3600").from(5).cut_to(10_800),
    Key::of("url", Kind::Text).length(5, TEXT_MAX),
];

pub(in crate::kazoo) const RESOURCES: &[Key] = &[
    Key::of("addresses", Kind::Object),
    Key::of("addresses.emergency", Kind::Object),
    Key::of("bypass_e164", Kind::Toggle),
    Key::of("caller_id_type", Kind::Text).or("external"),
    Key::of("custom_sip_headers", Kind::Object),
    Key::of("do_not_normalize", Kind::Toggle),
    Key::of("dynamic_flags", Kind::List),
    Key::of("dynamic_flags[]", Kind::Text),
    Key::of("emit_account_id", Kind::Toggle),
    Key::of("format_from_uri", Kind::Toggle),
    Key::of("from_uri_realm", Kind::Text),
    Key::of("hunt_account_id", Kind::Text),
    Key::of("ignore_early_media", Kind::Toggle).or("false"),
    Key::of("outbound_flags", Kind::List).or(""),
    Key::of("outbound_flags[]", Kind::Text),
    Key::of("resource_type", Kind::Text),
    Key::of("ringback", Kind::Text),
    Key::of("timeout", Kind::Integer),
    Key::of("to_did", Kind::Text),
    Key::of("use_local_resources", Kind::Toggle).or("true"),
];

pub(in crate::kazoo) const RESPONSE: &[Key] = &[
    Key::of("code", Kind::Integer).or("486").needed(),
    Key::of("media", Kind::Text).length(0, 2048),
    Key::of("message", Kind::Text),
];

pub(in crate::kazoo) const RING_GROUP: &[Key] = &[
    Key::of("endpoints", Kind::List).length(1, ITEMS_MAX),
    Key::of("endpoints[]", Kind::TextOrObject),
    Key::of("endpoints[].delay", Kind::Integer).or("0"),
    Key::of("endpoints[].endpoint_type", Kind::Text).needed().one_of(&["device", "user", "group"]),
    Key::of("endpoints[].id", Kind::Text).needed().length(1, 128),
    Key::of("endpoints[].timeout", Kind::Integer).or("20"),
    Key::of("endpoints[].weight", Kind::Integer).between(1, 100),
    Key::of("fail_on_single_reject", Kind::Toggle),
    Key::of("group_id", Kind::Text).length(1, 128),
    Key::of("group_name", Kind::Text),
    Key::of("hard_stop_after_successful_group", Kind::Toggle),
    Key::of("ignore_early_media", Kind::Toggle),
    Key::of("ignore_forward", Kind::Toggle).or("true"),
    Key::of("repeats", Kind::Integer).or("1").from(1),
    Key::of("ringback", Kind::Text),
    Key::of("ringtones", Kind::Object),
    Key::of("ringtones.external", Kind::Text),
    Key::of("ringtones.internal", Kind::Text),
    Key::of("sca", Kind::Object),
    Key::of("sca.enabled", Kind::Toggle),
    Key::of("strategy", Kind::Text).or("simultaneous").one_of(&["simultaneous", "single", "weighted_random"]),
    Key::of("timeout", Kind::Integer).or("20"),
    Key::of("endpoints[].disable_until", Kind::Integer),
];

pub(in crate::kazoo) const SEND_DTMF: &[Key] =
    &[Key::of("digits", Kind::Text).needed(), Key::of("duration_ms", Kind::IntegerOrText).or("2000")];

pub(in crate::kazoo) const SET_CID: &[Key] =
    &[Key::of("caller_id_name", Kind::Text).or(""), Key::of("caller_id_number", Kind::Text).or("")];

pub(in crate::kazoo) const SET_VARIABLE: &[Key] = &[
    Key::of("channel", Kind::Text).or("a").one_of(&["a", "both"]),
    Key::of("value", Kind::Text),
    Key::of("variable", Kind::Text),
];

pub(in crate::kazoo) const SET_VARIABLES: &[Key] =
    &[Key::of("custom_application_vars", Kind::Object).or("").needed(), Key::of("export", Kind::Toggle)];

pub(in crate::kazoo) const SLEEP: &[Key] = &[
    Key::of("duration", Kind::Integer).or("0").between(0, 86_400_000),
    Key::of("unit", Kind::Text).or("s").one_of(&["ms", "s", "m", "h"]),
];

pub(in crate::kazoo) const TEMPORAL_ROUTE: &[Key] = &[
    Key::of("action", Kind::Text).one_of(&["menu", "enable", "disable", "reset"]),
    Key::of("interdigit_timeout", Kind::Integer),
    Key::of("rule_set", Kind::Text),
    Key::of("rules", Kind::List).or(""),
    Key::of("rules[]", Kind::Text),
    Key::of("timezone", Kind::Text),
];

pub(in crate::kazoo) const TTS: &[Key] = &[
    Key::of("endless_playback", Kind::Toggle),
    Key::of("engine", Kind::Text).one_of(&["flite", "google", "ispeech", "voicefabric"]),
    Key::of("language", Kind::Text),
    Key::of("terminators", Kind::List).or("0123456789*#"),
    Key::of("terminators[]", Kind::Text),
    Key::of("text", Kind::Text).needed().length(1, 1000),
    Key::of("voice", Kind::Text).or("female"),
];

pub(in crate::kazoo) const USER: &[Key] = &[
    Key::of("can_call_self", Kind::Toggle),
    Key::of("can_text_self", Kind::Toggle),
    Key::of("custom_sip_headers", Kind::Object),
    Key::of("delay", Kind::Integer).or("0"),
    Key::of("fail_on_single_reject", Kind::Toggle),
    Key::of("id", Kind::Text),
    Key::of("static_invite", Kind::Text),
    Key::of("strategy", Kind::Text).or("simultaneous").one_of(&["simultaneous", "single"]),
    Key::of("suppress_clid", Kind::Toggle),
    Key::of("timeout", Kind::Integer).or("20"),
];

pub(in crate::kazoo) const VOICEMAIL: &[Key] = &[
    Key::of("action", Kind::Text).or("compose").one_of(&["check", "compose"]),
    Key::of("callerid_match_login", Kind::Toggle).or("false"),
    Key::of("id", Kind::Text).length(1, 128),
    Key::of("interdigit_timeout", Kind::Integer).or("2000"),
    Key::of("max_message_length", Kind::Integer).or("500"),
    Key::of("single_mailbox_login", Kind::Toggle).or("false"),
];

pub(in crate::kazoo) const WEBHOOK: &[Key] = &[
    Key::of("custom_data", Kind::Object),
    Key::of("custom_request_headers", Kind::Object),
    Key::of("http_verb", Kind::Text).one_of(&["post", "get"]),
    Key::of("retries", Kind::Integer),
    Key::of("uri", Kind::Text).length(6, TEXT_MAX),
];
