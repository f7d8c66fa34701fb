//! Our own form, and what it shares with others.

use std::collections::HashMap;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use layover_depot::{
    Credential, Field, GivenSecret, IntegrationName, IntegrationProtocol, IntegrationSettings,
    IntegrationSpec, LocationDirection, LocationPath, Secret, SecretPurpose, WantedIntegration,
    WantedLocation,
};

use super::node::{Content, Entry, Node, documents};
use super::{Given, Manifest, Mistake, ReadIntegration};
use super::{expectation, flow, foreign};

/// Reads a file.
///
/// # Errors
/// Every mistake in it, by line.
pub(crate) fn read(text: &str, given: Given<'_>) -> Result<Manifest, Vec<Mistake>> {
    let documents = documents(text).map_err(|mistake| vec![mistake])?;
    let mut manifest = Manifest::default();
    let mut mistakes = Vec::new();
    for document in documents {
        if matches!(document.content, Content::Nothing) {
            continue;
        }
        let Some(mut top) = Fields::of(&document, "", &mut mistakes) else {
            continue;
        };
        if top.has("id") || top.has("protocol") {
            let read = foreign::integration(top, document.line, given, &mut mistakes);
            manifest.integrations.extend(read);
            continue;
        }
        if let Some(node) = top.take("integrations") {
            for (entry, name) in named(node, "integrations", &mut mistakes) {
                let read = integration(name.clone(), entry, given, &mut mistakes);
                manifest.integrations.extend(name.and(read));
            }
        }
        if let Some(node) = top.take("flows") {
            for (entry, name) in named(node, "flows", &mut mistakes) {
                let path = format!("flows.{}", entry.key);
                let Some(own) = or_stand_in(name.clone()) else {
                    continue;
                };
                let read = flow::read(own, &entry.value, &path, &mut mistakes);
                let read = name.and(read).map(|flow| (entry.line, flow));
                manifest.flows.extend(read);
            }
        }
        if let Some(node) = top.take("expectations") {
            for (entry, name) in named(node, "expectations", &mut mistakes) {
                let path = format!("expectations.{}", entry.key);
                let Some(own) = or_stand_in(name.clone()) else {
                    continue;
                };
                let read = expectation::read(own, &entry.value, &path, &mut mistakes);
                let read = name.and(read).map(|expectation| (entry.line, expectation));
                manifest.expectations.extend(read);
            }
        }
        top.end(&mut mistakes);
    }
    twice(&manifest, &mut mistakes);
    if mistakes.is_empty() {
        Ok(manifest)
    } else {
        mistakes.sort_by_key(|mistake| mistake.line);
        Err(mistakes)
    }
}

/// One name in two documents.
fn twice(manifest: &Manifest, mistakes: &mut Vec<Mistake>) {
    let mut seen = HashMap::new();
    for one in &manifest.integrations {
        let name = one.wanted.spec.name.as_str();
        if let Some(first) = seen.insert(("integration", name), one.line) {
            let text =
                format!("integration `{name}` stands here a second time, first in line {first}");
            mistakes.push(Mistake::new(one.line, text));
        }
    }
    let flows = manifest.flows.iter();
    let flows = flows.map(|(line, flow)| ("flow", flow.name.as_str(), *line));
    let expectations = manifest.expectations.iter();
    let expectations = expectations.map(|(line, one)| ("expectation", one.name.as_str(), *line));
    for (what, name, line) in flows.chain(expectations) {
        if let Some(first) = seen.insert((what, name), line) {
            let text = format!("{what} `{name}` stands here a second time, first in line {first}");
            mistakes.push(Mistake::new(line, text));
        }
    }
}

