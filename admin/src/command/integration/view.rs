//! What is printed about an integration, one shape for `--json` everywhere.

use std::io;
use std::net::IpAddr;

use layover_config::Settings;
use layover_depot::{
    Caution, Integration, IntegrationSettings, KeptSecret, Location, PartnerHostKey, SecretForm,
    SecretSlot,
};
use layover_retention::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::context::Context;
use crate::output::{Cell, Tone};

/// An integration as JSON.
#[derive(Debug, Serialize)]
pub(in crate::command) struct IntegrationView {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) display_name: String,
    pub(super) entity: String,
    pub(super) protocol: &'static str,
    pub(super) host: String,
    /// The port that we connect to, also where it is the usual one.
    pub(super) port: u16,
    pub(super) username: String,
    pub(super) settings: IntegrationSettings,
    pub(super) locations: Vec<LocationView>,
    pub(super) host_keys: Vec<HostKeyView>,
    pub(super) secrets: Vec<SecretView>,
    pub(super) learned: Map<String, Value>,
    /// Where we connect from; nothing: the system chooses.
    pub(super) source_addresses: Vec<IpAddr>,
    pub(super) cautions: Vec<CautionView>,
    /// What hardened mode has against it.
    pub(super) breaches: Vec<String>,
    pub(super) created_at: Timestamp,
}

impl IntegrationView {
    pub(in crate::command) fn new(integration: &Integration, settings: &Settings) -> Self {
        let spec = &integration.spec;
        Self {
            id: integration.id.0,
            name: spec.name.to_string(),
            display_name: spec.display_name.to_string(),
            entity: spec.entity.to_string(),
            protocol: spec.protocol.as_str(),
            host: spec.host.to_string(),
            port: spec.port(),
            username: spec.username.to_string(),
            settings: spec.settings.clone(),
            locations: integration
                .locations
                .iter()
                .map(LocationView::new)
                .collect(),
            host_keys: integration.host_keys.iter().map(HostKeyView::new).collect(),
            secrets: integration.secrets.iter().map(SecretView::new).collect(),
            learned: integration.learned.clone(),
            source_addresses: settings.outbound.source_addresses.clone(),
            cautions: integration
                .cautions()
                .into_iter()
                .map(CautionView::new)
                .collect(),
            breaches: integration
                .breaches()
                .iter()
                .map(ToString::to_string)
                .collect(),
            created_at: integration.created_at,
        }
    }

    pub(super) fn protocol_cell(&self) -> Cell {
        match self.protocol {
            "ftp" => Cell::toned("ftp (PLAIN)", Tone::Alarm),
            other => Cell::from(other),
        }
    }

    /// The first thing to know, and how many more.
    pub(super) fn caution_cell(&self) -> Cell {
        let Some(first) = self.cautions.first() else {
            return Cell::from("");
        };
        let more = match self.cautions.len() {
            1 => String::new(),
            all => format!(" (and {} more)", all - 1),
        };
        Cell::toned(format!("{}{more}", first.text), first.tone())
    }
}

/// What is to be known.
#[derive(Debug, Serialize)]
pub(super) struct CautionView {
    text: String,
    danger: bool,
}

impl CautionView {
    fn new(caution: Caution) -> Self {
        Self {
            text: caution.to_string(),
            danger: caution.is_a_danger(),
        }
    }

    fn tone(&self) -> Tone {
        if self.danger {
            Tone::Alarm
        } else {
            Tone::Notice
        }
    }

    pub(super) fn cell(&self) -> Cell {
        Cell::toned(self.text.as_str(), self.tone())
    }
}

/// Behind what was done: what is to be known of it.
pub(super) fn tell_cautions(context: &mut Context, integration: &Integration) -> io::Result<()> {
    if context.out.is_json() {
        return Ok(());
    }
    for caution in integration.cautions() {
        context
            .out
            .marked_line(&CautionView::new(caution).cell(), "")?;
    }
    Ok(())
}

/// A location as JSON.
#[derive(Debug, Serialize)]
pub(in crate::command) struct LocationView {
    pub(in crate::command) name: String,
    /// As text; where the path is none, with replacement characters.
    pub(in crate::command) path: String,
    /// The bytes, where they are no text.
    pub(in crate::command) path_hex: Option<String>,
    pub(in crate::command) direction: &'static str,
    pub(in crate::command) created_at: Timestamp,
}

