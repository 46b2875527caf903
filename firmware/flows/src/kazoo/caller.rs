//! Who calls: the identity that is shown to others, and who of the office it is.

use tipring_model::call::CallFacts;
use tipring_model::{CallerId, Number};

use super::flow::{KazooFlow, Next};
use super::keys::Data;
use crate::json::Json;

/// Changes of the caller's identity in this call.
#[derive(Clone, Default, Debug)]
pub(super) struct Caller {
    pub(super) name: Option<String>,
    pub(super) number: Option<String>,
    name_prefix: String,
    number_prefix: String,
    hides_name: bool,
    hides_number: bool,
}

impl Caller {
    fn is_changed(&self) -> bool {
        self.name.is_some()
            || self.number.is_some()
            || !self.name_prefix.is_empty()
            || !self.number_prefix.is_empty()
            || self.hides_name
            || self.hides_number
    }
}

impl KazooFlow {
    pub(super) fn facts(&self) -> Option<&CallFacts> {
        self.facts.as_deref()
    }

    /// The caller's number; empty if it is withheld.
    pub(super) fn caller_number(&self) -> String {
        let own = self.facts().and_then(|facts| facts.from.number.as_ref());
        self.caller.number.clone().unwrap_or_else(|| own.map_or("", Number::as_str).to_owned())
    }

    /// The number of the office telephone that calls, if it is one.
    pub(super) fn caller_extension(&self) -> Option<&str> {
        self.facts()?.origin.extension.as_deref()
    }

    /// Who is shown on legs of this call; none where the caller is passed on as he is.
    pub(super) fn shown(&self) -> Option<CallerId> {
        let facts = self.facts().filter(|_| self.caller.is_changed())?;
        let changes = &self.caller;
        let prefixed = |prefix: &str, own: Option<&str>| match own {
            None if prefix.is_empty() => None,
            own => Some(format!("{prefix}{}", own.unwrap_or(""))),
        };
        let own = facts.from.number.as_ref().map(Number::as_str);
        let number = prefixed(&changes.number_prefix, changes.number.as_deref().or(own));
        let name = prefixed(&changes.name_prefix, changes.name.as_deref().or(facts.from.name.as_deref()));
        Some(CallerId {
            number: number.filter(|_| !changes.hides_number).map(|number| Number::new(&number)),
            name: name.filter(|_| !changes.hides_name),
        })
    }

    // --- Who of the office it is.

    /// The account's device that calls.
    pub(super) fn caller_device(&self) -> Option<(&str, &Json)> {
        let extension = self.caller_extension()?;
        let stored = &self.app.document.stored;
        stored.all("devices").find(|(_, device)| self.device_number(device).as_deref() == Some(extension))
    }

    /// The id of the user who calls.
    pub(super) fn caller_user(&self) -> Option<String> {
        if let Some((_, device)) = self.caller_device() {
            return device.get("owner_id").and_then(Json::text).map(str::to_owned);
        }
        self.app.directory.owner(self.caller_extension()?).map(|user| user.id.clone())
    }

    /// A value of the user who calls: of the account, or of the box's own directory.
    pub(super) fn caller_user_value(&self, key: &str) -> Option<String> {
        let id = self.caller_user()?;
        if let Some(user) = self.app.document.stored.find("users", &id) {
            return user.get(key).and_then(Json::text).map(str::to_owned);
        }
        let user = self.app.directory.user(&id)?;
        match key {
            "language" => user.language.clone(),
            "timezone" => user.time_zone.clone(),
            _ => None,
        }
    }

    /// The identity of a kind that the calling device or its owner shows outside.
    pub(super) fn configured_caller(&self, kind: &str) -> Option<CallerId> {
        let user = self.caller_user();
        let owner = user.as_deref().and_then(|id| self.app.document.stored.find("users", id));
        let device = self.caller_device().map(|(_, device)| device);
        let written = device.into_iter().chain(owner).find_map(|json| json.at_path(["caller_id", kind]));
        if let Some(written) = written {
            let text = |key: &str| written.get(key).and_then(Json::text).filter(|text| !text.is_empty());
            return Some(CallerId {
                number: text("number").map(Number::new),
                name: text("name").map(str::to_owned),
            });
        }
        let user = self.app.directory.user(user.as_deref()?)?;
        user.caller_id.clone().filter(|_| kind == "external")
    }

    // --- Modules.

    pub(super) fn set_cid(&mut self, data: Data<'_>) -> Next {
        let text = |key: &str| data.filled(key).map(str::to_owned);
        (self.caller.name, self.caller.number) = (text("caller_id_name"), text("caller_id_number"));
        Next::on()
    }

    pub(super) fn prepend_cid(&mut self, data: Data<'_>) -> Next {
        if data.text("action") == Some("reset") {
            self.caller.name_prefix.clear();
            self.caller.number_prefix.clear();
            return Next::on();
        }
        let keeps = data.text("apply_to") != Some("original");
        let prefixed = |old: &str, key: &str| {
            let new = data.text(key).unwrap_or("");
            // A loop through this node must not make the name longer for ever.
            format!("{new}{}", if keeps { old } else { "" }).chars().take(Number::BYTES_MAX).collect()
        };
        self.caller.name_prefix = prefixed(&self.caller.name_prefix, "caller_id_name_prefix");
        self.caller.number_prefix = prefixed(&self.caller.number_prefix, "caller_id_number_prefix");
        Next::on()
    }

    pub(super) fn check_cid(&mut self, data: Data<'_>) -> Next {
        let number = self.caller_number();
        let pattern = super::pattern::Pattern::new(data.text("regex").unwrap_or(".*"));
        // A hidden number matches nothing.
        let matches = !number.is_empty() && pattern.is_ok_and(|pattern| pattern.is_match(&number));
        let key = match (data.is("use_absolute_mode"), matches) {
            (true, _) => number,
            (false, true) => "match".to_owned(),
            (false, false) => "nomatch".to_owned(),
        };
        let Some(next) = self.attempt(&key) else { return Next::on() };
        let external = data.inside("caller_id", "caller_id.").inside("external", "caller_id.external.");
        if let (Some(name), Some(number), Some(_)) =
            (external.filled("name"), external.filled("number"), data.filled("user_id"))
        {
            (self.caller.name, self.caller.number) = (Some(name.to_owned()), Some(number.to_owned()));
        }
        next
    }

    pub(super) fn privacy(&mut self, data: Data<'_>) -> Next {
        let mode = data.text("mode").unwrap_or("full");
        let merges = data.text("endpoint_strategy") == Some("merge");
        let hides = |own: bool, modes: &[&str]| (merges && own) || modes.contains(&mode);
        self.caller.hides_name = hides(self.caller.hides_name, &["full", "name", "yes"]);
        self.caller.hides_number = hides(self.caller.hides_number, &["full", "number", "yes"]);
        Next::on()
    }
}