/// The fields of a part. Those that nobody takes are mistakes.
pub(super) struct Fields<'a> {
    path: String,
    entries: Vec<&'a Entry>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(node: &'a Node, path: &str, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let entries = match &node.content {
            Content::Map(entries) => entries.iter().collect(),
            Content::Nothing => Vec::new(),
            other => {
                let what = if path.is_empty() { "the file" } else { path };
                let text = format!("`{what}` holds fields, not {}", other.told());
                mistakes.push(Mistake::new(node.line, text));
                return None;
            }
        };
        Some(Self {
            path: path.to_owned(),
            entries,
            known: Vec::new(),
        })
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == name)
    }

    /// The value of a field; nothing where it is empty.
    pub(super) fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        self.known.push(name);
        let at = self.entries.iter().position(|entry| entry.key == name)?;
        let node = &self.entries.remove(at).value;
        (!matches!(node.content, Content::Nothing)).then_some(node)
    }

    /// The fields below a field.
    pub(super) fn below(
        &mut self,
        name: &'static str,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Self> {
        let path = self.path_of(name);
        let node = self.take(name)?;
        Fields::of(node, &path, mistakes)
    }

    /// The text of a field.
    pub(super) fn text(
        &mut self,
        name: &'static str,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<(&'a str, usize)> {
        let path = self.path_of(name);
        text(self.take(name)?, &path, mistakes)
    }

    /// The text of a field as a value.
    pub(super) fn value<T: FromStr>(
        &mut self,
        name: &'static str,
        expected: &str,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<T> {
        let path = self.path_of(name);
        let (text, line) = self.text(name, mistakes)?;
        let value = text.parse().ok();
        if value.is_none() {
            mistakes.push(Mistake::new(line, format!("`{path}` must be {expected}")));
        }
        value
    }

    /// The same; it must be there.
    pub(super) fn needed<T: FromStr>(
        &mut self,
        name: &'static str,
        expected: &str,
        line: usize,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<T> {
        let before = mistakes.len();
        let value = self.value(name, expected, mistakes);
        if value.is_none() && mistakes.len() == before {
            let text = format!("`{}` is needed: {expected}", self.path_of(name));
            mistakes.push(Mistake::new(line, text));
        }
        value
    }

    /// Whether a field says yes.
    pub(super) fn switch(
        &mut self,
        name: &'static str,
        default: bool,
        mistakes: &mut Vec<Mistake>,
    ) -> bool {
        let path = self.path_of(name);
        match self.text(name, mistakes) {
            None => default,
            Some(("true" | "yes" | "on", _)) => true,
            Some(("false" | "no" | "off", _)) => false,
            Some((_, line)) => {
                mistakes.push(Mistake::new(
                    line,
                    format!("`{path}` must be true or false"),
                ));
                default
            }
        }
    }

    /// What is left is not known here.
    pub(super) fn end(self, mistakes: &mut Vec<Mistake>) {
        for entry in &self.entries {
            let text = format!(
                "`{}` is no field; expected {}",
                self.path_of(&entry.key),
                self.known.join(", ")
            );
            mistakes.push(Mistake::new(entry.line, text));
        }
    }
}

pub(super) fn text<'a>(
    node: &'a Node,
    path: &str,
    mistakes: &mut Vec<Mistake>,
) -> Option<(&'a str, usize)> {
    match &node.content {
        Content::Text(text) => Some((text, node.line)),
        other => {
            let text = format!("`{path}` is a text, not {}", other.told());
            mistakes.push(Mistake::new(node.line, text));
            None
        }
    }
}

/// Entries whose keys are names; none: it cannot be one, which is told, and what stands
/// below it is read all the same for its own mistakes.
fn named<'a, T: FromStr<Err: std::fmt::Display>>(
    node: &'a Node,
    path: &str,
    mistakes: &mut Vec<Mistake>,
) -> Vec<(&'a Entry, Option<T>)> {
    let Some(fields) = Fields::of(node, path, mistakes) else {
        return Vec::new();
    };
    let mut entries = Vec::new();
    for entry in fields.entries {
        let name = entry.key.parse::<T>();
        if let Err(error) = &name {
            mistakes.push(Mistake::new(entry.line, error.to_string()));
        }
        entries.push((entry, name.ok()));
    }
    entries
}

/// An integration on its way: fields are set one by one, so that every mistake is found.
pub(super) struct Builder {
    pub(super) spec: IntegrationSpec,
    pub(super) line: usize,
    pub(super) lines: HashMap<&'static str, usize>,
    pub(super) secrets: Vec<GivenSecret>,
    /// What goes with the protocol can be judged.
    has_protocol: bool,
    /// Nothing stands in for anything.
    is_whole: bool,
}

impl Builder {
    /// What cannot be left out. Where something of it is missing or wrong, which is told,
    /// another value stands in for it, so that the mistakes of all other fields are found.
    pub(super) fn begin(
        name: Option<IntegrationName>,
        needed: Needed<'_>,
        line: usize,
        given: Given<'_>,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Self> {
        let before = mistakes.len();
        let path = &needed.path;
        let entity = match (needed.entity, given.entity) {
            (None, Some(entity)) => Some(entity.clone()),
            (None, None) => {
                let text = format!("`{path}entity` is needed: name it there, or give --entity");
                mistakes.push(Mistake::new(line, text));
                None
            }
            (found, _) => {
                let place = (path.as_str(), "entity", line);
                needed_value(found, place, "the name of an entity", mistakes)
            }
        };
        let place = (path.as_str(), "protocol", line);
        let protocol = needed_value(needed.protocol, place, "ftps, sftp or ftp", mistakes);
        let place = (path.as_str(), needed.host_name, line);
        let host = needed_value(needed.host, place, "a host name or an address", mistakes);
        let place = (path.as_str(), needed.username_name, line);
        let expected = "one line of at most 256 bytes: who we are there";
        let username = needed_value(needed.username, place, expected, mistakes);
        let is_whole = name.is_some() && mistakes.len() == before;
        let name = or_stand_in(name)?;
        let display_name = name.as_str().parse().ok()?;
        Some(Self {
            spec: IntegrationSpec {
                name,
                display_name,
                entity: or_stand_in(entity)?,
                protocol: protocol.unwrap_or(IntegrationProtocol::Sftp),
                host: or_stand_in(host)?,
                own_port: None,
                username: or_stand_in(username)?,
                settings: IntegrationSettings::default(),
            },
            has_protocol: protocol.is_some(),
            is_whole,
            line,
            lines: needed
                .entity
                .map(|(_, line)| ("entity", line))
                .into_iter()
                .collect(),
            secrets: Vec::new(),
        })
    }