impl LocationView {
    pub(in crate::command) fn new(location: &Location) -> Self {
        let bytes = location.path.as_bytes();
        let is_text = location.path.to_str().is_some();
        let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            name: location.name.to_string(),
            path: location.path.to_string(),
            path_hex: (!is_text).then(hex),
            direction: location.direction.as_str(),
            created_at: location.created_at,
        }
    }

    pub(super) fn told(&self) -> String {
        format!("{}: {} ({})", self.name, self.path, self.direction)
    }
}

/// A host key as JSON.
#[derive(Debug, Serialize)]
pub(super) struct HostKeyView {
    pub(super) fingerprint: String,
    pub(super) public_key: Option<String>,
    pub(super) trusted: bool,
    pub(super) seen_at: Timestamp,
    pub(super) confirmed_at: Option<Timestamp>,
    pub(super) confirmed_by: Option<String>,
}

impl HostKeyView {
    pub(super) fn new(key: &PartnerHostKey) -> Self {
        Self {
            fingerprint: key.fingerprint.clone(),
            public_key: key.public_key.clone(),
            trusted: key.confirmed_at.is_some(),
            seen_at: key.seen_at,
            confirmed_at: key.confirmed_at,
            confirmed_by: key.confirmed_by.clone(),
        }
    }

    pub(super) fn trust_cell(&self) -> Cell {
        match &self.confirmed_by {
            Some(by) => Cell::toned(format!("confirmed by {by}"), Tone::Good),
            None => Cell::toned("seen, NOT TRUSTED", Tone::Notice),
        }
    }

    pub(super) fn told(&self) -> Cell {
        match &self.confirmed_by {
            Some(by) => Cell::from(format!("{} (confirmed by {by})", self.fingerprint)),
            None => Cell::toned(
                format!("{} (seen, NOT TRUSTED)", self.fingerprint),
                Tone::Notice,
            ),
        }
    }
}

/// A secret as JSON: never its value.
#[derive(Debug, Serialize)]
pub(in crate::command) struct SecretView {
    pub(in crate::command) purpose: &'static str,
    pub(in crate::command) slot: &'static str,
    /// `reference` or `sealed`.
    pub(in crate::command) form: &'static str,
    pub(in crate::command) reference: Option<String>,
    /// The master key that it is sealed with.
    pub(in crate::command) key_id: Option<String>,
    pub(in crate::command) public: Option<String>,
    /// None: a hook's, of which nobody keeps it.
    pub(in crate::command) created_at: Option<Timestamp>,
    pub(in crate::command) confirmed_at: Option<Timestamp>,
}

impl SecretView {
    pub(in crate::command) fn new(secret: &KeptSecret) -> Self {
        Self {
            purpose: secret.purpose.as_str(),
            slot: secret.slot.as_str(),
            public: secret.public.clone(),
            created_at: Some(secret.created_at),
            confirmed_at: secret.confirmed_at,
            ..Self::of_hook(&secret.form)
        }
    }

    /// What a hook's requests are signed with.
    pub(in crate::command) fn of_hook(form: &SecretForm) -> Self {
        let (form, reference, key_id) = match form {
            SecretForm::Reference(reference) => ("reference", Some(reference.to_string()), None),
            SecretForm::Sealed { key_id } => ("sealed", None, Some(key_id.clone())),
        };
        Self {
            purpose: "signing",
            slot: SecretSlot::Current.as_str(),
            form,
            reference,
            key_id,
            public: None,
            created_at: None,
            confirmed_at: None,
        }
    }

    /// Where it is, or with which key it is sealed.
    pub(in crate::command) fn place(&self) -> String {
        match (&self.reference, &self.key_id) {
            (Some(reference), _) => reference.clone(),
            (None, key_id) => format!("sealed with {}", key_id.as_deref().unwrap_or("-")),
        }
    }

    pub(super) fn told(&self) -> String {
        let slot = match self.slot {
            "current" => String::new(),
            other => format!(" ({other})"),
        };
        format!("{}{slot}: {}", self.purpose, self.place())
    }
}
