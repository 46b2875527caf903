//! Keys of the modules for feature codes, lists and parking.

use super::{ITEMS_MAX, Key, Kind};

pub(in crate::kazoo) const AFTER_BRIDGE: &[Key] = &[
    Key::of("action", Kind::Text).one_of(&["park", "transfer", "hangup"]),
    Key::of("data", Kind::ToggleOrText),
];

pub(in crate::kazoo) const AUDIO_MACRO: &[Key] = &[
    Key::of("language", Kind::Text),
    Key::of("macros", Kind::List).or("").length(1, ITEMS_MAX),
    Key::of("macros[]", Kind::Object),
    Key::of("macros[].macro", Kind::Text).needed().one_of(&["play", "prompt", "say", "tts", "tone"]),
    Key::of("terminators", Kind::List).or("0123456789*#"),
    Key::of("terminators[]", Kind::Text),
];

pub(in crate::kazoo) const AUDIO_MACRO_PROMPT: &[Key] = &[
    Key::of("id", Kind::Text),
    Key::of("language", Kind::Text),
    Key::of("terminators", Kind::List).or("0123456789*#"),
    Key::of("terminators[]", Kind::Text),
];

pub(in crate::kazoo) const AUDIO_MACRO_SAY: &[Key] = &[
    Key::of("gender", Kind::Text).one_of(&["masculine", "feminine", "neuter"]),
    Key::of("language", Kind::Text),
    Key::of("method", Kind::Text).one_of(&["none", "pronounced", "iterated", "counted"]),
    Key::of("terminators", Kind::List).or("0123456789*#"),
    Key::of("terminators[]", Kind::Text),
    Key::of("text", Kind::Text),
    Key::of("type", Kind::Text).one_of(&[
        "number",
        "items",
        "persons",
        "messages",
        "currency",
        "time_measurement",
        "current_date",
        "current_time",
        "current_date_time",
        "telephone_number",
        "telephone_extension",
        "url",
        "ip_address",
        "e-mail_address",
        "postal_address",
        "account_number",
        "name_spelled",
        "name_phonetic",
        "short_date_time",
    ]),
];

pub(in crate::kazoo) const AUDIO_MACRO_TONE: &[Key] = &[
    Key::of("duration_off", Kind::Integer),
    Key::of("duration_on", Kind::Integer),
    Key::of("frequencies", Kind::List),
    Key::of("frequencies[]", Kind::Integer),
    Key::of("repeat", Kind::Integer),
    Key::of("volume", Kind::Integer).between(0, 100),
];

pub(in crate::kazoo) const BRANCH_BNUMBER: &[Key] = &[
    Key::of("hunt", Kind::Toggle).or("false"),
    Key::of("hunt_allow", Kind::Text),
    Key::of("hunt_deny", Kind::Text),
];

pub(in crate::kazoo) const CALL_FORWARD: &[Key] = &[
    Key::of("action", Kind::Text).one_of(&["activate", "deactivate", "update", "toggle", "menu"]),
    Key::of("menu_retries", Kind::Integer).or("3"),
];

pub(in crate::kazoo) const CALL_WAITING: &[Key] = &[
    Key::of("action", Kind::Text).or("toggle").one_of(&["activate", "deactivate", "toggle"]),
    Key::of("scope", Kind::Text).or("device").one_of(&["device", "user"]),
];

pub(in crate::kazoo) const CIDLISTMATCH: &[Key] = &[Key::of("id", Kind::Text)];

pub(in crate::kazoo) const DIRECTORY: &[Key] = &[Key::of("id", Kind::Text)];

pub(in crate::kazoo) const DISA: &[Key] = &[
    Key::of("enforce_call_restriction", Kind::Toggle).or("false"),
    Key::of("interdigit", Kind::Integer),
    Key::of("max_digits", Kind::Integer).or("15"),
    Key::of("pin", Kind::Text).or(""),
    Key::of("preconnect_audio", Kind::Text).or("dialtone").one_of(&["dialtone", "ringing"]),
    Key::of("retries", Kind::Integer).or("3"),
    Key::of("ring_repeat_count", Kind::Integer).or("1"),
    Key::of("use_account_caller_id", Kind::Toggle),
];

pub(in crate::kazoo) const DO_NOT_DISTURB: &[Key] =
    &[Key::of("action", Kind::Text).one_of(&["activate", "deactivate", "toggle"]), Key::of("id", Kind::Text)];

pub(in crate::kazoo) const DYNAMIC_CID: &[Key] = &[
    Key::of("action", Kind::Text).one_of(&["list", "lists", "manual", "static"]),
    Key::of("caller_id", Kind::Object),
    Key::of("caller_id.name", Kind::Text),
    Key::of("caller_id.number", Kind::Text),
    Key::of("enforce_call_restriction", Kind::Toggle).or("true"),
    Key::of("id", Kind::Text),
    Key::of("idx_name", Kind::Text),
    Key::of("interdigit_timeout", Kind::Integer),
    Key::of("max_digits", Kind::Integer),
    Key::of("media_id", Kind::Text),
    Key::of("min_digits", Kind::Integer),
    Key::of("permit_custom_callflow", Kind::Toggle).or("false"),
    Key::of("whitelist_regex", Kind::Text),
];

