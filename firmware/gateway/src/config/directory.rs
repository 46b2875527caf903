//! Users, groups and mailboxes of the file, with the telephones and trunks that its lines are.

use sha2::{Digest as _, Sha256};
use tipring_model::directory::{Directory, Group as Members, MailboxEntry, Phone, User};
use tipring_model::prompt::PromptSource;
use tipring_model::recordings::RecordingAddresses;
use tipring_model::{CallerId, Number};
use toml_edit::Table;

use super::fields::{GROUP_FIELDS, MAILBOX_FIELDS, USER_FIELDS};
use super::mail::is_mail_address;
use super::read::{Group, LINES_MAX, Reader};

const USERS_MAX: usize = 256;
const GROUPS_MAX: usize = 64;
const MAILBOXES_MAX: usize = 256;

impl Reader<'_> {
    pub(super) fn directory(&mut self, root: &Table, zone: &str) -> Directory {
        let text = |group: &Group, key: &str| group.raw.text(key).map(str::to_owned);
        let own = root.get("box").and_then(|item| item.as_table());
        let of_box = |key: &str| own.and_then(|own| own.get(key)?.as_str()).map(str::to_owned);
        let name = of_box("name").unwrap_or_else(|| "tipring".to_owned());
        let (phones, trunks) = self.phones_and_trunks(root);
        let numbers: Vec<&str> = phones.iter().map(|phone| phone.number.as_str()).collect();
        let mailboxes = self.mailboxes(root, &numbers);
        let boxes: Vec<&str> = mailboxes.iter().map(|mailbox| mailbox.id.as_str()).collect();

        let mut users: Vec<User> = Vec::new();
        for table in self.tables(root, "user", USERS_MAX) {
            let group = self.read(table);
            self.check(&group, USER_FIELDS);
            let id = text(&group, "name").unwrap_or_default();
            let known: Vec<&str> = users.iter().map(|user| user.id.as_str()).collect();
            self.unique(&group, &id, &known, "user");
            self.all_known(&group, "phones", &numbers, "telephone");
            if let Some(mailbox) = group.raw.text("mailbox").filter(|name| !boxes.contains(name)) {
                self.unknown(&group, "mailbox", mailbox, &boxes);
            }
            let email: Vec<String> = text(&group, "email").into_iter().collect();
            self.mail_addresses(root, &group, &email);
            let zone = text(&group, "timezone");
            if zone.as_deref().is_some_and(|zone| jiff::tz::TimeZone::get(zone).is_err()) {
                let help = Some("write a name such as Europe/Berlin".to_owned());
                self.value_fault(
                    &group,
                    "timezone",
                    "TR-CFG-MALFORMED",
                    "no such time zone".to_owned(),
                    help,
                );
            }
            let caller_id = group.raw.text("caller_id_number").map(|number| CallerId {
                number: Some(Number::new(number)),
                name: text(&group, "caller_id_name"),
            });
            users.push(User {
                name: text(&group, "full_name").unwrap_or_else(|| id.clone()),
                id,
                phones: group.raw.list("phones").to_vec(),
                mailbox: text(&group, "mailbox"),
                email: text(&group, "email"),
                caller_id,
                language: text(&group, "language"),
                time_zone: zone,
            });
        }

        let mut groups: Vec<Members> = Vec::new();
        for table in self.tables(root, "group", GROUPS_MAX) {
            let group = self.read(table);
            self.check(&group, GROUP_FIELDS);
            let id = text(&group, "name").unwrap_or_default();
            let known: Vec<&str> = groups.iter().map(|group| group.id.as_str()).collect();
            self.unique(&group, &id, &known, "group");
            let people = users.iter().map(|user| user.id.as_str());
            let members: Vec<&str> = people.chain(numbers.iter().copied()).collect();
            self.all_known(&group, "members", &members, "user or telephone");
            groups.push(Members { id, members: group.raw.list("members").to_vec() });
        }

        Directory {
            account: of_box("account").unwrap_or_else(|| account_of(&name)),
            recordings: RecordingAddresses::under(
                &of_box("recordings_url").unwrap_or_else(|| format!("http://{name}.local/recordings")),
            ),
            name,
            time_zone: zone.to_owned(),
            users,
            phones,
            trunks,
            groups,
            mailboxes,
        }
    }

    /// What the lines are; their faults are found where they are read.
    fn phones_and_trunks(&mut self, root: &Table) -> (Vec<Phone>, Vec<String>) {
        let (mut phones, mut trunks) = (Vec::new(), Vec::new());
        let lines = root.get("line").and_then(|item| item.as_array_of_tables());
        for table in lines.into_iter().flat_map(|lines| lines.iter()).take(LINES_MAX) {
            let text = |key: &str| table.get(key).and_then(|item| item.as_str()).unwrap_or("").to_owned();
            let (line, number) = (text("name"), text("number"));
            // An exchange line leads out as a trunk does.
            if matches!(text("kind").as_str(), "sip-trunk" | "fxo") {
                trunks.push(line);
            } else if !number.is_empty() {
                phones.push(Phone { line, number });
            }
        }
        (phones, trunks)
    }

    fn mailboxes(&mut self, root: &Table, numbers: &[&str]) -> Vec<MailboxEntry> {
        let mut mailboxes: Vec<MailboxEntry> = Vec::new();
        for table in self.tables(root, "mailbox", MAILBOXES_MAX) {
            let group = self.read(table);
            self.check(&group, MAILBOX_FIELDS);
            let raw = &group.raw;
            let id = raw.text("name").unwrap_or("").to_owned();
            let pin = raw.text("pin").map(str::to_owned);
            let number = raw.text("number").unwrap_or(&id).to_owned();
            let toggle = |key: &str| raw.toggle(key).unwrap_or(false);
            let entry = MailboxEntry {
                asks_pin: toggle("asks_pin"),
                greeting: raw.text("greeting").map(|name| PromptSource::Library(name.to_owned())),
                skips_greeting: false,
                newest_first: false,
                skips_instructions: toggle("skips_instructions"),
                announces_only: toggle("announces_only"),
                operator: raw.text("operator").map(str::to_owned),
                phones: raw.list("phones").to_vec(),
                email: raw.list("email").to_vec(),
                messages_max: raw.number("messages_max").and_then(|n| usize::try_from(n).ok()).unwrap_or(100),
                id,
                number,
                pin,
            };
            // The folder of its messages is named after it.
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if !entry.id.chars().all(is_plain) {
                let what = "letters, digits, - and _ alone".to_owned();
                self.value_fault(&group, "name", "TR-CFG-MALFORMED", what, None);
            }
            let is_pin = |pin: &String| {
                (4..=6).contains(&pin.len()) && pin.bytes().all(|digit| digit.is_ascii_digit())
            };
            if !entry.pin.iter().all(is_pin) {
                // It is not repeated.
                self.value_fault(
                    &group,
                    "pin",
                    "TR-CFG-MALFORMED",
                    "4 to 6 digits are needed".to_owned(),
                    None,
                );
            }
            let known: Vec<&str> = mailboxes.iter().map(|mailbox| mailbox.id.as_str()).collect();
            self.unique(&group, &entry.id, &known, "mailbox");
            self.all_known(&group, "phones", numbers, "telephone");
            self.mail_addresses(root, &group, &entry.email);
            mailboxes.push(entry);
        }
        mailboxes
    }

    /// E-mail goes to addresses, and over a server.
    fn mail_addresses(&mut self, root: &Table, group: &Group, addresses: &[String]) {
        if let Some(address) = addresses.iter().find(|address| !is_mail_address(address)) {
            let help = Some("write an address such as \"ann@office.example\"".to_owned());
            let what = format!("`{address}` is no address");
            self.value_fault(group, "email", "TR-CFG-MALFORMED", what, help);
        }
        if !addresses.is_empty() && root.get("mail").is_none() {
            let help = Some("name a mail server under [mail]".to_owned());
            self.value_fault(group, "email", "TR-CFG-REFERENCE", "nobody sends e-mail".to_owned(), help);
        }
    }

    fn unique(&mut self, group: &Group, name: &str, known: &[&str], what: &str) {
        if known.contains(&name) {
            let what = format!("there is a {what} `{name}` already");
            self.value_fault(group, "name", "TR-CFG-DUPLICATE", what, None);
        }
    }

    fn all_known(&mut self, group: &Group, key: &str, known: &[&str], what: &str) {
        let strange = group.raw.list(key).iter().find(|name| !known.contains(&name.as_str()));
        if let Some(name) = strange {
            let help = Some(format!("defined here: {}", known.join(", ")));
            self.value_fault(group, key, "TR-CFG-REFERENCE", format!("no {what} `{name}`"), help);
        }
    }

    fn unknown(&mut self, group: &Group, key: &str, name: &str, known: &[&str]) {
        let help = Some(format!("defined here: {}", known.join(", ")));
        self.value_fault(group, key, "TR-CFG-REFERENCE", format!("`{name}` is not defined"), help);
    }
}

