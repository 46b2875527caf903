//! Keys of the documents that modules name by their ids.

use super::{ITEMS_MAX, Key, Kind};

pub(in crate::kazoo) const MENU: &[Key] = &[
    Key::of("id", Kind::Text),
    Key::of("name", Kind::Text).needed().length(1, 128),
    Key::of("retries", Kind::Integer).or("3").between(1, 10),
    Key::of("timeout", Kind::Integer).or("10000").between(1, 60_000),
    Key::of("interdigit_timeout", Kind::Integer).between(1, 10_000),
    Key::of("max_extension_length", Kind::Integer).or("4").between(1, 6),
    Key::of("hunt", Kind::Toggle).or("true"),
    Key::of("hunt_allow", Kind::Text).length(1, 256),
    Key::of("hunt_deny", Kind::Text).length(1, 256),
    Key::of("record_pin", Kind::Text).length(3, 6),
    Key::of("allow_record_from_offnet", Kind::Toggle).or("false"),
    Key::of("suppress_media", Kind::Toggle).or("false"),
    Key::of("media", Kind::Object),
    Key::of("media.greeting", Kind::Text),
    Key::of("media.exit_media", Kind::ToggleOrText).or("true"),
    Key::of("media.transfer_media", Kind::ToggleOrText).or("true"),
    Key::of("media.invalid_media", Kind::ToggleOrText).or("true"),
];

pub(in crate::kazoo) const TEMPORAL_RULE: &[Key] = &[
    Key::of("id", Kind::Text),
    Key::of("name", Kind::Text),
    Key::of("enabled", Kind::Toggle),
    Key::of("cycle", Kind::Text),
    Key::of("interval", Kind::Integer).or("1").from(1),
    Key::of("start_date", Kind::Integer).or("62586115200"),
    Key::of("time_window_start", Kind::Integer).or("0").between(0, 86_400),
    Key::of("time_window_stop", Kind::Integer).or("86400").between(0, 86_400),
    Key::of("wdays", Kind::List),
    Key::of("wdays[]", Kind::Text).one_of(&[
        "monday",
        "tuesday",
        "wednesday",
        "wensday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ]),
    Key::of("days", Kind::List),
    Key::of("days[]", Kind::Integer).between(1, 31),
    Key::of("ordinal", Kind::Text).one_of(&["every", "first", "second", "third", "fourth", "fifth", "last"]),
    Key::of("month", Kind::Integer).between(1, 12),
];

pub(in crate::kazoo) const TEMPORAL_SET: &[Key] = &[
    Key::of("id", Kind::Text),
    Key::of("name", Kind::Text),
    Key::of("temporal_rules", Kind::List).needed().length(1, ITEMS_MAX),
    Key::of("temporal_rules[]", Kind::Text),
];

pub(in crate::kazoo) const CONFERENCE: &[Key] = &[
    Key::of("id", Kind::Text),
    Key::of("name", Kind::Text).length(1, 128),
    Key::of("member", Kind::Object),
    Key::of("member.pins", Kind::List),
    Key::of("member.pins[]", Kind::Text),
    Key::of("member.numbers", Kind::List),
    Key::of("member.join_muted", Kind::Toggle).or("true"),
    Key::of("member.join_deaf", Kind::Toggle).or("false"),
    Key::of("member.play_entry_prompt", Kind::Toggle),
    Key::of("moderator", Kind::Object),
    Key::of("moderator.pins", Kind::List),
    Key::of("moderator.pins[]", Kind::Text),
    Key::of("moderator.numbers", Kind::List),
    Key::of("moderator.join_muted", Kind::Toggle).or("false"),
    Key::of("moderator.join_deaf", Kind::Toggle).or("false"),
    Key::of("require_moderator", Kind::Toggle),
    Key::of("wait_for_moderator", Kind::Toggle),
    Key::of("max_participants", Kind::Integer).from(1),
    Key::of("play_entry_tone", Kind::ToggleOrText),
    Key::of("play_exit_tone", Kind::ToggleOrText),
    Key::of("play_name", Kind::Toggle).or("false"),
    Key::of("play_welcome", Kind::Toggle),
    Key::of("language", Kind::Text),
];

pub(in crate::kazoo) const MAILBOX: &[Key] = &[
    Key::of("id", Kind::Text),
    Key::of("name", Kind::Text),
    Key::of("mailbox", Kind::Text).length(1, 30),
    Key::of("pin", Kind::Text).length(4, 6),
    Key::of("owner_id", Kind::Text),
    Key::of("operator_number", Kind::Text),
];