    /// Sets a field; `shown` is what it is called in this file.
    pub(super) fn set(
        &mut self,
        name: &'static str,
        shown: &str,
        (text, line): (&str, usize),
        mistakes: &mut Vec<Mistake>,
    ) {
        let Some(field) = Field::of_name(name) else {
            return;
        };
        self.lines.insert(name, line);
        if let Err(error) = field.set(&mut self.spec, Some(text)) {
            mistakes.push(Mistake::new(line, format!("`{shown}` {}", error.fault)));
        }
    }

    /// Takes a secret: a reference, or the value itself.
    pub(super) fn secret(
        &mut self,
        purpose: SecretPurpose,
        shown: &str,
        (text, line): (&str, usize),
        mistakes: &mut Vec<Mistake>,
    ) {
        if self.has_protocol && !purpose.is_of(self.spec.protocol) {
            let text = format!(
                "`{shown}` is no field of an integration by {}",
                self.spec.protocol
            );
            mistakes.push(Mistake::new(line, text));
            return;
        }
        let credential = match text.parse() {
            Ok(reference) => Credential::Reference(reference),
            Err(_) => Credential::Value(Secret::new(text)),
        };
        self.secrets.push(GivenSecret {
            purpose,
            credential: Some(credential),
        });
    }

    pub(super) fn end(
        self,
        locations: Option<Vec<WantedLocation>>,
        host_keys: Option<Vec<layover_depot::HostKeyProof>>,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<ReadIntegration> {
        let contradictions = match self.has_protocol {
            true => self.spec.contradictions(),
            false => Vec::new(),
        };
        for error in contradictions {
            let line = self.lines.get(error.field).copied().unwrap_or(self.line);
            mistakes.push(Mistake::new(line, error.to_string()));
        }
        self.is_whole.then_some(ReadIntegration {
            wanted: WantedIntegration {
                spec: self.spec,
                secrets: self.secrets,
                locations,
                host_keys,
            },
            line: self.line,
            lines: self.lines,
        })
    }
}

/// A value, or one that every name, host and user may be.
fn or_stand_in<T: FromStr>(value: Option<T>) -> Option<T> {
    value.or_else(|| "stand-in".parse().ok())
}

/// A value that must be there; `place` is the path, the field, and the line of what it
/// is missing from.
fn needed_value<T: FromStr>(
    found: Option<(&str, usize)>,
    (path, name, line): (&str, &str, usize),
    expected: &str,
    mistakes: &mut Vec<Mistake>,
) -> Option<T> {
    let Some((text, line)) = found else {
        mistakes.push(Mistake::new(
            line,
            format!("`{path}{name}` is needed: {expected}"),
        ));
        return None;
    };
    let value = text.parse().ok();
    if value.is_none() {
        mistakes.push(Mistake::new(
            line,
            format!("`{path}{name}` must be {expected}"),
        ));
    }
    value
}

/// What every form must say of an integration, and under which names.
pub(super) struct Needed<'a> {
    pub(super) path: String,
    pub(super) entity: Option<(&'a str, usize)>,
    pub(super) protocol: Option<(&'a str, usize)>,
    pub(super) host_name: &'static str,
    pub(super) host: Option<(&'a str, usize)>,
    pub(super) username_name: &'static str,
    pub(super) username: Option<(&'a str, usize)>,
}

/// Secrets by where they stand in our own form.
pub(super) const SECRETS: &[(&str, SecretPurpose)] = &[
    ("password", SecretPurpose::Password),
    ("ftps.client_key", SecretPurpose::ClientKey),
    (
        "ftps.client_key_passphrase",
        SecretPurpose::ClientKeyPassphrase,
    ),
];

/// Parts of an integration whose fields are in the depot's table.
const PARTS: &[&str] = &["ftps", "transfer", "listing", "sftp", "inbound", "outbound"];

fn integration(
    name: Option<IntegrationName>,
    entry: &Entry,
    given: Given<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Option<ReadIntegration> {
    let path = format!("integrations.{}", entry.key);
    let mut fields = Fields::of(&entry.value, &path, mistakes)?;
    let needed = Needed {
        path: format!("{path}."),
        entity: fields.text("entity", mistakes),
        protocol: fields.text("protocol", mistakes),
        host_name: "host",
        host: fields.text("host", mistakes),
        username_name: "username",
        username: fields.text("username", mistakes),
    };
    let mut builder = Builder::begin(name, needed, entry.line, given, mistakes)?;
    for name in ["display_name", "port"] {
        if let Some(found) = fields.text(name, mistakes) {
            builder.set(name, &format!("{path}.{name}"), found, mistakes);
        }
    }
    take_secrets(&mut builder, &mut fields, "", &path, mistakes);
    let mut host_keys = None;
    for part in PARTS {
        let Some(mut below) = fields.below(part, mistakes) else {
            continue;
        };
        for field in Field::EACH {
            let Some((of, name)) = field.name().split_once('.') else {
                continue;
            };
            if of != *part {
                continue;
            }
            if let Some(found) = below.text(name, mistakes) {
                builder.set(
                    field.name(),
                    &format!("{path}.{}", field.name()),
                    found,
                    mistakes,
                );
            }
        }
        take_secrets(&mut builder, &mut below, part, &path, mistakes);
        if *part == "sftp"
            && let Some(node) = below.take("host_keys")
        {
            host_keys = Some(keys(node, &format!("{path}.sftp.host_keys"), mistakes));
        }
        below.end(mistakes);
    }
    let locations = fields
        .take("locations")
        .map(|node| locations(node, &path, mistakes));
    fields.end(mistakes);
    builder.end(locations, host_keys, mistakes)
}

fn take_secrets(
    builder: &mut Builder,
    fields: &mut Fields<'_>,
    part: &str,
    path: &str,
    mistakes: &mut Vec<Mistake>,
) {
    for (name, purpose) in SECRETS {
        let (of, own) = name.split_once('.').unwrap_or(("", name));
        if of == part
            && let Some(found) = fields.text(own, mistakes)
        {
            builder.secret(*purpose, &format!("{path}.{name}"), found, mistakes);
        }
    }
}

/// The members of a list.
pub(super) fn list<'a>(node: &'a Node, path: &str, mistakes: &mut Vec<Mistake>) -> &'a [Node] {
    match &node.content {
        Content::List(list) => list,
        other => {
            let text = format!("`{path}` is a list, not {}", other.told());
            mistakes.push(Mistake::new(node.line, text));
            &[]
        }
    }
}

fn keys(node: &Node, path: &str, mistakes: &mut Vec<Mistake>) -> Vec<layover_depot::HostKeyProof> {
    let mut keys = Vec::new();
    for one in list(node, path, mistakes) {
        let Some((text, line)) = text(one, path, mistakes) else {
            continue;
        };
        match text.parse() {
            Ok(key) => keys.push(key),
            Err(error) => mistakes.push(Mistake::new(line, format!("`{path}`: {error}"))),
        }
    }
    keys
}

fn locations(node: &Node, path: &str, mistakes: &mut Vec<Mistake>) -> Vec<WantedLocation> {
    let path = format!("{path}.locations");
    let mut locations = Vec::new();
    for (entry, name) in named(node, &path, mistakes) {
        let path = format!("{path}.{}", entry.key);
        let Some(mut fields) = Fields::of(&entry.value, &path, mistakes) else {
            continue;
        };
        let direction = fields.value("direction", "download, upload or both", mistakes);
        let coded = fields.text("path_base64", mistakes);
        let folder = match (coded, fields.text("path", mistakes)) {
            (Some((text, line)), None) => match STANDARD.decode(text) {
                Ok(bytes) => Some((bytes, line)),
                Err(_) => {
                    mistakes.push(Mistake::new(
                        line,
                        format!("`{path}.path_base64` is not base64"),
                    ));
                    None
                }
            },
            (None, Some((text, line))) => Some((text.as_bytes().to_vec(), line)),
            (Some((_, line)), Some(_)) => {
                let text = format!("`{path}` has a path and a path_base64: one of them is enough");
                mistakes.push(Mistake::new(line, text));
                None
            }
            (None, None) => {
                let text = format!("`{path}.path` is needed: the folder on the partner's server");
                mistakes.push(Mistake::new(entry.line, text));
                None
            }
        };
        fields.end(mistakes);
        let Some((bytes, line)) = folder else {
            continue;
        };
        match LocationPath::new(&bytes) {
            Ok(folder) => locations.extend(name.map(|name| WantedLocation {
                name,
                path: folder,
                direction: direction.unwrap_or(LocationDirection::Both),
            })),
            Err(error) => mistakes.push(Mistake::new(line, format!("`{path}.path`: {error}"))),
        }
    }
    locations
}