/// An account of its own for each box: the same after every start, and not to be guessed from
/// another's.
fn account_of(name: &str) -> String {
    let digest = Sha256::digest(format!("tipring account {name}"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;

    const OFFICE: &str = "
schema = 1
[box]
name = \"front\"
[[line]]
name = \"desk\"
kind = \"sip-phone\"
number = \"201\"
password = \"a-long-one\"
[[line]]
name = \"provider\"
kind = \"sip-trunk\"
host = \"192.0.2.1\"
[[mailbox]]
name = \"ann\"
number = \"201\"
pin = \"4711\"
phones = [\"201\"]
[[user]]
name = \"ann\"
full_name = \"Ann Lee\"
phones = [\"201\"]
mailbox = \"ann\"
[[group]]
name = \"sales\"
members = [\"ann\", \"201\"]
";

    #[test]
    fn the_office_is_read_with_its_telephones() {
        let config = Config::parse(OFFICE, Path::new(".")).map_err(|faults| faults.len());
        let directory = config.unwrap().directory;
        assert_eq!(directory.user("Ann Lee").unwrap().phones, ["201"]);
        assert_eq!(directory.owner("201").unwrap().id, "ann");
        assert_eq!(directory.phone("desk").unwrap().number, "201");
        assert_eq!(directory.trunks, ["provider"]);
        assert_eq!(directory.mailbox("201").unwrap().pin.as_deref(), Some("4711"));
        assert_eq!(
            (directory.account.len(), directory.recordings.of("a.wav").as_str()),
            (32, "http://front.local/recordings/a.wav")
        );
    }

    #[test]
    fn what_is_named_must_be_there() {
        for (from, to, expected) in [
            ("phones = [\"201\"]\nmailbox", "phones = [\"999\"]\nmailbox", "TR-CFG-REFERENCE"),
            ("mailbox = \"ann\"", "mailbox = \"bob\"", "TR-CFG-REFERENCE"),
            ("members = [\"ann\", \"201\"]", "members = [\"carl\"]", "TR-CFG-REFERENCE"),
            ("pin = \"4711\"", "pin = \"47\"", "TR-CFG-MALFORMED"),
            ("name = \"ann\"\nnumber", "name = \"a/n\"\nnumber", "TR-CFG-MALFORMED"),
            ("[[group]]", "[[user]]\nname = \"ann\"\n[[group]]", "TR-CFG-DUPLICATE"),
        ] {
            let text = OFFICE.replace(from, to);
            assert_ne!(text, OFFICE, "{from}");
            let faults = Config::parse(&text, Path::new(".")).err().unwrap_or_default();
            assert!(faults.iter().any(|fault| fault.code == expected), "{to}: {}", faults.len());
        }
    }
}