pub(in crate::kazoo) const GROUP_PICKUP: &[Key] = &[
    Key::of("approved_device_id", Kind::Text),
    Key::of("approved_group_id", Kind::Text),
    Key::of("approved_user_id", Kind::Text),
    Key::of("device_id", Kind::Text),
    Key::of("group_id", Kind::Text),
    Key::of("user_id", Kind::Text),
];

pub(in crate::kazoo) const GROUP_PICKUP_FEATURE: &[Key] = &[
    Key::of("approved_device_id", Kind::Text),
    Key::of("approved_group_id", Kind::Text),
    Key::of("approved_user_id", Kind::Text),
    Key::of("device_id", Kind::Text),
    Key::of("group_id", Kind::Text),
    Key::of("type", Kind::Text).or("extension").needed().one_of(&["group", "user", "device", "extension"]),
    Key::of("user_id", Kind::Text),
];

pub(in crate::kazoo) const INTERCEPT: &[Key] = &[
    Key::of("approved_device_id", Kind::Text),
    Key::of("approved_group_id", Kind::Text),
    Key::of("approved_user_id", Kind::Text),
    Key::of("device_id", Kind::Text),
    Key::of("group_id", Kind::Text),
    Key::of("user_id", Kind::Text),
];

pub(in crate::kazoo) const INTERCOM: &[Key] = &[Key::of("barge_calls", Kind::Toggle)];

pub(in crate::kazoo) const LOOKUPCIDNAME: &[Key] =
    &[Key::of("lists", Kind::List).or("").needed(), Key::of("lists[]", Kind::Text)];

pub(in crate::kazoo) const MANUAL_PRESENCE: &[Key] = &[
    Key::of("presence_id", Kind::Text).needed(),
    Key::of("status", Kind::Text).or("idle").one_of(&["idle", "ringing", "busy"]),
];

pub(in crate::kazoo) const MISSED_CALL_ALERT: &[Key] = &[
    Key::of("alert_on_internal_calls", Kind::Toggle).or("false"),
    Key::of("recipients", Kind::List).needed(),
    Key::of("recipients[]", Kind::Object),
    Key::of("recipients[].id", Kind::TextOrList).needed(),
    Key::of("recipients[].type", Kind::Text).needed().one_of(&["user", "email"]),
];

pub(in crate::kazoo) const PAGE_GROUP: &[Key] = &[
    Key::of("audio", Kind::Text).or("one-way").needed().one_of(&["one-way", "two-way"]),
    Key::of("barge_calls", Kind::Toggle),
    Key::of("endpoints", Kind::List).needed().length(1, ITEMS_MAX),
    Key::of("endpoints[]", Kind::Object),
    Key::of("endpoints[].delay", Kind::Integer).or("0"),
    Key::of("endpoints[].endpoint_type", Kind::Text).needed().one_of(&["device", "user", "group"]),
    Key::of("endpoints[].id", Kind::Text).needed().length(1, 128),
    Key::of("endpoints[].timeout", Kind::Integer).or("20"),
    Key::of("endpoints[].weight", Kind::Integer).between(1, 100),
    Key::of("timeout", Kind::Integer).or("5"),
];

pub(in crate::kazoo) const PARK: &[Key] = &[
    Key::of("action", Kind::Text).or("park").one_of(&["direct_park", "park", "retrieve", "auto"]),
    Key::of("custom_presence_id", Kind::Toggle).or("false"),
    Key::of("default_callback_timeout", Kind::Integer),
    Key::of("default_presence_type", Kind::Text).one_of(&["early", "terminated", "confirmed"]),
    Key::of("default_ringback_timeout", Kind::Integer),
    Key::of("force_presence_user", Kind::Toggle),
    Key::of("max_slot_number", Kind::Integer),
    Key::of("presence_id", Kind::Text),
    Key::of("slot", Kind::Text),
    Key::of("slots", Kind::Object).or(""),
];

pub(in crate::kazoo) const PRIVACY: &[Key] = &[
    Key::of("endpoint_strategy", Kind::Text).or("overwrite").one_of(&["overwrite", "merge"]),
    Key::of("mode", Kind::Text).or("full").one_of(&["full", "name", "number", "yes"]),
];

pub(in crate::kazoo) const RING_GROUP_TOGGLE: &[Key] = &[
    Key::of("action", Kind::Text).needed().one_of(&["login", "logout"]),
    Key::of("callflow_id", Kind::Text).needed(),
];

pub(in crate::kazoo) const SET_ALERT_INFO: &[Key] = &[Key::of("alert_info", Kind::Text).needed()];

pub(in crate::kazoo) const TONES: &[Key] = &[Key::of("tones", Kind::List), Key::of("tones[]", Kind::Object)];

pub(in crate::kazoo) const TRANSFER: &[Key] = &[
    Key::of("captures", Kind::List).or("no_match"),
    Key::of("captures[]", Kind::Text),
    Key::of("leg", Kind::Text).one_of(&["self", "bleg"]),
    Key::of("target", Kind::Text),
    Key::of("transfer_type", Kind::Text).or("blind").one_of(&["attended", "blind"]),
];
